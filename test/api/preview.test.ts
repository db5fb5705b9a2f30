// POST …/outgoing-webhooks/preview: what would be sent, without a webhook. Nothing is looked up and nothing is dialled.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let api: TestApi;
let token: string;
let event: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  token = await createKey(database, 'acme', ['read']);
  const writer = await createKey(database, 'acme', ['write']);
  const body = { event: 'deal.won', data: { id: 7, value: 12, name: 'A "b"' } };
  event = String((await api.ask('POST', '/v1/acme/events', { token: writer, body })).body.id);
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const ask = (body: object, as = token) => api.ask('POST', '/v1/me/outgoing-webhooks/preview', { token: as, body });

test('shows the body of a stored event, and whether it is wanted', async () => {
  const { status, body } = await ask({
    ...{ event_id: event, payload_format: 'template', payload_template: '{"contact_id": {{ data.id | json }}}' },
    ...{ filter: { 'data.value': { $gt: 100 } }, event_types: ['deal.*'] },
  });
  expect(status).toBe(200);
  expect(body).toEqual({
    ...{ event_id: event, event_type: 'deal.won', matched: false, stopped_by: expect.stringContaining('data.value') },
    ...{ content_type: 'application/json', body: '{"contact_id": 7}', body_problem: null, url_problem: null },
  });
  const wanted = await ask({ event_id: event, filter: { 'data.value': 12 }, event_types: ['deal.won'] });
  expect(wanted.body).toMatchObject({ matched: true, stopped_by: null });
  expect(JSON.parse(String(wanted.body.body))).toMatchObject({ id: event, data: { id: 7 } });
});

test('takes the latest event of a type, or makes one up', async () => {
  expect((await ask({ event_type: 'deal.won', payload_format: 'flat' })).body.event_id).toBe(event);
  const made = await ask({ event_type: 'invoice.paid', payload_format: 'cloudevents' });
  expect(made.body).toMatchObject({ event_type: 'invoice.paid', content_type: 'application/cloudevents+json' });
  expect(JSON.parse(String(made.body.body))).toMatchObject({ type: 'invoice.paid', source: '/organizations/acme' });
});

test('what is made up is the sample of the catalog, and of no other organization', async () => {
  await database.query(`
    create table parcels (id int primary key, tenant_id text, weight numeric, note text);
    select rowhook.watch('parcels');
    select rowhook.define_event_type('invoice.sent', sample => '{"of":"another"}', tenant_id => 'aaa');
    select rowhook.define_event_type('invoice.sent', sample => '{"id":"inv_1","amount":10.50}', tenant_id => 'acme')`);
  const updated = await ask({ event_type: 'parcels.updated' });
  expect(JSON.parse(String(updated.body.body))).toMatchObject({
    data: { id: 42, tenant_id: 'tenant_1', weight: 1250.5, note: 'sample' },
    previous: { note: 'sample' },
  });
  const event = await ask({ event_type: 'parcels.created', payload_format: 'cloudevents' });
  expect(JSON.parse(String(event.body.body)).subject).toBe('42');
  const sent = '"data":{"id":"inv_1","amount":10.50}';
  expect((await ask({ event_type: 'invoice.sent' })).body.body).toContain(sent);

  const { id } = await createWebhook(database, {
    ...{ tenant_id: 'acme', url: 'https://hooks.example.com/', event_types: ['invoice.sent', 'parcels.*'] },
  });
  const onCli = async (type: string) => {
    const { stdout } = await rowhook(['webhook', 'preview', id, type, '--json'], {
      env: { DATABASE_URL: database.url },
    });
    return JSON.parse(stdout) as { event_type: string; body: string };
  };
  expect((await onCli('invoice.sent')).body).toContain(sent);
  expect((await onCli('parcels.*')).event_type).toBe('parcels.created');
  await database.query('select rowhook.test($1)', [id]);
  const [row] = await database.query<{ data: string }>(
    `select data::text from rowhook.webhook_outbox where event_types = '{invoice.sent}'`,
  );
  expect(row?.data).toBe('{"id":"inv_1","amount":10.50}');
});

test.each([
  ['http://hooks.example.com/', 'http'],
  ['https://10.0.0.7/', '10.0.0.7'],
  ['https://localhost.localdomain.invalid/', null],
])('judges %s by its text alone', async (target_url, problem) => {
  const { body } = await ask({ event_type: 'deal.won', target_url });
  expect(body.url_problem).toEqual(problem === null ? null : expect.stringContaining(problem));
  if (problem !== null) expect(body.url_problem).toMatch(/ Set it for "rowhook serve" as well as for the daemon\.$/);
});

test('a template that fails at the event shows why', async () => {
  const { status, body } = await ask({
    event_id: event,
    payload_format: 'template',
    payload_template: '{"a": "{{ data.name }}"}',
  });
  expect(status).toBe(200);
  expect(body).toMatchObject({ body: null, body_problem: expect.stringContaining('the output is not JSON') });
});

test.each([
  [{ payload_format: 'template', payload_template: 'a\n {{ data.id' }, 'payload_template', '(line 2, column 2)'],
  [{ payload_format: 'template', payload_template: '{% include "/etc/passwd" %}' }, 'payload_template', 'line 1'],
  [{ payload_format: 'template' }, 'payload_template', 'must be set'],
  [{ payload_format: 'slack', batch_max_events: 2 }, 'batch_max_events', 'must be 1'],
  [{ filter: { nope: 1 } }, 'filter', 'data'],
  [{ event_type: 'not an event' }, 'event_type', 'is not an event type'],
])('%j is 422', async (settings, field, text) => {
  const { status, body } = await ask({ event_type: 'deal.won', ...settings });
  expect(status).toBe(422);
  expect(body.errors).toEqual([{ field, message: expect.stringContaining(text) }]);
});

test('an event of somebody else, or of nobody, is 422', async () => {
  const foreign = await createKey(database, 'other', ['read']);
  for (const [id, as] of [
    [event, foreign],
    ['evt_00000000_9_0', token],
    ['nothing', token],
  ] as const) {
    const { status, body } = await ask({ event_id: id }, as);
    expect([status, body.errors]).toEqual([422, [{ field: 'event_id', message: 'is not in the outbox' }]]);
  }
  expect((await ask({}, token)).body.errors).toEqual([{ field: 'event_type', message: 'is required, or event_id' }]);
});

test('a webhook with a template: create, change, read', async () => {
  const writer = await createKey(database, 'acme', ['read', 'write']);
  const settings = { payload_format: 'template', payload_template: '{{ data | json }}' };
  const create = (more: object) =>
    api.ask('POST', '/v1/me/outgoing-webhooks', {
      token: writer,
      body: { name: 'n', target_url: 'https://hooks.example.com/', event_types: ['*'], ...more },
    });
  const created = await create(settings);
  expect(created.status).toBe(201);
  expect(created.body).toMatchObject({ ...settings, content_type: null });
  const path = `/v1/me/outgoing-webhooks/${created.body.id}`;
  const patched = await api.ask('PATCH', path, { token: writer, body: { content_type: 'text/plain' } });
  expect(patched.body).toMatchObject({ ...settings, content_type: 'text/plain' });
  const back = { payload_format: 'nested', payload_template: null, content_type: null };
  expect((await api.ask('PATCH', path, { token: writer, body: back })).body).toMatchObject(back);
  const refused = await create({ ...settings, payload_template: '{{ a | b }}' });
  expect([refused.status, refused.body.errors]).toEqual([
    422,
    [{ field: 'payload_template', message: 'is refused: undefined filter: b (line 1, column 1)' }],
  ]);
});

test('rowhook webhook preview, and create and update with a template', async () => {
  const env = { DATABASE_URL: database.url };
  const { id } = await createWebhook(database, {
    tenant_id: 'acme',
    url: 'https://hooks.example.com/',
    event_types: ['deal.*'],
  });
  const given = await rowhook(['webhook', 'update', id, '--payload-template', '{"n": {{ data.value }}}'], { env });
  expect(given).toMatchObject({ code: 0, stderr: '' });
  for (const wanted of [[event], ['deal.won'], []]) {
    const { stdout } = await rowhook(['webhook', 'preview', id, ...wanted], { env });
    expect(stdout).toBe(`deal.won ${event} wanted: yes\ncontent-type: application/json\n\n{"n": 12}\n`);
  }
  const unknown = await rowhook(['webhook', 'preview', id, 'deal.creatd'], { env });
  expect(unknown.stdout).toMatch(/\n\nNote: no watched table produces "deal\.creatd"\.\n$/);
  const json = JSON.parse((await rowhook(['webhook', 'preview', id, 'note.created', '--json'], { env })).stdout);
  expect(json).toMatchObject({ matched: false, stopped_by: 'its event types (deal.*) do not include it' });
  const broken = await rowhook(['webhook', 'update', id, '--payload-template', '{{ a'], { env });
  expect(broken).toMatchObject({ code: 2, stderr: expect.stringContaining('not closed (line 1, column 1)') });
  const missing = await rowhook(['webhook', 'update', id, '--payload-template', '@no-such-file'], { env });
  expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('"no-such-file" cannot be read') });
});
