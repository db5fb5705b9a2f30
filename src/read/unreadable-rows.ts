/**
 * READ, where a row makes the statement fail that reads those of all tenants: a database of encoding SQL_ASCII may hold bytes that no
 * UTF-8 has, and a file may be damaged. The window is read by id then, and rows that cannot be read are found by halves. Such a row
 * becomes a change that says so, and is logged as skipped for whom it was for.
 */
import type pg from 'pg';
import type { Change, Position, Window } from '../model.ts';
import { isolate, readColumns } from '../shared/isolate.ts';
import { AS_SENT, OF_WINDOW, PAYLOAD_BYTES_MAX, RAW, READ_MS_MAX } from './statements.ts';
import { asReader, findFirstPage, type RawRow, readWindow, toChange } from './windows.ts';

/** Rows of one page. */
const PAGE_ROWS = 100;
/** Stored, of one page: unpacked it may be a multiple. */
const STORED_BYTES_MAX = PAYLOAD_BYTES_MAX / 8;

export interface Reading {
  client: pg.ClientBase;
  /** The session has no settings of its own (database/connections.ts): each try is a transaction, as a failed statement ends one. */
  lent: boolean;
  /** A row that cannot be read, and why. Without a tenant nobody can be told but the operator. */
  onUnreadable?(outboxId: string, tenantId: string | null, reason: string): void;
}

/** A window or page, as readWindow() reads it. */
export async function readAnyWindow(
  reading: Reading,
  lanes: readonly number[],
  position: Position,
  until?: Position,
): Promise<Window> {
  const [window] = await isolate(
    [position],
    async () => [await run(reading, () => readWindow(reading.client, lanes, position, until))],
    async () => [await readAround(reading, lanes, position, until)],
  );
  return window as Window;
}

function run<T>({ client, lent }: Reading, read: () => Promise<T>): Promise<T> {
  return lent ? asReader(client, read) : read();
}

async function readAround(
  reading: Reading,
  lanes: readonly number[],
  position: Position,
  until?: Position,
): Promise<Window> {
  const end = until ? { ...until, to: null, lastId: null } : await now(reading);
  const page =
    position.to === null ? await run(reading, () => findFirstPage(reading.client, lanes, position, end)) : position;
  if (page === null) return { changes: [], after: end, more: false };
  const read: ReadRows = async (selected, condition, value) =>
    await query(reading, `select ${selected} ${OF_WINDOW} ${condition}`, [
      page.lastId,
      page.from,
      lanes,
      page.to,
      value,
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

/** Sizes as they are stored: to know them, nothing is unpacked that may be damaged. */
const IDS_AND_SIZES = 'id, coalesce(pg_column_size(data), 0) + coalesce(pg_column_size(previous), 0)';
const ALL_SENT = AS_SENT.map(([, sent]) => sent).join(', ');

/** As many as memory allows; one at least. */
function firstIds(rows: readonly RawRow[]): string[] {
  let bytes = 0;
  return rows.flatMap(([id, size], i) => {
    bytes += Number(size);
    return i === 0 || bytes <= STORED_BYTES_MAX ? (id as string) : [];
  });
}

/** What can be read of a row. */
async function changeOf({ onUnreadable }: Reading, id: string, read: ReadRows): Promise<Change[]> {
  const { values, problem } = await readColumns(
    AS_SENT,
    async (sent) => (await read(sent, 'and id = $5', id))[0]?.[0] ?? null,
  );
  const tenantId = values.get('tenant_id') ?? null;
  onUnreadable?.(id, tenantId, problem ?? 'it can be read by now');
  if (tenantId === null) return [];
  const change = toChange(AS_SENT.map(([column]) => values.get(column) ?? null));
  return [problem === null ? change : { ...change, rowKey: null, unreadable: problem }];
}

async function query(reading: Reading, text: string, values: unknown[]): Promise<RawRow[]> {
  const config = { text, values, query_timeout: READ_MS_MAX, ...RAW };
  const { rows } = await run(reading, () => reading.client.query(config));
  return rows;
}

/** The end of a window that is read from now on. */
async function now(reading: Reading): Promise<Position> {
  const [row] = await query(
    reading,
    'select pg_current_snapshot()::text, clock_timestamp()::text, (select last_value from rowhook.webhook_outbox_id_seq)::text',
    [],
  );
  const [from, at, sequenceValue] = row as [string, string, string];
  return { from, to: null, lastId: null, at, sequenceValue };
}
