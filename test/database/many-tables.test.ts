// More watched tables than the server's lock table has room for. On this small server few are many.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { catalogOf } from '../support/catalog.ts';
import { startServer, type TestServer } from '../support/server.ts';

const TABLES = 40;

const uninstall = readFileSync(join(import.meta.dirname, '../../sql/uninstall.sql'), 'utf8');

let server: TestServer;
let client: pg.Client;

beforeAll(async () => {
  server = await startServer({
    max_connections: '25',
    max_locks_per_transaction: '14',
    max_prepared_transactions: '0',
  });
  client = await connected();
  for (let n = 0; n < TABLES; n++)
    await client.query(`create table t${n} (id int primary key, tenant_id text); select rowhook.watch('t${n}')`);
});
afterAll(async () => {
  await client.end();
  await server.stop();
});

async function connected(): Promise<pg.Client> {
  const connecting = new pg.Client(server.embedded.url);
  connecting.on('error', () => {});
  await connecting.connect();
  return connecting;
}

async function count(of: string): Promise<number> {
  return (await client.query(`select count(*)::int as count from ${of}`)).rows[0].count;
}

const triggers = () => count("pg_trigger where tgrelid::regclass::text ~ '^t[0-9]+$'");

/** As `psql -v ON_ERROR_STOP=1 -f` runs it, after `first`: statement by statement, in a session of its own. */
async function psql(text: string, first = ''): Promise<void> {
  const session = await connected();
  try {
    await session.query(first);
    for (const [statement] of text.matchAll(/do \$\$[\s\S]*?\n\$\$;|^\w[^;]*;/gm)) await session.query(statement);
  } finally {
    await session.end();
  }
}

test('unwatch() of all in one statement says how, and works table by table', async () => {
  // another session leaves room for fewer locks than that takes
  const holder = await connected();
  const room = 100;
  await holder.query(`
    do $$
    begin
      for n in 1 .. 100000 loop perform pg_advisory_lock(n); end loop;
    exception when out_of_memory then null;
    end $$`);
  const { rows } = await holder.query(
    `select count(pg_advisory_unlock(objid::int))::int from (select objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() limit ${room}) as l`,
  );
  expect(rows).toEqual([{ count: room }]);
  const all = client.query('select rowhook.unwatch(relation::regclass) from rowhook.webhook_sources');
  await expect(all).rejects.toMatchObject({ code: '53200', hint: expect.stringContaining('table by table') });
  expect(await count('rowhook.webhook_sources')).toBe(TABLES);
  for (let n = 0; n < 3; n++) await client.query('select rowhook.unwatch($1::regclass)', [`t${n}`]);
  expect(await count('rowhook.webhook_sources')).toBe(TABLES - 3);
  await holder.end();
});

test('uninstall.sql goes table by table, says so inside a transaction, and goes on where it failed', async () => {
  const before = await triggers();
  await expect(psql(uninstall, 'begin')).rejects.toThrow('37 watched tables are too many for one transaction');
  expect(await triggers()).toBe(before);

  const holder = await connected();
  await holder.query('begin; lock table t20 in row exclusive mode');
  await expect(psql(uninstall.replace("lock_timeout = '10s'", "lock_timeout = '100ms'"))).rejects.toThrow(
    'lock timeout',
  );
  await holder.end();
  const left = await triggers();
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(before);
  await client.query("insert into t20 values (1, 'acme'); insert into t5 values (1, 'acme')");

  await psql(uninstall);
  expect(await triggers()).toBe(0);
  expect((await catalogOf(server.database)).filter((line) => line.includes('rowhook'))).toEqual([]);
});
