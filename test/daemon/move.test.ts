// A database that goes elsewhere: from a dump into another cluster, to a standby that is promoted, back in time, into a clone. On
// real servers. What is told apart by rewriting rows, quickly, is in restore.test.ts and adopt.test.ts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Scene } from '../support/account.ts';
import { rowhook } from '../support/cli.ts';
import { copyDataDir, startCopy } from '../support/copy-server.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess, startTestDaemon } from '../support/daemon.ts';
import type { TestDatabase } from '../support/database.ts';
import { findDumpTools } from '../support/dump.ts';
import { startProxy } from '../support/proxy.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { openDatabase, startServer, type TestServer, wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

/** How many rows an account of ids is about: more than the 32 that a sequence is ahead of itself after a recovery. */
const MANY = 40;

/** For what starts two or three servers. */
const SLOW_MS = 300_000;

let receiver: Receiver;
/** Every event id that ever came, and the row that it came with: no two may share one, wherever they were written. */
const rowOf = new Map<string, number>();

beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.close());

const ids = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index);

/** Rows from..from+count-1, each a transaction of its own. */
async function write(database: TestDatabase, from: number, count: number, tenant = 'acme'): Promise<void> {
  for (const id of ids(from, count)) {
    await database.query('insert into items (id, tenant_id) values ($1, $2)', [id, tenant]);
  }
}

async function watchItems(database: TestDatabase): Promise<void> {
  await database.query(`
    create table items (id int primary key, tenant_id text not null, seen_at timestamptz);
    select rowhook.watch('items', ignore_columns => '{seen_at}')`);
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url('/acme') });
}

/** Forgets what came, but not which id it came with. */
function forget(): void {
  received();
  receiver.requests.length = 0;
}

/** Rows as they came; those that came twice, twice. */
function received(): number[] {
  const reused: string[] = [];
  const rows = receiver.requests.map(({ body }) => {
    const { id: event, data } = JSON.parse(body.toString());
    if ((rowOf.get(event) ?? data.id) !== data.id) reused.push(event);
    rowOf.set(event, data.id);
    return data.id as number;
  });
  expect(reused).toEqual([]);
  return rows;
}

/** What came twice counts once: the same event of the same row. */
function forgetRepeats(): void {
  const came = receiver.requests.splice(0);
  const keyOf = (body: Buffer) => {
    const { id: event, data } = JSON.parse(body.toString());
    return `${event} ${data.id}`;
  };
  receiver.requests.push(...new Map(came.map((request) => [keyOf(request.body), request])).values());
}

/** Says which are missing and which are too many, where a list of all would hide it. */
function expectReceived(wanted: readonly number[]): void {
  const came = received();
  const without = (from: readonly number[], what: readonly number[]) => {
    const left = Map.groupBy(what, (id) => id);
    return from.filter((id) => left.get(id)?.pop() === undefined);
  };
  expect({ missing: without(wanted, came), tooMany: without(came, wanted) }).toEqual({ missing: [], tooMany: [] });
}

/** Runs a daemon until this many requests have come and everything is settled. */
async function deliver(
  database: TestDatabase,
  requests: number,
  work?: () => Promise<void>,
  environment = 'production',
): Promise<void> {
  const before = await newestEpoch(database);
  const daemon = await startTestDaemon(database, { environment });
  try {
    await work?.();
    await receiver.waitFor(requests);
    await caughtUp(database);
    await waitUntil('no delivery waits', async () => {
      return (await database.query('select from rowhook.webhook_deliveries')).length === 0;
    });
    // on a machine that is too busy to renew a lease a session ends, and what was in flight is sent again
    if ((await newestEpoch(database)) > before + 1) forgetRepeats();
  } finally {
    await daemon.stop();
  }
}

/** Counted up by each session that takes lanes. */
async function newestEpoch(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ epoch: number }>('select max(epoch)::int as epoch from rowhook.webhook_lanes');
  return row?.epoch ?? 0;
}

async function expectRefused(database: TestDatabase, environment: string): Promise<void> {
  const result = await rowhook(['start'], {
    env: { DATABASE_URL: database.daemonUrl, ROWHOOK_ENVIRONMENT: environment, ROWHOOK_HTTP_PORT: '0' },
  });
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(
    /belongs to the environment "production".*\. Nothing is delivered\. If it is not a copy, set ROWHOOK_ENVIRONMENT=production\. .* rowhook adopt --environment (staging|production-copy) /m,
  );
}

async function adopt(database: TestDatabase, undelivered: 'deliver' | 'discard'): Promise<void> {
  const result = await rowhook(['adopt', '--environment', 'staging', '--undelivered', undelivered], {
    env: { DATABASE_URL: database.url },
  });
  expect(result).toMatchObject({ code: 0, stderr: '' });
}

/** Moves the cluster's transaction counter on. */
async function burn(server: TestServer, transactions: number): Promise<void> {
  await server.database.query(
    `do $$ begin for i in 1 .. ${transactions} loop perform pg_current_xact_id(); commit; end loop; end $$`,
  );
}

async function counterOf(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ xmax: number }>(
    'select pg_snapshot_xmax(pg_current_snapshot())::text::int as xmax',
  );
  return row?.xmax ?? 0;
}

const tools = findDumpTools([wantedMajor, wantedMajor === 18 ? 15 : 18]);

describe.skipIf(!tools)('a dump of a database whose daemon was killed', () => {
  let [source, elsewhere] = [] as unknown as [TestServer, TestServer];
  let [directory, file] = ['', ''];
  let dumpedAt = 0;
  /** Rows that have no successful attempt in the dump's log. */
  let undelivered: number[] = [];

  beforeAll(async () => {
    const { major } = tools as NonNullable<typeof tools>;
    // a dump goes into another cluster, and not into a copy of its own
    [source, elsewhere] = await Promise.all([
      startServer({}, { major, ownCluster: true }),
      startServer({}, { major, ownCluster: true }),
    ]);
    await burn(source, 10_000);
    directory = await mkdtemp(join(tmpdir(), 'rowhook-dump-'));
    file = join(directory, 'dump');
    await leaveWorkUndone(source.database);
    undelivered = await withoutSuccess(source.database);
    await tools?.dump(source.database.url, file);
    dumpedAt = await counterOf(source.database);

    // the old cluster goes on, and so do its ids
    forget();
    receiver.clear();
    await deliver(source.database, undelivered.length, () => write(source.database, 5_001, MANY));
    forget();
  }, SLOW_MS);
  afterAll(async () => {
    for (const server of [source, elsewhere]) await server?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** A daemon is killed between two positions, with attempts in flight, retries waiting, and a transaction open since before. */
  async function leaveWorkUndone(database: TestDatabase): Promise<void> {
    await watchItems(database);
    const down = { url: receiver.url('/down'), retry_strategy: 'linear', retry_delay_seconds: 1, retry_attempts: 20 };
    await createWebhook(database, { tenant_id: 'globex', ...down });
    receiver.respond('/down', { status: 503 });
    receiver.respond('/acme', { delayMs: 15 });
    const daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_ENVIRONMENT: 'production' });
    try {
      await untilMuchIsBegun(database, daemon);
    } finally {
      await daemon.kill('SIGKILL');
    }
    await database.query("insert into items (id, tenant_id) select n, 'acme' from generate_series(9001, 9005) n");
    await waitUntil('its connections are gone', async () => {
      const open = await database.query("select from pg_stat_activity where application_name like 'rowhook%'");
      return open.length === 0;
    });
    expect(await begunSincePosition(database)).toBeGreaterThanOrEqual(30);
  }

  async function untilMuchIsBegun(database: TestDatabase, daemon: DaemonProcess): Promise<void> {
    await daemon.tookLanes();
    const late = await database.pool.connect();
    await late.query("begin; insert into items (id, tenant_id) values (1, 'acme')");
    await write(database, 1_001, 3, 'globex');
    await write(database, 2, 20);
    await caughtUp(database);

    let next = 22;
    await waitUntil('much is in the log that no position covers', async () => {
      await write(database, next, 10);
      next += 10;
      daemon.process.kill('SIGSTOP');
      if ((await begunSincePosition(database)) >= 30) return true;
      daemon.process.kill('SIGCONT');
      return false;
    });
    await late.query('commit');
    late.release();
  }

  const LOGGED = `
    rowhook.webhook_outbox o join rowhook.webhook_logs l
      on split_part(l.event_id, '_', 3)::bigint = o.id and l.status = 'success'`;

  async function begunSincePosition(database: TestDatabase): Promise<number> {
    const rows = await database.query(`
      select from ${LOGGED} join rowhook.webhook_lanes p on p.lane = o.lane
       where not pg_visible_in_snapshot(o.xid, p.from_snapshot)`);
    return rows.length;
  }

  async function withoutSuccess(database: TestDatabase): Promise<number[]> {
    const rows = await database.query<{ id: number }>(`
      select id from items where id not in (select (o.data ->> 'id')::int from ${LOGGED}) order by id`);
    return rows.map(({ id }) => id);
  }

  function open(server: TestServer, name: string): TestDatabase {
    const database = openDatabase(server.embedded, name, server.daemonPassword);
    onTestFinished(() => database.drop());
    return database;
  }

  async function restored(server: TestServer, name: string): Promise<TestDatabase> {
    await server.database.query(`create database ${name}`);
    const database = open(server, name);
    await tools?.restore(database.url, file);
    return database;
  }

  /** Rows from `first` on are written in the restored database, before and after its daemon starts. */
  async function expectExactlyTheUndelivered(database: TestDatabase, first: number): Promise<void> {
    forget();
    await write(database, first, MANY);
    // no event, as only a column changes that is ignored
    await database.query('update items set seen_at = now()');
    const wanted = [...undelivered, ...ids(first, MANY + 1)];
    await deliver(database, wanted.length, () => write(database, first + MANY, 1));
    expectReceived(wanted);
  }

  test('it holds what is to be told apart', () => {
    // the transaction that was open, the retries, what came after the kill
    expect(undelivered).toEqual(expect.arrayContaining([1, 1_001, 1_002, 1_003]));
    expect(undelivered.length).toBeGreaterThan(8);
  });

  test('in a cluster with a smaller transaction counter exactly what was undelivered is delivered', async () => {
    const database = await restored(elsewhere, 'smaller');
    expect(await counterOf(database)).toBeLessThan(dumpedAt);
    await expectExactlyTheUndelivered(database, 10_001);
  });

  test('in a cluster with a larger one, too', async () => {
    await burn(elsewhere, 20_000);
    const database = await restored(elsewhere, 'larger');
    expect(await counterOf(database)).toBeGreaterThan(dumpedAt);
    await expectExactlyTheUndelivered(database, 20_001);
  });

  test('in the same cluster under another name, too', async () => {
    await expectExactlyTheUndelivered(await restored(source, 'moved'), 30_001);
  });

  test('a copy by CREATE DATABASE and its original, which count on from the same id, share no event id', async () => {
    const original = await restored(elsewhere, 'original');
    await expectExactlyTheUndelivered(original, 60_001);
    // nobody may be connected to a template
    await elsewhere.database.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'original'");
    await elsewhere.database.query('create database copied template original');
    for (const [database, first] of [
      [original, 61_001],
      [open(elsewhere, 'copied'), 62_001],
    ] as const) {
      forget();
      await deliver(database, MANY, () => write(database, first, MANY));
      expectReceived(ids(first, MANY));
    }
  });

  test('a clone made of it delivers nothing until it is adopted, and nothing of the past when that is discarded', async () => {
    const database = await restored(elsewhere, 'clone');
    forget();
    await write(database, 40_001, 1);
    await expectRefused(database, 'staging');
    await expectRefused(database, '');
    await adopt(database, 'discard');
    await deliver(database, MANY, () => write(database, 40_002, MANY), 'staging');
    expectReceived(ids(40_002, MANY));
  });

  test('in the place of the database that it was made of, exactly what was undelivered is delivered', async () => {
    // --clean cannot drop partitions that have keys
    await source.database.query('drop schema rowhook cascade; drop table items');
    await tools?.restore(source.database.url, file);
    await expectExactlyTheUndelivered(source.database, 50_001);
  });
});

/** So that no file is renamed while it is copied, and no WAL is gone that a copy needs. */
const COPIED = { checkpoint_timeout: '1h', wal_keep_size: '1GB' };

describe('a primary that is lost under load', () => {
  test('leaves nothing acknowledged behind, and repeats what was in flight at most', { timeout: SLOW_MS }, async () => {
    const primary = await startServer(COPIED, { ownCluster: true });
    onTestFinished(() => primary.stop());
    await primary.database.query("select pg_create_physical_replication_slot('standby', true)");
    const { hostname, username, password } = new URL(primary.embedded.url);
    const from = `host=${hostname} port=${primary.embedded.port} user=${username} password=${password}`;
    const standby = await startCopy(primary, await copyDataDir(primary.embedded), {
      signal: 'standby',
      settings: { primary_conninfo: `${from} application_name=standby`, primary_slot_name: 'standby' },
    });
    onTestFinished(() => standby.stop());
    await primary.database.query("alter system set synchronous_standby_names = 'standby'");
    await primary.database.query('select pg_reload_conf()');
    await waitUntil('the standby is synchronous', async () => {
      const rows = await primary.database.query("select from pg_stat_replication where sync_state = 'sync'");
      return rows.length === 1;
    });

    // as an address that moves with the primary
    const address = { host: '127.0.0.1', port: primary.embedded.port };
    const proxy = await startProxy(address);
    onTestFinished(() => proxy.close());
    const database = openDatabase(primary.embedded, 'postgres', primary.daemonPassword, proxy.port);
    onTestFinished(() => database.drop());
    const scene = await Scene.start(database, { writers: 2, pauseMs: 30 });
    onTestFinished(() => scene.close());
    // one daemon knows the address that moves, and one knows both servers
    const hosts = `${hostname}:${standby.embedded.port},${hostname}:${primary.embedded.port}`;
    const both = standby.database.daemonUrl.replace(/@[^/]*/, `@${hosts}`);
    const daemons = [scene.daemon(), scene.daemon({ DATABASE_URL: `${both}?target_session_attrs=read-write` })];
    const share = (on: TestDatabase) =>
      waitUntil('both hold their share of the lanes', async () => {
        const [row] = await on.query<{ owners: number; lanes: number }>(
          'select count(distinct owner)::int as owners, count(*)::int as lanes from rowhook.webhook_lane_owners',
        );
        return row?.owners === daemons.length && row.lanes === 16;
      });
    await share(primary.database);
    await scene.newRows(100);

    const refused = await rowhook(['start'], {
      env: { DATABASE_URL: standby.database.daemonUrl, ROWHOOK_HTTP_PORT: '0' },
    });
    expect(refused.stderr).toMatch(
      /^.*This server is a hot standby\. .*events would be lost\. Connect to the primary\.$/m,
    );
    expect(refused.code).toBe(1);
    const notAdopted = await rowhook(['adopt', '--environment', 'staging', '--undelivered', 'discard'], {
      env: { DATABASE_URL: standby.database.url },
    });
    expect(notAdopted.stderr).toMatch(/standby.*Connect to the primary/);
    expect(notAdopted.code).toBe(1);

    await primary.embedded.stop('kill');
    address.port = standby.embedded.port;
    await standby.database.query('select pg_promote()');
    await scene.healed();
    await share(standby.database);
    await scene.settle('a standby promoted', { crashes: daemons.length, daemons: daemons.length });
  });
});

describe('of a production database with an undelivered event', () => {
  let production: TestServer;
  let [past, clone] = ['', ''];

  beforeAll(async () => {
    production = await startServer(COPIED, { ownCluster: true });
    const { database } = production;
    await watchItems(database);
    forget();
    await deliver(database, 20, () => write(database, 101, 20));
    await write(database, 121, 1);
    [past, clone] = [await copyDataDir(production.embedded), await copyDataDir(production.embedded)];
    await database.query("select pg_create_restore_point('noon')");
    // what is undone and redone, or done on both sides: ids of the outbox are handed out a second time
    await deliver(database, 21 + MANY, () => write(database, 201, MANY));
    forget();
    await database.drop();
    await production.embedded.stop('fast');
  });
  afterAll(() => production.embedded.stop('immediate'));

  /** Numbers that the outbox has handed out to rows. */
  const outboxIds = (rows: readonly number[]) =>
    [...rowOf].filter(([, row]) => rows.includes(row)).map(([event]) => event.split('_')[2]);

  test('the state of noon delivers what was undelivered at noon, under new ids', async () => {
    const server = await startCopy(production, past, {
      signal: 'recovery',
      settings: {
        restore_command: `cp "${join(production.embedded.dataDir, 'pg_wal')}/%f" "%p"`,
        recovery_target_name: 'noon',
        recovery_target_action: 'promote',
      },
    });
    onTestFinished(() => server.stop());
    const { database } = server;
    await waitUntil('the recovery has ended', async () => {
      const [row] = await database.query<{ busy: boolean }>('select pg_is_in_recovery() as busy');
      return row?.busy === false;
    });
    await write(database, 301, MANY);
    await deliver(database, 2 + MANY, () => write(database, 301 + MANY, 1));
    expectReceived([121, ...ids(301, MANY + 1)]);
    const undone = outboxIds(ids(201, MANY));
    expect(outboxIds(ids(301, MANY)).filter((id) => undone.includes(id))).not.toEqual([]);
  });

  test('a clone delivers nothing until it is adopted, and then what is undelivered if that is wanted', async () => {
    forget();
    const server = await startCopy(production, clone);
    onTestFinished(() => server.stop());
    const { database } = server;
    await write(database, 501, MANY);
    await expectRefused(database, 'staging');
    expectReceived([]);
    await adopt(database, 'deliver');
    await deliver(database, 2 + MANY, () => write(database, 501 + MANY, 1), 'staging');
    expectReceived([121, ...ids(501, MANY + 1)]);
    const productions = outboxIds(ids(201, MANY));
    expect(outboxIds(ids(501, MANY)).filter((id) => productions.includes(id))).not.toEqual([]);
  });
});
