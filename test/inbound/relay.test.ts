// Inbound events become events for outgoing webhooks, and a loop is cut.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;
let api: TestApi;
let daemon: Daemon;
let receiver: Receiver;
let key = '';

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startReceiver()];
  api = await startTestApi(database);
  key = await createKey(database, 'acme', ['inbound']);
  daemon = await startTestDaemon(database);
});

afterAll(async () => {
  await daemon?.stop();
  await api?.stop();
  await receiver?.close();
  await database?.drop();
});

const send = (name: string, body: string, token = key) =>
  api.ask('POST', `/webhooks/${name}`, { body, headers: { 'x-api-key': token } });

async function createWebhook(tenantId: string, url: string, events: string, auth: object | null = null): Promise<void> {
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, auth_type, auth_config)
     values ($1, 'w', $2, $3, $4, coalesce($5::jsonb, '{}'))`,
    [tenantId, url, events, auth ? 'api_key' : 'none', auth],
  );
}

test('an inbound event goes to a webhook that wants it, with its text, and to no other', async () => {
  await createWebhook('acme', receiver.url('/wanted'), '{inbound.lead.*}');
  expect((await send('other', '{}')).status).toBe(201);
  const text = '{"n": 12345678901234567890.10,"a":1, "a":2}';
  expect((await send('lead.captured', text)).status).toBe(201);
  const [request] = await receiver.waitFor(({ path }) => path === '/wanted');
  expect(request?.headers).toMatchObject({ 'x-webhook-event': 'inbound.lead.captured', 'webhook-hops': '1' });
  expect(request?.body.toString()).toContain(`"data":${text}`);
  // what nobody wants is not in the outbox
  expect(await database.query("select from rowhook.webhook_outbox where event_types = '{inbound.other}'")).toEqual([]);
});

test('a webhook that posts to our own endpoint is cut after five hops, and the log says so', async () => {
  const token = await createKey(database, 'loop', ['inbound']);
  const auth = { header_name: 'X-API-Key', header_value: token };
  await createWebhook('loop', `${api.url}/api/webhooks/round`, '{inbound.round}', auth);
  expect((await send('round', '{}', token)).status).toBe(201);
  // the skip may be written before the delivery that caused it: that one's answer comes after its event
  const logs = await waitUntil('five deliveries and a cut', async () => {
    const rows = await database.query<{ status: string; code: string; error: string | null }>(
      "select status, code, error from rowhook.webhook_logs where tenant_id = 'loop' order by code, id",
    );
    return rows.length >= 6 && rows;
  });
  expect(logs.map(({ status, code }) => [status, code])).toEqual([
    ...Array(5).fill(['success', 'delivered']),
    ['skipped', 'loop_cut'],
  ]);
  expect(logs.at(-1)?.error).toContain('6 times');
  const hops = await database.query(
    "select hops from rowhook.integration_events where tenant_id = 'loop' order by received_at",
  );
  expect(hops).toEqual([0, 1, 2, 3, 4, 5].map((n) => ({ hops: n })));
});

test('rowhook inbound: sources, events, retry', async () => {
  const cli = async (...args: string[]) => {
    const result = await rowhook(['inbound', ...args], { env: { DATABASE_URL: database.url } });
    expect([result.code, result.stderr]).toEqual([0, '']);
    return result.stdout;
  };
  const create = ['--tenant', 'shop', '--name', 'form', '--verification', 'api_key'];
  const made = JSON.parse(await cli('source', 'create', ...create, '--json'));
  expect(await cli('source', 'list', '--tenant', 'shop')).toContain(made.id);
  const post = (secret: string) =>
    api.ask('POST', made.path.slice(4), { body: '{}', headers: { 'x-api-key': secret } });
  const first = await post(made.secret);
  expect(first.status).toBe(201);
  const rotated = JSON.parse(await cli('source', 'rotate-secret', made.id, '--overlap', '0 s', '--json'));
  expect([(await post(made.secret)).status, (await post(rotated.secret)).status]).toEqual([401, 201]);

  const id = String(first.body.id);
  await database.query("select rowhook.fail_integration_event($1, 'no')", [id]);
  expect(await cli('events', '--tenant', 'shop', '--status', 'failed')).toMatch(`${id}  `);
  expect(await cli('retry', id)).toContain('waits again');
  expect(await cli('events', '--tenant', 'shop', '--json')).toContain('"status":"received"');
  await cli('source', 'delete', made.id);
  expect((await post(rotated.secret)).status).toBe(410);
  const again = await rowhook(['inbound', 'source', 'delete', made.id], { env: { DATABASE_URL: database.url } });
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('does not exist')]);
});
