/** Checks that the table is watched and that its triggers fire. */
import type pg from 'pg';
import { bySetting, bySubscription } from '../../capture/muted-sessions.ts';
import { sourceProblems } from '../../capture/source-problems.ts';
import { shellWord } from '../../shared/shell-quote.ts';
import { printable } from '../../shared/terminal.ts';
import type { Step } from './answer.ts';
import { type Table, whyCommand } from './table.ts';

export interface Source {
  id: number;
  relation: string;
  prefix: string;
  /** Quoted. Null: all rows have one tenant, or the table has lost the column. */
  tenantColumn: string | null;
  lostColumn: string | null;
  tenantId: string | null;
  events: string[];
  ignoreColumns: string[];
  capture: 'subscribed' | 'all';
  createdAt: Date;
}

/** Limit on listed triggers, because a table may have a thousand partitions. */
const LISTED_MAX = 5;

export async function findSource(client: pg.Client, table: Table): Promise<Source | undefined> {
  const { rows } = await client.query<Source>(
    `select s.id, format('%I.%I', n.nspname, c.relname) as relation, s.prefix, s.tenant_id as "tenantId",
            case when s.tenant_column = any (rowhook._columns(s.relation))
                 then quote_ident(s.tenant_column) end as "tenantColumn",
            case when s.tenant_column <> all (rowhook._columns(s.relation))
                 then s.tenant_column::text end as "lostColumn",
            array(select t.event_type from rowhook.webhook_event_types t
                   where t.relation = s.relation order by 1) as events,
            s.ignore_columns as "ignoreColumns", s.capture, s.created_at as "createdAt"
       from rowhook.webhook_sources s
       join pg_class c on c.oid = s.relation
       join pg_namespace n on n.oid = c.relnamespace
      where s.relation::oid::text = any ($1::text[])`,
    [table.family],
  );
  return rows[0];
}

/** In the order of a change's way: watched, trigger, settings. */
export async function sourceSteps(
  client: pg.Client,
  table: Table,
  source: Source | undefined,
  key: readonly string[],
): Promise<Step[]> {
  const namesakes = table.namesakes.map(
    (other): Step => ({
      kind: 'note',
      what: `${printable(other)} is another table of this name, and is watched`,
      fix: whyCommand(other, key),
    }),
  );
  if (source === undefined) return [await notWatched(client, table), ...namesakes];
  const relation = printable(source.relation);
  const steps: Step[] = [
    {
      kind: 'fine',
      what: `${relation} is watched since ${source.createdAt.toISOString()}: ${source.events.join(', ')}`,
    },
    ...namesakes,
    ...(await triggerSteps(client, source)),
    ...(await mutedSteps(client, table, source)),
  ];
  if (source.lostColumn !== null) {
    const what = `${relation} has lost its column ${printable(source.lostColumn)}, which names the tenant`;
    steps.push({ kind: 'stops', what, fix: 'rowhook doctor   # says how to watch it again' });
  }
  return steps;
}

/**
 * A table that replaced a watched table can take over its settings. A new watch() would lose them.
 */
async function notWatched(client: pg.Client, { name, root, hasTenant }: Table): Promise<Step> {
  const replaced = (await sourceProblems(client)).find(({ table }) => table === printable(root));
  if (replaced !== undefined) return { kind: 'stops', what: replaced.what, fix: replaced.fix };
  const tenant = hasTenant ? '' : ' --tenant-column <column>';
  const fix = `rowhook watch ${shellWord(printable(root))}${tenant}`;
  return { kind: 'stops', what: `${printable(name)} is not watched`, fix };
}

interface Trigger {
  relation: string;
  name: string;
  operation: string;
  /** As pg_trigger.tgenabled. Null: the trigger is missing. */
  enabled: string | null;
  total: number;
}

async function triggerSteps(client: pg.Client, source: Source): Promise<Step[]> {
  const { rows } = await client.query<Trigger>(
    `select format('%I.%I', n.nspname, c.relname) as relation, 'rowhook_' || operation as name, operation,
            t.tgenabled as enabled, count(*) over ()::int as total
       from rowhook.webhook_sources s
      cross join lateral rowhook._capture_relations(s.relation) as r (oid)
       join pg_class c on c.oid = r.oid
       join pg_namespace n on n.oid = c.relnamespace
      cross join unnest('{insert,update,delete}'::text[]) as operation
       left join pg_trigger t on t.tgrelid = r.oid and t.tgname = 'rowhook_' || operation
                             and t.tgfoid = to_regproc('rowhook._capture_' || s.id)
      where s.id = $1 and (t.oid is null or t.tgenabled in ('D', 'R'))
      order by 1, 2 limit ${LISTED_MAX}`,
    [source.id],
  );
  if (rows.length === 0) return [{ kind: 'fine', what: 'its triggers exist and are enabled' }];
  const steps = rows.map(triggerStep);
  const more = (rows[0]?.total ?? 0) - rows.length;
  if (more > 0)
    steps.push({ kind: 'stops', what: `${more} more triggers are missing or disabled`, fix: 'rowhook doctor' });
  return steps;
}

function triggerStep({ relation, name, operation, enabled }: Trigger): Step {
  const on = printable(relation);
  const lost = `${operation.toUpperCase()} statements make no events`;
  if (enabled === null) {
    return {
      kind: 'stops',
      what: `${on} has no trigger ${name}: ${lost}`,
      fix: 'select * from rowhook.reconcile();',
    };
  }
  const how = enabled === 'D' ? 'disabled' : 'enabled for replicas only';
  const fix = `alter table ${on} enable trigger ${name};`;
  return { kind: 'stops', what: `the trigger ${name} of ${on} is ${how}: ${lost}`, fix };
}

async function mutedSteps(client: pg.Client, table: Table, source: Source): Promise<Step[]> {
  const bySubscriptions = (await bySubscription(client)).filter(({ what }) =>
    [table.name, source.relation].some((name) => what.startsWith(`${printable(name)} `)),
  );
  return [...(await bySetting(client)), ...bySubscriptions].map(
    (result): Step => ({
      kind: result.kind === 'error' ? 'stops' : 'note',
      what: result.what,
      ...('fix' in result ? { fix: result.fix } : {}),
    }),
  );
}
