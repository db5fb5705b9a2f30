/** Who changed which setting of which webhook. Secrets are masked by the server. */
import { Link } from 'react-router';
import type { WebhookSettingsChange as Change } from 'rowhook/client';
import { client, queryOf } from '../../api/client.ts';
import { useList } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useAddress } from '../../ui/address.ts';
import { Badge } from '../../ui/badge.tsx';
import { Button } from '../../ui/button.tsx';
import { visible } from '../../ui/code.tsx';
import { PageHead } from '../../ui/head.tsx';
import { Pager } from '../../ui/pager.tsx';
import { Empty, Failure, Skeleton } from '../../ui/states.tsx';
import { At } from '../../ui/time.tsx';

export default function ChangesPage() {
  const { get, set } = useAddress();
  const [webhook, cursor] = [get('webhook'), get('cursor')];
  const { path } = useOrganization();
  const query = { webhook, cursor };
  const list = useList(
    'changes',
    query,
    (signal) => client.GET('/api/v1/{org}/changes', { params: { path, query: queryOf(query) }, signal }),
    { refetchMs: 15_000 },
  );
  const rows = list.data?.data ?? [];
  return (
    <>
      <PageHead title="Changes">Who changed a setting, and when. Secrets are never shown.</PageHead>
      {webhook !== '' && (
        <div className="toolbar">
          <Button isSmall onClick={() => set({ webhook: '' })}>
            Of all webhooks
          </Button>
        </div>
      )}
      {list.isError ? (
        <Failure error={list.error} onRetry={() => void list.refetch()} />
      ) : list.data === undefined ? (
        <Skeleton />
      ) : rows.length === 0 ? (
        <Empty title="Nothing was changed yet">
          <p>Each change of a webhook is listed here, whoever makes it, in whatever way.</p>
        </Empty>
      ) : (
        <ol className="changes card">
          {rows.map((change) => (
            <ChangeItem key={change.id} change={change} />
          ))}
        </ol>
      )}
      <Pager next={list.data?.next_cursor ?? null} isLoading={list.isPlaceholderData} />
    </>
  );
}

const TONES = { created: 'ok', deleted: 'bad' } as const;

function ChangeItem({ change }: { change: Change }) {
  const { to } = useOrganization();
  const tone = change.action in TONES ? TONES[change.action as keyof typeof TONES] : 'none';
  return (
    <li>
      <div className="line change-head">
        <Badge tone={tone}>{change.action}</Badge>
        {change.action === 'deleted' ? (
          <span className="strong clip">{change.webhook_name}</span>
        ) : (
          <Link className="strong clip" to={to(`/webhooks/${change.webhook_id}`)}>
            {change.webhook_name}
          </Link>
        )}
        <span className="muted small clip" title={change.changed_by}>
          by {change.changed_by.replace(/ \([0-9a-f-]{36}\)$/, '')}
        </span>
        <span className="push small muted">
          <At at={change.changed_at} />
        </span>
      </div>
      {change.action === 'changed' && (
        <dl className="pairs small">
          {Object.entries(change.changes).map(([field, { old, new: now }]) => (
            <div key={field}>
              <dt>{field.replaceAll('_', ' ')}</dt>
              <dd className="mono wrap">
                <del>{shown(old)}</del> <ins>{shown(now)}</ins>
              </dd>
            </div>
          ))}
        </dl>
      )}
    </li>
  );
}

const LENGTH_MAX = 400;

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return visible(text.length > LENGTH_MAX ? `${text.slice(0, LENGTH_MAX)}…` : text);
}
