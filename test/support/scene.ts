// Daemons, one database under load, one receiver, and the account of what arrived.

import { expect, type TestContext } from 'vitest';
import { type Counter, startCounter } from './counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from './daemon.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { Load } from './load.ts';
import { waitUntil } from './wait.ts';
import { createWebhook } from './webhook.ts';

export const maxInFlight = 32;
/** About 45 rows a second, answered so slowly that some attempts are always in flight. */
const load = { writers: 2, pauseMs: 40 };
const answerAfterMs = 100;

export interface Scene {
  database: TestDatabase;
  receiver: Counter;
  /** Ids of rows, as often as they came. */
  arrived: Map<number, number>;
  load: Load;
  daemon(env?: Record<string, string>): DaemonProcess;
}

export type Finished = TestContext['onTestFinished'];

export async function ownDatabase(onTestFinished: Finished): Promise<TestDatabase> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database;
}

/** A database under load and a receiver; daemons are ended with the test. */
export async function startScene(database: TestDatabase, onTestFinished: Finished): Promise<Scene> {
  const arrived = new Map<number, number>();
  const receiver = await startCounter({
    answerAfterMs,
    onRequest: (body) => {
      const { id } = JSON.parse(body.toString()).data;
      arrived.set(id, (arrived.get(id) ?? 0) + 1);
    },
  });
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url, max_in_flight: maxInFlight });
  const writing = await Load.start(database, load);
  const daemons: DaemonProcess[] = [];
  onTestFinished(async () => {
    await writing.stop();
    for (const daemon of daemons) await daemon.kill('SIGKILL');
    await receiver.close();
  });
  return {
    database,
    receiver,
    arrived,
    load: writing,
    daemon(env = {}) {
      const daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_MAX_IN_FLIGHT: String(maxInFlight), ...env });
      daemons.push(daemon);
      return daemon;
    },
  };
}

/** Waits for this many more requests than there are, and says how many seconds it took. */
export async function moreRequests({ receiver }: Scene, count = 40, timeoutMs = 30_000): Promise<number> {
  const wanted = receiver.requests + count;
  return secondsOf(() => waitUntil(`${count} more requests`, () => receiver.requests >= wanted, { timeoutMs }));
}

export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1_000;
}

/** Ends the load: every row has arrived, and `crashes` account for what came twice. */
export async function expectNothingLost(
  scene: Scene,
  crashes: number,
  what: string,
  seconds: number[] = [],
): Promise<void> {
  const { database, load, arrived, receiver } = scene;
  const rows = await load.stop();
  await waitUntil('every row has arrived', () => arrived.size >= rows.length, { timeoutMs: 90_000 });
  await caughtUp(database, { timeoutMs: 30_000 });
  expect([...arrived.keys()].toSorted((a, b) => a - b)).toEqual(rows);
  expect(load.acknowledged.filter((id) => !arrived.has(id))).toEqual([]);
  await waitUntil('no delivery waits', async () => {
    const waiting = await database.query('select from rowhook.webhook_deliveries');
    return waiting.length === 0;
  });
  const twice = [...arrived.values()].reduce((sum, times) => sum + times - 1, 0);
  const took = seconds.length > 0 ? `, going on after ${seconds.map((s) => s.toFixed(1)).join(', ')} s` : '';
  console.log(`${what}: ${twice} of ${receiver.requests} requests came twice${took}`);
  expect(twice).toBeLessThanOrEqual(crashes * maxInFlight);
}

/** Connections of one working daemon, none of them in a forgotten transaction. */
export async function expectTidyConnections({ database }: Scene): Promise<void> {
  const names = await waitUntil('no transaction is open', async () => {
    const all = await database.query<{ application_name: string; state: string }>(
      `select application_name, state from pg_stat_activity
        where datname = current_database() and application_name like 'rowhook%'`,
    );
    return all.some(({ state }) => state.includes('transaction'))
      ? undefined
      : all.map(({ application_name }) => application_name);
  });
  expect(names.filter((name) => name === 'rowhook listen')).toHaveLength(1);
  expect(names.filter((name) => name === 'rowhook reader')).toHaveLength(1);
  expect(names.length).toBeLessThanOrEqual(6);
  expect(await database.query('select from pg_prepared_xacts where database = current_database()')).toEqual([]);
}

export async function ownerOf({ database }: Scene): Promise<string> {
  const owners = await database.query<{ owner_name: string }>(
    'select distinct owner_name from rowhook.webhook_lane_owners',
  );
  expect(owners).toHaveLength(1);
  return owners[0]?.owner_name ?? '';
}
