/** The SQL statements of READ. read/windows.ts explains their purpose. */
import { PATIENT } from '../database/connections.ts';
import { withinHeap } from '../shared/shares.ts';

/**
 * Limit on the rows of one window or page: enough to pay for the round trip, few enough for memory.
 */
export const CHANGES_MAX = 500;

/**
 * A tenant with more rows than this in a large window is read by itself from the beginning, and the
 * others need not wait until its pages have shown how much it has. At most HEAVY_MAX tenants: many
 * that are read by themselves are slower than all of them together.
 */
const HEAVY_ROWS = CHANGES_MAX / 2;
const HEAVY_MAX = 32;

/** Limit on the payload bytes of one window or page. The row that crosses it is still included. */
export const PAYLOAD_BYTES_MAX = withinHeap(16 * 1024 * 1024, 1 / 64);

/**
 * Ids that one page of a tenant that lags covers. Its rows may lie among those of others, and a
 * statement that steps over 500,000 of them takes 300 ms.
 */
export const PAGE_IDS_MAX = 20_000;

/**
 * A payload with more stored bytes is left out of its page, and read by itself if a webhook wants it
 * (read/left-out.ts). So payloads that nobody wants cost nothing, whatever their size, and those of
 * a page stay below PAYLOAD_BYTES_MAX. A compressed payload counts COMPRESSED_FACTOR times.
 */
const STORED_BYTES_MAX = PAYLOAD_BYTES_MAX / CHANGES_MAX;
const COMPRESSED_FACTOR = 8;

/**
 * Timeouts: after this time without an answer, the network counts as down. A poll takes 0.1 ms. A
 * page of rows of 1 MiB each takes 1 s.
 */
const PULSE_MS_MAX = 10_000;
export const READ_MS_MAX = 20_000;

/** The columns of the outbox, and the SQL expression that sends each of them. */
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
/**
 * Index of each column in a row. The driver returns rows as arrays, because objects cost more CPU.
 */
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
  leftOut: 11,
  bytesSoFar: 13,
  readAt: 14,
} as const;

/**
 * Indexes in the first row of a hot read. That row is not a change. It carries the statement's own
 * snapshot, clock and sequence value in columns of type text, and what a poll returns.
 */
export const HEADER = {
  snapshot: COLUMN.tenantId,
  doorbell: COLUMN.sourceId,
  at: COLUMN.eventTypes,
  sequenceValue: COLUMN.rowKey,
} as const;

const COLUMNS = AS_SENT.map(([column]) => column).join(', ');

/** Stored bytes of a value. PostgreSQL unpacks nothing to tell them. */
const STORED = (column: string) =>
  `coalesce(pg_column_size(${column}) * case when pg_column_compression(${column}) is null then 1 else ${COMPRESSED_FACTOR} end, 0)`;

/** What is sent of a column: data and previous only if they are not left out. */
const IN_PAGE = ([column, sent]: readonly [string, string]) =>
  column === 'data' || column === 'previous' ? `case when left_out is null then ${sent} end` : sent;

/**
 * Selects outbox rows as they are sent, up to the row that crosses PAYLOAD_BYTES_MAX. The running
 * total needs no sort. `rows` selects COLUMNS and has a limit, so PostgreSQL computes no expression
 * below that limit. Otherwise each of 16 scans would have to prepare the expressions. A read that
 * finds nothing takes PostgreSQL 118 us instead of 135.
 */
const WITHIN_BYTES = (rows: string) => `
  select * from (
    select r.*, sum(bytes) over (rows unbounded preceding) as bytes_so_far from (
      select ${AS_SENT.map((column) => `${IN_PAGE(column)} as ${column[0]}`).join(', ')}, left_out,
             case when left_out is null
                  then coalesce(octet_length(data::text), 0) + coalesce(octet_length(previous::text), 0)
                  else 0 end as bytes
        from (select o.*, case when stored > ${Math.floor(STORED_BYTES_MAX)} then stored end as left_out
                from (select o.*, ${STORED('data')} + ${STORED('previous')} as stored from (${rows}) as o) as o
             ) as o) as r) as t
   where bytes_so_far - bytes <= ${PAYLOAD_BYTES_MAX}`;

/** Whose rows a statement reads: all rows of its lanes, all except some tenants', or one tenant's. */
export type Tenants = 'all' | 'others' | 'one';

/** The condition on the tenant. The parameter is text[] for `others`, and text for `one`. */
const CONDITION: Record<Tenants, (parameter: string) => string> = {
  all: () => '',
  others: (parameter) => `and tenant_id <> all (${parameter}::text[])`,
  one: (parameter) => `and tenant_id = ${parameter}`,
};

/**
 * The same for the rows of a window. Changes of configurations come with the lanes as well as with
 * the tenants that lag: a webhook that is switched off must not go on for minutes.
 */
const CONDITION_OF_ROWS: typeof CONDITION = {
  ...CONDITION,
  others: (parameter) => `and (tenant_id <> all (${parameter}::text[]) or event_types = '{}')`,
};

/** The statements that read a window, for each kind of Tenants. */
export interface WindowStatements {
  /** $1: lanes. $2: S1's xmax. $3: the transactions that were running at S1. $4: tenants. */
  hot: Statement;
  /** Like `hot`, if no transaction was running at S1. $1: lanes. $2: S1's xmax. $3: tenants. */
  hotLater: Statement;
  /** See findFirst(). */
  first: Statement;
  /** See readPage(). */
  page: Statement;
  /** Rows of a window after an id. $1: last id. $2: S1. $3: lanes. $4: S2. $6: tenants. */
  ofWindow: string;
}

interface Statement {
  name: string;
  text: string;
  query_timeout?: number;
}

function statementsOf(tenants: Tenants): WindowStatements {
  const where = CONDITION_OF_ROWS[tenants];
  const nameOf = (what: string) => `rowhook_read_${what}${tenants === 'all' ? '' : `_${tenants}`}`;
  const ofWindow = `
      from rowhook.webhook_outbox
     where id > $1::bigint and lane = any ($3::smallint[]) ${where('$6')}
       and pg_visible_in_snapshot(xid, $4::pg_snapshot) and not pg_visible_in_snapshot(xid, $2::pg_snapshot)`;
  const later = (parameter: string) => `
    (select ${COLUMNS} from rowhook.webhook_outbox
      where xid >= $2::xid8 and lane = any ($1::smallint[]) ${where(parameter)})`;
  const stragglers = `
    (select ${COLUMNS} from rowhook.webhook_outbox
      where xid = any ($3::xid8[]) and lane = any ($1::smallint[]) ${where('$4')})`;
  return {
    hot: { name: nameOf('hot'), query_timeout: READ_MS_MAX, text: readHot([later('$4'), stragglers]) },
    hotLater: { name: nameOf('hot_later'), query_timeout: READ_MS_MAX, text: readHot([later('$3')]) },
    first: { name: nameOf('first'), ...PATIENT, text: findFirst(CONDITION[tenants]('$6'), tenants !== 'one') },
    page: { name: nameOf('page'), query_timeout: READ_MS_MAX, text: readPage(ofWindow, tenants === 'one') },
    ofWindow,
  };
}

// The first row carries the snapshot of the statement itself.
function readHot(branches: readonly string[]): string {
  return `
  select null::bigint as id, null::smallint as lane, pg_current_snapshot()::text as tenant_id,
         (select last_value from rowhook.doorbell)::int as source_id, clock_timestamp()::text as event_types,
         (select last_value from rowhook.webhook_outbox_id_seq)::text as row_key,
         null::bigint as occurred_at, null::json as data, null::json as previous, null::text as truncated,
         null::uuid as test_webhook_id, null::int as left_out, 0 as bytes, 0 as bytes_so_far
  union all (${WITHIN_BYTES(`${branches.join(' union all ')} limit ${CHANGES_MAX + 1}`)})`;
}

/** Rows of a window. $1: S1's xmax. $2: the transactions that were running when S1 was taken. $3: lanes. */
const rowsOfWindow = (columns: string, ofTenants: string) => `
    select ${columns} from rowhook.webhook_outbox
     where xid >= $1::xid8 and lane = any ($3::smallint[]) and pg_visible_in_snapshot(xid, $5::pg_snapshot)
       ${ofTenants}
    union all
    select ${columns} from rowhook.webhook_outbox
     where xid = any ($2::xid8[]) and lane = any ($3::smallint[]) and pg_visible_in_snapshot(xid, $5::pg_snapshot)
       and not pg_visible_in_snapshot(xid, $4::pg_snapshot) ${ofTenants}`;

/**
 * The smallest id of the window, less one. $1 to $3: as above. $4: S1. $5: S2. $6: tenants. The
 * statement reads every row of the window once. For 10 million rows that takes minutes on a slow
 * disk. With tenants: the same of each tenant with more than HEAVY_ROWS.
 */
function findFirst(ofTenants: string, withTenants: boolean): string {
  if (!withTenants)
    return `
  select (min(id) - 1)::text, null, null from (${rowsOfWindow('id', ofTenants)}) as w`;
  return `
  with tenants as (
    select min(tenant_id) as tenant_id, min(lane) as lane, min(id) - 1 as before, count(*) as n
      from (${rowsOfWindow('id, tenant_id, lane', ofTenants)}) as w
     group by tenant_id collate "C")
  select min(before)::text, null, null from tenants
  union all
  (select before::text, tenant_id, lane::text from tenants
    where n > ${HEAVY_ROWS} order by n desc limit ${HEAVY_MAX})`;
}

/**
 * $5: rows. The last column is the time at which the page was read. A new owner looks for begun
 * deliveries from this time on. Without it, a new owner would have to start at the beginning of a
 * large window, which may be hours ago.
 */
function readPage(ofWindow: string, ofOneTenant: boolean): string {
  const near = ofOneTenant ? `and id <= $1::bigint + ${PAGE_IDS_MAX}` : '';
  return `
  select p.*, statement_timestamp()::text as read_at
    from (${WITHIN_BYTES(`select ${COLUMNS} ${ofWindow} ${near} order by id limit $5::int`)}) as p`;
}

// Usually no transaction was running when S1 was taken. `hotLater` then leaves out half of the
// scans: 73 us instead of 118. Usually no tenant lags, and `all` has no condition on tenants.
export const READ: Record<Tenants, WindowStatements> = {
  all: statementsOf('all'),
  others: statementsOf('others'),
  one: statementsOf('one'),
};

export const READ_PULSE = {
  name: 'rowhook_read_pulse',
  query_timeout: PULSE_MS_MAX,
  text: `
  select pg_current_snapshot()::text, (select last_value from rowhook.webhook_outbox_id_seq)::text,
         (select last_value from rowhook.doorbell)::text`,
};

/** Returns every value as text. The driver parses no value of the hot path. */
export const RAW = { rowMode: 'array' as const, types: { getTypeParser: () => (value: string) => value } };
