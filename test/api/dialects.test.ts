// Requests as other systems document them, word for word, and the answers that they expect.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let token: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  token = await createKey(database, 'acme');
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);

test('webhooks with targetUrl and events', async () => {
  const body = {
    name: 'My Webhook',
    description: 'Webhook for workflow completions',
    targetUrl: 'https://example.com/webhook',
    events: ['workflow.completed', 'agent.completed'],
    headers: { 'X-Custom-Header': 'custom-value' },
    isActive: true,
  };
  const made = await api.ask('POST', '/v1/webhooks', { token, body });
  expect(made.status).toBe(201);
  const { secret, ...shown } = made.body;
  expect(secret).toMatch(/^whsec_/);
  expect(shown).toEqual({
    ...body,
    id: expect.any(String),
    headers: { 'X-Custom-Header': '••••••' },
    createdAt: TIME,
    updatedAt: TIME,
  });
  const path = `/v1/webhooks/${shown.id}`;
  expect((await api.ask('GET', '/v1/webhooks', { token })).body).toEqual([shown]);
  expect((await api.ask('GET', path, { token })).body).toEqual(shown);
  const put = await api.ask('PUT', path, { token, body: { ...shown, isActive: false } });
  expect([put.status, put.body.isActive]).toEqual([200, false]);
  const [row] = await database.query('select headers from rowhook.webhook_configurations where id = $1', [shown.id]);
  expect(row).toEqual({ headers: body.headers });
  const wrong = await api.ask('PUT', path, { token, body: { targetUrl: 'nowhere', events: [] } });
  expect(wrong.body.errors?.map(({ field }) => field).sort()).toEqual(['events', 'targetUrl']);
  expect((await api.ask('DELETE', path, { token })).status).toBe(204);
});

test('subscriptions with event_name', async () => {
  const body = {
    event_name: 'contact.created',
    target_url: 'https://your-n8n-instance.com/webhook/contact-created',
    enabled: true,
  };
  const made = await api.ask('POST', '/webhooks/subscriptions', { token, body });
  expect([made.status, made.body]).toEqual([
    201,
    {
      ...body,
      id: expect.any(String),
      tenant_id: 'acme',
      event_names: ['contact.created'],
      created_at: TIME,
      updated_at: TIME,
      secret: expect.any(String),
    },
  ]);
  const path = `/webhooks/subscriptions/${made.body.id}`;
  const several = await api.ask('PATCH', path, { token, body: { event_names: ['a.b', 'c.d'], enabled: false } });
  expect(several.body).toMatchObject({ event_name: null, event_names: ['a.b', 'c.d'], enabled: false });
  const none = await api.ask('POST', '/webhooks/subscriptions', { token, body: { target_url: 'https://a.example/' } });
  expect([none.status, none.body.errors?.map(({ field }) => field)]).toEqual([422, ['event_name']]);
  expect((await api.ask('DELETE', path, { token })).status).toBe(204);
  expect((await api.ask('GET', path, { token })).status).toBe(404);
});

test('REST hooks, as Zapier subscribes', async () => {
  const body = { targetUrl: 'https://hooks.zapier.com/1/2', event: 'lead.created' };
  const made = await api.ask('POST', '/v1/acme/hooks', { token, body });
  expect(made.status).toBe(201);
  const [row] = await database.query(
    'select url, event_types, payload_format from rowhook.webhook_configurations where id = $1',
    [made.body.id],
  );
  expect(row).toEqual({ url: body.targetUrl, event_types: ['lead.created'], payload_format: 'flat' });
  expect((await api.ask('DELETE', `/v1/acme/hooks/${made.body.id}`, { token })).status).toBe(204);
});
