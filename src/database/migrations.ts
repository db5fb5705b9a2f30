/**
 * Applies sql/migrations with postgres-migrations. Other objects of the database stay untouched.
 *
 * postgres-migrations keeps a table `migrations` without a schema name, and would use one that it
 * finds in any schema. So rowhook creates `rowhook.migrations` itself and lends it a connection
 * whose search_path is `rowhook` alone. The schema is created by 0001, so 0001 runs here as psql
 * would run it. rowhook.schema_version() tells which files ran outside postgres-migrations, here or
 * by a DBA with psql. They are then recorded in the list.
 */
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { loadMigrationFiles, migrate as runMigrations } from 'postgres-migrations';
import { UserError } from '../shared/user-error.ts';
import { membershipOf } from './membership.ts';
import { requirePolicies, restoreRowSecurity } from './row-security.ts';
import { restoreOwner, wrongOwner } from './schema-owner.ts';

export interface MigrateReport {
  /** File names, in order. */
  applied: string[];
  /** Number of objects that this run repaired: their owner, or row-level security. */
  repaired: number;
  /** The schema's version now: the number of the last file. */
  version: number;
}

type MigrationFile = Awaited<ReturnType<typeof loadMigrationFiles>>[number];

/** Next to src/ in a checkout, next to dist/ in the package. */
const sqlFolder = [
  new URL('../../sql/migrations/', import.meta.url),
  new URL('../../../sql/migrations/', import.meta.url),
];

/** Held while migrating. An arbitrary number that nobody else is likely to use. */
const ADVISORY_LOCK = 7_696_710_571;

const ROLES = ['rowhook_api', 'rowhook_app', 'rowhook_daemon', 'rowhook_owner', 'rowhook_worker'];

/** The schema version that this rowhook was built for. */
export async function builtForVersion(): Promise<number> {
  return (await loadFiles()).files.length - 1;
}

/** The schema version in the database, or 0 without a schema. */
export async function schemaVersion(client: pg.ClientBase): Promise<number> {
  const found = await client.query("select to_regprocedure('rowhook.schema_version()') is not null as found");
  if (!found.rows[0].found) return 0;
  return (await client.query('select rowhook.schema_version() as version')).rows[0].version;
}

/**
 * The daemon and the API run only on the schema that they were built for. Resolves to its version,
 * or rejects with a sentence.
 */
export async function requireSchema(client: pg.Client): Promise<number> {
  const problem = await wrongOwner(client);
  if (problem) throw problem.error;
  const [found, wanted] = [await schemaVersion(client), await builtForVersion()];
  if (found === 0) throw new UserError('rowhook is not installed in this database. Run "rowhook migrate".');
  if (found < wanted) {
    throw new UserError(
      `The schema rowhook is at version ${found}, but this rowhook needs version ${wanted}. Run "rowhook migrate".`,
    );
  }
  if (found > wanted) {
    throw new UserError(
      `The schema rowhook is at version ${found}, but this rowhook only knows versions up to ${wanted}. ` +
        'Use a newer rowhook. Nothing was changed.',
    );
  }
  await requirePolicies(client);
  return wanted;
}

/** Applies missing files. Replicas that start together wait for each other. */
export async function migrate(client: pg.Client, log: (line: string) => void = () => {}): Promise<MigrateReport> {
  const { rows } = await client.query('select pg_try_advisory_lock($1) as locked', [ADVISORY_LOCK]);
  if (!rows[0].locked) {
    log('waiting, because another rowhook is migrating this database');
    await client.query('select pg_advisory_lock($1)', [ADVISORY_LOCK]);
  }
  try {
    return await applyMissing(client, log);
  } finally {
    // A broken connection has already released the lock.
    await client.query('select pg_advisory_unlock($1)', [ADVISORY_LOCK]).catch(() => {});
  }
}

async function applyMissing(client: pg.Client, log: (line: string) => void): Promise<MigrateReport> {
  const { folder, files } = await loadFiles();
  const latest = files.length - 1;
  const given = await restoreOwner(client);
  if (given > 0) log(`gave ${given} objects of the schema rowhook back to rowhook_owner`);
  const before = await schemaVersion(client);
  if (before > latest) {
    throw new UserError(
      `The schema rowhook is at version ${before}, but this rowhook only knows versions up to ${latest}. ` +
        'Use a newer rowhook. Nothing was changed.',
    );
  }
  const secured = before === 0 ? 0 : await restoreRowSecurity(client);
  if (secured > 0)
    log(
      `switched row-level security on again for ${secured === 1 ? 'one table' : `${secured} tables`} of the schema rowhook`,
    );
  const rolesBefore = await existingRoles(client);
  const wasMember = await isDirectMember(client);
  const applied: string[] = [];
  if (before === 0) {
    const first = files[1] as MigrationFile;
    await inTransaction(client, () => client.query(first.sql));
    log(`applied ${first.fileName}`);
    applied.push(first.fileName);
  }
  const searchPath = (await client.query('show search_path')).rows[0].search_path;
  try {
    await record(client, files);
    // After `record`, because the schema's list may not exist before.
    await client.query("select set_config('search_path', 'rowhook', false)");
    // Only the log of postgres-migrations reports a file as soon as it is applied.
    const logger = (message: string) => {
      const file = files[Number(/^Finished migration: (\d+) /.exec(message)?.[1])];
      if (file) log(`applied ${file.fileName}`);
    };
    applied.push(...(await runMigrations({ client }, folder, { logger })).map(({ fileName }) => fileName));
  } catch (error) {
    // postgres-migrations rolled the failed file back. An incomplete first installation is removed
    // as a whole.
    if (before === 0) {
      await takeBack(client, rolesBefore);
      log('removed the incomplete schema again');
    }
    throw error;
  } finally {
    await client.query("select set_config('search_path', $1, false)", [searchPath]);
  }
  if (!wasMember && (await isDirectMember(client))) {
    const { role } = await membershipOf(client);
    log(`${role} is a member of rowhook_owner from now on. To end that: revoke rowhook_owner from ${role};`);
  }
  return { applied, repaired: given + secured, version: await schemaVersion(client) };
}

/** Whether this login was granted rowhook_owner itself, in a way that gives it the privileges. */
async function isDirectMember(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_auth_members m join pg_roles r on r.oid = m.member
      where r.rolname = current_user and m.roleid = to_regrole('rowhook_owner')
        and pg_has_role(m.roleid, 'usage')`,
  );
  return rows.length > 0;
}

async function existingRoles(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query('select rolname from pg_roles where rolname = any ($1)', [ROLES]);
  return rows.map(({ rolname }) => rolname);
}

async function takeBack(client: pg.Client, rolesBefore: readonly string[]): Promise<void> {
  await client.query('drop schema rowhook cascade');
  for (const role of ROLES.filter((name) => !rolesBefore.includes(name))) {
    // Another database of the cluster may use the role.
    await client.query(`drop role if exists ${role}`).catch(() => {});
  }
}

/** Brings rowhook.migrations up to the version that the schema reports. */
async function record(client: pg.Client, files: MigrationFile[]): Promise<void> {
  const done = files.slice(0, (await schemaVersion(client)) + 1);
  await inTransaction(client, async () => {
    // Every member of rowhook_owner may then run the next migration.
    await client.query('set local role rowhook_owner');
    // postgres-migrations reads and writes these columns.
    await client.query(`
      create table if not exists rowhook.migrations (
        id          int           primary key,
        name        varchar(100)  not null unique,
        hash        varchar(40)   not null,
        executed_at timestamp     default current_timestamp
      );
      comment on table rowhook.migrations is 'Which files of sql/migrations were applied. Kept by rowhook migrate.';
      comment on column rowhook.migrations.id is 'Number of the file; 0 stands for this table.';
      comment on column rowhook.migrations.name is 'Name of the file without its number.';
      comment on column rowhook.migrations.hash is 'SHA-1 of its name and text: a file that changed since is refused.';
      comment on column rowhook.migrations.executed_at is
        'When it was applied or, if a DBA applied it with psql, recorded.';
      comment on constraint migrations_pkey on rowhook.migrations is 'A file is applied once.';
      comment on constraint migrations_name_key on rowhook.migrations is
        'A file is applied once, whatever its number.'`);
    await client.query(
      `insert into rowhook.migrations (id, name, hash)
       select * from unnest($1::int[], $2::text[], $3::text[]) on conflict (id) do nothing`,
      [done.map((f) => f.id), done.map((f) => f.name), done.map((f) => f.hash)],
    );
  });
}

async function inTransaction(client: pg.Client, work: () => Promise<unknown>): Promise<void> {
  await client.query('begin');
  try {
    await work();
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/** File 0 is postgres-migrations' own list. Our files are numbered from 1. */
async function loadFiles(): Promise<{ folder: string; files: MigrationFile[] }> {
  for (const url of sqlFolder) {
    const folder = fileURLToPath(url);
    const files = await loadMigrationFiles(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (files) return { folder, files };
  }
  throw new Error('The folder sql/migrations is missing from this installation of rowhook. Install rowhook again.');
}
