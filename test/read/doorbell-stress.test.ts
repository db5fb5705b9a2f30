// The doorbell under stress: readers that sleep and wake, come and go at random, against writers of every kind. No event waits for the
// safety poll. On a server of its own: an open transaction in any database of a server keeps readers from falling asleep.
//
// ROWHOOK_TEST_FULL=1 goes on for minutes.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { type Daemon, startDaemon } from '../../src/daemon/daemon.ts';
import { startCounter } from '../support/counter.ts';
import { caughtUp, daemonSettings, startDaemonProcess } from '../support/daemon.ts';
import { freePort } from '../support/port.ts';
import { SLOW_COMMITS, startServer, type TestServer } from '../support/server.ts';
import { Sleepers } from '../support/sleepers.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const full = process.env.ROWHOOK_TEST_FULL === '1';
const rounds = full ? 3_000 : 80;
const secondsPerRate = full ? 40 : 2;

/** Longer than a loaded machine needs, and much shorter than the safety poll's 30 s. */
const lostMs = 20_000;

let server: TestServer;
/** One for each lane. */
let tenants: string[];

beforeAll(async () => {
  server = await startServer(SLOW_COMMITS);
  const { query } = server.database;
  const rows = await query<{ tenant: string }>(
    `select distinct on (rowhook._lane('tenant ' || n)) 'tenant ' || n as tenant from generate_series(1, 500) as n`,
  );
  tenants = rows.map(({ tenant }) => tenant);
  expect(tenants).toHaveLength(16);
  await query(`
    create table items (id int primary key generated always as identity, tenant_id text);
    select rowhook.watch('items', capture => 'all')`);
});
afterAll(() => server.stop());

const random = (max: number) => Math.random() * max;
const oneOf = <T>(choices: readonly T[]): T => choices[Math.floor(random(choices.length))] as T;

/** A connection that writes one event in a transaction of some kind, and tells its id when that has committed. */
class Writer {
  readonly #client: pg.Client;
  readonly pid: number;

  private constructor(client: pg.Client, pid: number) {
    this.#client = client;
    this.pid = pid;
  }

  static async connect(): Promise<Writer> {
    const client = new pg.Client(server.database.url);
    // a test that failed leaves it open
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query('select pg_backend_pid() as pid');
    return new Writer(client, rows[0].pid);
  }

  async write(): Promise<number> {
    const { rows } = await this.#client.query('insert into items (tenant_id) values ($1) returning id', [
      oneOf(tenants),
    ]);
    return rows[0].id;
  }

  /** Its transaction begins, and may have seen the doorbell, long before it commits. */
  async writeSlowly(openMs: number): Promise<number> {
    const begin = oneOf([
      'begin',
      'begin isolation level repeatable read; select from items',
      "begin; savepoint s; insert into items (tenant_id) values ('nobody'); rollback to s",
    ]);
    await this.#client.query(begin);
    const id = oneOf(['early', 'late']) === 'early' ? await this.write() : undefined;
    await sleep(random(openMs));
    const written = id ?? (await this.write());
    await this.#client.query('commit');
    return written;
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

describe('readers that sleep after milliseconds of silence', () => {
  let sleepers: Sleepers;
  beforeAll(async () => {
    sleepers = await Sleepers.start(server.database, 3);
  });
  afterAll(() => sleepers.close());

  test('miss no event that comes alone, at whatever moment', { timeout: full ? 900_000 : 60_000 }, async () => {
    const writer = await Writer.connect();
    const bystander = new pg.Client(server.database.url);
    await bystander.connect();
    let longest = 0;
    let naps = 0;
    for (let round = 0; round < rounds; round++) {
      // one that holds the horizon, and ends at some time
      if (round % 10 === 3) await bystander.query('begin; select pg_current_xact_id()');
      if (round % 10 === 8) await bystander.query('rollback');
      if (round % 15 === 14) await sleepers.replaceOne();
      await sleep(random(80));
      if ((await doorbell()) === 2) naps += 1;
      const id = await (oneOf([true, false]) ? writer.write() : writer.writeSlowly(80));
      const committedAt = performance.now();
      await sleepers.arrival(id, lostMs);
      longest = Math.max(longest, performance.now() - committedAt);
    }
    const { unrung } = sleepers;
    console.log(
      `${rounds} events, one by one, ${naps} while all slept: ${unrung} found by the safety poll, at most ${longest.toFixed(0)} ms`,
    );
    expect(unrung).toBe(0);
    expect(naps).toBeGreaterThan(rounds / 10);
    await bystander.end();
    await writer.close();
  });

  test('miss no event of many writers at few to 200 events a second', {
    timeout: full ? 900_000 : 60_000,
  }, async () => {
    const writers = await Promise.all(Array.from({ length: 6 }, () => Writer.connect()));
    for (const rate of full ? [200, 20, 2, 0.2] : [200, 20, 2]) {
      const until = performance.now() + secondsPerRate * 1_000;
      const ids: number[] = [];
      await Promise.all(
        writers.map(async (writer) => {
          const pauseMs = (writers.length / rate) * 1_000;
          do {
            // at the slowest rate not all of them come to write
            await sleep(Math.min(random(2 * pauseMs), until - performance.now()));
            ids.push(await (random(10) < 3 ? writer.writeSlowly(200) : writer.write()));
          } while (performance.now() < until);
        }),
      );
      await Promise.all(ids.map((id) => sleepers.arrival(id, lostMs)));
      await sleepers.replaceOne();
      expect(sleepers.unrung).toBe(0);
    }
    for (const writer of writers) await writer.close();
  });
});

/** Of a daemon's metrics. */
async function foundBySafetyPoll({ httpPort }: Daemon): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  return Number(/^rowhook_safety_poll_events_total (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
}

/** Ids that arrive, at a receiver of all tenants. */
async function startReceiving(onTestFinished: TestContext['onTestFinished']) {
  const arrived = new Map<number, number>();
  const receiver = await startCounter({
    onRequest: (body) => {
      const { id } = JSON.parse(body.toString()).data;
      if (!arrived.has(id)) arrived.set(id, performance.now());
    },
  });
  for (const tenant_id of tenants) await createWebhook(server.database, { tenant_id, url: receiver.url });
  onTestFinished(async () => {
    await server.database.query('delete from rowhook.webhook_configurations');
    await receiver.close();
  });
  // as long as a lease, and more: by then a safety poll may have found it, which is counted
  const patiently = { timeoutMs: 45_000, everyMs: 5 };
  return { arrived, waitFor: (id: number) => waitUntil(`event ${id} arrives`, () => arrived.get(id), patiently) };
}

async function doorbell(): Promise<number> {
  const [row] = await server.database.query<{ value: number }>('select last_value::int as value from rowhook.doorbell');
  return row?.value ?? 0;
}

describe('daemons', () => {
  test('that come, go and die miss nothing, and writers at load ring for nobody', {
    timeout: full ? 900_000 : 60_000,
  }, async ({ onTestFinished }) => {
    const { arrived, waitFor } = await startReceiving(onTestFinished);
    const start = async () => startDaemon(daemonSettings(server.database.daemonUrl, { httpPort: await freePort() }));
    const staying = await start();
    let coming = await start();
    onTestFinished(async () => void (await Promise.all([staying.stop(), coming.stop()])));
    let safetyPolls = 0;
    const writers = await Promise.all(Array.from({ length: 4 }, () => Writer.connect()));
    const pids = new Set(writers.map(({ pid }) => pid));
    const ear = new pg.Client(server.database.url);
    await ear.connect();
    const rings: number[] = [];
    ear.on('notification', ({ processId }) => pids.has(processId) && rings.push(performance.now()));
    await ear.query('listen rowhook');

    let written = 0;
    let atLoad = 0;
    for (let round = 0; round < (full ? 10 : 1); round++) {
      // seldom: daemons sleep, and are woken each time
      for (let n = 0; n < 4; n++) {
        await sleep(random(1_500));
        const id = await oneOf([() => writers[0]?.write(), () => writers[0]?.writeSlowly(800)])();
        await waitFor(id as number);
        written += 1;
      }
      const dying = startDaemonProcess(server.database.daemonUrl);
      await dying.tookLanes();
      // at load: after the first events, which may have to wake somebody
      const commits: number[] = [];
      const ids: number[] = [];
      const until = performance.now() + (full ? 5_000 : 3_000);
      await Promise.all(
        writers.map(async (writer) => {
          while (performance.now() < until) {
            ids.push(await writer.write());
            commits.push(performance.now());
            await sleep(random(40));
          }
        }),
      );
      written += ids.length;
      // a daemon may doze off when 16 commits take half a second, as on a machine that stands still
      const starts = commits.filter((at, i) => !(at - (commits[i - 16] as number) < 300));
      const isAtLoad = (at: number) => at < (commits.at(-1) ?? 0) && !starts.some((from) => at < from + 1_000);
      atLoad += rings.filter((at) => at > (starts[0] as number) && isAtLoad(at)).length;
      await dying.kill('SIGKILL');
      safetyPolls += await foundBySafetyPoll(coming);
      await coming.stop();
      coming = await start();
      for (const id of ids) await waitFor(id);
      safetyPolls += await foundBySafetyPoll(staying);
    }
    await caughtUp(server.database);
    console.log(
      `daemons: ${written} events, ${rings.length} rings by writers, ${atLoad} of them at load, ${safetyPolls} events found by safety polls`,
    );
    expect(atLoad).toBe(0);
    expect(rings.length).toBeGreaterThan(0);
    expect(safetyPolls).toBe(0);
    expect(arrived.size).toBe(written);
    await ear.end();
    for (const writer of writers) await writer.close();
  });
});
