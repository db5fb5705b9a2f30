// default_transaction_read_only: whoever is asked names the setting, whose it is, and the statement, which works in that state.

import { randomBytes } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withClient } from '../../src/database/connections.ts';
import { migrate } from '../../src/database/migrations.ts';
import { readOnlySetting } from '../../src/database/read-only.ts';
import { startEmbedded } from '../../src/demo/postgres.ts';
import { rowhook } from '../support/cli.ts';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: DaemonProcess | undefined;

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startReceiver()];
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url() });
});
afterAll(async () => {
  await daemon?.kill('SIGKILL');
  await receiver.close();
  await database.drop();
});

/** The remedy, which stands in the sentence. */
const remedyIn = (text: string) => /Otherwise: (.*)\.\n/.exec(text)?.[1] ?? '';

/** A statement of somebody whose session inherits the setting as well. */
async function run(statement: string, url = database.url): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(statement);
  await client.end();
}

test('a running daemon says so on /readyz, stays healthy, and goes on; start, doctor and commands say it too', {
  timeout: 90_000,
}, async () => {
  const port = await freePort();
  daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_HTTP_PORT: String(port) });
  await daemon.tookLanes();
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, text: await response.text() };
  };
  await database.query(`alter database ${database.name} set default_transaction_read_only = on`);
  // connections from before still write
  await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()`,
    [database.name],
  );
  const readiness = await waitUntil('it says why', async () => {
    const { status, text } = await ask('/readyz');
    return text.includes('default_transaction_read_only') && { status, text };
  });
  expect(readiness.status).toBe(503);
  expect(readiness.text).toContain(`default_transaction_read_only is on for database ${database.name}.`);
  expect((await ask('/healthz')).status).toBe(200);

  const statement = `begin read write; alter database ${database.name} reset default_transaction_read_only; commit`;
  const start = await rowhook(['start'], { env: { DATABASE_URL: database.daemonUrl } });
  expect(start.code).toBe(1);
  expect(remedyIn(start.stderr)).toBe(statement);
  const deletion = withClient(database.url, 'rowhook cli', (client) =>
    client.query('begin; delete from rowhook.webhook_configurations'),
  );
  await expect(deletion).rejects.toThrow(statement);
  const doctor = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: database.url } });
  expect(doctor.code).toBe(1);
  expect(doctor.stdout).toContain(statement);
  const status = await rowhook(['status'], { env: { DATABASE_URL: database.url } });
  expect(status.stdout).toContain(statement);
  // libpq refuses such a server too
  const hosts = new URL(database.daemonUrl).host;
  for (const attrs of [hosts, `${hosts},${hosts}`]) {
    const url = `${database.daemonUrl.replace(`@${hosts}`, `@${attrs}`)}?target_session_attrs=read-write`;
    await expect(withClient(url, 'rowhook cli', readOnlySetting)).rejects.toThrow(
      `Otherwise, connected without target_session_attrs: ${statement}`,
    );
  }

  await run(statement);
  await waitUntil('it is ready again', async () => (await ask('/readyz')).status === 200);
  await run("select rowhook.emit('a.b', '{}', 'acme')");
  await receiver.waitFor(1);
});

test('migrate names it, and leaves nothing half done', async () => {
  const bare = await createDatabase({ bare: true });
  await bare.query(`alter database ${bare.name} set default_transaction_read_only = on`);
  const migrated = () => withClient(bare.url, 'rowhook cli', (client) => migrate(client));
  const refusal = await migrated().catch((error: Error) => error.message);
  expect(refusal).toContain('default_transaction_read_only is on for database');
  expect(await bare.query("select to_regnamespace('rowhook') as found")).toEqual([{ found: null }]);
  await run(remedyIn(`${refusal}\n`), bare.url);
  expect((await migrated()).version).toBeGreaterThan(1);
  await bare.drop();
});

test('whose it is: a role, a role in a database, one connection', async () => {
  const role = `reader_${randomBytes(4).toString('hex')}`;
  await database.query(`create role ${role} login password 'secret'`);
  const url = Object.assign(new URL(database.url), { username: role, password: 'secret' }).href;
  const seen = (at = url) => withClient(at, 'rowhook cli', readOnlySetting);
  const name = 'default_transaction_read_only';
  try {
    expect(await seen()).toBeNull();
    await database.query(`alter role ${role} set ${name} = on`);
    expect(await seen()).toMatchObject({
      what: `${name} is on for role ${role}`,
      fix: `begin read write; alter role ${role} reset ${name}; commit;`,
    });
    await database.query(`alter role ${role} in database ${database.name} set ${name} = on`);
    const both = await seen();
    expect(both?.what).toBe(`${name} is on for role ${role} in database ${database.name}`);
    await run(both?.fix ?? '');
    await run((await seen())?.fix ?? '');
    expect(await seen()).toBeNull();
    const ofSession = await withClient(url, 'rowhook cli', async (client) => {
      await client.query(`set ${name} = on`);
      return readOnlySetting(client);
    });
    expect(ofSession?.what).toBe(`${name} is on for this session of a pooler`);
    const options = `?options=${encodeURIComponent(`-c ${name}=on`)}`;
    const given = await seen(url + options);
    expect(given).toMatchObject({
      what: `${name} is on for this connection`,
      fix: expect.stringMatching(/^remove \S+ from DATABASE_URL and PGOPTIONS$/),
    });
    expect(await seen((url + options).replace(options, ''))).toBeNull();
  } finally {
    await database.query(`drop role ${role}`);
  }
});

describe('the whole server', () => {
  const name = 'default_transaction_read_only';
  const byDatabase = `begin read write; alter database postgres set ${name} = off; commit;`;
  const cases: [how: string, settings: Record<string, string>, fix: string][] = [
    ['its file', {}, `alter system set ${name} = off; select pg_reload_conf();`],
    ['its command line, which ALTER SYSTEM does not change', { [name]: 'on' }, byDatabase],
  ];
  if (wantedMajor >= 18) cases.push(['its file, without ALTER SYSTEM', { allow_alter_system: 'off' }, byDatabase]);

  test.each(cases)('by %s', async (_, settings, fix) => {
    const server = await startEmbedded({ major: wantedMajor, settings: { fsync: 'off', ...settings } });
    const seen = () => withClient(server.url, 'rowhook cli', readOnlySetting);
    try {
      if (!settings[name]) {
        await appendFile(join(server.dataDir, 'postgresql.conf'), `\n${name} = on\n`);
        await run('select pg_reload_conf()', server.url);
      }
      const found = await waitUntil('it is on', seen);
      expect(found.what).toContain(`${name} is on for the whole server`);
      expect(found.fix).toBe(fix);
      // ALTER SYSTEM runs by itself, as psql sends it
      const statements = fix.startsWith('begin') ? [fix] : fix.split('; ');
      for (const statement of statements) await run(statement, server.url);
      await waitUntil('it is off', async () => (await seen()) === null);
    } finally {
      await server.stop('immediate');
    }
  });
});
