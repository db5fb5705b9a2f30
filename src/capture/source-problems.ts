/** Finds why watched tables are not captured: tables and columns that have changed, and triggers. */
import type pg from 'pg';
import { printable } from '../shared/terminal.ts';
import { listOf, RECONCILE, type SourceProblem, triggerProblems } from './trigger-problems.ts';

interface Source {
  /** The name under which it was watched. */
  name: string;
  /** Its name now. */
  relation: string;
  gone: boolean;
  /** What has the old name now and cannot be watched, such as `a view`. */
  inItsName: string | null;
  /** Another table that has the old name now. */
  namesake: string | null;
  /** Whether reconcile() lets the namesake replace the table. */
  mayTakePlace: boolean | null;
  /** The statement that watches the namesake, or the table itself, with this source's settings. */
  statement: string;
  lostDerived: string[];
  /** The tenant column, if the table has lost it. */
  lostColumn: string | null;
  /** The tenant column, and columns of the key, that are excluded. */
  excludedTenant: string | null;
  excludedKey: string[];
  /** The statement that watches the table, and includes these. */
  including: string;
  foreignMember: string | null;
  /** The statement that detaches `foreignMember` from its parent. */
  detach: string | null;
}

/** The log, `rowhook status`, `rowhook sources` and the metrics use this too. */
export async function sourceProblems(client: pg.ClientBase | pg.Pool): Promise<SourceProblem[]> {
  return problemsOf(client, await readSources(client));
}

export async function problemsOf(
  client: pg.ClientBase | pg.Pool,
  sources: readonly Source[],
): Promise<SourceProblem[]> {
  return [...sources.flatMap(ofSource), ...(await triggerProblems(client))];
}

export async function readSources(client: pg.ClientBase | pg.Pool): Promise<Source[]> {
  const { rows } = await client.query<Source>(
    `select format('%I.%I', s.schema_name, s.table_name) as name,
            rowhook._qualified(s.relation) as relation,
            c.oid is null as gone,
            rowhook._in_its_name(s) as "inItsName",
            rowhook._qualified(n.namesake) as namesake,
            rowhook._may_take_place(s, n.namesake) as "mayTakePlace",
            case when n.namesake is not null or l."lostColumn" is not null or l."lostDerived" <> '{}'
              then rowhook._watch_statement(s, coalesce(n.namesake, s.relation)) else '' end as statement,
            l.*,
            x."excludedTenant",
            x."excludedKey",
            case when x.columns <> '{}'
              then rowhook._watch_statement(i, s.relation) else '' end as including,
            rowhook._qualified(f.member) as "foreignMember",
            rowhook._detach_statement(w.watched, f.member) as detach
       from rowhook.webhook_sources s
       left join pg_class c on c.oid = s.relation
      cross join lateral (
            select rowhook._namesake(s) as namesake,
                   rowhook._columns(s.relation)::text[] as columns) as n
      cross join lateral (
            select case when s.tenant_column::text <> all (n.columns)
                     then s.tenant_column::text end as "lostColumn",
                   array(select d from jsonb_object_keys(s.derived) as d
                          where d <> all (n.columns)) as "lostDerived") as l
      cross join lateral (
            select case when s.tenant_column::text = any (s.exclude_columns)
                         and s.tenant_column::text = any (n.columns)
                     then s.tenant_column::text end as "excludedTenant",
                   array(select key::text from unnest(rowhook._key_columns(s.relation)) as key
                          where key::text = any (s.exclude_columns)) as "excludedKey") as t
      cross join lateral (
            select t.*, array_remove(t."excludedTenant" || t."excludedKey", null) as columns) as x
      cross join lateral jsonb_populate_record(s, jsonb_build_object(
            'include_columns', s.include_columns || x.columns,
            'exclude_columns', array(select e from unnest(s.exclude_columns) as e
                                      where e <> all (x.columns)))) as i
      cross join lateral (select coalesce(n.namesake, s.relation) as watched) as w
      cross join lateral (select rowhook._foreign_member(w.watched) as member) as f
      order by 1`,
  );
  return rows;
}

function ofSource(source: Source): SourceProblem[] {
  if (source.namesake !== null) return [replaced(source, source.namesake)];
  if (source.gone) return [dropped(source)];
  return [...lostColumns(source), ...excludedColumns(source), ...foreignMembers(source)];
}

function dropped({ name, inItsName }: Source): SourceProblem {
  const table = printable(name);
  const now = inItsName === null ? '' : `, and ${table} is ${inItsName} now, which is not watched`;
  return {
    table,
    kind: 'warning',
    what: `the watched table ${table} was dropped${now}`,
    why: 'Its settings are kept for 7 days. If a table with the same name is created by then, it is watched with them.',
    fix: `select rowhook.unwatch(${literal(table)});`,
  };
}

function replaced(source: Source, namesake: string): SourceProblem {
  const { name, relation, gone, mayTakePlace, statement, detach } = source;
  const table = printable(name);
  const watch = `${detach === null ? '' : `${printable(detach)} `}${printable(statement)}`;
  const former = gone ? '' : ` The watched table is called ${printable(relation)} now, and is still watched.`;
  return {
    table,
    kind: 'error',
    what: `${table} is now another table, which is not watched`,
    why: `Changes to this table become no events.${former}`,
    fix: mayTakePlace ? RECONCILE : `${watch}   -- as the owner of ${printable(namesake)}`,
  };
}

function lostColumns({ relation, lostColumn, lostDerived, statement }: Source): SourceProblem[] {
  const table = printable(relation);
  if (lostColumn !== null) {
    return [
      {
        table,
        kind: 'error',
        what: printable(`${relation} has lost its column ${lostColumn}, which names the tenant`),
        why: 'Without a tenant, no change to the table is captured.',
        fix: printable(`${statement}   -- with the column that names the tenant`),
      },
    ];
  }
  if (lostDerived.length === 0) return [];
  return [
    {
      table,
      kind: 'warning',
      what: printable(`${relation} has lost ${listOf(lostDerived)}, from which events are derived`),
      why: 'These derived events no longer occur.',
      fix: printable(`${statement}   -- with the columns that they are derived from now`),
    },
  ];
}

/** After a rename, or a new key: watch() refuses them. */
function excludedColumns({ relation, excludedTenant, excludedKey, including }: Source): SourceProblem[] {
  const table = printable(relation);
  if (excludedTenant !== null) {
    return [
      {
        table,
        kind: 'error',
        what: printable(`${relation}: the column ${excludedTenant} names the tenant, and is excluded`),
        why: 'Without a tenant, no change to the table is captured.',
        fix: printable(`${including}   -- if events may contain it; otherwise with another tenant_column`),
      },
    ];
  }
  if (excludedKey.length === 0) return [];
  return [
    {
      table,
      kind: 'warning',
      what: printable(`${relation}: the primary key contains ${listOf(excludedKey)}, which is excluded`),
      why: 'Its events do not name their row.',
      fix: printable(`${including}   -- if events may contain it; otherwise give the table another key`),
    },
  ];
}

function foreignMembers({ relation, foreignMember, detach }: Source): SourceProblem[] {
  if (foreignMember === null || detach === null) return [];
  const table = printable(relation);
  return [
    {
      table,
      kind: 'error',
      what: printable(`${relation} has a foreign table under it, ${foreignMember}`),
      why: "PostgreSQL cannot collect the changes of a foreign table. It refuses the application's UPDATE and DELETE.",
      fix: `${printable(detach)}   -- or select rowhook.unwatch(${literal(table)});`,
    },
  ];
}

/** Quotes a text as an SQL literal. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
