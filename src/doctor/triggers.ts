/** What is watched, against the triggers that are there. */
import type pg from 'pg';
import { printable } from '../table.ts';
import { type Examination, fine, type Remark, WATCH_REPLACES } from './remark.ts';

interface Source {
  id: number;
  relation: string;
  prefix: string;
  gone: boolean;
  /** The column that names the tenant, if the table has lost it. */
  lostColumn: string | null;
  foreignMember: string | null;
}

interface Trigger {
  relation: string;
  isMember: boolean;
  name: string;
  operation: string;
  /** As pg_trigger.tgenabled: O origin, A always, R replica only, D disabled. Null: it is not there. */
  enabled: 'O' | 'A' | 'R' | 'D' | null;
}

const RECONCILE = 'select * from rowhook.reconcile();   -- as the owner of the table';

export async function triggers({ client }: Examination): Promise<Remark[]> {
  const sources = await readSources(client);
  if (sources.length === 0) {
    return [
      {
        kind: 'warning',
        what: 'no table is watched',
        why: 'Nothing becomes an event, but what the application emits.',
        mend: "select * from rowhook.watch_preset('crm');   -- or rowhook.watch('public.orders')",
      },
    ];
  }
  const found = await readTriggers(client);
  const remarks = [...sources.flatMap(sourceRemarks), ...missing(found), ...silent(found)];
  return remarks.length > 0 ? remarks : [fine(`all triggers are there, watched tables: ${sources.length}`)];
}

async function readSources(client: pg.ClientBase): Promise<Source[]> {
  const { rows } = await client.query<Source>(
    `select s.id, s.prefix, c.oid is null as gone,
            case when c.oid is null then s.relation::text else format('%I.%I', n.nspname, c.relname) end as relation,
            case when s.tenant_column <> all (rowhook._columns(s.relation)) then s.tenant_column end as "lostColumn",
            rowhook._foreign_member(s.relation)::text as "foreignMember"
       from rowhook.webhook_sources s
       left join pg_class c on c.oid = s.relation
       left join pg_namespace n on n.oid = c.relnamespace
      order by 4`,
  );
  return rows;
}

/** One row for each trigger that should be there. */
async function readTriggers(client: pg.ClientBase): Promise<Trigger[]> {
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

function sourceRemarks({ relation, prefix, gone, lostColumn, foreignMember }: Source): Remark[] {
  const table = printable(relation);
  if (gone) {
    return [
      {
        kind: 'warning',
        what: `the watched table of ${prefix} was dropped`,
        why: 'It is still listed as watched; a new table of that name is not.',
        mend: RECONCILE,
      },
    ];
  }
  const remarks: Remark[] = [];
  if (lostColumn !== null) {
    remarks.push({
      kind: 'error',
      what: printable(`${relation} has lost its column ${lostColumn}, which names the tenant`),
      why: 'Without a tenant nothing of the table is captured.',
      mend: `select rowhook.watch('${table}', prefix => '${prefix}', tenant_column => '…');   ${WATCH_REPLACES}`,
    });
  }
  if (foreignMember !== null) {
    remarks.push({
      kind: 'error',
      what: printable(`${relation} has a foreign table under it, ${foreignMember}`),
      why: "PostgreSQL cannot collect its changes, and so refuses the application's UPDATE and DELETE on the table.",
      mend: `alter table ${table} detach partition ${printable(foreignMember)};   -- or select rowhook.unwatch('${table}');`,
    });
  }
  return remarks;
}

function missing(found: readonly Trigger[]): Remark[] {
  const absent = found.filter(({ enabled }) => enabled === null);
  return byRelation(absent).map(([relation, triggersOfIt]) => ({
    kind: 'error',
    what: printable(
      `${triggersOfIt[0]?.isMember ? 'partition ' : ''}${relation} lacks ${listOf(triggersOfIt.map(({ name }) => name))}`,
    ),
    why: `Nothing that names this table in ${listOf(triggersOfIt.map(({ operation }) => operation.toUpperCase()))} becomes an event.`,
    mend: RECONCILE,
  }));
}

function silent(found: readonly Trigger[]): Remark[] {
  const off = found.filter(({ enabled }) => enabled === 'D' || enabled === 'R');
  return byRelation(off).map(([relation, triggersOfIt]) => ({
    kind: 'error',
    what: printable(
      `${relation}: ${listOf(triggersOfIt.map(({ name, enabled }) => `${name} is ${enabled === 'D' ? 'disabled' : 'enabled for replicas only'}`))}`,
    ),
    why: `Its ${listOf(triggersOfIt.map(({ operation }) => operation.toUpperCase()))} becomes no event.`,
    mend: triggersOfIt.map(({ name }) => `alter table ${printable(relation)} enable trigger ${name};`).join(' '),
  }));
}

function byRelation(found: readonly Trigger[]): [string, Trigger[]][] {
  return [...Map.groupBy(found, ({ relation }) => relation)];
}

function listOf(words: readonly string[]): string {
  return words.join(', ');
}
