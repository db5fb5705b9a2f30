// Requests as guides of other systems give them, word for word, and the answers that those guides show. dialects.test.ts has the
// details of each dialect.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileValidator } from '../../src/api/schema.ts';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { type Document, type Operation, withoutNames } from '../support/api-document.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

const ORG = 'org-7';
const UUID = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);

let database: TestDatabase;
let api: TestApi;
let receiver: Receiver;
let daemon: Daemon;
let token: string;

beforeAll(async () => {
  [database, receiver] = [await createDatabase({ crm: true }), await startReceiver()];
  api = await startTestApi(database, { allowHttp: true, allowCidrs: ['127.0.0.0/8'] });
  token = await createKey(database, ORG);
  daemon = await startTestDaemon(database);
  const operator = await createKey(database, null);
  const body = { name: 'SitePanda', slug: 'sitepanda' };
  expect((await api.ask('PUT', `/v1/organizations/${ORG}`, { token: operator, body })).status).toBe(200);
});

afterAll(async () => {
  await daemon?.stop();
  await api?.stop();
  await receiver?.close();
  await database?.drop();
});

const as = (method: string, path: string, body?: unknown) => api.ask(method, path, { token, body });

const NEW_CLIENT = {
  name: 'New Client to n8n',
  description: 'Sends new client data to n8n workflow',
  target_url: 'https://your-n8n.com/webhook/abc123',
  http_method: 'POST',
  auth_type: 'bearer',
  auth_config: {
    token: 'your-secret-token',
  },
  event_types: ['clients.created'],
  retry_enabled: true,
  retry_attempts: 3,
};

test('an outgoing webhook: create, switch off, read its failed deliveries, delete', async () => {
  const made = await as('POST', `/v1/${ORG}/outgoing-webhooks`, NEW_CLIENT);
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({ ...NEW_CLIENT, auth_config: { token: null }, id: UUID, is_active: true });
  const path = `/v1/${ORG}/outgoing-webhooks/${made.body.id}`;
  const off = await as('PATCH', path, { is_active: false });
  expect([off.status, off.body.is_active, off.body.name]).toEqual([200, false, NEW_CLIENT.name]);
  const failed = await as('GET', `${path}/deliveries?limit=50&status=failed`);
  expect([failed.status, failed.body]).toEqual([200, { data: [], next_cursor: null }]);
  expect((await as('DELETE', path)).status).toBe(204);
});

const AUTHS = [
  ['none', {}, {}],
  ['bearer', { token: 'your-secret-token' }, { authorization: 'Bearer your-secret-token' }],
  ['basic', { username: 'admin', password: 'secret123' }, { authorization: 'Basic YWRtaW46c2VjcmV0MTIz' }],
  ['api_key', { header_name: 'X-API-Key', header_value: 'your-api-key' }, { 'x-api-key': 'your-api-key' }],
] as const;

test.each(AUTHS)('auth_type %s, and its test', async (auth_type, auth_config, headers) => {
  const body = { ...NEW_CLIENT, target_url: receiver.url(`/${auth_type}`), auth_type, auth_config };
  const made = await as('POST', `/v1/${ORG}/outgoing-webhooks`, body);
  expect(made.status).toBe(201);
  // without a body, as the guide has it
  const tested = await as('POST', `/v1/${ORG}/outgoing-webhooks/${made.body.id}/test`);
  expect([tested.status, tested.body.status, tested.body.response_status]).toEqual([200, 'success', 200]);
  const [request] = receiver.requestsTo(`/${auth_type}`);
  expect(request?.headers).toMatchObject(headers);
});

test('the payload of clients.created', async () => {
  const body = { ...NEW_CLIENT, target_url: receiver.url('/payload'), auth_type: 'none', auth_config: {} };
  const { id } = (await as('POST', `/v1/${ORG}/outgoing-webhooks`, body)).body;
  const data = {
    id: '0b8cd2a5-9f6f-4f0e-8a51-0b8cd2a59f6f',
    first_name: 'John',
    last_name: 'Doe',
    email: 'john@example.com',
    tags: ['vip', 'enterprise'],
    created_at: '2025-10-17T19:30:00.000Z',
  };
  expect((await as('POST', `/v1/${ORG}/events`, { event: 'clients.created', data })).status).toBe(201);
  const [request] = await receiver.waitFor(({ path }) => path === '/payload');
  expect(JSON.parse(request?.body.toString() ?? '')).toEqual({
    id: expect.stringMatching(/^evt_/),
    event: 'clients.created',
    timestamp: TIME,
    organization: { id: ORG, name: 'SitePanda', slug: 'sitepanda' },
    data,
    metadata: { webhook_id: id, webhook_name: NEW_CLIENT.name, delivery_id: UUID },
  });
});

test('webhooks with targetUrl and headers, and their test', async () => {
  const body = {
    name: 'My Webhook',
    description: 'Webhook for workflow completions',
    targetUrl: 'https://example.com/webhook',
    events: ['workflow.completed', 'agent.completed'],
    headers: { 'X-Custom-Header': 'custom-value' },
    isActive: true,
  };
  expect((await as('POST', '/v1/webhooks', body)).status).toBe(201);
  const made = await as('POST', '/v1/webhooks', { ...body, targetUrl: receiver.url('/agent') });
  const tested = await as('POST', `/v1/webhooks/${made.body.id}/test`);
  expect([tested.status, tested.body.event_type]).toEqual([200, 'workflow.completed']);
  const [request] = receiver.requestsTo('/agent');
  expect(request?.headers['x-custom-header']).toBe('custom-value');
  expect(JSON.parse(request?.body.toString() ?? '')).toMatchObject({
    id: expect.any(String),
    event: 'workflow.completed',
    timestamp: TIME,
    data: expect.anything(),
  });
});

test('a subscription answers the fields that its clients read, and the list has it', async () => {
  const body = {
    event_name: 'contact.created',
    target_url: 'https://your-n8n-instance.com/webhook/contact-created',
    enabled: true,
  };
  const made = await as('POST', '/webhooks/subscriptions', body);
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({ ...body, id: UUID, tenant_id: ORG, created_at: TIME, updated_at: TIME });
  const list = await as('GET', '/webhooks/subscriptions');
  expect(list.status).toBe(200);
  expect(JSON.parse(list.text).map(({ id }: { id: string }) => id)).toContain(made.body.id);
});

test('what rowhook sends is what the document says of it', async () => {
  const document = (await api.ask('GET', '/openapi.json')).body as unknown as Document;
  const { parameters = [], requestBody } = (document.webhooks.event as { post: Operation }).post;
  const schema = withoutNames(requestBody?.content['application/json']?.schema, document) as object;
  const validate = compileValidator({ schema, httpPart: 'body', method: 'POST', url: '/' } as never);
  expect(receiver.requests.length).toBeGreaterThan(4);
  for (const { headers, body } of receiver.requests) {
    expect(Object.keys(headers)).toEqual(expect.arrayContaining(parameters.map(({ name }) => name.toLowerCase())));
    expect((validate(JSON.parse(body.toString())) as { error?: unknown }).error).toBeUndefined();
  }
});

test('who am I: tenant_id', async () => {
  const me = await as('GET', '/auth/me');
  expect([me.status, me.body.tenant_id]).toEqual([200, ORG]);
});

test('a poll for new leads', async () => {
  const first = await as('GET', '/webhooks/zapier/leads/poll?since=2025-01-15T10:30:00Z');
  expect([first.status, first.body]).toEqual([200, []]);
  const lead = { id: 42, email: 'lead@example.com', source: 'website_form' };
  expect((await as('POST', `/v1/${ORG}/events`, { event: 'lead.created', data: lead })).status).toBe(201);
  const polled = await waitUntil('the lead can be polled', async () => {
    const answer = await as('GET', `/webhooks/zapier/leads/poll?since=${Math.floor(Date.now() / 1_000) - 3_600}`);
    return answer.text === '[]' ? undefined : JSON.parse(answer.text);
  });
  expect(polled).toMatchObject([lead]);
});
