import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLogger } from '../../src/observe/log.ts';
import { StuckLaneWatcher } from '../../src/observe/stuck-lanes.ts';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const events = process.env.ROWHOOK_TEST_FULL ? 200_000 : 30_000;

let database: TestDatabase;
let receiver: Counter;
let daemon: DaemonProcess | undefined;

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startCounter()];
});
afterAll(async () => {
  await daemon?.kill('SIGTERM');
  await receiver.close();
  await database.drop();
});

test('an age is not known once no check has succeeded for long, and a known age goes on', async () => {
  const own = await createDatabase();
  const watcher = new StuckLaneWatcher(own.daemonUrl, 'session', createLogger('silent'), 500);
  const seen = () => ({
    oldest: watcher.oldestSeconds,
    lagging: watcher.oldestLaggingSeconds,
    tenants: watcher.tenantsLagging,
  });
  const unknown = { oldest: undefined, lagging: undefined, tenants: undefined };
  const isUnknown = async () => watcher.tenantsLagging === undefined;
  try {
    expect(seen()).toEqual(unknown);
    await watcher.look();
    expect(seen()).toEqual({ oldest: 0, lagging: 0, tenants: 0 });
    await waitUntil('half a second has passed', isUnknown);
    expect(seen()).toEqual(unknown);
    await own.query("select rowhook.emit('a.b', '{}', 'acme')");
    await watcher.look();
    await waitUntil('half a second has passed', isUnknown);
    expect(seen()).toEqual({ ...unknown, oldest: expect.any(Number) });
    expect(watcher.oldestSeconds).toBeGreaterThan(0.5);
  } finally {
    await watcher.close();
    await own.drop();
  }
});

test(`${events} events of one statement, written while no daemon ran, arrive whole with flat memory`, {
  timeout: 300_000,
}, async () => {
  await database.query(`
    create table items (id int primary key, tenant_id text not null, note text not null);
    select rowhook.watch('items')`);
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url, max_in_flight: 64 });
  await database.query(
    `insert into items select n, 'acme', repeat('some text of a row ', 20) from generate_series(1, ${events}) as n`,
  );

  daemon = startDaemonProcess(database.daemonUrl);
  const samples: { received: number; megabytes: number }[] = [];
  await daemon.tookLanes();
  const startedAt = performance.now();
  await waitUntil(
    'everything has arrived',
    async () => {
      const { nowKb } = await (daemon as DaemonProcess).memory();
      samples.push({ received: receiver.received.size, megabytes: nowKb / 1024 });
      return receiver.received.size >= events;
    },
    { timeoutMs: 280_000, everyMs: 100 },
  );
  const tookSeconds = (performance.now() - startedAt) / 1_000;
  const mostOf = (part: typeof samples) => Math.max(...part.map(({ megabytes }) => megabytes));
  // halves of the work, not of the time
  const firstHalf = mostOf(samples.filter(({ received }) => received < events / 2));
  const secondHalf = mostOf(samples.filter(({ received }) => received >= events / 2));
  console.log(
    `${events} events in ${tookSeconds.toFixed(1)} s: ${Math.round(events / tookSeconds)} a second, RSS at most ${firstHalf.toFixed(0)} MB in the first half, ${secondHalf.toFixed(0)} MB in the second`,
  );
  expect(receiver.requests).toBe(events);
  expect(samples.length).toBeGreaterThan(10);
  expect(secondHalf).toBeLessThan(1.3 * firstHalf);
  expect(Math.max(firstHalf, secondHalf)).toBeLessThan(400);

  await caughtUp(database);
  expect(
    await database.query(
      `select count(*)::int as rows, count(distinct event_id)::int as events, count(*) filter (where status <> 'success')::int as failed,
              (select count(*)::int from rowhook.webhook_deliveries) as waiting from rowhook.webhook_logs`,
    ),
  ).toEqual([{ rows: events, events, failed: 0, waiting: 0 }]);
});
