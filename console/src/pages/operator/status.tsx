/** For operators: daemons, lanes, what waits, and the webhooks that fail. */
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import type { Status } from 'rowhook/client';
import { answerOf, client } from '../../api/client.ts';
import { StateBadge } from '../../ui/badge.tsx';
import { count } from '../../ui/count.ts';
import { PageHead } from '../../ui/head.tsx';
import { Empty, Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { Cell, Row, Table } from '../../ui/table.tsx';
import { Ago } from '../../ui/time.tsx';

export default function StatusPage() {
  const status = useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => answerOf(client.GET('/api/v1/status', { signal })),
    refetchInterval: 5_000,
  });
  const { data } = status;
  return (
    <>
      <PageHead title="Status">How rowhook does, over all organizations.</PageHead>
      {status.isError && data === undefined ? (
        <Failure error={status.error} onRetry={() => void status.refetch()} />
      ) : data === undefined ? (
        <Skeleton />
      ) : (
        <Parts status={data} />
      )}
    </>
  );
}

function Parts({ status }: { status: Status }) {
  const { webhooks, daemons, troubled } = status;
  const lanes = status.lanes ?? [];
  return (
    <div className="tab-content">
      {daemons.length === 0 && (
        <Notice kind="bad">
          No daemon runs, so nothing is delivered. Start one with <code>rowhook start</code>. Nothing is lost meanwhile.
        </Notice>
      )}
      <dl className="figures">
        <Figure name="Active webhooks" value={count(webhooks.active)} />
        <Figure name="Disabled by rowhook" value={count(webhooks.disabled)} isBad={webhooks.disabled > 0} />
        <Figure name="Open breakers" value={count(status.breakers_open)} isBad={status.breakers_open > 0} />
        <Figure name="Deliveries waiting" value={count(status.waiting)} />
        <Figure name="Failed for good" value={count(status.given_up)} isBad={status.given_up > 0} />
        <Figure name="Oldest waiting" value={age(status.oldest_waiting_seconds)} />
      </dl>
      <section className="card part" aria-label="Daemons and lanes">
        <h2>Daemons</h2>
        {daemons.length > 0 && (
          <ul className="plain-list">
            {daemons.map((daemon) => (
              <li key={daemon.name} className="line">
                <span className="mono strong clip">{daemon.name}</span>
                <span className="muted small">
                  {daemon.lanes} of {lanes.length} lanes, started <Ago at={daemon.started_at} />
                </span>
              </li>
            ))}
          </ul>
        )}
        <h3>Lanes</h3>
        <ol className="lanes">
          {lanes.map(({ lane, owner, tenants_lagging }) => (
            <li
              key={lane}
              className={owner === null ? 'lane lane-none' : tenants_lagging > 0 ? 'lane lane-late' : 'lane'}
            >
              <span className="strong">{lane}</span>
              <span className="small">{owner === null ? 'nobody' : tenants_lagging > 0 ? 'lags' : 'well'}</span>
            </li>
          ))}
        </ol>
      </section>
      <h2>Webhooks that fail</h2>
      {troubled.length === 0 ? (
        <Empty title="None fails">
          <p>Every active webhook accepted its last delivery.</p>
        </Empty>
      ) : (
        <Table label="Webhooks that fail" head={['Webhook', 'Organization', 'State', 'Failures in a row']}>
          {troubled.map((webhook) => (
            <Row key={webhook.id}>
              <Cell name="Webhook" isMain>
                {webhook.tenant_id === null ? (
                  <span className="mono muted clip">{webhook.id}</span>
                ) : (
                  <Link
                    className="strong clip"
                    to={`/o/${encodeURIComponent(webhook.tenant_id)}/webhooks/${webhook.id}`}
                  >
                    {webhook.name}
                  </Link>
                )}
              </Cell>
              <Cell name="Organization" isWide>
                {webhook.tenant_id === null ? (
                  <span className="muted">–</span>
                ) : (
                  <span className="stack">
                    <span className="clip">{webhook.tenant_name ?? webhook.tenant_id}</span>
                    {webhook.tenant_name && <span className="mono small muted clip">{webhook.tenant_id}</span>}
                  </span>
                )}
              </Cell>
              <Cell name="State">
                <StateBadge state={webhook.state} />
              </Cell>
              <Cell name="Failures in a row" isNumber>
                {webhook.failures ?? <span className="muted">–</span>}
              </Cell>
            </Row>
          ))}
        </Table>
      )}
    </div>
  );
}

function Figure({ name, value, isBad }: { name: string; value: string; isBad?: boolean }) {
  return (
    <div className="card figure">
      <dt>{name}</dt>
      <dd className={isBad ? 'text-bad' : undefined}>{value}</dd>
    </div>
  );
}

function age(seconds: number | null): string {
  if (seconds === null) return '–';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}
