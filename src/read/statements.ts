/** The statements of READ (read/windows.ts says what they are for). */
import { PATIENT } from '../database/connections.ts';
import { withinHeap } from '../shared/memory.ts';

/** Rows of one window or page: enough to pay for the round trip, few enough to hold in memory. */
export const CHANGES_MAX = 500;

/** Bytes of payload of one window or page; the row that crosses it still belongs to it. */
export const PAYLOAD_BYTES_MAX = withinHeap(16 * 1024 * 1024, 1 / 64);

/** Without an answer after this long, the network has fallen silent. A poll takes 0.1 ms; a page of rows of 1 MiB each, 1 s. */
const PULSE_MS_MAX = 10_000;
export const READ_MS_MAX = 20_000;

/** Columns of the outbox, and each as it is sent. */
export const AS_SENT: readonly (readonly [column: string, sent: string])[] = [
  ['id', 'id'],
  ['lane', 'lane'],
  ['tenant_id', 'tenant_id'],
  ['source_id', 'source_id'],
  ['event_types', "array_to_string(event_types, ',')"],
  ['row_key', 'row_key'],
  ['occurred_at', 'floor(extract(epoch from occurred_at) * 1000)::bigint'],
  ['data', 'data'],
  ['previous', 'previous'],
  ['truncated', 'truncated'],
  ['test_webhook_id', 'test_webhook_id'],
];
/** Places of the columns in a row. The driver gives rows as arrays, because objects cost more CPU. */
export const COLUMN = {
  id: 0,
  lane: 1,
  tenantId: 2,
  sourceId: 3,
  eventTypes: 4,
  rowKey: 5,
  occurredAt: 6,
  data: 7,
  previous: 8,
  truncated: 9,
  testWebhookId: 10,
  bytesSoFar: 12,
  readAt: 13,
} as const;

/**
 * Places in the first row of a hot read. That row is not a change: it carries the statement's own
 * snapshot, clock and sequence value in columns of type text.
 */
export const HEADER = { snapshot: COLUMN.tenantId, at: COLUMN.eventTypes, sequenceValue: COLUMN.rowKey } as const;

const COLUMNS = AS_SENT.map(([column]) => column).join(', ');

/**
 * Rows of the outbox as they are sent, cut off where their bytes cross the most; a running total needs no sort. `rows` selects COLUMNS
 * and has a limit, so that no expression is computed below it, where each of 16 scans would have to get it ready: a read that finds
 * nothing takes PostgreSQL 118 us, and took 135.
 */
const WITHIN_BYTES = (rows: string) => `
  select * from (
    select r.*, sum(bytes) over (rows unbounded preceding) as bytes_so_far from (
      select ${AS_SENT.map(([column, sent]) => `${sent} as ${column}`).join(', ')},
             coalesce(octet_length(data::text), 0) + coalesce(octet_length(previous::text), 0) as bytes
        from (${rows}) as o) as r) as t
   where bytes_so_far - bytes <= ${PAYLOAD_BYTES_MAX}`;

// The first row carries the snapshot of the statement itself. $1 lanes, $2 S1's xmax, $3 the transactions S1 saw running
const readHot = (branches: readonly string[]) => `
  select null::bigint as id, null::smallint as lane, pg_current_snapshot()::text as tenant_id, null::int as source_id,
         clock_timestamp()::text as event_types, (select last_value from rowhook.webhook_outbox_id_seq)::text as row_key,
         null::bigint as occurred_at, null::json as data, null::json as previous, null::text as truncated,
         null::uuid as test_webhook_id, 0 as bytes, 0 as bytes_so_far
  union all (${WITHIN_BYTES(`${branches.join(' union all ')} limit ${CHANGES_MAX + 1}`)})`;

const LATER = `(select ${COLUMNS} from rowhook.webhook_outbox where xid >= $2::xid8 and lane = any ($1::smallint[]))`;
const STRAGGLERS = `(select ${COLUMNS} from rowhook.webhook_outbox where xid = any ($3::xid8[]) and lane = any ($1::smallint[]))`;

// Mostly S1 saw nothing running, and half of the scans need not be set up: 73 us instead of 118.
export const READ_HOT = { name: 'rowhook_read_hot', query_timeout: READ_MS_MAX, text: readHot([LATER, STRAGGLERS]) };
export const READ_HOT_LATER = { name: 'rowhook_read_hot_later', query_timeout: READ_MS_MAX, text: readHot([LATER]) };

// $1 S1's xmax, $2 what S1 saw running, $3 lanes, $4 S1, $5 S2: the smallest id of the window, less one
// It looks at every row of the window once: 10 million are a matter of minutes on a slow disk.
export const FIND_FIRST = {
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

/** Rows of a window behind an id: $1 last id, $2 S1, $3 lanes, $4 S2. */
export const OF_WINDOW = `
      from rowhook.webhook_outbox
     where id > $1::bigint and lane = any ($3::smallint[])
       and pg_visible_in_snapshot(xid, $4::pg_snapshot) and not pg_visible_in_snapshot(xid, $2::pg_snapshot)`;

// $5 rows. The last column is when it was read: what is begun of a large window is looked
// through from there on by whoever takes over, and not from the window's beginning, hours ago.
export const READ_PAGE = {
  name: 'rowhook_read_page',
  query_timeout: READ_MS_MAX,
  text: `select p.*, statement_timestamp()::text as read_at
           from (${WITHIN_BYTES(`select ${COLUMNS} ${OF_WINDOW} order by id limit $5::int`)}) as p`,
};

export const READ_PULSE = {
  name: 'rowhook_read_pulse',
  query_timeout: PULSE_MS_MAX,
  text: `
  select pg_current_snapshot()::text, (select last_value from rowhook.webhook_outbox_id_seq)::text,
         (select last_value from rowhook.doorbell)::text`,
};

/** Text in, text out: no value of the hot path is parsed by the driver. */
export const RAW = { rowMode: 'array' as const, types: { getTypeParser: () => (value: string) => value } };
