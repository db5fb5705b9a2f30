/**
 * READ: the outbox in windows between two snapshots.
 *
 * Ids are taken in one order and committed in another, so "id greater than the last" would lose events; and waiting for the
 * oldest running transaction would let one long transaction stall everything. A window is every row that snapshot S2 sees
 * and S1 does not: rows whose xid is S1's xmax or later, and stragglers, those that S1 saw running. Nothing is lost, nothing
 * comes twice, and nobody waits.
 *
 * A window of up to CHANGES_MAX rows is read by one statement, which also returns its own snapshot as S2. Of a larger one
 * (a bulk statement, or the daemon was away) S2 is kept, and the window is read in pages by id. Inside a window, id is the
 * order of the changes to one row: a later change took its id while it held the row's lock. xid is not: a savepoint or a
 * late first write can turn it around.
 */
import type pg from 'pg';
import { PATIENT } from './db.ts';
import { withinHeap } from './heap.ts';
import type { Change, Position, Window } from './model.ts';

/** Rows of one window or page: enough to pay for the round trip, few enough to hold in memory. */
const CHANGES_MAX = 500;

/** Bytes of payload of one window or page; the row that crosses it still belongs to it. */
const PAYLOAD_BYTES_MAX = withinHeap(16 * 1024 * 1024, 1 / 64);

/**
 * Rows that a session asks for in one page, where it is not CHANGES_MAX. To measure a payload the server unpacks it, so a page
 * that its bytes cut off has unpacked all 500 for nothing: with rows of 1 MiB 1,000 ms a page, and 50 when it asks for twice
 * as many as the page before could hold.
 */
const pageRows = new WeakMap<pg.ClientBase, number>();
const PAGE_ROWS_MIN = 8;

/** Without an answer after this long, the network has fallen silent. A poll takes 0.1 ms; a page of rows of 1 MiB each, 1 s. */
const PULSE_MS_MAX = 10_000;
export const READ_MS_MAX = 20_000;

/**
 * How the reading session plans. After one bulk statement the statistics say that all rows share one xid, and the planner
 * would read the whole table: 50 ms a poll instead of 0.2 ms.
 */
export const READER_SETTINGS =
  "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off; set timezone = 'UTC'";

/** Plans as the reader does for one transaction: where a session does not keep settings, or is somebody else's. */
export async function asReader<T>(client: pg.ClientBase, read: () => Promise<T>): Promise<T> {
  await client.query(`begin read only; ${READER_SETTINGS.replaceAll(/\bset /g, 'set local ')}`);
  try {
    return await read();
  } finally {
    await client.query('rollback');
  }
}

/** What a poll sees: something is to be read only when one of the two moved. */
export interface Pulse {
  snapshot: string;
  sequenceValue: string;
  /** What rowhook.doorbell says. */
  doorbell: string;
}

const COLUMNS =
  'id, lane, tenant_id, source_id, event_types, row_key, occurred_at, data, previous, truncated, test_webhook_id';

/**
 * Rows of the outbox as they are sent, cut off where their bytes cross the most; a running total needs no sort. `rows` selects COLUMNS
 * and has a limit, so that no expression is computed below it, where each of 16 scans would have to get it ready: a read that finds
 * nothing takes PostgreSQL 118 us, and took 135.
 */
const WITHIN_BYTES = (rows: string) => `
  select * from (
    select r.*, sum(bytes) over (rows unbounded preceding) as bytes_so_far from (
      select id, lane, tenant_id, source_id, array_to_string(event_types, ',') as event_types, row_key,
             floor(extract(epoch from occurred_at) * 1000)::bigint as occurred_at, data, previous, truncated, test_webhook_id,
             coalesce(octet_length(data::text), 0) + coalesce(octet_length(previous::text), 0) as bytes
        from (${rows}) as o) as r) as t
   where bytes_so_far - bytes <= ${PAYLOAD_BYTES_MAX}`;

// The first row carries the snapshot of the statement itself. $1 lanes, $2 S1's xmax, $3 the transactions S1 saw running
const readHot = (branches: readonly string[]) => `
  select null::bigint as id, null::smallint as lane, pg_current_snapshot()::text as tenant_id, null::int as source_id,
         clock_timestamp()::text as event_types, (select last_value from rowhook.webhook_outbox_id_seq)::text as row_key,
         null::bigint as occurred_at, null::json as data, null::json as previous, null::boolean as truncated,
         null::uuid as test_webhook_id, 0 as bytes, 0 as bytes_so_far
  union all (${WITHIN_BYTES(`${branches.join(' union all ')} limit ${CHANGES_MAX + 1}`)})`;

const LATER = `(select ${COLUMNS} from rowhook.webhook_outbox where xid >= $2::xid8 and lane = any ($1::smallint[]))`;
const STRAGGLERS = `(select ${COLUMNS} from rowhook.webhook_outbox where xid = any ($3::xid8[]) and lane = any ($1::smallint[]))`;

// Mostly S1 saw nothing running, and half of the scans need not be set up: 73 us instead of 118.
const READ_HOT = { name: 'rowhook_read_hot', query_timeout: READ_MS_MAX, text: readHot([LATER, STRAGGLERS]) };
const READ_HOT_LATER = { name: 'rowhook_read_hot_later', query_timeout: READ_MS_MAX, text: readHot([LATER]) };

// $1 S1's xmax, $2 what S1 saw running, $3 lanes, $4 S1, $5 S2: the smallest id of the window, less one
// It looks at every row of the window once: 10 million are a matter of minutes on a slow disk.
const FIND_FIRST = {
  name: 'rowhook_read_first',
  ...PATIENT,
  text: `
  select (min(id) - 1)::text as before from (
    select id from rowhook.webhook_outbox
     where xid >= $1::xid8 and lane = any ($3::smallint[]) and pg_visible_in_snapshot(xid, $5::pg_snapshot)
    union all
    select id from rowhook.webhook_outbox
     where xid = any ($2::xid8[]) and lane = any ($3::smallint[]) and pg_visible_in_snapshot(xid, $5::pg_snapshot)
       and not pg_visible_in_snapshot(xid, $4::pg_snapshot)) as w`,
};

// $1 last id, $2 S1, $3 lanes, $4 S2, $5 rows. The last column is when it was read: what is begun of a large window is looked
// through from there on by whoever takes over, and not from the window's beginning, hours ago.
const READ_PAGE = {
  name: 'rowhook_read_page',
  query_timeout: READ_MS_MAX,
  text: `select p.*, statement_timestamp()::text as read_at from (${WITHIN_BYTES(`
    select ${COLUMNS} from rowhook.webhook_outbox
     where id > $1::bigint and lane = any ($3::smallint[])
       and pg_visible_in_snapshot(xid, $4::pg_snapshot) and not pg_visible_in_snapshot(xid, $2::pg_snapshot)
     order by id limit $5::int`)}) as p`,
};

const READ_PULSE = {
  name: 'rowhook_read_pulse',
  query_timeout: PULSE_MS_MAX,
  text: `
  select pg_current_snapshot()::text, (select last_value from rowhook.webhook_outbox_id_seq)::text,
         (select last_value from rowhook.doorbell)::text`,
};

/** Text in, text out: no value of the hot path is parsed by the driver. */
const RAW = { rowMode: 'array' as const, types: { getTypeParser: () => (value: string) => value } };

export async function readPulse(client: pg.ClientBase): Promise<Pulse> {
  const [row] = (await client.query({ ...READ_PULSE, ...RAW })).rows as string[][];
  const [snapshot, sequenceValue, doorbell] = row as [string, string, string];
  return { snapshot, sequenceValue, doorbell };
}

/** Reads the next window, or the next page of a large one. `until`, if given, ends the window instead of now. */
export async function readWindow(
  client: pg.ClientBase,
  lanes: readonly number[],
  position: Position,
  until?: Position,
): Promise<Window> {
  if (position.to !== null) return readPage(client, lanes, position);
  if (until) return startPaging(client, lanes, position, { ...until, to: null, lastId: null });
  const { xmax, running } = parseSnapshot(position.from);
  const { rows } =
    running.length === 0
      ? await client.query({ ...READ_HOT_LATER, ...RAW, values: [lanes, xmax] })
      : await client.query({ ...READ_HOT, ...RAW, values: [lanes, xmax, running] });
  const [head, ...changes] = rows as RawRow[];
  const now: Position = {
    from: head?.[2] as string,
    to: null,
    lastId: null,
    at: head?.[4] as string,
    sequenceValue: head?.[5] as string,
  };
  if (isWhole(changes, CHANGES_MAX)) {
    return { changes: changes.map(toChange).sort(byId), after: now, more: false };
  }
  noteSizes(client, changes, CHANGES_MAX);
  return startPaging(client, lanes, position, now);
}

/** The window from `position` to the snapshot of `end` is read by id. */
async function startPaging(
  client: pg.ClientBase,
  lanes: readonly number[],
  position: Position,
  end: Position,
): Promise<Window> {
  const { xmax, running } = parseSnapshot(position.from);
  const { rows } = await client.query({
    ...FIND_FIRST,
    ...RAW,
    values: [xmax, running, lanes, position.from, end.from],
  });
  const before = (rows as (string | null)[][])[0]?.[0] ?? null;
  if (before === null) return { changes: [], after: end, more: false };
  return readPage(client, lanes, { ...end, from: position.from, to: end.from, lastId: before });
}

async function readPage(client: pg.ClientBase, lanes: readonly number[], position: Position): Promise<Window> {
  const { from, to, lastId } = position;
  const asked = pageRows.get(client) ?? CHANGES_MAX;
  const { rows } = await client.query({ ...READ_PAGE, ...RAW, values: [lastId, from, lanes, to, asked + 1] });
  const raw = rows as RawRow[];
  noteSizes(client, raw, asked);
  const at = raw[0]?.[13] ?? position.at;
  if (isWhole(raw, asked)) {
    return {
      changes: raw.map(toChange),
      after: { ...position, at, from: to as string, to: null, lastId: null },
      more: true,
    };
  }
  // a page that its bytes ended is a page too: the next one begins behind its last row
  const changes = raw.slice(0, asked).map(toChange);
  return { changes, after: { ...position, at, lastId: changes.at(-1)?.id as string }, more: true };
}

/** Nothing was cut off, neither by count nor by bytes. */
function isWhole(rows: readonly RawRow[], asked: number): boolean {
  return rows.length <= asked && !isCutByBytes(rows);
}

function isCutByBytes(rows: readonly RawRow[]): boolean {
  return Number(rows.at(-1)?.[12] ?? 0) > PAYLOAD_BYTES_MAX;
}

/** What the next page asks for. */
function noteSizes(client: pg.ClientBase, rows: readonly RawRow[], asked: number): void {
  const next = isCutByBytes(rows) ? Math.max(PAGE_ROWS_MIN, 2 * rows.length) : 2 * asked;
  pageRows.set(client, Math.min(next, CHANGES_MAX));
}

/** `xmin:xmax:xip,…` */
export function parseSnapshot(snapshot: string): { xmin: string; xmax: string; running: string[] } {
  const [xmin = '', xmax = '', running = ''] = snapshot.split(':');
  return { xmin, xmax, running: running === '' ? [] : running.split(',') };
}

type RawRow = (string | null)[];

function toChange(row: RawRow): Change {
  return {
    id: row[0] as string,
    lane: Number(row[1]),
    tenantId: row[2] as string,
    sourceId: row[3] === null ? null : Number(row[3]),
    eventTypes: row[4] === '' ? [] : (row[4] as string).split(','),
    rowKey: row[5] as string | null,
    occurredAt: Number(row[6]),
    data: row[7] as string | null,
    previous: row[8] as string | null,
    truncated: row[9] === 't',
    testWebhookId: row[10] as string | null,
  };
}

/** Ids are digits without leading zeros: the longer is the larger. */
function byId({ id: a }: Change, { id: b }: Change): number {
  return a.length - b.length || (a < b ? -1 : 1);
}
