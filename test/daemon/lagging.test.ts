// Tenants lag: they are read from positions of their own. What happens to their lanes and to the database happens to them as well:
// lanes are taken over and handed over, slots are emptied, the database is copied, the schema is migrated.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { builtForVersion } from '../../src/database/migrations.ts';
import { Behind } from '../support/behind.ts';
import { findDumpTools } from '../support/dump.ts';
import { ownDatabase } from '../support/scene.ts';
import { openDatabase, startServer, wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

const tools = findDumpTools([wantedMajor, wantedMajor === 18 ? 15 : 18]);

describe('two daemons, while tenants lag', () => {
  test('one is killed, and another one goes on where it was', async ({ onTestFinished }) => {
    const behind = await Behind.start(await ownDatabase(onTestFinished), onTestFinished);
    let [one, other] = [behind.daemon(), behind.daemon()];
    await Promise.all([one.tookLanes(), other.tookLanes()]);
    let lagged = 0;
    for (let kill = 0; kill < 3; kill++) {
      if (await behind.keepThemLagging()) lagged += 1;
      await behind.kill(one);
      [one, other] = [other, behind.daemon()];
      await other.tookLanes();
      await behind.changeSome();
    }
    await behind.settle('3 kills of one of two daemons');
    expect(lagged).toBeGreaterThan(0);
  });

  test('hand lanes over with the positions of their tenants, and nothing comes twice', async ({ onTestFinished }) => {
    const behind = await Behind.start(await ownDatabase(onTestFinished), onTestFinished);
    const first = behind.daemon();
    await first.tookLanes();
    for (let round = 0; round < 2; round++) await behind.changeAll();
    await behind.tenantsLag();
    const second = behind.daemon();
    await second.tookLanes();
    await behind.changeSome();
    await behind.changeAll();
    await behind.tenantsLag();
    await first.kill('SIGTERM');
    await second.tookLanes(2);
    await behind.changeSome();
    await behind.settle('handed over');
  });
});

test('a migration of the schema while tenants lag: the next version goes on where they were', async ({
  onTestFinished,
}) => {
  const database = await ownDatabase(onTestFinished);
  const behind = await Behind.start(database, onTestFinished);
  const older = behind.daemon();
  await older.tookLanes();
  for (let round = 0; round < 2; round++) await behind.changeAll();
  await behind.tenantsLag();
  const version = await builtForVersion();
  const migrateTo = (next: number) =>
    database.query(
      `create or replace function rowhook.schema_version() returns int language sql stable return ${next}`,
    );
  await migrateTo(version + 1);
  expect((await older.ended).code).toBe(1);
  await migrateTo(version);
  await behind.daemon().tookLanes();
  await behind.changeSome();
  await behind.settle('migrated');
});

test('the slot of a tenant that lags is not emptied, though its lane has read it', async ({ onTestFinished }) => {
  const database = await ownDatabase(onTestFinished);
  const behind = await Behind.start(database, onTestFinished);
  const slotIs = (slot: number) =>
    database.query(`create or replace function rowhook._slot() returns smallint language sql volatile return ${slot}`);
  await slotIs(1);
  await behind.dieWhileTenantsLag();
  // the turn of the slot comes round
  await slotIs(0);
  const recycle = async (query: (sql: string) => Promise<{ rows: Record<string, unknown>[] }>) =>
    (await query('select rowhook._recycle_slot() as slot')).rows[0]?.slot;
  const left = async () => {
    const [row] = await database.query<{ count: number }>('select count(*)::int from rowhook.webhook_outbox_1');
    return row?.count;
  };
  const before = await left();
  expect(before).toBeGreaterThan(1_000);
  expect(await recycle((sql) => database.pool.query(sql))).toBeNull();
  expect(await left()).toBe(before);
  // nothing but their positions keeps it
  const client = new pg.Client(database.url);
  await client.connect();
  onTestFinished(() => client.end());
  await client.query('begin; delete from rowhook.webhook_lagging_tenants');
  expect(await recycle((sql) => client.query(sql))).toBe(1);
  await client.query('rollback');
  await behind.daemon().tookLanes();
  await behind.settle('a slot that is not emptied');
  await waitUntil(
    'it is emptied now',
    async () => (await left()) === 0 || (await recycle((sql) => database.pool.query(sql))),
  );
  expect(await left()).toBe(0);
});

describe.runIf(tools !== undefined)('a copy of the database, made while tenants lag', () => {
  test('by pg_dump or as a template: it goes on where the original was', async ({ onTestFinished }) => {
    if (!tools) return;
    const server = await startServer({}, { major: tools.major });
    onTestFinished(() => server.stop());
    const behind = await Behind.start(server.database, onTestFinished);
    await behind.dieWhileTenantsLag();
    const open = (name: string) => {
      const database = openDatabase(server.embedded, name, server.daemonPassword);
      onTestFinished(() => database.drop());
      return database;
    };
    const home = await mkdtemp(join(tmpdir(), 'rowhook-lagging-'));
    onTestFinished(() => rm(home, { recursive: true }));
    const file = join(home, 'dump');
    await tools.dump(server.database.url, file);
    const admin = new pg.Client(server.embedded.urlOf('template1'));
    await admin.connect();
    onTestFinished(() => admin.end());
    await admin.query('create database restored');
    await tools.restore(server.embedded.urlOf('restored'), file);
    // nobody may be connected to a template
    await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres'");
    await admin.query('create database cloned template postgres');
    for (const name of ['restored', 'cloned']) {
      const copy = behind.copy(open(name));
      await copy.daemon().tookLanes();
      await copy.changeSome();
      await copy.settle(name);
    }
  });
});
