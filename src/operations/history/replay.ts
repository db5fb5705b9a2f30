/** Queues events of a webhook again. Returns values only. */
import type pg from 'pg';
import { UserError } from '../../shared/user-error.ts';
import { theOne } from '../webhooks/webhooks.ts';
import type { Range } from './left-out.ts';

/** Resolves to the number of events that were queued, or would be queued by a dry run. */
export async function queueReplay(
  client: pg.ClientBase,
  webhookId: string,
  { range, only, dryRun }: { range: Range; only: string; dryRun: boolean },
): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    'select rowhook.replay($1::uuid, $2::timestamptz, $3::timestamptz, $4, $5) as count',
    [webhookId, range.since, range.until, only, dryRun],
  );
  return Number(rows[0]?.count);
}

/** Queues one delivery for now, whatever its state is. */
export async function queueDelivery(client: pg.ClientBase, deliveryId: string): Promise<void> {
  await client.query('select rowhook.replay_delivery($1::uuid)', [deliveryId]);
}

export async function progress(
  client: pg.Client,
  id: string,
): Promise<{ left: number; failed: number; isActive: boolean }> {
  const { rows } = await client.query<{ left: number; failed: number; isActive: boolean }>(
    `select count(*) filter (where d.state = 'waiting' and d.attempt = 0)::int as left,
            count(*) filter (where d.attempt > 0)::int as failed, c.is_active as "isActive"
       from rowhook.webhook_configurations c
       left join rowhook.webhook_deliveries d on d.webhook_id = c.id and d.replayed
      where c.id = $1
      group by c.is_active`,
    [id],
  );
  return theOne(rows, id);
}

export interface ReplayProgress {
  started_at: Date;
  since: Date;
  until: Date;
  only: string;
  /** How many events were queued. */
  total: number;
  /** How many of them wait for their first attempt. */
  left: number;
  cancelled_at: Date | null;
}

/**
 * Starts a replay for the tenant of the session, if no other one of this webhook is running. Resolves
 * to the number of events that were queued.
 */
export async function startReplay(
  client: pg.ClientBase,
  webhookId: string,
  { range, only }: { range: Range; only: string },
): Promise<number> {
  const { rows } = await client.query<{ count: string }>('select rowhook._start_replay_own($1, $2, $3, $4) as count', [
    webhookId,
    range.since,
    range.until,
    only,
  ]);
  return Number(rows[0]?.count);
}

/** The last replay that was started in this way. Undefined: there is none. */
export async function replayProgress(client: pg.ClientBase, webhookId: string): Promise<ReplayProgress | undefined> {
  const { rows } = await client.query<ReplayProgress>(
    `select started_at, since, until, "only", total::float8 as total, cancelled_at,
            rowhook._replay_left(webhook_id)::float8 as left
       from rowhook.webhook_replays where webhook_id = $1`,
    [webhookId],
  );
  return rows[0];
}

/** Ends a replay. Resolves to the number of events that are not sent. */
export async function cancelReplay(client: pg.ClientBase, webhookId: string): Promise<number> {
  const { rows } = await client.query<{ count: string }>('select rowhook._cancel_replay_own($1) as count', [webhookId]);
  return Number(rows[0]?.count);
}

/**
 * A replay leaves out events that a daemon has yet to read. Take a snapshot in one transaction, and
 * ask in later ones until they are covered.
 */
export async function currentSnapshot(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ snapshot: string }>('select pg_current_snapshot()::text as snapshot');
  return rows[0]?.snapshot as string;
}

export async function isSnapshotCovered(client: pg.ClientBase, snapshot: string): Promise<boolean> {
  const { rows } = await client.query<{ covered: boolean }>(
    'select rowhook._is_covered_own($1::pg_snapshot) as covered',
    [snapshot],
  );
  return rows[0]?.covered === true;
}

export async function hasFilter(client: pg.Client, id: string): Promise<boolean> {
  const { rowCount } = await client.query(
    'select from rowhook.webhook_configurations where id = $1 and filter is not null',
    [id],
  );
  return rowCount === 1;
}

/** 0 s ago. */
const NOW = '0s';

/**
 * Resolves both times to UTC. `since` and `until` are results of `time` in config/parse.ts. A time
 * like `2h` counts back from the database's clock.
 */
export async function resolveRange(client: pg.Client, since = NOW, until = NOW): Promise<Range> {
  const inUtc = (time: string) => `to_char((${time}) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
  const { rows } = await client.query<Range & { empty: boolean }>(
    `select ${inUtc(timeSql(since, 1))} as since, ${inUtc(timeSql(until, 2))} as until,
            ${timeSql(since, 1)} >= ${timeSql(until, 2)} as empty`,
    [since, until],
  );
  const [{ empty, ...range }] = rows as [Range & { empty: boolean }];
  if (empty) {
    const end = until === NOW ? 'now' : `--until ${until}`;
    const remedy = AGO.test(since)
      ? '2h means two hours ago, so --since must be the longer time'
      : 'a time without a zone is UTC. Add your zone, as in 2025-10-17T19:30:00+05:45';
    throw new UserError(
      `replay: --since ${since} (${range.since}) is not before ${end} (${range.until}): ${remedy}.`,
      2,
    );
  }
  return range;
}

/** Any other time names its zone; config/parse.ts ensures that. */
const AGO = /^\d+[smhd]$/;
function timeSql(text: string, parameter: number): string {
  return AGO.test(text) ? `now() - $${parameter}::interval` : `$${parameter}::timestamptz`;
}
