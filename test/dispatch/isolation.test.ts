// One bad endpoint changes nobody else's latency. Two daemons work at the same time, on databases of their own with the same
// load, one of them beside three bad webhooks: so whatever the machine does, it does to both. ROWHOOK_TEST_FULL=1 runs 60 s and
// holds the 99th percentile to what we promise; the short run holds the median, which a busy machine does not shake.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { atPace } from '../support/pace.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

const full = process.env.ROWHOOK_TEST_FULL === '1';
const seconds = full ? 60 : 4;
const percentile = full ? 0.99 : 0.5;
const ratioMax = full ? 1.3 : 2;
const healthyCount = full ? 50 : 20;
const eventsPerSecond = full ? 300 : 120;

/** Runs until one tells: a bad endpoint that is not isolated spoils every run, a neighbour on the machine only some. */
const runsMax = full ? 4 : 10;

/**
 * Time is cut into windows of this length; one in which other machines took more than this share of ours counts for neither
 * side. A median needs none of that.
 */
const WINDOW_MS = 500;
const STEAL_MAX = full ? 0.03 : 1;

interface Side {
  database: TestDatabase;
  daemon: DaemonProcess;
  receiver: Receiver;
  tenants: string[];
  sentAt: Map<string, number>;
}

const sides: Side[] = [];

async function startSide(bad: Record<string, Parameters<Receiver['respond']>[1]>): Promise<Side> {
  const [database, receiver] = await Promise.all([createDatabase({ crm: true }), startReceiver()]);
  const paths = [...Array.from({ length: healthyCount }, () => '/healthy'), ...Object.keys(bad)];
  const tenants = paths.map((_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`);
  for (const [i, path] of paths.entries())
    await database.query(
      'insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, $2, $3, $4)',
      [tenants[i], path, receiver.url(path), ['clients.*']],
    );
  for (const [path, response] of Object.entries(bad)) receiver.respond(path, response);
  const daemon = startDaemonProcess(database.daemonUrl);
  const side = { database, daemon, receiver, tenants, sentAt: new Map() };
  sides.push(side);
  await daemon.tookLanes();
  return side;
}

let plain: Side;
let withBad: Side;

beforeAll(async () => {
  plain = await startSide({});
  withBad = await startSide({
    '/hangs': { hang: true },
    '/slow': { delayMs: 9_000, status: 200 },
    '/fails': { status: 500 },
  });
});

afterAll(async () => {
  for (const { daemon, receiver, database } of sides) {
    await daemon.kill('SIGTERM');
    await receiver.close();
    await database.drop();
  }
});

const healthyOf = ({ receiver }: Side) => receiver.requests.filter(({ path }) => path === '/healthy');

/** Ticks that all processors had, and those of them that the host gave to other machines; zeros where nobody says. */
function processorTicks(): { all: number; stolen: number } {
  try {
    const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/ +/).slice(1, 9).map(Number) ?? [];
    return { all: ticks.reduce((sum, n) => sum + n, 0), stolen: ticks[7] ?? 0 };
  } catch {
    return { all: 0, stolen: 0 };
  }
}

/** Writes events at an even pace over the tenants of both sides; resolves with the windows in which the machine was ours. */
async function write(seconds: number): Promise<(at: number) => boolean> {
  const startedAt = performance.now();
  const windowOf = (at: number) => Math.floor((at - startedAt) / WINDOW_MS);
  const stolen = new Set<number>();
  const writes: Promise<unknown>[] = [];
  let ticks = processorTicks();
  let window = 0;
  let sent = 0;
  const writeDue = () => {
    const now = performance.now();
    if (windowOf(now) > window) {
      const later = processorTicks();
      if (later.stolen - ticks.stolen > STEAL_MAX * (later.all - ticks.all))
        // what was sent before it may have waited in it
        for (let spoilt = window - 1; spoilt <= windowOf(now); spoilt++) stolen.add(spoilt);
      [ticks, window] = [later, windowOf(now)];
    }
    for (; sent < ((now - startedAt) / 1_000) * eventsPerSecond; sent++)
      for (const { database, tenants, sentAt } of sides) {
        const name = `e${sent}`;
        sentAt.set(name, performance.now());
        writes.push(
          database.query('insert into clients (organization_id, name) values ($1, $2)', [
            tenants[sent % tenants.length],
            name,
          ]),
        );
      }
  };
  await atPace(5, () => sent >= seconds * eventsPerSecond, writeDue);
  await Promise.all(writes);
  console.log(`${stolen.size} of ${(seconds * 1_000) / WINDOW_MS} windows left out: the host was busy`);
  return (at) => !stolen.has(windowOf(at));
}

/** Every event of a healthy webhook has come, once; returns the percentile of their latencies in milliseconds. */
async function latency(side: Side, isOurs: (at: number) => boolean): Promise<number> {
  const expected = [...side.sentAt.keys()].filter((name) => Number(name.slice(1)) % side.tenants.length < healthyCount);
  const firstAt = new Map<string, number>();
  await waitUntil('every healthy webhook got all', () => {
    for (const { body, at } of healthyOf(side).slice(firstAt.size)) {
      const { name } = JSON.parse(body.toString()).data;
      if (!firstAt.has(name)) firstAt.set(name, at);
    }
    return expected.every((name) => firstAt.has(name));
  });
  // a machine that stands still for longer than a lease ends a session, which is all that may repeat anything
  if (!side.daemon.stdout().includes('the session ended')) expect(healthyOf(side)).toHaveLength(expected.length);
  const latencies = expected
    .map((name) => ({ sentAt: side.sentAt.get(name) as number, at: firstAt.get(name) as number }))
    .filter(({ sentAt }) => isOurs(sentAt))
    .map(({ sentAt, at }) => at - sentAt)
    .sort((a, b) => a - b);
  return latencies[Math.floor(latencies.length * percentile)] ?? Infinity;
}

test('endpoints that hang, crawl or fail do not change the latency of healthy ones, and do not hold the position', {
  timeout: 400_000,
}, async () => {
  const ratios: number[] = [];
  await write(full ? 3 : 1.5); // warm
  for (const side of sides) await latency(side, () => true);
  do {
    for (const { receiver, sentAt } of sides) {
      receiver.requests.length = 0;
      sentAt.clear();
    }
    const isOurs = await write(seconds);
    const [alone, beside] = [await latency(plain, isOurs), await latency(withBad, isOurs)];
    ratios.push(beside / alone);
    console.log(
      `p${percentile * 100} of ${healthyCount} healthy webhooks: ${alone.toFixed(1)} ms alone, ${beside.toFixed(1)} ms beside three bad ones`,
    );
  } while (!((ratios.at(-1) as number) < ratioMax) && ratios.length < runsMax);
  expect(Math.min(...ratios.filter(Number.isFinite))).toBeLessThan(ratioMax);

  // by now the daemon has time to spare, and the hanging attempts go on for half a minute
  await waitUntil('no position is held', async () => (await behind(withBad)) === 0, { timeoutMs: 15_000 });
});

/** Events that no position covers. */
async function behind({ database }: Side): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    `select count(*)::int as count from rowhook.webhook_outbox o join rowhook.webhook_lanes l using (lane)
      where not pg_visible_in_snapshot(o.xid, l.from_snapshot)`,
  );
  return row?.count ?? 0;
}
