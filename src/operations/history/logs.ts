/** Reads the log's attempts, and follows new ones. Returns values only. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

export interface LogFilter {
  webhook?: string;
  tenant?: string;
  status?: string;
  event?: string;
}

export interface LogRow {
  id: string;
  attempted_at: Date;
  tenant_id: string;
  webhook_id: string;
  webhook_name: string | null;
  event_id: string;
  event_type: string;
  attempt: number;
  status: string;
  code: string;
  response_status: number | null;
  duration_ms: number | null;
  next_attempt_at: Date | null;
  error: string | null;
}

const FOLLOW_EVERY_MS = 500;

/**
 * Limit on rows of one poll. A burst is read in several polls without a pause, so that it is never
 * in memory whole.
 */
const FOLLOW_ROWS_MAX = 2_000;

/**
 * How far each poll looks back; rows that were already returned are skipped. A row is written up to
 * a timeout (30 s) and a batch after its attempt began, and several daemons write at the same time.
 * So rows do not appear in the order of attempted_at or id.
 */
const LOOK_BACK = '2 minutes';
const LOOK_BACK_IDS = 5_000n;

/**
 * Calls `each` with the newest attempts, oldest first, and resolves to their number. With `follow`,
 * it continues with new attempts and never resolves.
 */
export async function readLogs(
  client: pg.Client,
  { filter, limit, follow: goesOn }: { filter: LogFilter; limit: number; follow: boolean },
  each: (row: LogRow) => void,
): Promise<number> {
  const { sql, values } = await conditions(client, filter);
  const select = `select l.*, w.name as webhook_name
       from rowhook.webhook_logs l
       left join rowhook.webhook_configurations w on w.id = l.webhook_id
      where ${sql}`;

  const seen = goesOn ? await recentIds(client) : [];
  const newest = await client.query<LogRow>(
    `${select} order by l.attempted_at desc, l.id desc limit $${values.length + 1}`,
    [...values, limit],
  );
  for (const row of newest.rows.reverse()) each(row);
  if (goesOn) await follow(client, { sql: select, values }, [...seen, ...newest.rows.map((row) => row.id)], each);
  return newest.rows.length;
}

async function follow(
  client: pg.Client,
  select: Conditions,
  seen: readonly string[],
  each: (row: LogRow) => void,
): Promise<never> {
  const handed = new Set(seen.map(BigInt));
  const parameter = select.values.length;
  for (;;) {
    const highest = [...handed].reduce((high, id) => (id > high ? id : high), 0n);
    for (const id of handed) if (id <= highest - LOOK_BACK_IDS) handed.delete(id);
    const { rows } = await client.query<LogRow>(
      `${select.sql} and l.attempted_at > now() - '${LOOK_BACK}'::interval
                     and l.id > $${parameter + 1} and l.id <> all ($${parameter + 2}::bigint[])
        order by l.id limit ${FOLLOW_ROWS_MAX}`,
      [...select.values, highest - LOOK_BACK_IDS, [...handed]],
    );
    for (const row of rows) {
      each(row);
      handed.add(BigInt(row.id));
    }
    if (rows.length < FOLLOW_ROWS_MAX) await sleep(FOLLOW_EVERY_MS);
  }
}

/** Ids of attempts from before --follow began. They must not be returned as new. */
async function recentIds(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `select id from rowhook.webhook_logs
      where attempted_at > now() - '${LOOK_BACK}'::interval
      order by id desc limit $1`,
    [Number(LOOK_BACK_IDS)],
  );
  return rows.map((row) => row.id);
}

interface Conditions {
  sql: string;
  values: unknown[];
}

/**
 * The log is indexed by tenant and time. So if the webhook still exists, its tenant becomes a
 * condition.
 */
async function conditions(client: pg.Client, { webhook, tenant, status, event }: LogFilter): Promise<Conditions> {
  const owner = await client.query<{ tenant_id: string }>(
    'select tenant_id from rowhook.webhook_configurations where id = $1',
    [webhook],
  );
  const wanted: [condition: string, value: unknown][] = [
    ['l.tenant_id = $', tenant ?? owner.rows[0]?.tenant_id],
    ['l.webhook_id = $', webhook],
    ['l.status = $', status],
    ['l.event_type like $', event?.replaceAll(/[\\%_]/g, '\\$&').replaceAll('*', '%')],
  ];
  const given = wanted.filter(([, value]) => value !== undefined);
  return {
    sql: ['true', ...given.map(([condition], index) => `${condition}${index + 1}`)].join(' and '),
    values: given.map(([, value]) => value),
  };
}
