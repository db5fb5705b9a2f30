// How a webhook's requests look to its receiver: method, headers, credentials; and that the log holds none of the latter.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { USER_AGENT } from '../../src/payload/headers.ts';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { verifyRequest } from '../support/verify.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const MASK = '••••••';
let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;

beforeAll(async () => {
  [database, receiver] = await Promise.all([createDatabase(), startReceiver()]);
  daemon = await startTestDaemon(database);
});

afterAll(async () => {
  await daemon.stop();
  await receiver.close();
  await database.drop();
});

interface Sent {
  request: ReceivedRequest;
  secret: string;
  log: { id: string; request_headers: Record<string, string>; request_method: string };
}

/** One event through a webhook with these columns. */
async function send(columns: Record<string, unknown>): Promise<Sent> {
  const path = `/${randomUUID()}`;
  const tenant = randomUUID();
  const { id, secret } = await createWebhook(database, { tenant_id: tenant, url: receiver.url(path), ...columns });
  await database.query(`select rowhook.emit('a.b', '{"n":1}', $1)`, [tenant]);
  const [request] = await receiver.waitFor((candidate) => candidate.path === path);
  const log = await waitUntil('it is logged', async () => {
    const rows = await database.query('select * from rowhook.webhook_logs where webhook_id = $1', [id]);
    return rows[0];
  });
  return { request: request as ReceivedRequest, secret, log: log as unknown as Sent['log'] };
}

const bearer = { auth_type: 'bearer', auth_config: { token: 'tok-hunter2.~+/=' } };
const basic = { auth_type: 'basic', auth_config: { username: 'üser', password: 'pä:ss hunter2' } };
const apiKey = { auth_type: 'api_key', auth_config: { header_name: 'X-Their-Key', header_value: 'hunter2 three' } };

test.each([
  ['bearer', bearer, 'authorization', 'Bearer tok-hunter2.~+/='],
  ['basic', basic, 'authorization', `Basic ${Buffer.from('üser:pä:ss hunter2').toString('base64')}`],
  ['api_key', apiKey, 'x-their-key', 'hunter2 three'],
])('%s arrives as it should, and is masked in the log', async (_, columns, header, value) => {
  const { request, secret, log } = await send(columns);
  expect(request.headers[header]).toBe(value);
  verifyRequest(request, secret);

  const logged = Object.entries(log.request_headers).find(([name]) => name.toLowerCase() === header);
  expect(logged?.[1]).toBe(MASK);
  expect(JSON.stringify(log)).not.toContain(value);
  const shown = await rowhook(['logs', 'show', log.id], { env: { DATABASE_URL: database.url } });
  expect(shown.stdout).toContain(`${logged?.[0]}: ${MASK}\n`);
  expect(shown.stdout).not.toMatch(/hunter2|aHVudGVy/);
});

test('none sends no authorization', async () => {
  const { request } = await send({});
  expect(request.headers.authorization).toBeUndefined();
});

test('custom headers arrive as they were written; those that name a credential are masked in the log', async () => {
  const headers = { 'X-Team': 'sales, marketing', 'x-empty': '', 'X-Api-Token': 'hunter2', Cookie: 'a=hunter2' };
  const { request, log } = await send({ headers });
  expect(request.headers).toMatchObject({ 'x-team': 'sales, marketing', 'x-empty': '', 'x-api-token': 'hunter2' });
  expect(request.rawHeaders).toContain('X-Team');
  expect(log.request_headers).toMatchObject({ 'X-Team': 'sales, marketing', 'X-Api-Token': MASK, Cookie: MASK });
  expect(JSON.stringify(log)).not.toContain('hunter2');
});

test('a header that the authorization sets is refused, and would be sent twice otherwise', async () => {
  const both = { ...bearer, headers: { Authorization: 'Basic b2xk' } };
  await expect(send(both)).rejects.toThrow("'Authorization' is set by auth_type 'bearer'");
});

test.each(['POST', 'PUT', 'PATCH'])('%s is the method that arrives, with the same headers and body', async (method) => {
  const { request, secret, log } = await send({ http_method: method });
  expect(request.method).toBe(method);
  expect(log.request_method).toBe(method);
  expect(request.headers).toMatchObject({
    'content-type': 'application/json',
    'content-length': String(request.body.length),
    'user-agent': USER_AGENT,
    'accept-encoding': 'identity',
    'x-webhook-event': 'a.b',
  });
  verifyRequest(request, secret);
  const body = JSON.parse(request.body.toString());
  expect(body).toMatchObject({ event: 'a.b', data: { n: 1 } });
  expect(body.id).toBe(request.headers['webhook-id']);
  expect(body.metadata.delivery_id).toBe(request.headers['x-webhook-delivery']);
  const seconds = Number(request.headers['webhook-timestamp']);
  expect(Date.parse(request.headers['x-webhook-timestamp'] ?? '') / 1000 - seconds).toBeLessThan(1);
});

test('a change of the credentials holds for the next request', async () => {
  const tenant = randomUUID();
  const path = `/${tenant}`;
  const { id } = await createWebhook(database, { tenant_id: tenant, url: receiver.url(path), ...bearer });
  await database.query("select rowhook.emit('a.b', '1', $1)", [tenant]);
  await receiver.waitFor((request) => request.path === path);
  await database.query(
    `update rowhook.webhook_configurations set auth_type = 'none', auth_config = '{}', http_method = 'PUT' where id = $1`,
    [id],
  );
  await database.query("select rowhook.emit('a.b', '2', $1)", [tenant]);
  const [, second] = await receiver.waitFor((request) => request.path === path, { count: 2 });
  expect(second).toMatchObject({ method: 'PUT' });
  expect(second?.headers.authorization).toBeUndefined();
});
