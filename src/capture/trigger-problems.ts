/** Finds triggers of watched tables that are missing or switched off. */
import type pg from 'pg';
import type { Finding } from '../shared/finding.ts';
import { printable } from '../shared/terminal.ts';

/** Why a watched table is not captured as requested. */
export interface SourceProblem extends Finding {
  /** The table, with its schema. */
  table: string;
}

export const RECONCILE =
  'select * from rowhook.reconcile();   -- as the owner of the table and a member of rowhook_owner';

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

export async function triggerProblems(client: pg.ClientBase | pg.Pool): Promise<SourceProblem[]> {
  const found = await readTriggers(client);
  return [...missing(found), ...silent(found)];
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

export function listOf(words: readonly string[]): string {
  return words.join(', ');
}
