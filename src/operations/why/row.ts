/**
 * Finds the row: its key as capture writes it, whether it exists, and its tenant. No other column
 * is read.
 */
import type pg from 'pg';
import { shellWord } from '../../shared/shell-quote.ts';
import { printable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import type { Source } from './source.ts';
import type { Table } from './table.ts';

export interface Row {
  /** As webhook_outbox.row_key. */
  rowKey: string;
  columns: string[];
  /** `columns` as identifiers. */
  quotedColumns: string[];
  is: 'found' | 'gone' | 'unseen';
  /** Null: the row has no tenant, or was not found. */
  tenantId: string | null;
  /** Why the row is unseen. */
  because: string | null;
}

interface KeyColumn {
  name: string;
  quoted: string;
  /** The base type of a domain, because a domain's checks may call any function. */
  type: string;
}

/**
 * Limit on reading the row. Reading by key takes a moment, but a key type with user-made operators
 * needs a scan of the table.
 */
const READ_MS_MAX = 10_000;
const LOCK_MS_MAX = 2_000;

/** The settings of the capture functions, because keys are compared as text. */
const SETTINGS = `
  set local search_path = pg_catalog, pg_temp;
  set local statement_timeout = ${READ_MS_MAX};
  set local lock_timeout = ${LOCK_MS_MAX};
  set local timezone = 'UTC';
  set local datestyle = 'ISO, YMD';
  set local intervalstyle = 'postgres';
  set local bytea_output = 'hex';
  set local extra_float_digits = 1`;

export async function readRow(
  client: pg.Client,
  table: Table,
  source: Source | undefined,
  key: readonly string[],
): Promise<Row> {
  await client.query('begin transaction read only');
  try {
    await client.query(SETTINGS);
    // Type names are printed and used under the same settings.
    const columns = await keyColumns(client, table, source, key);
    const asked = await keyAsText(client, columns, key);
    const { rowKey = asked, ...row } = await readByKey(client, table, source, columns, key);
    return {
      rowKey,
      columns: columns.map(({ name }) => name),
      quotedColumns: columns.map(({ quoted }) => quoted),
      ...row,
    };
  } finally {
    await client.query('rollback');
  }
}

async function keyColumns(
  client: pg.Client,
  table: Table,
  source: Source | undefined,
  key: readonly string[],
): Promise<KeyColumn[]> {
  const { rows } = await client.query<KeyColumn>(
    // The query of rowhook._key_columns, which a daemon's login may not call.
    `with recursive k as (
       select a.attname as name, n as position, a.atttypid as type, a.atttypmod as typmod
         from pg_index i
        cross join lateral unnest(i.indkey[:]) with ordinality as u (attnum, n)
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.attnum
        where i.indrelid = $1::oid and i.indisprimary and i.indimmediate and n <= i.indnkeyatts
       union all
       select k.name, k.position, t.typbasetype, t.typtypmod
         from k join pg_type t on t.oid = k.type where t.typtype = 'd'
     )
     select k.name, quote_ident(k.name) as quoted, format_type(k.type, k.typmod) as type
       from k join pg_type t on t.oid = k.type
      where t.typtype <> 'd' order by k.position`,
    [table.oid],
  );
  const name = printable(table.name);
  if (rows.length === 0) {
    throw new UserError(
      `why: ${name} has no primary key, or a deferrable one, so its events do not name their row. ${sentOf(source, name)}.`,
      2,
    );
  }
  if (rows.length !== key.length) {
    const names = rows.map((column) => `<${printable(column.name)}>`).join(' ');
    throw new UserError(
      `why: the primary key of ${name} has ${rows.length} columns. Use: rowhook why ${shellWord(name)} ${names}`,
      2,
    );
  }
  return rows;
}

function sentOf(source: Source | undefined, name: string): string {
  return source === undefined
    ? `The table is not watched yet. "rowhook watch ${shellWord(name)}" watches it`
    : `"rowhook logs --event ${shellWord(`${source.prefix}.*`)}" shows what was sent for the table`;
}

/** `7`, or `(7,acme)`. */
function image(values: readonly string[]): string {
  return values.length === 1 ? `(${values[0]})::text` : `row(${values.join(', ')})::text`;
}

async function keyAsText(client: pg.Client, columns: readonly KeyColumn[], key: readonly string[]): Promise<string> {
  const values = columns.map(({ type }, index) => `$${index + 1}::${type}`);
  try {
    const { rows } = await client.query<{ key: string }>(`select ${image(values)} as key`, [...key]);
    return rows[0]?.key ?? '';
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    if (!code.startsWith('22')) throw error;
    throw new UserError(`why: this is not a key of the table: ${printable(message)}.`, 2);
  }
}

/**
 * A missing permission, a lock, a time limit, or a policy that raises. The row is then unseen, and
 * all other questions can be answered.
 */
const SQLSTATE = /^[0-9A-Z]{5}$/;

/** Reads the key as the row has it: 1 and 1.0 are equal as numeric, but different as text. */
async function readByKey(
  client: pg.Client,
  table: Table,
  source: Source | undefined,
  columns: readonly KeyColumn[],
  key: readonly string[],
): Promise<Pick<Row, 'is' | 'tenantId' | 'because'> & { rowKey?: string }> {
  const tenant = source?.tenantColumn ? `r.${source.tenantColumn}::text` : 'null';
  const values = columns.map(({ quoted, type }) => `r.${quoted}::${type}`);
  const where = columns.map(({ type }, index) => `${values[index]} = $${index + 1}::${type}`).join(' and ');
  try {
    const { rows } = await client.query<{ tenant: string | null; key: string }>(
      `select ${tenant} as tenant, ${image(values)} as key from ${table.name} as r where ${where} limit 1`,
      [...key],
    );
    const [row] = rows;
    if (row === undefined) return { is: 'gone', tenantId: null, because: null };
    return { is: 'found', rowKey: row.key, tenantId: source?.tenantId ?? row.tenant, because: null };
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    if (!SQLSTATE.test(code)) throw error;
    return { is: 'unseen', tenantId: source?.tenantId ?? null, because: message };
  }
}
