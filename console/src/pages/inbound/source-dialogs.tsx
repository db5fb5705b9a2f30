import { useState } from 'react';
import type { AnswerTo } from 'rowhook/client';
import { answerOf, client, RowhookError } from '../../api/client.ts';
import { useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { Button } from '../../ui/button.tsx';
import { Confirm, Modal } from '../../ui/dialog.tsx';
import { SelectField, TextField } from '../../ui/field.tsx';
import { Notice } from '../../ui/states.tsx';

export type Source = AnswerTo<'/api/v1/{org}/inbound-sources'>['data'][number];

type Verification = 'standard_webhooks' | 'stripe' | 'github' | 'shopify' | 'slack' | 'hmac' | 'api_key';

/** Each with its name, and who chooses the secret. */
export const VERIFICATIONS: Readonly<Record<string, readonly [name: string, secret: string]>> = {
  standard_webhooks: ['Standard Webhooks', 'Empty: we make one, which you give to the sender.'],
  stripe: ['Stripe', 'Stripe makes it once you have saved the address there: whsec_…'],
  github: ['GitHub', 'Empty: we make one, which you paste into the settings of the repository.'],
  shopify: ['Shopify', 'Shopify shows it below its list of webhooks.'],
  slack: ['Slack', 'Slack calls it Signing Secret, under Basic Information.'],
  hmac: ['HMAC of the body', 'Empty: we make one.'],
  api_key: ['A secret in a header', 'Empty: we make one.'],
};

/** A server that does not know its own address answers a path: it is the one of this page. */
export const addressOf = ({ url }: Pick<Source, 'url'>) => new URL(url, window.location.origin).href;

interface MadeProps {
  onClose: () => void;
  onMade: (source: Source, secret: string) => void;
}

const EMPTY = { name: '', secret: '', signature_header: '', event_name: '', event_path: '' };

export function CreateSource({ onClose, onMade }: MadeProps) {
  const { path } = useOrganization();
  const [verification, setVerification] = useState<Verification>('standard_webhooks');
  const [algorithm, setAlgorithm] = useState('sha256');
  const [encoding, setEncoding] = useState('hex');
  const [text, setText] = useState(EMPTY);
  const set = (field: keyof typeof EMPTY) => (value: string) => setText((before) => ({ ...before, [field]: value }));
  const isOwn = verification === 'hmac' || verification === 'api_key';
  const create = useWrite(() => {
    const given = Object.entries(text).filter(([, value]) => value.trim() !== '');
    const fields = Object.fromEntries(given.map(([field, value]) => [field, value.trim()]));
    const hmac = verification === 'hmac' ? { signature_algorithm: algorithm, signature_encoding: encoding } : {};
    const body = { name: text.name.trim(), verification, ...fields, ...hmac };
    return answerOf(client.POST('/api/v1/{org}/inbound-sources', { params: { path }, body }));
  });
  const wrong = create.error instanceof RowhookError ? create.error.errors : [];
  const error = (field: string) => wrong.find((one) => one.field === field)?.message;
  return (
    <Modal
      title="Create a source"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            variant="primary"
            disabled={text.name.trim() === ''}
            isBusy={create.isPending}
            onClick={() => create.mutate(undefined, { onSuccess: ({ secret, ...made }) => onMade(made, secret) })}
          >
            Create
          </Button>
        </>
      }
    >
      <TextField
        label="Name"
        value={text.name}
        onChange={set('name')}
        error={error('name')}
        placeholder="stripe"
        autoComplete="off"
        help="Letters, digits, hyphens and dots. Its events name it."
      />
      <SelectField
        label="Who sends"
        value={verification}
        onChange={(value) => setVerification(value as Verification)}
        options={Object.entries(VERIFICATIONS).map(([value, [name]]) => [value, name] as const)}
      />
      <TextField
        label="Secret"
        type="password"
        isMono
        value={text.secret}
        onChange={set('secret')}
        error={error('secret')}
        autoComplete="off"
        help={VERIFICATIONS[verification]?.[1]}
      />
      {isOwn && (
        <TextField
          label="Header"
          isMono
          value={text.signature_header}
          onChange={set('signature_header')}
          error={error('signature_header')}
          placeholder={verification === 'hmac' ? 'X-Signature' : 'X-API-Key'}
        />
      )}
      {verification === 'hmac' && (
        <div className="columns">
          <SelectField label="Algorithm" value={algorithm} onChange={setAlgorithm} options={ALGORITHMS} />
          <SelectField label="Written as" value={encoding} onChange={setEncoding} options={ENCODINGS} />
        </div>
      )}
      <div className="columns">
        <TextField
          label="Event name"
          isMono
          value={text.event_name}
          onChange={set('event_name')}
          error={error('event_name')}
          placeholder={verification === 'github' ? 'push' : 'invoice.paid'}
          help="Empty: the sender names it."
        />
        <TextField
          label="Or its place in the body"
          isMono
          value={text.event_path}
          onChange={set('event_path')}
          error={error('event_path')}
          placeholder="data.type"
        />
      </div>
      {create.isError && wrong.every(({ field }) => !(field in text)) && (
        <Notice kind="bad">{create.error.message}</Notice>
      )}
    </Modal>
  );
}

const ALGORITHMS = [
  ['sha256', 'SHA-256'],
  ['sha512', 'SHA-512'],
  ['sha1', 'SHA-1'],
] as const;

const ENCODINGS = [
  ['hex', 'Hexadecimal'],
  ['base64', 'Base64'],
] as const;

export function RotateSource({ source, onClose, onMade }: MadeProps & { source: Source }) {
  const { org } = useOrganization();
  const [overlap, setOverlap] = useState('86400');
  const [secret, setSecret] = useState('');
  const rotate = useWrite(() =>
    answerOf(
      client.POST('/api/v1/{org}/inbound-sources/{id}/rotate-secret', {
        params: { path: { org, id: source.id } },
        body: { overlap_seconds: Number(overlap), ...(secret.trim() !== '' && { secret: secret.trim() }) },
      }),
    ),
  );
  return (
    <Confirm
      title={`Give “${source.name}” a new secret?`}
      action="Make it"
      isBusy={rotate.isPending}
      onClose={onClose}
      onConfirm={() => rotate.mutate(undefined, { onSuccess: ({ secret: made, ...rest }) => onMade(rest, made) })}
    >
      <TextField
        label="Secret of the sender"
        type="password"
        isMono
        value={secret}
        onChange={setSecret}
        autoComplete="off"
        help={VERIFICATIONS[source.verification]?.[1]}
      />
      <SelectField
        label="The old one is also accepted"
        value={overlap}
        onChange={setOverlap}
        options={[
          ['86400', 'for 24 hours'],
          ['604800', 'for 7 days'],
          ['0', 'no longer: somebody else has it'],
        ]}
      />
      {rotate.isError && <Notice kind="bad">{rotate.error.message}</Notice>}
    </Confirm>
  );
}

export function DeleteSource({ source, onClose }: { source: Source; onClose: () => void }) {
  const { org } = useOrganization();
  const remove = useWrite(() =>
    answerOf(client.DELETE('/api/v1/{org}/inbound-sources/{id}', { params: { path: { org, id: source.id } } })),
  );
  return (
    <Confirm
      title={`Delete “${source.name}”?`}
      action="Delete"
      isDanger
      isBusy={remove.isPending}
      onClose={onClose}
      onConfirm={() => remove.mutate(undefined, { onSuccess: onClose })}
    >
      <p>Its address answers 410 from now on, so a good sender stops. What it has sent stays.</p>
      {remove.isError && <Notice kind="bad">{remove.error.message}</Notice>}
    </Confirm>
  );
}
