/**
 * Pages of lists, newest first. A cursor names the last row of a page by its time, in microseconds,
 * and its id, so rows that come in later move nothing.
 */
import type pg from 'pg';

export interface Page<Row> {
  data: Row[];
  /** Null: there is nothing more. */
  next_cursor: string | null;
}

/** The time as text of timestamptz, and the id. */
export interface Key {
  at: string;
  id: string;
}

/** Limit on rows that one page looks at. If a filter finds too few in them, the page is short. */
export const LOOKED_AT_MAX = 20_000;

/**
 * Limit on the bytes of a page, if its rows have sizes. The row that crosses it ends the page. A
 * page of 500 payloads of 1 MiB kept the event loop busy for seconds, and took the memory of all.
 */
export const BYTES_MAX = 4 * 1024 * 1024;

export function cursorOf({ at, id }: Key): string {
  return Buffer.from(`${at} ${id}`).toString('base64url');
}

const CURSOR = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([0-9a-f-]{1,36})$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NUMBER = /^\d{1,18}$/;

/** Undefined: this is not a cursor of such a list. */
export function keyOf(cursor: string, ids: 'uuid' | 'number'): Key | undefined {
  const [, at, id] = CURSOR.exec(Buffer.from(cursor, 'base64url').toString('latin1')) ?? [];
  if (at === undefined || id === undefined || Number.isNaN(Date.parse(at))) return undefined;
  return (ids === 'uuid' ? UUID : NUMBER).test(id) ? { at, id } : undefined;
}

/** Conditions and their values. A `$` in a condition stands for its value. */
export class Conditions {
  readonly values: unknown[] = [];
  readonly #conditions: string[] = [];

  /** Undefined as value: no such condition. */
  add(condition: string, value: unknown): this {
    if (value !== undefined) this.#conditions.push(condition.replaceAll('$', this.value(value)));
    return this;
  }

  /** A condition without a value of its own. */
  also(condition: string): this {
    this.#conditions.push(condition);
    return this;
  }

  /** Adds a value and returns its parameter. */
  value(value: unknown): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  get sql(): string {
    return this.#conditions.length === 0 ? 'true' : this.#conditions.join(' and ');
  }
}

export interface List {
  /** The columns of a row. */
  columns: string;
  /**
   * For rows that may be large: what the page shows of these columns, and the size of a row. Only
   * rows of the page are read in full, and they end the page when it has BYTES_MAX.
   */
  large?: { shown: string; bytes: string };
  from: string;
  /** What an index finds. */
  indexed: Conditions;
  /** The columns that the index is ordered by. Without `isOrder`, the order is that of the ids. */
  time: { column: string; isOrder: boolean };
  id: { column: string; type: 'uuid' | 'bigint' };
  /** What is checked row by row. A name is one of `columns`. */
  filters: readonly (readonly [condition: string, value: unknown])[];
}

interface Keyed {
  sort_at: Date;
  sort_id: string;
  key_at: string;
  /** Rows that there are, with those that are too large for the page. */
  found?: number;
}

/** The rows of a query up to BYTES_MAX, the first one in any case. */
function within(query: string, bytes: string, inOrder: string): string {
  return `
    select * from (
      select l.*, ${bytes} as own_bytes, sum(${bytes}) over (${inOrder} rows unbounded preceding) as all_bytes,
             count(*) over ()::int as found
        from (${query}) as l) as l
     where l.all_bytes - l.own_bytes < ${BYTES_MAX}`;
}

/**
 * One page. Rows come in the order of an index, and reading ends with the page, so a page of a large
 * list takes as long as one of a small list.
 */
export async function readPage<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  { columns, large, from, indexed, time, id, filters }: List,
  { limit, cursor }: { limit: number; cursor?: Key | undefined },
): Promise<Page<Row>> {
  if (cursor !== undefined) {
    const last = `${indexed.value(cursor.id)}::${id.type}`;
    const at = time.isOrder ? `${indexed.value(cursor.at)}::timestamptz` : '';
    // The first condition leaves out partitions, the second one is exact.
    if (time.isOrder) indexed.also(`${time.column} <= ${at} and (${time.column}, ${id.column}) < (${at}, ${last})`);
    else indexed.also(`${id.column} < ${last}`);
  }
  const order = (at: string, last: string) => `order by ${time.isOrder ? `${at} desc, ` : ''}${last} desc`;
  const looked = `
    select ${columns}, ${time.column} as sort_at, ${id.column} as sort_id
      from ${from} where ${indexed.sql} ${order(time.column, id.column)} limit ${LOOKED_AT_MAX}`;
  const wanted = new Conditions();
  wanted.values.push(...indexed.values);
  for (const [condition, value] of filters) wanted.add(condition, value);
  const inOrder = order('l.sort_at', 'l.sort_id');
  return inIndexOrder(client, async () => {
    const found = `select * from (${looked}) as l where ${wanted.sql} ${inOrder} limit ${limit + 1}`;
    const { rows } = await client.query<Row & Keyed>(
      `select ${large ? `${large.shown}, l.found, l.sort_at, l.sort_id` : 'l.*'}, ${KEY_AT}
         from (${large ? within(found, large.bytes, inOrder) : found}) as l ${inOrder}`,
      wanted.values,
    );
    const page = rows.slice(0, limit);
    const data = page.map(withoutKey<Row>);
    const end = page.at(-1);
    if (end !== undefined && (end.found ?? rows.length) > page.length)
      return { data, next_cursor: cursorOf(keyOfRow(end)) };
    if (wanted.values.length === indexed.values.length) return { data, next_cursor: null };
    // A filter found too few. The page ends with the last row that was looked at, if there are more.
    const { rows: last } = await client.query<Keyed>(
      `select l.sort_id, ${KEY_AT} from (
         select sort_at, sort_id from (${looked}) as l ${inOrder} offset ${LOOKED_AT_MAX - 1}) as l`,
      indexed.values,
    );
    return { data, next_cursor: last[0] ? cursorOf(keyOfRow(last[0])) : null };
  });
}

const KEY_AT = `to_char(l.sort_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as key_at`;

/**
 * Reads with the index that has the order, from one row to the next. The planner takes the limit for
 * the number of rows that are needed, so it would rather read all that may match and sort them.
 */
async function inIndexOrder<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  const { rows } = await client.query<{ name: string; was: string }>(
    `select name, current_setting(name) as was, set_config(name, 'off', true)
       from unnest('{enable_seqscan,enable_bitmapscan,enable_sort}'::text[]) as name`,
  );
  const result = await work();
  await client.query('select set_config(name, was, true) from unnest($1::text[], $2::text[]) as s (name, was)', [
    rows.map(({ name }) => name),
    rows.map(({ was }) => was),
  ]);
  return result;
}

function keyOfRow({ key_at, sort_id }: Keyed): Key {
  return { at: key_at, id: sort_id };
}

function withoutKey<Row>(row: Row & Keyed): Row {
  const { sort_at, sort_id, key_at, found, ...rest } = row;
  return rest as unknown as Row;
}
