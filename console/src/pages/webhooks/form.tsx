import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react';
import { RowhookError } from '../../api/client.ts';
import { testUrlIn, useNewTestUrl } from '../../api/test-urls.ts';
import { Button } from '../../ui/button.tsx';
import { CheckField, SelectField, TextField } from '../../ui/field.tsx';
import { CrossIcon } from '../../ui/icons.tsx';
import { Notice } from '../../ui/states.tsx';
import { AUTH_FIELDS, type Draft, type Errors, problemsOf, urlProblem } from './draft.ts';
import { EventsField } from './events-field.tsx';
import { FormatFields } from './format-fields.tsx';
import { BodyPreview, FilterTrial } from './trial.tsx';
import { useUrlProblem } from './use-preview.ts';

interface FormProps {
  start: Draft;
  submitText: string;
  isNew?: boolean;
  isDisabled?: boolean;
  onSubmit: (draft: Draft) => Promise<unknown>;
  cancel?: ReactNode;
}

export function WebhookForm({ start, submitText, isNew, isDisabled, onSubmit, cancel }: FormProps) {
  const [draft, setDraft] = useState(start);
  const [errors, setErrors] = useState<Errors>({});
  const [problem, setProblem] = useState('');
  const [isBusy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  // What was there already is judged when it is sent.
  const refused = useUrlProblem(draft.target_url, !isDisabled && draft.target_url !== start.target_url);
  const [failedAt, setFailedAt] = useState(0);

  // The first wrong field gets the focus.
  useEffect(() => {
    if (failedAt === 0) return;
    const wrong = form.current?.querySelector<HTMLElement>('[aria-invalid="true"]');
    wrong?.closest('details')?.setAttribute('open', '');
    wrong?.focus();
  }, [failedAt]);

  const change = (part: Partial<Draft>) => {
    setDraft((before) => ({ ...before, ...part }));
    setErrors((before) => Object.fromEntries(Object.entries(before).filter(([field]) => !(field in part))));
  };
  const set =
    <K extends keyof Draft>(field: K) =>
    (value: Draft[K]) =>
      change({ [field]: value } as Partial<Draft>);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setProblem('');
    const found = problemsOf(draft);
    setErrors(found);
    if (Object.keys(found).length > 0) return setFailedAt(Date.now());
    setBusy(true);
    try {
      await onSubmit(draft);
    } catch (error) {
      const named = error instanceof RowhookError ? error.errors : [];
      setErrors(
        Object.fromEntries(named.map(({ field, message }) => [field.split('.')[0] ?? field, sentence(message)])),
      );
      const isShown = named.length > 0 && named.every(({ field }) => (field.split('.')[0] ?? '') in draft);
      if (!isShown) setProblem((error as Error).message);
      setFailedAt(Date.now());
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="form" ref={form} onSubmit={submit} noValidate>
      <fieldset disabled={isDisabled ?? false} className="plain-fieldset">
        <section className="card form-part">
          <TextField
            label="Name"
            value={draft.name}
            onChange={set('name')}
            error={errors.name}
            autoFocus={isNew ?? false}
            autoComplete="off"
            placeholder="CRM"
          />
          <TextField
            label="Target URL"
            type="url"
            isMono
            value={draft.target_url}
            onChange={set('target_url')}
            error={errors.target_url ?? urlProblem(draft.target_url) ?? refused}
            autoComplete="off"
            placeholder="https://hooks.example.com/in"
            help="It must be reachable from the internet, and answer within a few seconds."
          />
          {!isDisabled && <TestUrlField url={draft.target_url} onChange={set('target_url')} />}
          <EventsField
            value={draft.event_types}
            text={draft.event_text}
            onChange={(part) => change({ event_types: draft.event_types, ...part })}
            error={errors.event_types}
          />
          <TextField
            label="Description"
            value={draft.description}
            onChange={set('description')}
            error={errors.description}
            rows={2}
            placeholder="For your colleagues. It is not sent."
          />
          <div className="columns">
            <SelectField
              label="Method"
              value={draft.http_method}
              onChange={set('http_method')}
              error={errors.http_method}
              options={[
                ['POST', 'POST'],
                ['PUT', 'PUT'],
                ['PATCH', 'PATCH'],
              ]}
            />
            <SelectField
              label="Authentication"
              value={draft.auth_type}
              onChange={(auth_type) => change({ auth_type, auth: {} })}
              error={errors.auth_type}
              options={[
                ['none', 'None: the signature is enough'],
                ['bearer', 'Bearer token'],
                ['basic', 'Basic'],
                ['api_key', 'A header with a key'],
              ]}
            />
          </div>
          {(AUTH_FIELDS[draft.auth_type] ?? []).length > 0 && (
            <div className="columns">
              {AUTH_FIELDS[draft.auth_type]?.map(([key, label, secret]) => (
                <TextField
                  key={key}
                  label={label}
                  type={secret ? 'password' : 'text'}
                  isMono
                  value={draft.auth[key] ?? ''}
                  onChange={(value) => change({ auth: { ...draft.auth, [key]: value } })}
                  error={errors.auth_config}
                  autoComplete="off"
                  placeholder={secret && start.auth_type === draft.auth_type && !isNew ? 'Unchanged' : ''}
                />
              ))}
            </div>
          )}
        </section>

        <Part
          title="Filter"
          about={draft.filter.trim() === '' ? 'Every chosen event is sent' : 'Only some events are sent'}
        >
          {(isOpen) => (
            <>
              <TextField
                label="Conditions"
                value={draft.filter}
                onChange={set('filter')}
                error={errors.filter}
                rows={4}
                isMono
                placeholder={'{"data.stage": "won", "data.value": {"$gte": 1000}}'}
                help={
                  <>
                    A JSON object. All conditions must hold. <code>$gt</code> <code>$gte</code> <code>$lt</code>{' '}
                    <code>$lte</code> <code>$ne</code> <code>$in</code> <code>$contains</code> <code>$exists</code>{' '}
                    <code>$and</code> <code>$or</code> <code>$not</code>; <code>previous.…</code> is the value before.
                  </>
                }
              />
              <FilterTrial draft={draft} isOn={isOpen} />
            </>
          )}
        </Part>
        <Part title="Headers" about={draft.headers.length === 0 ? 'None beside our own' : `${draft.headers.length}`}>
          <HeaderFields draft={draft} onChange={set('headers')} error={errors.headers} />
        </Part>
        <Part
          title="Retries and limits"
          about={draft.retry_enabled ? `${draft.retry_attempts} retries, ${draft.retry_strategy}` : 'No retries'}
        >
          <RetryFields draft={draft} errors={errors} change={change} />
        </Part>
        <Part title="Format" about={FORMATS[draft.payload_format] ?? draft.payload_format}>
          {(isOpen) => (
            <>
              <FormatFields draft={draft} errors={errors} change={change} />
              <BodyPreview draft={draft} isOn={isOpen} />
            </>
          )}
        </Part>
      </fieldset>
      {problem && <Notice kind="bad">{problem}</Notice>}
      {!isDisabled && (
        <div className="form-actions">
          <Button type="submit" variant="primary" isBusy={isBusy}>
            {submitText}
          </Button>
          {cancel}
        </div>
      )}
    </form>
  );
}

export const FORMATS: Readonly<Record<string, string>> = {
  nested: 'Nested: id, event, data',
  flat: 'Flat: the fields of the row on top',
  cloudevents: 'CloudEvents 1.0',
  slack: 'Slack message',
  discord: 'Discord message',
  teams: 'Teams message',
  template: 'A template of your own',
};

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

/** For whoever has no receiver yet. */
function TestUrlField({ url, onChange }: { url: string; onChange: (url: string) => void }) {
  const make = useNewTestUrl();
  if (testUrlIn(url) !== null)
    return (
      <Notice kind="info">
        This is a test URL of our own, for an hour. The tab Test shows what arrives there. Put the address of your
        receiver here later: the webhook stays the same.
      </Notice>
    );
  return (
    <>
      {url === '' && (
        <div>
          <Button
            isSmall
            isBusy={make.isPending}
            onClick={() => make.mutate(undefined, { onSuccess: (made) => onChange(made.url) })}
          >
            No receiver yet? Use a test URL
          </Button>
        </div>
      )}
      {make.isError && <Notice kind="bad">{make.error.message}</Notice>}
    </>
  );
}

interface PartOfFormProps {
  title: string;
  about: string;
  children: ReactNode | ((isOpen: boolean) => ReactNode);
}

function Part({ title, about, children }: PartOfFormProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="card form-more" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span className="strong">{title}</span>
        <span className="muted small clip">{about}</span>
      </summary>
      <div className="form-part">{typeof children === 'function' ? children(isOpen) : children}</div>
    </details>
  );
}

function HeaderFields({
  draft,
  onChange,
  error,
}: {
  draft: Draft;
  onChange: (headers: Draft['headers']) => void;
  error: string | undefined;
}) {
  const { headers } = draft;
  const replace = (index: number, part: Partial<Draft['headers'][number]>) =>
    onChange(headers.map((one, at) => (at === index ? { ...one, ...part } : one)));
  return (
    <>
      {headers.map((header, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a header has no id, and its text changes
        <div className="header-row" key={index}>
          <TextField
            label={`Header ${index + 1}`}
            isMono
            value={header.name}
            onChange={(name) => replace(index, { name })}
            error={index === 0 ? error : undefined}
            placeholder="X-Team"
          />
          <TextField
            label={`Value ${index + 1}`}
            isMono
            value={header.value}
            onChange={(value) => replace(index, { value })}
          />
          <Button
            variant="quiet"
            aria-label={`Remove header ${index + 1}`}
            onClick={() => onChange(headers.filter((_, at) => at !== index))}
          >
            <CrossIcon />
          </Button>
        </div>
      ))}
      <div>
        <Button isSmall onClick={() => onChange([...headers, { name: '', value: '' }])}>
          Add a header
        </Button>
      </div>
      <p className="field-help">A value is shown once you have saved only where it is known to hold no secret.</p>
    </>
  );
}

export interface PartProps {
  draft: Draft;
  errors: Errors;
  change: (part: Partial<Draft>) => void;
}

function RetryFields({ draft, errors, change }: PartProps) {
  return (
    <>
      <CheckField
        label="Retry failed attempts"
        checked={draft.retry_enabled}
        onChange={(retry_enabled) => change({ retry_enabled })}
      />
      <div className="columns">
        <TextField
          label="Retries"
          type="number"
          value={draft.retry_attempts}
          onChange={(retry_attempts) => change({ retry_attempts })}
          error={errors.retry_attempts}
          disabled={!draft.retry_enabled}
        />
        <SelectField
          label="Strategy"
          value={draft.retry_strategy}
          onChange={(retry_strategy) => change({ retry_strategy })}
          disabled={!draft.retry_enabled}
          options={[
            ['exponential', 'After 5 s, 5 min, 30 min, 2 h, 5 h …'],
            ['linear', 'After one delay, two, three …'],
          ]}
        />
        {draft.retry_strategy === 'linear' && (
          <TextField
            label="Delay in seconds"
            type="number"
            value={draft.retry_delay_seconds}
            onChange={(retry_delay_seconds) => change({ retry_delay_seconds })}
            error={errors.retry_delay_seconds}
          />
        )}
      </div>
      <div className="columns">
        <TextField
          label="Timeout in milliseconds"
          type="number"
          value={draft.timeout_ms}
          onChange={(timeout_ms) => change({ timeout_ms })}
          error={errors.timeout_ms}
        />
        <TextField
          label="Requests at once"
          type="number"
          value={draft.max_in_flight}
          onChange={(max_in_flight) => change({ max_in_flight })}
          error={errors.max_in_flight}
        />
        <TextField
          label="Requests a second"
          type="number"
          value={draft.rate_limit_per_second}
          onChange={(rate_limit_per_second) => change({ rate_limit_per_second })}
          error={errors.rate_limit_per_second}
          placeholder="No limit"
        />
      </div>
      <SelectField
        label="Order"
        value={draft.ordering}
        onChange={(ordering) => change({ ordering })}
        error={errors.ordering}
        options={[
          ['none', 'A failed delivery holds nothing up'],
          ['row', 'Changes of one row wait for each other'],
        ]}
      />
    </>
  );
}
