/** Reads the counts of webhook_minutes. No request reads the log for them. Returns values only. */
import type pg from 'pg';
import { BUCKETS_MS } from '../../outcome.ts';

export interface Activity {
  stats_24h: { success: number; failed: number; skipped: number };
  /** Attempts of each of the last 24 hours, the oldest first. */
  sparkline: number[];
  last_attempt_at: Date | null;
  /** Deliveries that wait for their next attempt. At most WAITING_MAX are counted. */
  waiting: number;
}

export const WAITING_MAX = 10_000;

/** What webhooks did in the last 24 hours. Every id has an entry. */
export async function activityOf(client: pg.ClientBase, webhookIds: readonly string[]): Promise<Map<string, Activity>> {
  const activities = new Map<string, Activity>();
  const { rows } = await client.query<{ id: string; last_attempt_at: Date | null; waiting: number }>({
    name: 'rowhook_activity',
    text: `select w.id, m.last_attempt_at, d.waiting
       from unnest($1::uuid[]) as w (id)
       left join lateral (
         select last_attempt_at from rowhook.webhook_minutes
          where webhook_id = w.id and last_attempt_at is not null
          order by minute desc limit 1) as m on true
      cross join lateral (
         select count(*)::int as waiting
           from (select from rowhook.webhook_deliveries
                  where webhook_id = w.id and state = 'waiting' limit ${WAITING_MAX}) as limited) as d`,
    values: [webhookIds],
  });
  for (const { id, last_attempt_at, waiting } of rows) {
    const stats_24h = { success: 0, failed: 0, skipped: 0 };
    activities.set(id, { stats_24h, sparkline: new Array<number>(24).fill(0), last_attempt_at, waiting });
  }
  const { rows: hours } = await client.query<{
    id: string;
    ago: number;
    success: number;
    failed: number;
    skipped: number;
  }>({
    name: 'rowhook_hours',
    text: `select webhook_id as id, floor(extract(epoch from now() - minute) / 3600)::int as ago,
            sum(success)::float8 as success, sum(failed)::float8 as failed, sum(skipped)::float8 as skipped
       from rowhook.webhook_minutes
      where webhook_id = any ($1::uuid[]) and minute > now() - interval '24 hours'
      group by 1, 2`,
    values: [webhookIds],
  });
  for (const { id, ago, success, failed, skipped } of hours) {
    const { stats_24h: stats, sparkline } = activities.get(id) as Activity;
    stats.success += success;
    stats.failed += failed;
    stats.skipped += skipped;
    // The minute that is now may begin a moment later by another clock.
    sparkline[23 - Math.min(23, Math.max(0, ago))] = success + failed;
  }
  return activities;
}

export interface Counts {
  success: number;
  failed: number;
  skipped: number;
  /** Milliseconds, within the bounds of BUCKETS_MS. Null: nothing was sent. */
  p50: number | null;
  p95: number | null;
}

export interface Stats {
  buckets: (Counts & { at: Date })[];
  /** Of the whole range. Its percentiles are of all attempts, not of those of its buckets. */
  total: Counts;
}

/** How far statistics look back unless they are asked for a range, and how far at most. */
export const LOOK_BACK_SECONDS = {
  minute: { usual: 3_600, most: 86_400 },
  hour: { usual: 86_400, most: 31 * 86_400 },
  day: { usual: 30 * 86_400, most: 400 * 86_400 },
} as const;

export type BucketSize = keyof typeof LOOK_BACK_SECONDS;

const SUMS = Array.from({ length: BUCKETS_MS.length + 1 }, (_, n) => `sum(durations[${n + 1}])`).join(', ');

interface Row {
  at: Date;
  success: number;
  failed: number;
  skipped: number;
  durations: number[];
}

/** A webhook's counts per minute, hour or day (UTC), oldest first. Buckets without attempts are left out. */
export async function readStats(
  client: pg.ClientBase,
  webhookId: string,
  { bucket, since, until }: { bucket: BucketSize; since?: string | undefined; until?: string | undefined },
): Promise<Stats> {
  const { usual, most } = LOOK_BACK_SECONDS[bucket];
  const { rows } = await client.query<Row>(
    `select date_trunc($2, minute, 'UTC') as at, sum(success)::float8 as success, sum(failed)::float8 as failed,
            sum(skipped)::float8 as skipped, array[${SUMS}]::float8[] as durations
       from rowhook.webhook_minutes,
            (select coalesce($4::timestamptz, now()) as until) as u
      where webhook_id = $1 and minute < u.until
        and minute >= greatest(
              coalesce(date_trunc($2, $3::timestamptz, 'UTC'),
                       date_trunc($2, u.until - make_interval(secs => ${usual}), 'UTC')),
              u.until - make_interval(secs => ${most}))
      group by 1 order by 1`,
    [webhookId, bucket, since, until],
  );
  return { buckets: rows.map(({ at, ...row }) => ({ at, ...countsOf([row]) })), total: countsOf(rows) };
}

function countsOf(rows: readonly Omit<Row, 'at'>[]): Counts {
  const sum = (of: (row: Omit<Row, 'at'>) => number) => rows.reduce((total, row) => total + of(row), 0);
  const durations = Array.from({ length: BUCKETS_MS.length + 1 }, (_, n) => sum((row) => row.durations[n] as number));
  return {
    success: sum(({ success }) => success),
    failed: sum(({ failed }) => failed),
    skipped: sum(({ skipped }) => skipped),
    p50: quantile(durations, 0.5),
    p95: quantile(durations, 0.95),
  };
}

/**
 * The duration that this share of attempts did not exceed, by a straight line within its bucket. Null:
 * there are none. Pure.
 */
export function quantile(durations: readonly number[], share: number): number | null {
  const total = durations.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let before = 0;
  for (const [n, count] of durations.entries()) {
    const bound = BUCKETS_MS[n];
    if (before + count >= share * total && count > 0) {
      const from = n === 0 ? 0 : (BUCKETS_MS[n - 1] as number);
      if (bound === undefined) return from;
      return Math.round(from + ((share * total - before) / count) * (bound - from));
    }
    before += count;
  }
  return BUCKETS_MS.at(-1) as number;
}
