// Tenants with many or large webhooks, beside others: what they cost, and what is reported of them.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { rowhook } from '../support/cli.ts';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  database = await createDatabase();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await database.query('delete from rowhook.webhook_configurations; delete from rowhook.webhook_tenants');
});
afterAll(() => database.drop());

async function receiver(): Promise<Counter> {
  const counter = await startCounter({ answerAfterMs: 0 });
  closers.push(() => counter.close());
  return counter;
}

/** A daemon, and the value of one of its metrics. */
async function daemon(): Promise<DaemonProcess & { metric(name: string): Promise<number> }> {
  const port = await freePort();
  const running = startDaemonProcess(database.daemonUrl, { ROWHOOK_HTTP_PORT: String(port) });
  closers.push(() => running.kill('SIGKILL'));
  await running.tookLanes();
  const metric = async (name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  return { ...running, metric };
}

const create = (tenant: string, count: number, url: string, headerBytes = 0) =>
  database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, headers, created_at)
     select $1, 'w' || n, $3, '{*}', json_build_object('X', repeat('x', $4))::jsonb, now() + n * interval '1 ms'
       from generate_series(1, $2) as n`,
    [tenant, count, url, headerBytes],
  );
const emit = (tenant: string, count = 1) =>
  database.query("select count(rowhook.emit('a.b', to_json(n), $1)) from generate_series(1, $2::int) as n", [
    tenant,
    count,
  ]);

test('1,000 webhooks of one tenant and 10 events: another tenant is not behind their 10,000 deliveries', async () => {
  const [busy, quiet] = [await receiver(), await receiver()];
  await create('busy', 1_000, busy.url);
  await createWebhook(database, { tenant_id: 'quiet', url: quiet.url });
  await daemon();
  await emit('busy', 10);
  await waitUntil('some have arrived', () => busy.requests > 500);
  const meanwhile: number[] = [];
  for (let n = 1; busy.requests < 5_000; n++) {
    const before = busy.requests;
    await emit('quiet');
    await waitUntil(`event ${n} arrives`, () => quiet.requests >= n, { timeoutMs: 60_000 });
    meanwhile.push(busy.requests - before);
  }
  expect(meanwhile.length).toBeGreaterThan(0);
  // one change makes 1,000 of them at once
  expect(Math.max(...meanwhile)).toBeLessThan(4_000);
  await waitUntil('all have arrived', () => busy.requests >= 10_000, { timeoutMs: 120_000 });
  await caughtUp(database);
  expect(busy.requests).toBe(10_000);
});

test('webhooks that take too much memory are left out, logged and counted; the doctor has the remedy', async () => {
  const [acme, other] = [await receiver(), await receiver()];
  await database.query("insert into rowhook.webhook_tenants (id, max_configuration_bytes) values ('acme', 65536)");
  await create('acme', 10, acme.url, 10_000);
  await create('other', 10, other.url, 10_000);
  const running = await daemon();
  await emit('acme');
  await emit('other');
  await waitUntil('those that fit have arrived', () => acme.requests >= 6 && other.requests >= 10);
  const skipped = await waitUntil('the others are logged', async () => {
    const rows = await database.query<{ webhook_name: string; error: string }>(
      `select webhook_name, error from rowhook.webhook_logs where code = 'webhook_unusable' order by webhook_name`,
    );
    return rows.length >= 4 ? rows : undefined;
  });
  expect(skipped.map(({ webhook_name }) => webhook_name)).toEqual(['w10', 'w7', 'w8', 'w9']);
  expect(skipped[0]?.error).toContain('max_configuration_bytes');
  expect([acme.requests, other.requests]).toEqual([6, 10]);
  expect(running.stdout()).toContain('"webhooks":4,"max_configuration_bytes":65536');
  expect(await running.metric('rowhook_webhooks_left_out')).toBe(4);

  const findings = async () => {
    const { stdout } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: database.url } });
    const remarks = stdout.split('\n').filter(Boolean);
    return remarks.map((line) => JSON.parse(line)).filter(({ check, kind }) => check === 'tenants' && kind !== 'fine');
  };
  const [finding, ...more] = await findings();
  expect([finding.what, more]).toEqual([
    expect.stringMatching(/^the 10 webhooks of tenant acme take \d{6} bytes of memory, and may take 65536$/),
    [],
  ]);
  await database.query(finding.fix);
  expect(await findings()).toEqual([]);
  await emit('acme');
  await waitUntil('all have arrived', () => acme.requests >= 16);
  expect(await running.metric('rowhook_webhooks_left_out')).toBe(0);
});

test('a daemon that starts reads no texts of webhooks that only wait, and its memory does not grow with them', async () => {
  const waiting = (count: number) =>
    database.query(
      `insert into rowhook.webhook_deliveries
         (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, lane, ordinal, attempted,
          tenant_id, event_id, event_type, organization, webhook_name, payload_format, data, has_payload)
       select gen_random_uuid(), id, 1, now(), now() + interval '1 hour', rowhook._lane(tenant_id), 0, true,
              tenant_id, 'evt_x_1_0', 'a.b', '{}', name, 'nested', '{}', true
         from rowhook.webhook_configurations
        where id not in (select webhook_id from rowhook.webhook_deliveries)
        order by id limit $1`,
      [count],
    );
  const start = async () => {
    const running = await daemon();
    await caughtUp(database);
    return running;
  };
  const target = await receiver();
  for (let tenant = 0; tenant < 10; tenant++) await create(`tenant ${tenant}`, 300, target.url, 15_000);
  const reads = await start();
  await reads.kill('SIGTERM');

  /** Kilobytes at most, and webhooks that were read with their texts, once a due delivery has arrived. */
  const costs = async () => {
    const before = target.requests;
    const running = await start();
    const [one] = await database.query<{ id: string }>(
      'select delivery_id as id from rowhook.webhook_deliveries limit 1',
    );
    await database.query('select rowhook.replay_delivery($1)', [one?.id]);
    await waitUntil('it has arrived', () => target.requests > before);
    const costs = { ...(await running.memory()), loaded: await running.metric('rowhook_webhooks_loaded_total') };
    await running.kill('SIGTERM');
    return costs;
  };
  await waiting(30);
  const few = await costs();
  await waiting(3_000);
  // 45 MB of texts
  const many = await costs();
  expect(many.mostKb - few.mostKb).toBeLessThan(30_000);
  // the one of the replay; those that wait are read without their texts
  expect(Math.max(few.loaded, many.loaded)).toBeLessThan(5);
});
