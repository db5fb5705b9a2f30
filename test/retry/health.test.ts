import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { rowhook } from '../support/cli.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const tenant = '11111111-1111-4111-8111-111111111111';
let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon | undefined;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
});

afterEach(async () => {
  await daemon?.stop();
  await database.query('delete from rowhook.webhook_configurations');
  await database.query('delete from rowhook.webhook_tenants');
  receiver.clear();
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

async function webhook(path: string, columns: Record<string, unknown> = {}): Promise<string> {
  const row = { tenant_id: tenant, name: path, url: receiver.url(path), event_types: ['clients.*'], ...columns };
  return (await createWebhook(database, row)).id;
}

const insert = (count: number) =>
  database.query("insert into clients (organization_id, name) select $1, 'c' || n from generate_series(1, $2::int) n", [
    tenant,
    count,
  ]);

const breakerOpens = (webhookId: string) =>
  waitUntil('the breaker is open', async () => {
    const open = 'select from rowhook.webhook_health where webhook_id = $1 and open_until > now()';
    return (await database.query(open, [webhookId])).length === 1;
  });

test('an open breaker parks events instead of trying them, survives a restart, and lets one through to probe', async () => {
  const broken = await webhook('/broken', { retry_strategy: 'linear', retry_delay_seconds: 3600 });
  await webhook('/healthy');
  receiver.respond('/broken', { status: 500 });
  daemon = await startTestDaemon(database);
  await insert(10);
  await breakerOpens(broken);
  const tried = receiver.requestsTo('/broken').length;
  expect(tried).toBe(10);
  // for longer than this test may take anywhere
  await daemon.stop();
  await database.query("update rowhook.webhook_health set open_until = now() + interval '9 min'");
  daemon = await startTestDaemon(database);

  await insert(20);
  await waitUntil('the healthy one got all', () => receiver.requestsTo('/healthy').length === 30);
  const parked = () =>
    database.query<{ attempted: boolean }>("select attempted from rowhook.webhook_deliveries where state = 'waiting'");
  await waitUntil('all are parked', async () => (await parked()).length === 30);
  expect((await parked()).filter(({ attempted }) => !attempted)).toHaveLength(20);
  const { stdout } = await rowhook(['deliveries'], { env: { DATABASE_URL: database.daemonUrl } });
  expect(stdout.match(/ when the breaker closes$/gm)).toHaveLength(20);
  expect(stdout.match(/ \d{4}-\S+Z$/gm)).toHaveLength(10);

  await daemon.stop();
  daemon = await startTestDaemon(database);
  await insert(5);
  await waitUntil('the new ones are parked', async () => (await parked()).length === 35);
  expect(receiver.requestsTo('/broken')).toHaveLength(tried);

  // as if its time had passed
  await daemon.stop();
  await database.query('update rowhook.webhook_health set open_until = now()');
  receiver.respond('/broken', { status: 200 });
  daemon = await startTestDaemon(database);
  await waitUntil('what was never tried has arrived', () => receiver.requestsTo('/broken').length === tried + 25);
  await waitUntil(
    'it is healthy',
    async () => (await database.query('select from rowhook.webhook_health')).length === 0,
  );
});

test.each([
  [
    'rowhook webhook enable',
    (id: string) => rowhook(['webhook', 'enable', id], { env: { DATABASE_URL: database.url } }),
  ],
  [
    'a webhook that is switched off and on in SQL',
    async (id: string) => {
      for (const on of [false, true])
        await database.query('update rowhook.webhook_configurations set is_active = $2 where id = $1', [id, on]);
      return { code: 0, stderr: '' };
    },
  ],
])('%s sends what waits at once, also what would wait for an hour, in the order of its row', async (_, enable) => {
  await database.query('delete from clients');
  const down = await webhook('/down', { retry_strategy: 'linear', retry_delay_seconds: 3600, ordering: 'row' });
  receiver.respond('/down', { status: 500 });
  daemon = await startTestDaemon(database);
  await insert(10);
  await breakerOpens(down);
  await database.query("update clients set name = 'later' where name = 'c1'");
  const waiting = () =>
    database.query<{ due: boolean; behind: boolean }>(
      `select next_attempt_at <= now() as due, next_attempt_at = 'infinity' as behind
         from rowhook.webhook_deliveries where webhook_id = $1 and state = 'waiting'`,
      [down],
    );
  await waitUntil('all wait', async () => (await waiting()).length === 11);
  expect((await waiting()).filter(({ due }) => due)).toEqual([]);

  receiver.clear();
  const { code, stderr } = await enable(down);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  await waitUntil('all have arrived', async () => (await waiting()).length === 0);
  const bodies = receiver.requestsTo('/down').map(({ body }) => JSON.parse(body.toString()) as { event: string });
  expect(bodies.map(({ event }) => event).sort()).toEqual([...Array(10).fill('clients.created'), 'clients.updated']);
  expect(bodies.at(-1)?.event).toBe('clients.updated');
});

test('webhook.failing comes once when a breaker opens, to a webhook that asks for it by name', async () => {
  const broken = await webhook('/broken', { retry_strategy: 'linear', retry_delay_seconds: 3600 });
  await webhook('/watcher', { event_types: ['webhook.failing'] });
  receiver.respond('/broken', { status: 500 });
  daemon = await startTestDaemon(database);
  await insert(10);
  await breakerOpens(broken);
  const [told] = await receiver.waitFor((request) => request.path === '/watcher');
  const failing = {
    event: 'webhook.failing',
    data: { id: broken, name: '/broken', failures: 10, failing_since: expect.stringMatching(/^20.*[+]00:00$/) },
  };
  expect(JSON.parse(told?.body.toString() ?? '')).toMatchObject(failing);
  // its breaker opens again
  await database.query('update rowhook.webhook_health set openings = openings + 1');
  const written = await database.query(
    "select from rowhook.webhook_outbox where event_types = '{webhook.failing}' and tenant_id = $1",
    [tenant],
  );
  expect(written).toHaveLength(1);
});

test('a change of its URL forgives a webhook that nothing waits for, and that is not in memory', async () => {
  const broken = await webhook('/broken', { retry_enabled: false });
  await webhook('/other', { tenant_id: 'other', event_types: ['*'] });
  receiver.respond('/broken', { status: 500 });
  daemon = await startTestDaemon(database);
  await insert(10);
  await breakerOpens(broken);
  await daemon.stop();
  await database.query("update rowhook.webhook_health set open_until = now() + interval '9 min'");
  // it knows the webhook by its failures alone, which it has read before it delivers anything
  daemon = await startTestDaemon(database);
  await database.query("select rowhook.emit('a.b', '{}', 'other')");
  await waitUntil('it delivers', () => receiver.requestsTo('/other').length === 1);

  await database.query('update rowhook.webhook_configurations set url = $1 where id = $2', [
    receiver.url('/mended'),
    broken,
  ]);
  await insert(1);
  await waitUntil('the mended one got it', () => receiver.requestsTo('/mended').length === 1);
});

test('a webhook that failed for days is disabled, its tenant is told, and what it misses is logged as skipped', async () => {
  const failing = await webhook('/failing', { retry_enabled: false });
  await webhook('/watcher', { event_types: ['webhook.disabled'] });
  receiver.respond('/failing', { status: 500 });
  await database.query(
    `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since)
     values ($1, rowhook._lane($2), 49, now() - interval '4 days')`,
    [failing, tenant],
  );
  daemon = await startTestDaemon(database);
  await insert(1);
  const [told] = await receiver.waitFor((request) => request.path === '/watcher');
  expect(JSON.parse(told?.body.toString() ?? '')).toMatchObject({
    event: 'webhook.disabled',
    data: { id: failing, name: '/failing' },
  });
  const [row] = await database.query(
    'select is_active, disabled_reason from rowhook.webhook_configurations where id = $1',
    [failing],
  );
  expect(row).toMatchObject({
    is_active: false,
    disabled_reason: expect.stringMatching(/^50 attempts failed since 20/),
  });

  await insert(3);
  const skipped = () =>
    database.query("select code, error from rowhook.webhook_logs where webhook_id = $1 and status = 'skipped'", [
      failing,
    ]);
  await waitUntil('three are logged', async () => (await skipped()).length === 3);
  expect((await skipped())[0]).toMatchObject({
    code: 'webhook_disabled',
    error: expect.stringContaining('50 attempts failed'),
  });
  expect(receiver.requestsTo('/failing')).toHaveLength(1);

  receiver.respond('/failing', { status: 200 });
  await database.query('update rowhook.webhook_configurations set is_active = true where id = $1', [failing]);
  await insert(1);
  await waitUntil('it gets events again', () => receiver.requestsTo('/failing').length === 2);
});

test('max_in_flight holds for a webhook, and for all webhooks of a tenant together', async () => {
  await webhook('/three', { max_in_flight: 3 });
  receiver.respond('*', { delayMs: 30 });
  daemon = await startTestDaemon(database);
  await insert(40);
  await receiver.waitFor(40);
  expect(receiver.mostAtOnce).toBe(3);
  // three are still being answered
  await caughtUp(database);

  await database.query('insert into rowhook.webhook_tenants (id, name, slug, max_in_flight) values ($1, $2, $3, 2)', [
    tenant,
    'Acme',
    'acme',
  ]);
  await webhook('/other');
  receiver.clear();
  receiver.respond('*', { delayMs: 20 });
  await insert(20);
  await receiver.waitFor(40);
  expect(receiver.mostAtOnce).toBe(2);
});

// How it holds in every second: test/queue/limiter.unit.test.ts. Here requests that a busy machine held up arrive together.
test('rate_limit_per_second: no request comes before its turn, and nothing is lost to it', async () => {
  await webhook('/rate', { rate_limit_per_second: 20 });
  daemon = await startTestDaemon(database);
  const insertedAt = performance.now();
  await insert(60);
  const requests = await receiver.waitFor(60);
  const times = requests.map(({ at }) => at - insertedAt).sort((a, b) => a - b);
  // one in 50 ms, and the tolerance of 100 ms
  for (const [n, at] of times.entries()) expect(at, `request ${n}`).toBeGreaterThan(n * 50 - 101);
});
