import { useState } from 'react';
import type { ApiKey } from 'rowhook/client';
import { answerOf, asking, client, queryOf, RowhookError } from '../../api/client.ts';
import { useList, useWrite } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { Badge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { Confirm, Modal } from '../../ui/dialog.tsx';
import { CheckField, SelectField, TextField } from '../../ui/field.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Pager } from '../../ui/pager.tsx';
import { ShownOnce } from '../../ui/shown-once.tsx';
import { Empty, Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { Ago, At } from '../../ui/time.tsx';

type Asked = { kind: 'create' } | { kind: 'rotate' | 'revoke'; key: ApiKey } | null;

export default function ApiKeysPage() {
  const { get } = useAddress();
  const { mayKeys } = useSession();
  const { path } = useOrganization();
  const query = { cursor: get('cursor') };
  const list = useList(
    'api-keys',
    query,
    (signal) => client.GET('/api/v1/{org}/api-keys', { params: { path, query: queryOf(query) }, signal }),
    { enabled: mayKeys },
  );
  const [asked, setAsked] = useState<Asked>(null);
  const [token, setToken] = useState('');
  const rows = list.data?.data ?? [];
  const done = (made?: string) => {
    setAsked(null);
    if (made !== undefined) setToken(made);
  };
  return (
    <>
      <PageHead
        title="API keys"
        actions={
          mayKeys && (
            <Button variant="primary" onClick={() => setAsked({ kind: 'create' })}>
              Create key
            </Button>
          )
        }
      >
        For programs that call the API of this organization. A key is shown once, and stored as a hash.
      </PageHead>
      {token !== '' && (
        <ShownOnce what="key" title="Copy the key now" secret={token} onDone={() => setToken('')}>
          It is shown this once. Whoever has it can do what its scopes allow.
        </ShownOnce>
      )}
      {!mayKeys ? (
        <Empty title="Your session makes no keys">
          <p>This needs a key with the scope keys.</p>
        </Empty>
      ) : list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : rows.length === 0 ? (
        <Empty title="There is no key yet">
          <p>A program needs one to call the API.</p>
        </Empty>
      ) : (
        <Table label="API keys" head={['Name', 'Scopes', 'Last used', 'Created', 'Ends', '']}>
          {rows.map((key) => (
            <Row key={key.id}>
              <Cell name="Name" isMain>
                <span className="stack">
                  <span className="strong clip">{key.name}</span>
                  <span className="mono small muted">{key.prefix}…</span>
                </span>
              </Cell>
              <Cell name="Scopes">
                <span className="tags">
                  {key.scopes.map((scope) => (
                    <span key={scope} className="tag">
                      {scope}
                    </span>
                  ))}
                </span>
              </Cell>
              <Cell name="Last used">
                {key.last_used_at ? <Ago at={key.last_used_at} /> : <span className="muted never">Never</span>}
              </Cell>
              <Cell name="Created">
                <Ago at={key.created_at} />
              </Cell>
              <Cell name="Ends">
                {key.revoked_at ? (
                  <Badge tone="bad">Revoked</Badge>
                ) : key.expires_at ? (
                  <At at={key.expires_at} />
                ) : (
                  <span className="muted never">Never</span>
                )}
              </Cell>
              <Cell name="Change">
                {!key.revoked_at && (
                  <span className="line cell-actions">
                    <Button isSmall aria-label={`Rotate ${key.name}`} onClick={() => setAsked({ kind: 'rotate', key })}>
                      Rotate
                    </Button>
                    <Button
                      isSmall
                      variant="danger"
                      aria-label={`Revoke ${key.name}`}
                      onClick={() => setAsked({ kind: 'revoke', key })}
                    >
                      Revoke
                    </Button>
                  </span>
                )}
              </Cell>
            </Row>
          ))}
        </Table>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
      {asked?.kind === 'create' && <CreateKey onClose={() => done()} onMade={done} />}
      {asked?.kind === 'rotate' && <RotateKey apiKey={asked.key} onClose={() => done()} onMade={done} />}
      {asked?.kind === 'revoke' && <RevokeKey apiKey={asked.key} onClose={() => done()} />}
    </>
  );
}

interface MadeProps {
  onClose: () => void;
  onMade: (token: string) => void;
}

const DAY_MS = 86_400_000;

/** A session makes no keys: whoever makes one shows a key that may. It is used once, and not kept. */
function useOwnKey() {
  const [own, setOwn] = useState('');
  const [isNeeded, setNeeded] = useState(false);
  const headers: Record<string, string> = own.trim() === '' ? {} : { authorization: `Bearer ${own.trim()}` };
  return {
    headers,
    onError: (error: Error) => error instanceof RowhookError && error.status === 403 && setNeeded(true),
    field: isNeeded && (
      <TextField
        label="A key with the scope keys"
        type="password"
        isMono
        autoComplete="off"
        value={own}
        onChange={setOwn}
        placeholder="rhk_…"
        help="A session cannot make keys. This one is used once, and not kept."
      />
    ),
  };
}

function CreateKey({ onClose, onMade }: MadeProps) {
  const { path } = useOrganization();
  const { me, isOperator } = useSession();
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<readonly string[]>(['read', 'write']);
  const [days, setDays] = useState('');
  const given = ['read', 'write', 'inbound', 'keys'].filter((scope) => isOperator || me.scopes.includes(scope));
  const own = useOwnKey();
  const create = useWrite(() =>
    answerOf(
      asking.POST('/api/v1/{org}/api-keys', {
        params: { path },
        headers: own.headers,
        body: {
          name: name.trim(),
          scopes: given.filter((scope) => scopes.includes(scope)),
          expires_at: days === '' ? null : new Date(Date.now() + Number(days) * DAY_MS).toISOString(),
        },
      }),
    ),
  );
  return (
    <Modal
      title="Create a key"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            variant="primary"
            disabled={name.trim() === ''}
            isBusy={create.isPending}
            onClick={() => create.mutate(undefined, { onSuccess: (made) => onMade(made.token), onError: own.onError })}
          >
            Create
          </Button>
        </>
      }
    >
      <TextField label="Name" value={name} onChange={setName} placeholder="CRM server" help="Which program uses it." />
      <fieldset className="plain-fieldset">
        <legend className="strong">Scopes</legend>
        {given.map((scope) => (
          <CheckField
            key={scope}
            label={scope}
            help={SCOPES[scope]}
            checked={scopes.includes(scope)}
            onChange={(isOn) => setScopes(isOn ? [...scopes, scope] : scopes.filter((one) => one !== scope))}
          />
        ))}
      </fieldset>
      <SelectField
        label="Ends"
        value={days}
        onChange={setDays}
        options={[
          ['', 'Never'],
          ['30', 'In 30 days'],
          ['90', 'In 90 days'],
          ['365', 'In a year'],
        ]}
      />
      {own.field}
      {create.isError && <Notice kind="bad">{create.error.message}</Notice>}
    </Modal>
  );
}

const SCOPES: Readonly<Record<string, string>> = {
  read: 'See everything here.',
  write: 'Change webhooks, write events, send again.',
  inbound: 'Receive webhooks of others.',
  keys: 'Make, rotate and revoke keys.',
};

function RotateKey({ apiKey, onClose, onMade }: MadeProps & { apiKey: ApiKey }) {
  const { org } = useOrganization();
  const [overlap, setOverlap] = useState('86400');
  const own = useOwnKey();
  const rotate = useWrite(() =>
    answerOf(
      asking.POST('/api/v1/{org}/api-keys/{id}/rotate', {
        params: { path: { org, id: apiKey.id } },
        headers: own.headers,
        body: { overlap_seconds: Number(overlap) },
      }),
    ),
  );
  return (
    <Confirm
      title={`Give “${apiKey.name}” a new token?`}
      action="Rotate"
      isBusy={rotate.isPending}
      onClose={onClose}
      onConfirm={() => rotate.mutate(undefined, { onSuccess: ({ token }) => onMade(token), onError: own.onError })}
    >
      <SelectField
        label="The old token also works"
        value={overlap}
        onChange={setOverlap}
        options={[
          ['86400', 'for 24 hours'],
          ['604800', 'for 7 days'],
          ['0', 'no longer'],
        ]}
      />
      {own.field}
      {rotate.isError && <Notice kind="bad">{rotate.error.message}</Notice>}
    </Confirm>
  );
}

function RevokeKey({ apiKey, onClose }: { apiKey: ApiKey; onClose: () => void }) {
  const { org } = useOrganization();
  const revoke = useWrite(() =>
    answerOf(client.DELETE('/api/v1/{org}/api-keys/{id}', { params: { path: { org, id: apiKey.id } } })),
  );
  return (
    <Confirm
      title={`Revoke “${apiKey.name}”?`}
      action="Revoke"
      isDanger
      isBusy={revoke.isPending}
      onClose={onClose}
      onConfirm={() => revoke.mutate(undefined, { onSuccess: onClose })}
    >
      <p>From the next request on it is refused. This cannot be undone.</p>
      {revoke.isError && <Notice kind="bad">{revoke.error.message}</Notice>}
    </Confirm>
  );
}
