/** Finds the table as PostgreSQL resolves its name, or similar names. */
import type pg from 'pg';
import { shellWord } from '../../shared/shell-quote.ts';
import { nearNames } from '../../shared/spelling.ts';
import { printable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';

export interface Table {
  oid: string;
  name: string;
  /** The table and the partitioned tables above it. A trigger of each may capture the row. */
  family: string[];
  /** The table to watch: the partitioned table at the top, or the table itself. */
  root: string;
  /** True if the tenant column can be found by its name. */
  hasTenant: boolean;
  /** Watched tables of the same name in other schemas. */
  namesakes: string[];
}

/** Limit on names that are compared with a missing name. */
const CANDIDATES_MAX = 20_000;

export async function findTable(client: pg.Client, text: string, key: readonly string[]): Promise<Table> {
  const { rows } = await client
    .query<Table & { kind: string }>(
      `select c.oid::text as oid, format('%I.%I', n.nspname, c.relname) as name, c.relkind as kind,
              rowhook._qualified(r.oid) as root,
              rowhook._usual_tenant_column(r.oid) is not null as "hasTenant",
              array(select c.oid::text union select relid::oid::text from pg_partition_ancestors(c.oid)) as family,
              array(select format('%I.%I', on_.nspname, o.relname)
                      from rowhook.webhook_sources s
                      join pg_class o on o.oid = s.relation
                      join pg_namespace on_ on on_.oid = o.relnamespace
                     where o.relname = c.relname and o.oid <> c.oid order by 1) as namesakes
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
        cross join lateral (select case when c.relispartition then pg_partition_root(c.oid) else c.oid end as oid) as r
        where c.oid = to_regclass($1)`,
      [text],
    )
    .catch(noName);
  const [table] = rows;
  if (table === undefined) throw new UserError(await notFound(client, text, key), 2);
  if (!['r', 'p'].includes(table.kind)) {
    throw new UserError(`why: ${printable(table.name)} is not a table. Name the table that stores its rows.`, 2);
  }
  return table;
}

const SYNTAX_ERRORS = ['42601', '42602', '0A000'];

/** An invalid name, such as a.b.c.d, matches no table. */
function noName(error: { code?: string }): { rows: [] } {
  if (!SYNTAX_ERRORS.includes(error.code ?? '')) throw error;
  return { rows: [] };
}

async function notFound(client: pg.Client, text: string, key: readonly string[]): Promise<string> {
  const { rows } = await client.query<{ bare: string; name: string }>(
    `select c.relname as bare, format('%I.%I', n.nspname, c.relname) as name
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       left join rowhook.webhook_sources s on s.relation = c.oid
      where c.relkind in ('r', 'p')
        and n.nspname !~ '^pg_' and n.nspname not in ('rowhook', 'information_schema')
      order by s.id is null, 2
      limit ${CANDIDATES_MAX}`,
  );
  const bare = (text.split('.').at(-1) ?? '').replaceAll('"', '');
  const near = nearNames(bare, [...new Set(rows.map((row) => row.bare))]);
  const names = rows.filter((row) => near.includes(row.bare)).map(({ name }) => whyCommand(name, key));
  const hint =
    names.length > 0
      ? `Did you mean ${names.slice(0, 3).join(' or ')}?`
      : '"rowhook sources" lists the watched tables.';
  return `why: there is no table ${printable(text)}. ${hint}`;
}

/** The `rowhook why` command for another table. */
export function whyCommand(table: string, key: readonly string[]): string {
  const words = [table, ...key].map((word) => shellWord(printable(word)));
  return ['rowhook why', ...words].join(' ');
}
