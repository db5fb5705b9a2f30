/** Who may send: the senders that sign, each with its address. */
import { useState } from 'react';
import { Link } from 'react-router';
import { client, queryOf } from '../../api/client.ts';
import { useList } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useSession } from '../../session/session.tsx';
import { useAddress } from '../../ui/address.ts';
import { Button } from '../../ui/button.tsx';
import { CopyButton } from '../../ui/copy.tsx';
import { Pager } from '../../ui/pager.tsx';
import { ShownOnce } from '../../ui/shown-once.tsx';
import { Empty, Failure, Skeleton } from '../../ui/states.tsx';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { Ago, At } from '../../ui/time.tsx';
import { addressOf, CreateSource, DeleteSource, RotateSource, type Source, VERIFICATIONS } from './source-dialogs.tsx';

type Asked = { kind: 'create' } | { kind: 'rotate' | 'delete'; source: Source } | null;

export function InboundSources() {
  const { path } = useOrganization();
  const { mayWrite } = useSession();
  const { get } = useAddress();
  const query = { cursor: get('cursor') };
  const list = useList('inbound sources', query, (signal) =>
    client.GET('/api/v1/{org}/inbound-sources', { params: { path, query: queryOf(query) }, signal }),
  );
  const [asked, setAsked] = useState<Asked>(null);
  const [made, setMade] = useState<{ source: Source; secret: string } | null>(null);
  const rows = list.data?.data ?? [];
  const close = () => setAsked(null);
  const done = (source: Source, secret: string) => {
    close();
    setMade({ source, secret });
  };
  const create = mayWrite && (
    <Button variant="primary" onClick={() => setAsked({ kind: 'create' })}>
      Create source
    </Button>
  );
  return (
    <>
      {made && (
        <ShownOnce what="secret" title="Copy the secret now" secret={made.secret} onDone={() => setMade(null)}>
          Give it to {made.source.name}, together with the address below. It is shown this once.
        </ShownOnce>
      )}
      {rows.length > 0 && create && <div className="toolbar">{create}</div>}
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : rows.length === 0 ? (
        <Empty title="There is no source yet" action={create}>
          <p>
            A source is a sender that signs its requests: Stripe, GitHub, Shopify, Slack, or a program of yours. It gets
            an address to post to, and a secret.
          </p>
        </Empty>
      ) : (
        <Table label="Sources" head={['Source', 'Checked by', 'Address', 'Created', '']}>
          {rows.map((source) => (
            <SourceRow key={source.id} source={source} mayWrite={mayWrite} onAsk={setAsked} />
          ))}
        </Table>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
      {asked?.kind === 'create' && <CreateSource onClose={close} onMade={done} />}
      {asked?.kind === 'rotate' && <RotateSource source={asked.source} onClose={close} onMade={done} />}
      {asked?.kind === 'delete' && <DeleteSource source={asked.source} onClose={close} />}
    </>
  );
}

interface SourceRowProps {
  source: Source;
  mayWrite: boolean;
  onAsk: (asked: Asked) => void;
}

function SourceRow({ source, mayWrite, onAsk }: SourceRowProps) {
  const { to } = useOrganization();
  const address = addressOf(source);
  return (
    <Row>
      <Cell name="Source" isMain>
        <span className="stack">
          <Link className="strong clip" to={to(`/inbound?source=${encodeURIComponent(source.name)}`)}>
            {source.name}
          </Link>
          {source.previous_secret_expires_at && Date.parse(source.previous_secret_expires_at) > Date.now() && (
            <span className="small muted">
              The old secret works until <At at={source.previous_secret_expires_at} />
            </span>
          )}
        </span>
      </Cell>
      <Cell name="Checked by">{VERIFICATIONS[source.verification]?.[0] ?? source.verification}</Cell>
      <Cell name="Address" isWide>
        <span className="line">
          <span className="mono small clip" title={address}>
            {address}
          </span>
          <CopyButton text={address} label="Copy" />
        </span>
      </Cell>
      <Cell name="Created">
        <Ago at={source.created_at} />
      </Cell>
      <Cell name="Change" isWide>
        {mayWrite && (
          <span className="line cell-actions">
            <Button
              isSmall
              aria-label={`New secret for ${source.name}`}
              onClick={() => onAsk({ kind: 'rotate', source })}
            >
              New secret
            </Button>
            <Button
              isSmall
              variant="danger"
              aria-label={`Delete ${source.name}`}
              onClick={() => onAsk({ kind: 'delete', source })}
            >
              Delete
            </Button>
          </span>
        )}
      </Cell>
    </Row>
  );
}
