// What docs/dba/approve.md says of objects, functions and grants is what the catalog says, and its script of roles works
// for a role as managed services give it.

import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startDaemon } from '../../src/daemon/daemon.ts';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { catalogParts } from '../support/catalog-reference.ts';
import { rowhook } from '../support/cli.ts';
import { connected } from '../support/connected.ts';
import { daemonSettings } from '../support/daemon.ts';
import { blocksOf } from '../support/pages.ts';
import { startReceiver } from '../support/receiver.ts';
import { partOf } from '../support/reference.ts';
import { wantedMajor } from '../support/server.ts';

let server: Embedded;

beforeAll(async () => {
  server = await startEmbedded({ major: wantedMajor, settings: { fsync: 'off' } });
});

afterAll(() => server?.stop('immediate'));

const PAGE = 'docs/dba/approve.md';

async function as<T>(user: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  return connected(server.urlOf('app', user, 'secret'), work);
}

test('a role with CREATEROLE that owns the database runs the script, and each login can do its work', async () => {
  await connected(server.url, async (client) => {
    await client.query("create role cloud_admin login createrole password 'secret'");
    await client.query('create database app owner cloud_admin');
  });
  const [script] = blocksOf(PAGE).filter(
    ({ kind, text }) => kind === 'sql' && text.includes('create role rowhook_owner'),
  );
  const logins = [...(script?.text.matchAll(/^create role (\w+) login;/gm) ?? [])].map(([, name]) => name as string);
  expect(logins).toEqual(['app_owner', 'app_login', 'rowhook_login', 'rowhook_api_login']);
  await as('cloud_admin', async (client) => {
    await client.query(script?.text ?? '');
    // \password of psql
    for (const login of logins) await client.query(`alter role ${login} password 'secret'`);
  });

  await as('app_owner', async (client) => {
    expect((await migrate(client)).applied.length).toBeGreaterThan(20);
    await client.query(`
      create schema shop; create table shop.orders (id int primary key, account_id text);
      select rowhook.watch('shop.orders', tenant_column => 'account_id')`);
  });
  const receiver = await startReceiver();
  await as('app_login', (client) =>
    client.query(`
      begin;
      set local rowhook.tenant_id = 'acme';
      insert into rowhook.webhooks (name, url, event_types) values ('w', '${receiver.url()}', '{*}');
      commit`),
  );
  const daemon = await startDaemon(daemonSettings(server.urlOf('app', 'rowhook_login', 'secret')));
  try {
    await as('app_owner', (client) => client.query("insert into shop.orders values (1, 'acme')"));
    await receiver.waitFor(1);
  } finally {
    await daemon.stop();
    await receiver.close();
  }
  const { code, stderr } = await rowhook(['api-key', 'create', '--tenant', 'acme', '--name', 'k'], {
    env: { DATABASE_URL: server.urlOf('app', 'app_owner', 'secret') },
  });
  expect([code, stderr]).toEqual([0, '']);
  await as('rowhook_api_login', async (client) => {
    // as each request of `rowhook serve` begins
    await client.query("begin; set local role rowhook_api; set local rowhook.tenant_id = 'acme'");
    expect((await client.query('select name from rowhook.webhooks')).rows).toEqual([{ name: 'w' }]);
  });
});

test('the numbers, functions and grants of the page are those of the catalog', async () => {
  await connected(server.url, async (client) => {
    await client.query('create database reviewed');
  });
  await connected(server.urlOf('reviewed'), async (client) => {
    await migrate(client);
    const parts = await catalogParts(async (sql) => (await client.query(sql)).rows);
    for (const part of parts) expect(partOf(part), `${part.name}: npm run docs`).toBe(part.text);
  });
});
