/** A filter on a recent event, and the body that the chosen format makes of it, before they are saved. */
import { useState } from 'react';
import { RowhookError } from '../../api/client.ts';
import { CodeBlock, visible } from '../../ui/code.tsx';
import { SelectField } from '../../ui/field.tsx';
import { Notice } from '../../ui/states.tsx';
import { relative, useNow } from '../../ui/time.tsx';
import type { Draft } from './draft.ts';
import { type Tried, usePreview, useTrials } from './use-preview.ts';

/** `isOn`: the part of the form is open. */
function useTrial(draft: Draft, tried: Tried, isOn: boolean) {
  const trials = useTrials(draft, isOn);
  const [chosen, setChosen] = useState('');
  const now = useNow();
  const value = trials.some((one) => one.value === chosen) ? chosen : (trials[0]?.value ?? '');
  const preview = usePreview(draft, tried, value, isOn);
  const choice = trials.length > 0 && (
    <SelectField
      label="Try it on"
      value={value}
      onChange={setChosen}
      options={trials.map(({ value: id, type, at }) => [
        id,
        at === null ? `${type}: the latest, or a made-up one` : `${type}, ${relative(at, now)}`,
      ])}
    />
  );
  return { preview, choice };
}

export function FilterTrial({ draft, isOn }: { draft: Draft; isOn: boolean }) {
  const { preview, choice } = useTrial(draft, 'filter', isOn);
  if (!isOn) return null;
  if (!choice) return <p className="muted small">Choose events above, then the filter is tried here on recent ones.</p>;
  const { data, error } = preview;
  return (
    <div className="trial">
      {choice}
      {error ? (
        <Notice kind="bad">{problemIn(error, 'filter')}</Notice>
      ) : data === undefined ? (
        <p className="muted small">Trying…</p>
      ) : data.matched ? (
        <Notice kind="ok">This event is sent.</Notice>
      ) : (
        <Notice kind="warn">
          <p className="wrap">This event is not sent: {visible(data.stopped_by ?? '')}.</p>
        </Notice>
      )}
    </div>
  );
}

export function BodyPreview({ draft, isOn }: { draft: Draft; isOn: boolean }) {
  const { preview, choice } = useTrial(draft, 'body', isOn);
  if (!isOn) return null;
  if (!choice) return <p className="muted small">Choose events above, then you see the body of a recent one here.</p>;
  const { data, error } = preview;
  return (
    <div className="trial">
      {choice}
      {error ? (
        <Notice kind="bad">{problemIn(error, 'payload_template')}</Notice>
      ) : data === undefined ? (
        <p className="muted small">Making the body…</p>
      ) : data.body === null ? (
        <Notice kind="bad">The template makes no body of this event: {data.body_problem}</Notice>
      ) : (
        <CodeBlock label={`Body, ${data.content_type},`} text={data.body} />
      )}
    </div>
  );
}

/** What is wrong with the field, else with the first one that is. */
function problemIn(error: Error, field: string): string {
  if (!(error instanceof RowhookError)) return error.message;
  const found = error.errors.find((one) => one.field === field) ?? error.errors[0];
  return found ? `${found.field.replaceAll('_', ' ')} ${found.message}` : error.message;
}
