/** Rows of webhook_minutes: counts of attempts per webhook and minute. */
import type pg from 'pg';
import { BUCKETS_MS } from '../outcome.ts';
import { FENCE, type Fence } from './fence.ts';

/** The attempts of one webhook in one minute. */
export interface MinuteCount {
  tenantId: string;
  /** Minutes since 1970, database clock. */
  minute: number;
  success: number;
  failed: number;
  skipped: number;
  /** One count for each of BUCKETS_MS, and one for longer attempts. */
  durations: number[];
  /** Milliseconds since 1970, database clock. 0: nothing was sent. */
  lastAt: number;
}

/** What to write of some lanes: all of it, or nothing if one lane has another owner. */
export interface CountedLanes {
  fence: Fence;
  /** All attempts of these lanes up to this log id are counted. */
  logId: string;
  counts: readonly (MinuteCount & { webhookId: string })[];
  /** Lanes whose attempts are counted from the log, from the last counted id to `logId`. */
  fromLog: readonly number[];
}

/**
 * Limit on log ids that are counted from the log. A daemon loses its lanes some seconds after it
 * stopped counting, and other daemons log fewer attempts than this in that time.
 */
const FROM_LOG_IDS_MAX = 300_000;

/** A count waits for nobody for longer than this. If it fails, its attempts are counted later, from the log. */
const LOCK_MS_MAX = 500;

const ADD = `
  on conflict (webhook_id, minute) do update
     set success = webhook_minutes.success + excluded.success,
         failed = webhook_minutes.failed + excluded.failed,
         skipped = webhook_minutes.skipped + excluded.skipped,
         durations = array(select a + b from unnest(webhook_minutes.durations, excluded.durations)
                                with ordinality as u (a, b, n) order by n),
         last_attempt_at = greatest(webhook_minutes.last_attempt_at, excluded.last_attempt_at)`;

// In one order, so that two daemons that write the same minutes after a takeover cannot block each
// other.
const FROM_MEMORY = `
  insert into rowhook.webhook_minutes
         (webhook_id, minute, tenant_id, success, failed, skipped, durations, last_attempt_at)
  select "webhookId", to_timestamp(minute * 60), "tenantId", success, failed, skipped, durations,
         to_timestamp(nullif("lastAt", 0) / 1000)
    from json_to_recordset($1::json) as r (
      "webhookId" uuid, minute bigint, "tenantId" text, success int, failed int, skipped int, durations int[],
      "lastAt" float8)
   order by 1, 2 ${ADD}`;

const BUCKET_COUNTS = Array.from({ length: BUCKETS_MS.length + 1 }, (_, n) => `count(*) filter (where bucket = ${n})`);

const FROM_LOG = `
  insert into rowhook.webhook_minutes
         (webhook_id, minute, tenant_id, success, failed, skipped, durations, last_attempt_at)
  select webhook_id, date_trunc('minute', attempted_at), min(tenant_id),
         count(*) filter (where status = 'success'), count(*) filter (where status = 'failed'),
         count(*) filter (where status = 'skipped'),
         array[${BUCKET_COUNTS.join(', ')}]::int[], max(attempted_at) filter (where status <> 'skipped')
    from (select l.*, case when l.status <> 'skipped' then
                        width_bucket(coalesce(l.duration_ms, 0) - 0.5, '{${BUCKETS_MS.join(', ')}}'::float8[]) end as bucket
            from rowhook.webhook_logs l
            left join rowhook.webhook_counted_logs c on c.lane = l.lane
           where l.lane = any ($1::smallint[])
             and l.id > coalesce(c.log_id, 0)
             and l.id > $2::bigint - ${FROM_LOG_IDS_MAX}
             and l.id > coalesce((select min(m.log_id) from rowhook.webhook_counted_logs m
                                   where m.lane = any ($1::smallint[])
                                  having count(*) = cardinality($1::smallint[])), 0)
             and l.id <= $2::bigint
             and l.attempted_at > now() - interval '1 day') as l
   group by 1, 2
   order by 1, 2 ${ADD}`;

const MARK = `
  insert into rowhook.webhook_counted_logs (lane, log_id)
  select lane, $2::bigint from unnest($1::smallint[]) as lane order by lane
  on conflict (lane) do update set log_id = excluded.log_id`;

/** The last id of webhook_logs that was assigned. */
export async function lastLogId(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query<{ id: string }>(
    'select case when is_called then last_value else 0 end as id from rowhook.webhook_logs_id_seq',
  );
  return rows[0]?.id ?? '0';
}

/** Returns whether the counts were written. If not, one of the lanes has another owner. */
export async function recordMinutes(pool: pg.Pool, { fence, logId, counts, fromLog }: CountedLanes): Promise<boolean> {
  const client = await pool.connect();
  let broken = true;
  try {
    await client.query(`begin; set local lock_timeout = ${LOCK_MS_MAX}`);
    if (fromLog.length > 0) await client.query(FROM_LOG, [fromLog, logId]);
    if (counts.length > 0) await client.query(FROM_MEMORY, [JSON.stringify(counts)]);
    await client.query(MARK, [fence[1], logId]);
    // Last, because positions cannot be written while the lanes are locked.
    const { rowCount } = await client.query(FENCE, [...fence]);
    const isOurs = rowCount === fence[1].length;
    await client.query(isOurs ? 'commit' : 'rollback');
    broken = false;
    return isOurs;
  } catch (error) {
    broken = !(await client.query('rollback').catch(() => false));
    throw error;
  } finally {
    client.release(broken);
  }
}
