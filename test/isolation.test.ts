// One bad endpoint changes nobody else's latency. ROWHOOK_TEST_FULL=1 runs 60 s on a quiet machine, and holds the 99th percentile
// to what we promise; the short run holds the median, which a busy machine does not shake.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Daemon } from '../src/daemon.ts';
import { startTestDaemon } from './support/daemon.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { waitUntil } from './support/wait.ts';

const full = process.env.ROWHOOK_TEST_FULL === '1';
const seconds = full ? 60 : 6;
const percentile = full ? 0.99 : 0.5;
const ratioMax = full ? 1.3 : 2;
const healthyCount = 50;
const eventsPerSecond = 300;

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon | undefined;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
});

afterAll(async () => {
  await daemon?.stop();
  await receiver.close();
  await database.drop();
});

const tenantOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

async function webhook(tenant: string, path: string): Promise<void> {
  await database.query(
    'insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, $2, $3, $4)',
    [tenant, path, receiver.url(path), ['clients.*']],
  );
}

/** Writes events at an even pace over these tenants, and returns a percentile of the healthy ones' latencies in milliseconds. */
async function run(tenants: readonly string[]): Promise<number> {
  receiver.requests.length = 0;
  const sentAt = new Map<string, number>();
  const total = seconds * eventsPerSecond;
  const startedAt = performance.now();
  const writes: Promise<unknown>[] = [];
  let sent = 0;
  while (sent < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1_000) * eventsPerSecond));
    for (; sent < due; sent++) {
      const name = `e${startedAt}-${sent}`;
      sentAt.set(name, performance.now());
      writes.push(
        database.query('insert into clients (organization_id, name) values ($1, $2)', [
          tenants[sent % tenants.length],
          name,
        ]),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(writes);
  const healthy = () => receiver.requests.filter(({ path }) => path === '/healthy');
  const expected = [...sentAt.keys()].filter((_, i) => Number(tenants[i % tenants.length]?.slice(-12)) < 900).length;
  await waitUntil('every healthy webhook got all', () => healthy().length >= expected);
  const latencies = healthy()
    .map(({ body, at }) => at - (sentAt.get(JSON.parse(body.toString()).data.name) as number))
    .sort((a, b) => a - b);
  expect(latencies).toHaveLength(expected);
  return latencies[Math.floor(latencies.length * percentile)] as number;
}

test('endpoints that hang, crawl or fail do not change the latency of healthy ones, and do not hold the position', {
  timeout: 240_000,
}, async () => {
  const healthy = Array.from({ length: healthyCount }, (_, i) => tenantOf(i));
  const bad = [tenantOf(901), tenantOf(902), tenantOf(903)];
  for (const tenant of healthy) await webhook(tenant, '/healthy');
  await webhook(bad[0] as string, '/hangs');
  await webhook(bad[1] as string, '/slow');
  await webhook(bad[2] as string, '/fails');
  receiver.respond('/hangs', { hang: true });
  receiver.respond('/slow', { delayMs: 9_000, status: 200 });
  receiver.respond('/fails', { status: 500 });
  daemon = await startTestDaemon(database);

  await run(healthy); // warm
  const ratios: number[] = [];
  // a neighbour on the machine can spoil one pair of runs, a bad endpoint that is not isolated spoils them all
  do {
    const before = await run(healthy);
    const withBad = await run([...healthy, ...bad]);
    ratios.push(withBad / before);
    console.log(
      `p${percentile * 100} of ${healthyCount} healthy webhooks: ${before.toFixed(1)} ms alone, ${withBad.toFixed(1)} ms beside three bad ones`,
    );
  } while ((ratios.at(-1) as number) >= ratioMax && ratios.length < 3);
  expect(Math.min(...ratios)).toBeLessThan(ratioMax);

  const { rows } = await database.pool.query<{ behind: string }>(
    `select count(*) as behind from rowhook.webhook_outbox o join rowhook.webhook_lanes l using (lane)
      where not pg_visible_in_snapshot(o.xid, l.from_snapshot) and o.occurred_at < now() - interval '5 seconds'`,
  );
  expect(rows[0]?.behind).toBe('0');
});
