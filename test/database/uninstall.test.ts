// sql/uninstall.sql leaves the database, and the roles of the cluster, as they were. On a server of its own, as roles belong
// to all databases.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { startDaemon } from '../../src/daemon/daemon.ts';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { catalogOf } from '../support/catalog.ts';
import { daemonSettings } from '../support/daemon.ts';
import { startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';

const run = promisify(execFile);
const sql = join(import.meta.dirname, '../../sql');
const uninstall = readFileSync(join(sql, 'uninstall.sql'), 'utf8');
const crm = readFileSync(join(sql, 'crm.sql'), 'utf8');

let server: Embedded;
let postgres: pg.Client;
let client: pg.Client;

beforeAll(async () => {
  server = await startEmbedded({ major: wantedMajor, settings: { fsync: 'off' } });
  postgres = await connect('postgres');
});

beforeEach(async () => {
  await client?.end();
  await postgres.query('drop database if exists app with (force)');
  await postgres.query('create database app template template0');
  client = await connect('app');
});

afterAll(async () => {
  await Promise.all([client, postgres].map((each) => each?.end()));
  await server?.stop('immediate');
});

async function connect(database: string): Promise<pg.Client> {
  const connected = new pg.Client(server.urlOf(database, 'postgres', password()));
  connected.on('error', () => {});
  await connected.connect();
  return connected;
}

const password = () => decodeURIComponent(new URL(server.url).password);
const catalog = () => catalogOf({ query: async (text: string) => (await client.query(text)).rows });
const cluster = async () =>
  (
    await postgres.query(
      `select 'role ' || rolname || ' ' || rolcanlogin as line from pg_roles union all
       select 'member ' || roleid::regrole || ' ' || member::regrole from pg_auth_members order by 1`,
    )
  ).rows.map(({ line }) => line);

/** As `psql -1 -f` runs it; what it says, with the hint behind it. */
async function uninstalled(from: pg.Client = client): Promise<string[]> {
  const notices: string[] = [];
  const listen = ({ message = '', hint }: { message?: string | undefined; hint?: string | undefined }) =>
    notices.push(hint === undefined ? message : `${message}. ${hint}`);
  from.on('notice', listen);
  await from.query(`begin; ${uninstall}; commit`);
  from.off('notice', listen);
  return notices;
}

/** `pg_dump -s`, where this machine has one that can read this server. */
async function dumped(): Promise<string> {
  const version = await run('pg_dump', ['--version']).then(
    ({ stdout }) => Number(/\(PostgreSQL\) (\d+)/.exec(stdout)?.[1] ?? 0),
    () => 0,
  );
  if (version < server.major) return '';
  const { stdout } = await run('pg_dump', ['-s', server.urlOf('app', 'postgres', password())], { maxBuffer: 2 ** 26 });
  return stdout.replace(/^\\(un)?restrict .*$/gm, '');
}

test('after everything was used, the dump, the catalog and the roles are as before', async () => {
  await client.query(`${crm}
    create table "Odd ""Table" (a int, b text, tenant_id text, primary key (b, a));
    create table parted (id int primary key, tenant_id text) partition by list (id);
    create table parted_1 partition of parted for values in (1);
    create table animals (id int, tenant_id text); create table cats () inherits (animals);
    create function own() returns trigger language plpgsql as 'begin return new; end';
    create trigger own before insert on deals for each row execute function own();
    insert into clients (organization_id, name) values (gen_random_uuid(), 'stays')`);
  const [before, dumpBefore, rolesBefore] = [await catalog(), await dumped(), await cluster()];

  await migrate(client);
  await client.query("select rowhook.watch_preset('crm')");
  for (const table of ['"Odd ""Table"', 'parted', 'animals'])
    await client.query('select rowhook.watch($1::regclass)', [table]);
  await client.query("create role worker login password 'secret'; grant rowhook_daemon to worker");
  const receiver = await startReceiver();
  const daemon: Daemon = await startDaemon(daemonSettings(server.urlOf('app', 'worker', 'secret')));
  await client.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', $1, '{*}')`,
    [receiver.url()],
  );
  await client.query(`insert into rowhook.webhook_tenants (id, name) values ('acme', 'Acme')`);
  await client.query(`
    insert into "Odd ""Table" values (1, 'x', 'acme'); insert into parted values (1, 'acme'); insert into cats values (1, 'acme');
    create table parted_2 partition of parted for values in (2); select rowhook.reconcile(); insert into parted_2 values (2, 'acme');
    select rowhook.emit('a.b', '{}', 'acme')`);
  await receiver.waitFor(5);
  await daemon.stop();
  await receiver.close();
  await client.query('drop table parted_2');

  expect(await uninstalled()).toEqual([]);
  await client.query('drop role worker');
  expect(await catalog()).toEqual(before);
  expect(await dumped()).toBe(dumpBefore);
  expect(await cluster()).toEqual(rolesBefore);
  expect((await client.query('select name from clients')).rows).toEqual([{ name: 'stays' }]);
  // nothing fires any more, and the connection is as it was
  await client.query("insert into cats values (2, 'acme'); update clients set name = 'changes'; delete from clients");
  expect((await client.query('show lock_timeout')).rows).toEqual([{ lock_timeout: '0' }]);
});

test('twice, and where nothing is installed, it does nothing', async () => {
  const before = [await catalog(), await cluster()];
  expect(await uninstalled()).toEqual([]);
  await migrate(client);
  await uninstalled();
  await uninstalled();
  expect([await catalog(), await cluster()]).toEqual(before);
});

test('it can be installed again, with another incarnation', async () => {
  await migrate(client);
  const incarnation = async () =>
    (await client.query('select incarnation from rowhook.webhook_incarnations')).rows[0]?.incarnation;
  const first = await incarnation();
  await uninstalled();
  await migrate(client);
  expect(await incarnation()).not.toBe(first);
  await uninstalled();
});

test('roles that another database still uses are kept, until it is uninstalled there too', async () => {
  const before = await cluster();
  await migrate(client);
  await postgres.query('create database app_2 template template0');
  const second = await connect('app_2');
  try {
    await migrate(second);
    expect(await uninstalled()).toEqual(
      ['rowhook_api', 'rowhook_app', 'rowhook_daemon', 'rowhook_owner', 'rowhook_worker'].map(
        (role) => `role ${role} is kept: something else in this cluster uses it`,
      ),
    );
    await second.query('create table t (id int primary key, tenant_id text)');
    await second.query("select rowhook.watch('t'); insert into t values (1, 'acme')");
    expect(await uninstalled(second)).toEqual([]);
    expect(await cluster()).toEqual(before);
  } finally {
    await second.end();
    await postgres.query('drop database app_2 with (force)');
  }
});

test('a role that it may not drop is kept, and it says what a DBA has to run', async () => {
  await migrate(client);
  await postgres.query(`
    create role installer login password 'secret'; grant rowhook_owner to installer;
    alter database app owner to installer`);
  const installer = new pg.Client(server.urlOf('app', 'installer', 'secret'));
  await installer.connect();
  // While another database uses the roles, nobody could drop them.
  await postgres.query('create database app_2 template template0');
  const second = await connect('app_2');
  try {
    await migrate(second);
    expect(await uninstalled(installer)).toEqual(
      ['rowhook_api', 'rowhook_app', 'rowhook_daemon', 'rowhook_owner', 'rowhook_worker'].map(
        (role) => `role ${role} is kept: something else in this cluster uses it`,
      ),
    );
    await second.end();
    await postgres.query('drop database app_2 with (force)');
    const kept = await uninstalled(installer);
    expect(kept).toEqual(
      ['rowhook_api', 'rowhook_app', 'rowhook_daemon', 'rowhook_owner', 'rowhook_worker'].map(
        (role) => `role ${role} is kept: installer may not drop it. Let a DBA run: drop role ${role}`,
      ),
    );
    // docs/dba/upgrade.md: whoever may drop them runs the file again
    expect(await uninstalled(client)).toEqual([]);
    expect((await client.query("select from pg_roles where rolname ~ '^rowhook_'")).rows).toEqual([]);
  } finally {
    await installer.end();
    await postgres.query('alter database app owner to postgres; drop role installer');
  }
});

test('what a DBA granted to others goes as well, and a watched table that is locked makes it wait, not hang', async () => {
  await migrate(client);
  await client.query(`create table t (id int primary key, tenant_id text); select rowhook.watch('t')`);
  const before = await catalog();
  const holder = await connect('app');
  try {
    await holder.query('begin; lock table t in row exclusive mode');
    // ten seconds are too long for a test
    const impatient = uninstall.replace("lock_timeout = '10s'", "lock_timeout = '200ms'");
    expect(impatient).not.toBe(uninstall);
    await expect(client.query(`begin; ${impatient}; commit`)).rejects.toThrow('lock timeout');
    await client.query('rollback');
    expect(await catalog()).toEqual(before);
  } finally {
    await holder.end();
  }
  await uninstalled();
  expect((await catalog()).filter((line) => line.includes('rowhook'))).toEqual([]);
});
