/** What must hold before the API may start, and while it answers. */
import type pg from 'pg';
import { withClient } from '../database/connections.ts';
import { requireSchema } from '../database/migrations.ts';
import { requireRowSecurity } from '../database/row-security.ts';
import { printable } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';
import { toProblem } from './problem.ts';
import type { Service } from './service.ts';

/** Each refusal names the statement that ends it. */
export function checkDatabase(databaseUrl: string): Promise<void> {
  return withClient(databaseUrl, 'rowhook api', async (client) => {
    // A login without the role may not even ask for the version.
    await requireRole(client);
    await requireSchema(client);
    await requireRowSecurity(client);
    await requireSetting(client);
  });
}

/** A login acts as rowhook_api in each request, and calls one function as itself before. */
async function requireRole(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ role: string; may: boolean | null; by_grant: boolean; inherits: boolean }>(
    `select quote_ident(session_user) as role, v.by_grant, r.rolinherit as inherits,
            pg_has_role(r.oid, v.api, 'usage')
            and pg_has_role(r.oid, v.api, case when v.by_grant then 'set' else 'member' end) as may
       from pg_roles r,
            (select current_setting('server_version_num')::int >= 160000 as by_grant,
                    to_regrole('rowhook_api')::oid as api) as v
      where r.rolname = session_user`,
  );
  const { role, may, by_grant, inherits } = rows[0] as (typeof rows)[number];
  // Null: the role does not exist, so rowhook is not installed, or is older.
  if (may ?? true) return;
  const grant = by_grant
    ? `grant rowhook_api to ${role} with inherit true, set true`
    : `grant rowhook_api to ${role}${inherits ? '' : `; alter role ${role} inherit`}`;
  throw new UserError(
    printable(
      `${role} may not act as rowhook_api. If it is the login of the API, let a DBA run: ${grant}; then start ` +
        '"rowhook serve" again. If not, connect as that login, a member of rowhook_api and of nothing else.',
    ),
  );
}

const FOLLOWS =
  'create or replace function rowhook.current_tenant() returns text language sql stable parallel safe ' +
  "return nullif(current_setting('rowhook.tenant_id', true), '')";

const OTHERS =
  "Where others use the replaced function, let it begin with this: case when current_setting('role', true) = " +
  "'rowhook_api' then nullif(current_setting('rowhook.tenant_id', true), '') else … end";

/** Every request names its tenant in a setting. A replaced function may take it from elsewhere. */
async function requireSetting(client: pg.Client): Promise<void> {
  const name = 'rowhook api check';
  await client.query('begin');
  try {
    await client.query("select set_config('role', 'rowhook_api', true), set_config('rowhook.tenant_id', $1, true)", [
      name,
    ]);
    const { rows } = await client.query<{ tenant: string | null }>('select rowhook.current_tenant() as tenant');
    if (rows[0]?.tenant === name) return;
  } finally {
    await client.query('rollback');
  }
  throw new UserError(
    'rowhook.current_tenant() was replaced, and does not follow the setting rowhook.tenant_id. ' +
      `Let a DBA run: ${FOLLOWS}; then start "rowhook serve" again. ${OTHERS}.`,
  );
}

/** Takes the role of each request, and calls a function. A login that has lost its rights fails here. */
const READY = "select pg_catalog.set_config('role', 'rowhook_api', true), rowhook.schema_version()";

const running = new WeakMap<Service, Promise<string | null>>();

/**
 * Why requests cannot be answered, for anybody to read, or null. Those who ask at the same time
 * share one connection: anybody may ask, and many took half of the connections.
 */
export function readyProblem(service: Service): Promise<string | null> {
  const known = running.get(service);
  if (known !== undefined) return known;
  const check = ask(service).finally(() => running.delete(service));
  running.set(service, check);
  return check;
}

async function ask({ pool, turnstile, log }: Service): Promise<string | null> {
  try {
    const place = await turnstile.pass('ready');
    try {
      await pool.query(READY);
      return null;
    } finally {
      place.leave();
    }
  } catch (err) {
    const { status, message } = toProblem(err);
    if (status === 503) return message;
    // The error names the login.
    log.error({ err }, 'not ready: the database refuses the login of the API, or has no schema for it');
    return 'The database refuses the login of the API. The log of the server has the error.';
  }
}
