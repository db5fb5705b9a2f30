/**
 * Checks that this role has the privileges for its task, and that rowhook_daemon has those of a
 * daemon.
 */
import type pg from 'pg';
import { membershipOf, uninheritedRole } from '../../database/membership.ts';
import { openTablesFinding } from '../../database/row-security.ts';
import { printable } from '../../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

/** The grants of the migrations. test/doctor/doctor.test.ts compares this list with them. */
export const NEEDED: Readonly<Record<'table' | 'sequence' | 'function', Readonly<Record<string, string>>>> = {
  table: {
    webhook_configurations: 'select',
    webhook_counted_logs: 'select, insert, update',
    webhook_daemons: 'select, insert, update, delete',
    webhook_deliveries: 'select, insert, update, delete',
    webhook_event_types: 'select',
    event_definitions: 'select',
    event_types: 'select',
    webhook_health: 'select, insert, update, delete',
    webhook_incarnations: 'select, insert',
    webhook_installation: 'select, update',
    webhook_lane_owners: 'select',
    webhook_lanes: 'select, update',
    webhook_lagging_tenants: 'select, insert, update, delete',
    webhook_logs: 'select, insert',
    webhook_minutes: 'select, insert, update',
    webhook_outbox: 'select',
    webhook_sources: 'select',
    webhook_stats: 'select',
    webhook_templates: 'select, insert, update',
    webhook_tenants: 'select',
  },
  sequence: {
    doorbell: 'select, update',
    rows_without_tenant: 'select',
    webhook_logs_id_seq: 'usage, select',
    webhook_outbox_id_seq: 'select',
  },
  function: {
    _disable_webhook: 'execute',
    _delete_old_rows: 'execute',
    _drop_old_inbound: 'execute',
    _drop_old_logs: 'execute',
    _holds: 'execute',
    _inbound_state: 'execute',
    _log_days_ahead: 'execute',
    _make_inbound_partitions: 'execute',
    _make_log_partitions: 'execute',
    _notice_restore: 'execute',
    _recycle_slot: 'execute',
    _ring: 'execute',
    _webhook_state: 'execute',
    reconcile: 'execute',
    schema_version: 'execute',
  },
};

export async function privileges({ client }: Examination): Promise<CheckResult[]> {
  const own = await ownRole(client);
  // A role without USAGE on the schema cannot read anything in it.
  if (own.some(({ kind }) => kind === 'error')) return own;
  const open = await openTablesFinding(client);
  return [
    ...own,
    ...(open ? [open] : []),
    ...(await missingGrants(client)),
    ...(await mightyDaemons(client)),
    ...(await mightyApis(client)),
  ];
}

async function ownRole(client: pg.ClientBase): Promise<CheckResult[]> {
  const membership = await membershipOf(client);
  const { role, isOwner, isDaemon, grant } = membership;
  const uninherited = uninheritedRole(membership);
  if (isDaemon) return [fine(`${role} may deliver`)];
  if (isOwner) return [fine(`${role} may migrate and watch`)];
  return [
    {
      kind: 'error',
      what:
        uninherited === null
          ? `${role} is not a member of rowhook_daemon or rowhook_owner`
          : `${role} is a member of ${uninherited}, but does not inherit its privileges`,
      why: 'A daemon with this login cannot read the outbox.',
      fix: grant(uninherited ?? 'rowhook_daemon'),
    },
  ];
}

async function missingGrants(client: pg.ClientBase): Promise<CheckResult[]> {
  const { rows } = await client.query<{ kind: string; object: string; privilege: string }>(
    `select n.kind, n.object, n.privilege
       from unnest($1::text[], $2::text[], $3::text[]) as n (kind, object, privilege)
       left join pg_class c on c.oid = to_regclass('rowhook.' || n.object) and n.kind <> 'function'
       left join pg_proc p on p.pronamespace = 'rowhook'::regnamespace and p.proname = n.object and n.kind = 'function'
      where not coalesce(case n.kind
              when 'table'    then has_table_privilege('rowhook_daemon', c.oid, n.privilege)
              when 'sequence' then has_sequence_privilege('rowhook_daemon', c.oid, n.privilege)
              else                 has_function_privilege('rowhook_daemon', p.oid, n.privilege)
            end, false)
      union all
     select 'schema', 'rowhook', 'usage' where not has_schema_privilege('rowhook_daemon', 'rowhook', 'usage')`,
    transposed(),
  );
  if (rows.length === 0) return [fine('rowhook_daemon has all privileges that a daemon needs')];
  const lacking = rows.map(({ object, privilege }) => `${privilege} on ${object}`).join(', ');
  return [
    {
      kind: 'error',
      what: `rowhook_daemon lacks ${lacking}`,
      why: 'The daemon fails when it needs this privilege.',
      fix: rows.map(grant).join(' '),
    },
  ];
}

function transposed(): string[][] {
  const rows = Object.entries(NEEDED).flatMap(([kind, objects]) =>
    Object.entries(objects).flatMap(([object, list]) => list.split(', ').map((privilege) => [kind, object, privilege])),
  );
  return [0, 1, 2].map((column) => rows.map((row) => row[column] ?? ''));
}

function grant({ kind, object, privilege }: { kind: string; object: string; privilege: string }): string {
  const on = kind === 'schema' ? 'schema rowhook' : `${kind} rowhook.${object}`;
  return `grant ${privilege} on ${on} to rowhook_daemon;`;
}

/** A login with the daemon's password should be able to deliver, and nothing else. */
async function mightyDaemons(client: pg.ClientBase): Promise<CheckResult[]> {
  const { rows } = await client.query<{ role: string }>(
    `select distinct quote_ident(r.rolname) as role
       from pg_stat_activity a
       join pg_roles r on r.oid = a.usesysid
      where a.datname = current_database() and a.application_name = 'rowhook reader'
        and (r.rolsuper or r.rolbypassrls)`,
  );
  return rows.map(({ role }) => ({
    kind: 'warning',
    what: printable(`a daemon is logged in as ${role}, which may do anything`),
    why: 'The daemon connects to addresses that tenants choose, so its login should have few privileges.',
    fix:
      'create role rowhook_login login; grant rowhook_daemon to rowhook_login;   ' +
      "-- set its password, and use it in the daemon's DATABASE_URL",
  }));
}

/** Each request of the API takes the role rowhook_api. Its login should have nothing to go back to. */
async function mightyApis(client: pg.ClientBase): Promise<CheckResult[]> {
  const { rows } = await client.query<{ role: string }>(
    `select distinct quote_ident(r.rolname) as role
       from pg_stat_activity a
       join pg_roles r on r.oid = a.usesysid
      where a.datname = current_database() and a.application_name = 'rowhook api'
        and (r.rolsuper or r.rolbypassrls
             or pg_has_role(r.oid, 'rowhook_owner', 'member') or pg_has_role(r.oid, 'rowhook_daemon', 'member'))`,
  );
  return rows.map(({ role }) => ({
    kind: 'warning',
    what: printable(`"rowhook serve" is logged in as ${role}, which could bypass row-level security`),
    why: 'The API answers strangers, so its login should reach one tenant at a time, and nothing else.',
    fix:
      'create role rowhook_api_login login; grant rowhook_api to rowhook_api_login;   ' +
      '-- set its password, and use it in the DATABASE_URL of "rowhook serve"',
  }));
}
