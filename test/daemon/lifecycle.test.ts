// start() and stop() are a contract: stopping is idempotent, lets attempts in flight end, records them, gives the lanes back and
// leaves nothing behind, at whatever moment it comes.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, startDaemonProcess, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { Load } from '../support/load.ts';
import { startProxy } from '../support/proxy.ts';
import { ownDatabase } from '../support/scene.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Counter;
let daemon: Daemon | undefined;

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startCounter({ answerAfterMs: 20 })];
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url, max_in_flight: 64 });
});
afterEach(() => daemon?.stop());
afterAll(async () => {
  await receiver.close();
  await database.drop();
});

async function expectNothingLeft(database: TestDatabase): Promise<void> {
  await waitUntil('its connections are closed', async () => {
    const left = await database.query(
      "select from pg_stat_activity where datname = current_database() and application_name like 'rowhook%'",
    );
    return left.length === 0;
  });
  expect(await database.query('select from rowhook.webhook_lanes where owner is not null')).toEqual([]);
  // its own renewal, which the lanes it gives back ask for, would list it again
  expect(await database.query('select from rowhook.webhook_daemons')).toEqual([]);
  expect(await database.query('select last_value::int as bell from rowhook.doorbell')).toEqual([{ bell: 1 }]);
}

const twice = () => receiver.requests - receiver.received.size;

test('stopping and starting again under load repeats nothing and loses nothing', { timeout: 180_000 }, async () => {
  const load = await Load.start(database, { writers: 3, pauseMs: 25 });
  for (let round = 0; round < 5; round++) {
    daemon = await startTestDaemon(database, { maxInFlight: 32 });
    const enough = receiver.requests + 30;
    await waitUntil('it delivers', () => receiver.requests > enough);
    const stopped = daemon.stop();
    expect(daemon.stop()).toBe(stopped);
    await stopped;
    await daemon.closed;
    await expectNothingLeft(database);
  }
  const rows = await load.stop();
  daemon = await startTestDaemon(database);
  await waitUntil('every row has arrived', () => receiver.received.size >= rows.length);
  await caughtUp(database);
  expect(receiver.received.size).toBe(rows.length);
  expect(twice()).toBe(0);
});

test('stopping at any moment of its start leaves nothing behind', { timeout: 180_000 }, async () => {
  await daemon?.stop();
  const before = receiver.requests;
  let written = 0;
  for (let turns = 0; turns < 400; turns = 2 * turns + 1) {
    await database.query("select rowhook.emit('a.b', '{}', 'acme')");
    written += 1;
    daemon = await startTestDaemon(database);
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
    await daemon.stop();
    await expectNothingLeft(database);
  }
  daemon = await startTestDaemon(database);
  await waitUntil('all has arrived', () => receiver.requests - before >= written);
  await caughtUp(database);
  expect(receiver.requests - before).toBe(written);
});

test('a daemon that has stopped keeps no timer and no socket in its process', async () => {
  await daemon?.stop();
  const resources = () =>
    process
      .getActiveResourcesInfo()
      .filter((name) => /Timeout|Immediate|TCP|Pipe/.test(name))
      .toSorted();
  // connections of the test's own pool close by and by
  const settled = await database.query('select 1').then(resources);
  for (let round = 0; round < 3; round++) {
    daemon = await startTestDaemon(database);
    const before = receiver.requests;
    await database.query("select rowhook.emit('a.b', '{}', 'acme')");
    await waitUntil('it delivers', () => receiver.requests > before);
    await daemon.stop();
  }
  await waitUntil('nothing is left', () => resources().length <= settled.length);
});

test('a table that somebody has locked does not delay the start, although its triggers are missing', async () => {
  await daemon?.stop();
  await database.query(`
    create table locked (id int primary key, tenant_id text);
    select rowhook.watch('locked');
    drop trigger rowhook_insert on locked`);
  const holder = await database.pool.connect();
  try {
    await holder.query('begin; lock table locked in access exclusive mode');
    const before = receiver.requests;
    const startedAt = performance.now();
    daemon = await startTestDaemon(database);
    await database.query("select rowhook.emit('a.b', '{}', 'acme')");
    await waitUntil('it delivers', () => receiver.requests > before);
    // reconcile() tries eight times for 0.8 s each, and waits in between
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  } finally {
    await holder.query('rollback');
    holder.release();
  }
});

test('with more daemons than lanes one stands by, and stops at once', async () => {
  await database.query(`
    insert into rowhook.webhook_daemons (id, name, lease_expires_at)
    select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'other', now() + interval '50 s' from generate_series(0, 15) as n`);
  await database.query(`
    update rowhook.webhook_lanes set owner = ('00000000-0000-0000-0000-' || lpad(lane::text, 12, '0'))::uuid`);
  const standby = startDaemonProcess(database.daemonUrl);
  await waitUntil('it stands by', () => standby.stdout().includes('standing by'));
  const startedAt = performance.now();
  await standby.kill('SIGTERM');
  expect(performance.now() - startedAt).toBeLessThan(8_000);
  expect(standby.process.exitCode).toBe(0);
  expect(await database.query("select from rowhook.webhook_lane_owners where owner_name = 'other'")).toHaveLength(16);
  await database.query('delete from rowhook.webhook_daemons');
  await database.query('update rowhook.webhook_lanes set owner = null');
});

// They wait for timeouts rather than for the processor, so they run side by side.
describe.concurrent('where something does not answer', { timeout: 180_000 }, () => {
  test('an attempt that hangs does not keep a stop waiting for ever, and is made again', async ({ onTestFinished }) => {
    const database = await ownDatabase(onTestFinished);
    const silent = await startCounter({ answerAfterMs: 600_000 });
    try {
      await createWebhook(database, { tenant_id: 'patient', url: silent.url, timeout_ms: 30_000 });
      const daemon = await startTestDaemon(database);
      onTestFinished(() => daemon.stop());
      await database.query("select rowhook.emit('a.b', '{}', 'patient')");
      await waitUntil('it is in flight', () => silent.requests === 1);
      const startedAt = performance.now();
      await daemon.stop();
      // 10 s for attempts in flight, and a little to close
      expect(performance.now() - startedAt).toBeLessThan(16_000);
      await expectNothingLeft(database);
    } finally {
      await silent.close();
    }
  });

  test('a daemon whose PostgreSQL is away can still be stopped, and exits 0', async () => {
    const server = await startServer();
    try {
      const child = startDaemonProcess(server.database.daemonUrl);
      await child.tookLanes();
      await waitUntil('it listens', async () => {
        const there = await server.database.query(
          "select from pg_stat_activity where application_name = 'rowhook listen'",
        );
        return there.length === 1;
      });
      await server.embedded.stop('immediate');
      await waitUntil('it has noticed', () => child.stdout().includes('the session ended'));
      const startedAt = performance.now();
      await child.kill('SIGTERM');
      expect(child.process.exitCode).toBe(0);
      expect(performance.now() - startedAt).toBeLessThan(10_000);
    } finally {
      await server.stop();
    }
  });

  test('a daemon none of whose hosts answers can still be stopped, while it starts and later', async ({
    onTestFinished,
  }) => {
    const database = await ownDatabase(onTestFinished);
    const { host, hostname, port } = new URL(database.daemonUrl);
    const proxy = await startProxy({ host: hostname, port: Number(port) });
    try {
      const several = Array.from({ length: 4 }, () => `127.0.0.1:${proxy.port}`).join(',');
      const url = database.daemonUrl.replace(host, several);
      const silence = async () => {
        proxy.cut('in', 'out');
        proxy.reset();
        await waitUntil('its connections are broken', () => proxy.connections === 0);
        await waitUntil('it looks for a host', () => proxy.connections > 0);
      };
      const starting = startDaemonProcess(url);
      await silence();
      let askedAt = performance.now();
      await starting.kill('SIGTERM');
      expect(starting.process.exitCode).toBe(0);
      expect(performance.now() - askedAt).toBeLessThan(5_000);
      proxy.heal();
      const daemon = await startTestDaemon(database, { databaseUrl: url });
      onTestFinished(() => daemon.stop());
      await silence();
      askedAt = performance.now();
      await daemon.stop();
      expect(performance.now() - askedAt).toBeLessThan(12_000);
    } finally {
      await proxy.close();
    }
  });
});
