// One tenant has filters that cost as much as a filter may. Others do not wait for them.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  database = await createDatabase();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await database.query('delete from rowhook.webhook_configurations');
});
afterAll(() => database.drop());

async function receiver(): Promise<Counter> {
  const counter = await startCounter();
  closers.push(() => counter.close());
  return counter;
}

async function daemon(): Promise<DaemonProcess> {
  const running = startDaemonProcess(database.daemonUrl);
  closers.push(() => running.kill('SIGKILL'));
  await running.tookLanes();
  return running;
}

/** `count` changes in one statement, each a row of a megabyte. */
const emit = (count: number, value: string) =>
  database.query(
    `select rowhook.emit('a.b', format('{"a":%s}', ${value})::json, 'busy') from generate_series(1, $1::int)`,
    [count],
  );

test('an array that no filter may search: three webhooks skip sixteen of them, with a sentence', async () => {
  const quiet = await receiver();
  for (const name of ['1', '2', '3'])
    await createWebhook(database, { tenant_id: 'busy', name, url: quiet.url, filter: '{"data.a":{"$contains":"x"}}' });
  await createWebhook(database, { tenant_id: 'neighbour', url: quiet.url });
  const running = await daemon();
  await emit(16, "'[' || repeat('1,', 524000) || '1]'");
  await database.query("select rowhook.emit('a.b', '{}', 'neighbour')");
  await waitUntil('the event of the neighbour arrives', () => quiet.requests === 1);
  const skipped = await waitUntil('all are logged', async () => {
    const [row] = await database.query<{ count: number; errors: string[] }>(
      `select count(*)::int as count, array_agg(distinct error) as errors from rowhook.webhook_logs
        where tenant_id = 'busy' and status = 'skipped' and code = 'filter_failed'`,
    );
    return row?.count === 48 && row;
  });
  expect(skipped.errors).toEqual([
    'the filter needs more than the 4,000,000 steps that it may take for one row. ' +
      'It had none left for "data.a" $contains "x". Filter by smaller columns, or by fewer $contains',
  ]);
  expect(running.stdout()).not.toContain('session ended');
});

test('fifty webhooks that search each text: a neighbour is served between them', async () => {
  const busy = await receiver();
  const quiet = await receiver();
  const webhooks = 50;
  const changes = 5;
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, filter)
     select 'busy', n, $1, '{*}', jsonb_build_object('data.a', jsonb_build_object('$contains', 'ab' || n))
       from generate_series(1, $2::int) as n`,
    [busy.url, webhooks],
  );
  await createWebhook(database, { tenant_id: 'busy', url: busy.url, filter: '{"data.a":{"$startsWith":"aa"}}' });
  // Not the neighbour of the test above: its last event may be read again, as its daemon was killed.
  await createWebhook(database, { tenant_id: 'next', url: quiet.url });
  await daemon();
  const began = performance.now();
  await emit(changes, "to_json(repeat('a', 1000000))");
  const waits: number[] = [];
  while (busy.requests < changes) {
    const before = quiet.requests;
    const emittedAt = performance.now();
    await database.query("select rowhook.emit('a.b', '{}', 'next')");
    await waitUntil('it arrives', () => quiet.requests > before, { everyMs: 2 });
    waits.push(performance.now() - emittedAt);
  }
  const total = performance.now() - began;
  // Matched as one window, the neighbour waits for all of them. It waits for a safety poll, 30 s, if
  // a ring is lost that comes while the last page of the busy tenant is read.
  expect(Math.max(...waits) / total).toBeLessThan(1 / 3);
  await caughtUp(database);
  expect(busy.requests).toBe(changes);
  expect(quiet.requests).toBe(waits.length);
});
