// More watched tables than the server's lock table has room for. On this small server few are many.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sourceProblems } from '../../src/capture/source-problems.ts';
import { catalogOf } from '../support/catalog.ts';
import { startServer, type TestServer } from '../support/server.ts';

const TABLES = 40;

const SMALL = { max_connections: '25', max_locks_per_transaction: '14', max_prepared_transactions: '0' };

const uninstall = readFileSync(join(import.meta.dirname, '../../sql/uninstall.sql'), 'utf8');

let server: TestServer;
let client: pg.Client;

beforeAll(async () => {
  server = await startServer(SMALL);
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

/** A session that leaves room for so many more locks. */
async function leaving(room: number): Promise<pg.Client> {
  const holder = await connected();
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
  return holder;
}

test('unwatch() of all in one statement says how, and works table by table', async () => {
  const holder = await leaving(100);
  const all = client.query('select rowhook.unwatch(relation::regclass) from rowhook.webhook_sources');
  await expect(all).rejects.toMatchObject({ code: '53200', hint: expect.stringContaining('table by table') });
  expect(await count('rowhook.webhook_sources')).toBe(TABLES);
  for (let n = 0; n < 3; n++) await client.query('select rowhook.unwatch($1::regclass)', [`t${n}`]);
  expect(await count('rowhook.webhook_sources')).toBe(TABLES - 3);
  await holder.end();
});

test('watch() of more partitions than there is room for says how large the lock table has to be', async () => {
  const partitions = 100;
  await client.query('create table p (id int primary key, tenant_id text) partition by list (id)');
  for (let n = 0; n < partitions; n++) await client.query(`create table p_${n} partition of p for values in (${n})`);
  const holder = await leaving(100);
  await expect(client.query("select rowhook.watch('p')")).rejects.toMatchObject({
    code: '53200',
    // 4 entries for each of 101 tables, and 25 connections
    hint: `Its ${partitions} partitions are too many for one transaction of this server: set max_locks_per_transaction to 17 or more, and restart the server.`,
  });
  await holder.end();
  await client.query('drop table p');
});

test('what looks at partitions locks none of them, and waits for nobody who does', async () => {
  await client.query(`
    create table q (id int primary key, tenant_id text) partition by list (id);
    create table q_1 partition of q for values in (1) partition by list (id);
    create table q_1_1 partition of q_1 for values in (1);
    select rowhook.watch('q')`);
  const holder = await connected();
  await holder.query('begin; lock table q_1_1 in access exclusive mode');
  await client.query("set statement_timeout = '5s'");
  const { rows } = await client.query("select c::text as relation from rowhook._capture_relations('q') as c");
  expect(rows.map(({ relation }) => relation)).toEqual(['q', 'q_1', 'q_1_1']);
  expect(await sourceProblems(client)).toEqual([]);
  expect(
    (await client.query('select from rowhook.reconcile((select max(id) from rowhook.webhook_sources))')).rows,
  ).toEqual([]);
  await client.query('reset statement_timeout');
  await holder.end();
  await client.query("select rowhook.unwatch('q'); drop table q");
});

test('uninstall.sql goes table by table, says so inside a transaction, and goes on where it failed', async () => {
  for (const days of [20, 40, 60]) await client.query(`select rowhook._make_log_partitions(${days})`);
  const before = await triggers();
  await expect(psql(uninstall, 'begin')).rejects.toThrow(
    /^uninstall: 37 watched tables and \d+ partitions of the log are too many for one transaction/,
  );
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
