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
import type { Change, Position, Window } from '../model.ts';
import {
  CHANGES_MAX,
  COLUMN,
  FIND_FIRST,
  HEADER,
  PAYLOAD_BYTES_MAX,
  RAW,
  READ_HOT,
  READ_HOT_LATER,
  READ_PAGE,
  READ_PULSE,
} from './statements.ts';

/**
 * Rows that a session asks for in one page, where it is not CHANGES_MAX. To measure a payload the server unpacks it, so a page
 * that its bytes cut off has unpacked all 500 for nothing: with rows of 1 MiB 1,000 ms a page, and 50 when it asks for twice
 * as many as the page before could hold.
 */
const pageRows = new WeakMap<pg.ClientBase, number>();
const PAGE_ROWS_MIN = 8;

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
    from: head?.[HEADER.snapshot] as string,
    to: null,
    lastId: null,
    at: head?.[HEADER.at] as string,
    sequenceValue: head?.[HEADER.sequenceValue] as string,
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
  const first = await findFirstPage(client, lanes, position, end);
  return first === null ? { changes: [], after: end, more: false } : readPage(client, lanes, first);
}

/** Where the pages of the window from `position` to the snapshot of `end` begin; null: there is nothing in it. */
export async function findFirstPage(
  client: pg.ClientBase,
  lanes: readonly number[],
  position: Position,
  end: Position,
): Promise<Position | null> {
  const { xmax, running } = parseSnapshot(position.from);
  const { rows } = await client.query({
    ...FIND_FIRST,
    ...RAW,
    values: [xmax, running, lanes, position.from, end.from],
  });
  const before = (rows as (string | null)[][])[0]?.[0] ?? null;
  return before === null ? null : { ...end, from: position.from, to: end.from, lastId: before };
}

async function readPage(client: pg.ClientBase, lanes: readonly number[], position: Position): Promise<Window> {
  const { from, to, lastId } = position;
  const asked = pageRows.get(client) ?? CHANGES_MAX;
  const { rows } = await client.query({ ...READ_PAGE, ...RAW, values: [lastId, from, lanes, to, asked + 1] });
  const raw = rows as RawRow[];
  noteSizes(client, raw, asked);
  const at = raw[0]?.[COLUMN.readAt] ?? position.at;
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
  return Number(rows.at(-1)?.[COLUMN.bytesSoFar] ?? 0) > PAYLOAD_BYTES_MAX;
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

export type RawRow = (string | null)[];

export function toChange(row: RawRow): Change {
  return {
    id: row[COLUMN.id] as string,
    lane: Number(row[COLUMN.lane]),
    tenantId: row[COLUMN.tenantId] as string,
    sourceId: row[COLUMN.sourceId] === null ? null : Number(row[COLUMN.sourceId]),
    eventTypes: listOf(row[COLUMN.eventTypes]),
    rowKey: row[COLUMN.rowKey] as string | null,
    occurredAt: Number(row[COLUMN.occurredAt]),
    data: row[COLUMN.data] as string | null,
    previous: row[COLUMN.previous] as string | null,
    truncated: row[COLUMN.truncated] as string | null,
    testWebhookId: row[COLUMN.testWebhookId] as string | null,
  };
}

function listOf(text: string | null | undefined): string[] {
  return text ? text.split(',') : [];
}

/** Ids are digits without leading zeros: the longer is the larger. */
function byId({ id: a }: Change, { id: b }: Change): number {
  return a.length - b.length || (a < b ? -1 : 1);
}
