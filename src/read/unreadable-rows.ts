/**
 * READ, if one row makes the statement fail that reads the rows of all tenants. A database with the
 * encoding SQL_ASCII may hold bytes that are not valid UTF-8, and a file may be damaged. The window
 * is then read by id, and unreadable rows are found by bisection. An unreadable row becomes a
 * change with a reason. It is logged as skipped for each webhook that should have received it.
 */
import type pg from 'pg';
import type { Change, Position, Window } from '../model.ts';
import { isolate, readColumns } from '../shared/isolate.ts';
import { type Scope, statementsFor } from './scope.ts';
import { AS_SENT, PAYLOAD_BYTES_MAX, RAW, READ_MS_MAX } from './statements.ts';
import { asReader, findFirstPage, type RawRow, readWindow, toChange } from './windows.ts';

/** Rows of one page. */
const PAGE_ROWS = 100;
/** Limit on the stored bytes of one page. Unpacked, they may be a multiple of this. */
const STORED_BYTES_MAX = PAYLOAD_BYTES_MAX / 8;

export interface Reading {
  client: pg.ClientBase;
  /**
   * Whether the session is lent and has no settings of its own (database/connections.ts). Each try
   * is then a transaction, because a failed statement ends it.
   */
  lent: boolean;
  /**
   * Reports a row that cannot be read, and why. If `tenantId` is null, only the operator can be
   * informed.
   */
  onUnreadable?(outboxId: string, tenantId: string | null, reason: string): void;
}

/** Reads a window or a page as readWindow() does, also if some of its rows cannot be read. */
export async function readAnyWindow(
  reading: Reading,
  scope: Scope,
  position: Position,
  until?: Position,
): Promise<Window> {
  const [window] = await isolate(
    [position],
    async () => [await run(reading, () => readWindow(reading.client, scope, position, until))],
    async () => [await readAround(reading, scope, position, until)],
  );
  return window as Window;
}

function run<T>({ client, lent }: Reading, read: () => Promise<T>): Promise<T> {
  return lent ? asReader(client, read) : read();
}

async function readAround(reading: Reading, scope: Scope, position: Position, until?: Position): Promise<Window> {
  const end = until ? { ...until, to: null, lastId: null } : await now(reading);
  const page =
    position.to === null
      ? (await run(reading, () => findFirstPage(reading.client, scope, position, end))).first
      : position;
  if (page === null) return { changes: [], after: end, more: false };
  const { read: statements, tenants } = statementsFor(scope);
  const read: ReadRows = async (selected, condition, value) =>
    await query(reading, `select ${selected} ${statements.ofWindow} ${condition}`, [
      page.lastId,
      page.from,
      scope.lanes,
      page.to,
      value,
      ...tenants,
    ]);
  const ids = firstIds(await read(IDS_AND_SIZES, 'order by id limit $5::int', PAGE_ROWS));
  const last = ids.at(-1);
  if (last === undefined)
    return { changes: [], after: { ...page, from: page.to as string, to: null, lastId: null }, more: true };
  const changes = await isolate(
    ids,
    async (some) => (await read(ALL_SENT, 'and id = any ($5::bigint[]) order by id', some)).map(toChange),
    (id) => changeOf(reading, id, read),
  );
  return { changes, after: { ...page, lastId: last }, more: true };
}

type ReadRows = (selected: string, condition: string, value: unknown) => Promise<RawRow[]>;

/** Stored sizes. PostgreSQL unpacks no value to return them, so damaged values do no harm here. */
const IDS_AND_SIZES = 'id, coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(previous), 0)';
const ALL_SENT = AS_SENT.map(([, sent]) => sent).join(', ');

/** Returns as many ids as STORED_BYTES_MAX allows, but at least one. */
function firstIds(rows: readonly RawRow[]): string[] {
  let bytes = 0;
  return rows.flatMap(([id, size], i) => {
    bytes += Number(size);
    return i === 0 || bytes <= STORED_BYTES_MAX ? (id as string) : [];
  });
}

/** Reads the columns of a row that are readable. */
async function changeOf({ onUnreadable }: Reading, id: string, read: ReadRows): Promise<Change[]> {
  const { values, problem } = await readColumns(
    AS_SENT,
    async (sent) => (await read(sent, 'and id = $5', id))[0]?.[0] ?? null,
  );
  const tenantId = values.get('tenant_id') ?? null;
  onUnreadable?.(id, tenantId, problem ?? 'it is readable now');
  if (tenantId === null) return [];
  const change = toChange(AS_SENT.map(([column]) => values.get(column) ?? null));
  return [problem === null ? change : { ...change, rowKey: null, unreadable: problem }];
}

async function query(reading: Reading, text: string, values: unknown[]): Promise<RawRow[]> {
  const config = { text, values, query_timeout: READ_MS_MAX, ...RAW };
  const { rows } = await run(reading, () => reading.client.query(config));
  return rows;
}

/** Returns the end of a window that is read from now on. */
async function now(reading: Reading): Promise<Position> {
  const [row] = await query(
    reading,
    `select pg_current_snapshot()::text, clock_timestamp()::text,
            (select last_value from rowhook.webhook_outbox_id_seq)::text`,
    [],
  );
  const [from, at, sequenceValue] = row as [string, string, string];
  return { from, to: null, lastId: null, at, sequenceValue };
}
