/** Finds why watched tables are not captured: tables, columns and triggers that have changed. */
import type pg from 'pg';
import type { Finding } from '../shared/finding.ts';
import { printable } from '../shared/terminal.ts';

/** Why a watched table is not captured as requested. */
export interface SourceProblem extends Finding {
  /** The table, with its schema. */
  table: string;
}

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
  foreignMember: string | null;
  /** The statement that detaches `foreignMember` from its parent. */
  detach: string | null;
}

interface Trigger {
  relation: string;
  isMember: boolean;
  name: string;
  operation: string;
  /**
   * As pg_trigger.tgenabled: O origin, A always, R replica only, D disabled. Null: the trigger is
   * missing.
   */
  enabled: 'O' | 'A' | 'R' | 'D' | null;
}

const RECONCILE = 'select * from rowhook.reconcile();   -- as the owner of the table and a member of rowhook_owner';

/** The log, `rowhook status`, `rowhook sources` and the metrics use this too. */
export async function sourceProblems(client: pg.ClientBase | pg.Pool): Promise<SourceProblem[]> {
  return problemsOf(client, await readSources(client));
}

export async function problemsOf(
  client: pg.ClientBase | pg.Pool,
  sources: readonly Source[],
): Promise<SourceProblem[]> {
  const found = await readTriggers(client);
  return [...sources.flatMap(ofSource), ...missing(found), ...silent(found)];
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
      cross join lateral (select coalesce(n.namesake, s.relation) as watched) as w
      cross join lateral (select rowhook._foreign_member(w.watched) as member) as f
      order by 1`,
  );
  return rows;
}

/** One row for each trigger that should exist. */
async function readTriggers(client: pg.ClientBase | pg.Pool): Promise<Trigger[]> {
  const { rows } = await client.query<Trigger>(
    `select format('%I.%I', n.nspname, c.relname) as relation, r.oid <> s.relation as "isMember",
            'rowhook_' || operation as name, operation, t.tgenabled as enabled
       from rowhook.webhook_sources s
       join pg_class watched on watched.oid = s.relation
      cross join lateral rowhook._capture_relations(s.relation) as r (oid)
       join pg_class c on c.oid = r.oid
       join pg_namespace n on n.oid = c.relnamespace
      cross join unnest('{insert,update,delete}'::text[]) as operation
       left join pg_trigger t on t.tgrelid = r.oid and t.tgname = 'rowhook_' || operation
                             and t.tgfoid = to_regproc('rowhook._capture_' || s.id)
      order by 1, 4`,
  );
  return rows;
}

function ofSource(source: Source): SourceProblem[] {
  if (source.namesake !== null) return [replaced(source, source.namesake)];
  if (source.gone) return [dropped(source)];
  return [...lostColumns(source), ...foreignMembers(source)];
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

function missing(found: readonly Trigger[]): SourceProblem[] {
  const absent = found.filter(({ enabled }) => enabled === null);
  return byRelation(absent).map(([relation, triggers]) => {
    const kind = triggers[0]?.isMember ? 'partition ' : '';
    return {
      table: printable(relation),
      kind: 'error',
      what: printable(`${kind}${relation} lacks ${listOf(triggers.map(({ name }) => name))}`),
      why: `${operationsOf(triggers)} statements that name this table become no events.`,
      fix: RECONCILE,
    };
  });
}

function silent(found: readonly Trigger[]): SourceProblem[] {
  const off = found.filter(({ enabled }) => enabled === 'D' || enabled === 'R');
  const state = ({ name, enabled }: Trigger) =>
    `${name} is ${enabled === 'D' ? 'disabled' : 'enabled for replicas only'}`;
  return byRelation(off).map(([relation, triggers]) => ({
    table: printable(relation),
    kind: 'error',
    what: printable(`${relation}: ${listOf(triggers.map(state))}`),
    why: `${operationsOf(triggers)} statements on it become no events.`,
    fix: triggers.map(({ name }) => `alter table ${printable(relation)} enable trigger ${name};`).join(' '),
  }));
}

function operationsOf(triggers: readonly Trigger[]): string {
  return listOf(triggers.map(({ operation }) => operation.toUpperCase()));
}

function byRelation(found: readonly Trigger[]): [string, Trigger[]][] {
  return [...Map.groupBy(found, ({ relation }) => relation)];
}

function listOf(words: readonly string[]): string {
  return words.join(', ');
}

/** Quotes a text as an SQL literal. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
