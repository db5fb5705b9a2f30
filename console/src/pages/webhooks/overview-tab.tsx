import { useMemo } from 'react';
import { Link } from 'react-router';
import type { Webhook } from 'rowhook/client';
import { useAttempts, useStats } from '../../api/queries.ts';
import { useOrganization } from '../../layout/organization.ts';
import { useAddress } from '../../ui/address.ts';
import { stateSentence } from '../../ui/badge.tsx';
import { AttemptsChart } from '../../ui/chart.tsx';
import { codeText } from '../../ui/codes.ts';
import { count } from '../../ui/count.ts';
import { FilterSelect } from '../../ui/field.tsx';
import { Failure, Notice, Skeleton } from '../../ui/states.tsx';
import { At, ms } from '../../ui/time.tsx';

const RANGES = {
  '1h': ['The last hour', 'minute', 60],
  '24h': ['The last 24 hours', 'hour', 24],
  '7d': ['The last 7 days', 'hour', 168],
  '30d': ['The last 30 days', 'day', 30],
} as const;
type Range = keyof typeof RANGES;

const UNIT_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;

export function Overview({ webhook }: { webhook: Webhook }) {
  const { get, set } = useAddress();
  const range: Range = get('range') in RANGES ? (get('range') as Range) : '24h';
  const [, bucket, buckets] = RANGES[range];
  const stats = useStats(webhook.id, bucket, range);
  const data = stats.data?.data;
  const total = stats.data?.total;
  const tried = total ? total.success + total.failed : 0;
  return (
    <>
      <StateNotice webhook={webhook} />
      <div className="toolbar">
        <FilterSelect
          label="Time range"
          value={range}
          onChange={(value) => set({ range: value })}
          options={Object.entries(RANGES).map(([value, [text]]) => [value, text] as const)}
        />
      </div>
      <dl className="figures">
        <Figure name="Delivered" value={total ? count(total.success) : '…'} />
        <Figure
          name="Failed attempts"
          value={total ? count(total.failed) : '…'}
          isBad={total !== undefined && total.failed > 0}
        />
        <Figure
          name="Success rate"
          value={total === undefined ? '…' : tried === 0 ? '–' : `${Math.floor((total.success / tried) * 1000) / 10} %`}
        />
        <Figure name="Median time" value={total ? ms(total.p50) : '…'} />
        <Figure name="95th percentile" value={total ? ms(total.p95) : '…'} />
        <Figure
          name="Waiting"
          value={count(webhook.waiting)}
          isBad={webhook.waiting > 0}
          link={webhook.waiting > 0 ? `/deliveries?state=waiting&webhook=${webhook.id}` : undefined}
        />
      </dl>
      <section className="card chart-card" aria-label="Attempts over time">
        <h2>Attempts over time</h2>
        {stats.isError ? (
          <Failure error={stats.error} onRetry={() => void stats.refetch()} />
        ) : data === undefined ? (
          <div className="chart-loading">
            <Skeleton lines={8} />
          </div>
        ) : (
          <AttemptsChart data={data} unitMs={UNIT_MS[bucket]} count={buckets} />
        )}
      </section>
      <Answers webhook={webhook} />
    </>
  );
}

function Figure({
  name,
  value,
  isBad,
  link,
}: {
  name: string;
  value: string;
  isBad?: boolean;
  link?: string | undefined;
}) {
  const { to } = useOrganization();
  return (
    <div className="card figure">
      <dt>{name}</dt>
      <dd className={isBad && value !== '0' ? 'text-bad' : undefined}>
        {link ? <Link to={to(link)}>{value}</Link> : value}
      </dd>
    </div>
  );
}

function StateNotice({ webhook }: { webhook: Webhook }) {
  const { to } = useOrganization();
  if (webhook.state === 'active') return null;
  return (
    <Notice kind={webhook.state === 'off' ? 'info' : 'warn'}>
      <p className="strong">{stateSentence(webhook.state)}</p>
      {webhook.disabled_reason && <p className="wrap">{webhook.disabled_reason}</p>}
      {webhook.disabled_at && (
        <p className="small">
          Since <At at={webhook.disabled_at} />. What it missed can be replayed for 7 days.
        </p>
      )}
      {webhook.state !== 'off' && (
        <p>
          <Link to={to(`/webhooks/${webhook.id}/deliveries?status=failed`)}>See what failed, and why</Link>
        </p>
      )}
    </Notice>
  );
}

/** Of the latest attempts: which answers came, the most frequent first. */
function Answers({ webhook }: { webhook: Webhook }) {
  const { data } = useAttempts(webhook.id, { limit: 200 });
  const { to } = useOrganization();
  const counts = useMemo(() => {
    const groups = Map.groupBy(data?.data ?? [], (one) => `${one.status}|${one.response_status ?? one.code}`);
    return [...groups].map(([key, all]) => ({ key, all })).sort((a, b) => b.all.length - a.all.length);
  }, [data]);
  const total = data?.data.length ?? 0;
  if (total === 0) return null;
  return (
    <section className="card answers" aria-label="Answers">
      <h2>Answers to the last {total === 1 ? 'attempt' : `${total} attempts`}</h2>
      <ul className="answer-list">
        {counts.map(({ key, all }) => {
          const [status = '', answer = ''] = key.split('|');
          return (
            <li key={key}>
              <Link to={to(`/webhooks/${webhook.id}/deliveries?status=${status}`)} className="answer-name">
                {/^\d+$/.test(answer) ? `HTTP ${answer}` : codeText(answer)}
              </Link>
              <meter className={`meter meter-${status}`} min={0} max={total} value={all.length} aria-label={answer} />
              <span className="answer-count">{all.length}</span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
