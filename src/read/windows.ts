/**
 * READ: the outbox in windows between two snapshots.
 *
 * Transactions take ids in one order and commit in another. A query for "id greater than the last"
 * would therefore lose events. Waiting for the oldest running transaction would let one long
 * transaction stall everything. A window is every row that snapshot S2 sees and snapshot S1 does
 * not. These are rows whose xid is S1's xmax or later, and stragglers: rows whose transaction was
 * running when S1 was taken. No row is lost, no row comes twice, and nobody waits.
 *
 * One statement reads a window of up to CHANGES_MAX rows, and also returns its own snapshot as S2.
 * A window is larger after a bulk statement, or when the daemon was away. Then S2 is kept, and the
 * window is read in pages by id. Inside a window, the changes to one row are ordered by id: a later
 * change took its id while it held the row's lock. The xid does not give this order: a savepoint or
 * a late first write can reverse it.
 */
import type pg from 'pg';
import type { Change, LaggingTenant, Position, Window } from '../model.ts';
import { type Scope, statementsFor } from './scope.ts';
import { CHANGES_MAX, COLUMN, HEADER, PAGE_IDS_MAX, PAYLOAD_BYTES_MAX, RAW } from './statements.ts';

/**
 * Rows that a scope asks for in one page, if not CHANGES_MAX. The server unpacks a payload to
 * measure it. A page that PAYLOAD_BYTES_MAX cuts off has therefore unpacked all 500 rows for
 * nothing. With rows of 1 MiB such a page takes 1,000 ms. It takes 50 ms if it asks for twice as
 * many rows as the page before could hold.
 */
const pageRows = new WeakMap<Scope, number>();
const PAGE_ROWS_MIN = 8;

/**
 * Planner settings of the reading session. After one bulk statement the statistics say that all
 * rows share one xid. The planner would then read the whole table: 50 ms a poll instead of 0.2 ms.
 */
const SETTINGS = [
  'plan_cache_mode = force_generic_plan',
  'enable_seqscan = off',
  'enable_bitmapscan = off',
  'enable_hashjoin = off',
  'enable_mergejoin = off',
  'jit = off',
  "timezone = 'UTC'",
];
export const READER_SETTINGS = SETTINGS.map((setting) => `set ${setting}`).join('; ');
const LOCAL_SETTINGS = SETTINGS.map((setting) => `set local ${setting}`).join('; ');

/**
 * Runs `read` in one transaction with the reader's planner settings. For sessions that do not keep
 * settings, or that belong to somebody else.
 */
export async function asReader<T>(client: pg.ClientBase, read: () => Promise<T>): Promise<T> {
  await client.query(`begin read only; ${LOCAL_SETTINGS}`);
  try {
    return await read();
  } finally {
    await client.query('rollback');
  }
}

/** Reads the next window, or the next page of a large one. The window ends at `until`, or now. */
export async function readWindow(
  client: pg.ClientBase,
  scope: Scope,
  position: Position,
  until?: Position,
): Promise<Window> {
  if (position.to !== null) return readPage(client, scope, position);
  if (until) return startPaging(client, scope, position, { ...until, to: null, lastId: null });
  const { xmax, running } = parseSnapshot(position.from);
  const { read, tenants } = statementsFor(scope);
  const { rows } =
    running.length === 0
      ? await client.query({ ...read.hotLater, ...RAW, values: [scope.lanes, xmax, ...tenants] })
      : await client.query({ ...read.hot, ...RAW, values: [scope.lanes, xmax, running, ...tenants] });
  const [head, ...changes] = rows as RawRow[];
  const now: Position = {
    from: head?.[HEADER.snapshot] as string,
    to: null,
    lastId: null,
    at: head?.[HEADER.at] as string,
    sequenceValue: head?.[HEADER.sequenceValue] as string,
  };
  if (isWhole(changes, CHANGES_MAX)) {
    const doorbell = head?.[HEADER.doorbell] as string;
    return { changes: changes.map(toChange).sort(byId), after: now, more: false, doorbell };
  }
  noteSizes(scope, changes, CHANGES_MAX);
  return startPaging(client, scope, position, now);
}

/**
 * Reads the first page of the window from `position` to the snapshot of `end`. If it has heavy
 * tenants, says so first, so that the page can be read without them.
 */
async function startPaging(client: pg.ClientBase, scope: Scope, position: Position, end: Position): Promise<Window> {
  const { first, heavy } = await findFirstPage(client, scope, position, end);
  if (first === null) return { changes: [], after: { ...end, at: laterTime(end.at, position.at) }, more: false };
  return heavy.length > 0 ? { changes: [], after: first, more: true, heavy } : readPage(client, scope, first);
}

/**
 * What was begun after a position was begun after its time (retry/takeover.ts), so the time never
 * goes back. The end of a window that a tenant reads while it lags may be hours old.
 */
function laterTime(a: string, b: string): string {
  return Date.parse(b) > Date.parse(a) ? b : a;
}

/** Where the pages of a large window begin, and those of its heavy tenants. */
interface FirstPage {
  /** Null: the window is empty. */
  first: Position | null;
  heavy: LaggingTenant[];
}

/** Returns where the pages of the window from `position` to the snapshot of `end` begin. */
export async function findFirstPage(
  client: pg.ClientBase,
  scope: Scope,
  position: Position,
  end: Position,
): Promise<FirstPage> {
  const { xmax, running } = parseSnapshot(position.from);
  const { read, tenants } = statementsFor(scope);
  const { rows } = await client.query({
    ...read.first,
    ...RAW,
    values: [xmax, running, scope.lanes, position.from, end.from, ...tenants],
  });
  const [whole, ...heavy] = rows as RawRow[];
  const at = laterTime(end.at, position.at);
  const before = (lastId: string): Position => ({ ...end, at, from: position.from, to: end.from, lastId });
  const firstId = whole?.[0] ?? null;
  return {
    first: firstId === null ? null : before(firstId),
    heavy: (heavy as string[][]).map(([lastId, tenantId, lane]) => ({
      tenantId: tenantId as string,
      lane: Number(lane),
      position: before(lastId as string),
    })),
  };
}

async function readPage(client: pg.ClientBase, scope: Scope, position: Position): Promise<Window> {
  const { from, to, lastId } = position;
  const asked = pageRows.get(scope) ?? CHANGES_MAX;
  const { read, tenants } = statementsFor(scope);
  const values = [lastId, from, scope.lanes, to, asked + 1, ...tenants];
  const { rows } = await client.query({ ...read.page, ...RAW, values });
  const raw = rows as RawRow[];
  noteSizes(scope, raw, asked);
  const at = raw[0]?.[COLUMN.readAt] ?? position.at;
  if (isWhole(raw, asked)) {
    const lastSeen = BigInt(lastId as string) + BigInt(PAGE_IDS_MAX);
    if (scope.tenantId !== null && lastSeen < BigInt(position.sequenceValue))
      return { changes: raw.map(toChange), after: { ...position, at, lastId: String(lastSeen) }, more: true };
    return {
      changes: raw.map(toChange),
      after: { ...position, at, from: to as string, to: null, lastId: null },
      more: true,
    };
  }
  // PAYLOAD_BYTES_MAX may end a page early. The next page begins after its last row.
  const changes = raw.slice(0, asked).map(toChange);
  return { changes, after: { ...position, at, lastId: changes.at(-1)?.id as string }, more: true };
}

/** Whether neither the row limit nor the byte limit cut off any row. */
function isWhole(rows: readonly RawRow[], asked: number): boolean {
  return rows.length <= asked && !isCutByBytes(rows);
}

function isCutByBytes(rows: readonly RawRow[]): boolean {
  return Number(rows.at(-1)?.[COLUMN.bytesSoFar] ?? 0) > PAYLOAD_BYTES_MAX;
}

function noteSizes(scope: Scope, rows: readonly RawRow[], asked: number): void {
  if (isCutByBytes(rows)) expectRows(scope, 2 * rows.length);
  else pageRows.set(scope, Math.min(2 * asked, CHANGES_MAX));
}

/** The next page asks for about `rows` rows. */
export function expectRows(scope: Scope, rows: number): void {
  pageRows.set(scope, Math.min(Math.max(PAGE_ROWS_MIN, Math.ceil(rows)), CHANGES_MAX));
}

/** `xmin:xmax:xip,…` */
export function parseSnapshot(snapshot: string): { xmin: string; xmax: string; running: string[] } {
  const [xmin = '', xmax = '', running = ''] = snapshot.split(':');
  return { xmin, xmax, running: running === '' ? [] : running.split(',') };
}

/**
 * Whether snapshot `a` was taken after snapshot `b`. Snapshots of one cluster have one order: xmax
 * grows, and of two with the same xmax, the later one has fewer running transactions.
 */
export function isLater(a: string, b: string): boolean {
  if (a === b) return false;
  const [one, other] = [parseSnapshot(a), parseSnapshot(b)];
  if (one.xmax !== other.xmax) return BigInt(one.xmax) > BigInt(other.xmax);
  return one.running.length < other.running.length;
}

export type RawRow = (string | null)[];

export function toChange(row: RawRow): Change {
  const change = changeOf(row);
  const leftOut = row[COLUMN.leftOut];
  return leftOut ? { ...change, leftOut: Number(leftOut) } : change;
}

function changeOf(row: RawRow): Change {
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

/** Ids are digits without leading zeros, so the longer id is the larger one. */
function byId({ id: a }: Change, { id: b }: Change): number {
  return a.length - b.length || (a < b ? -1 : 1);
}
