// Filters that name a column which the events of their webhook do not have: noted by the CLI, the API and the doctor.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readUnknownFilterColumns } from '../../src/capture/unknown-filter-columns.ts';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { paste } from '../support/paste.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let client: pg.Client;
let api: TestApi;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create table orders (id int primary key, tenant_id text, status text, total numeric, meta jsonb, api_key text);
    create table lines (id int primary key, tenant_id text, quantity int);
    create table sales (id int primary key, tenant_id text, region text);
    select rowhook.watch('orders', prefix => 'order', derived => '{"status":{"paid":"paid"}}');
    select rowhook.watch('lines', prefix => 'order.line');
    select rowhook.watch('sales', prefix => 'order.line');
    select rowhook.define_event_type('payment.received', schema => '{"properties":{"amount":{}}}');
    select rowhook.define_event_type('refund.made', 'Money went back.');`);
  client = new pg.Client(database.url);
  await client.connect();
  api = await startTestApi(database);
});

beforeEach(() => database.query('delete from rowhook.webhook_configurations'));

afterAll(async () => {
  await api?.stop();
  await client?.end();
  await database?.drop();
});

const cli = (...args: string[]) => rowhook(args, { env: { DATABASE_URL: database.url } });
const webhook = (event_types: string[], filter: object) =>
  createWebhook(database, { tenant_id: 'acme', url: 'https://example.com/', event_types, filter });

test.each([
  [['order.*'], { 'data.statsu': 'paid' }, ['data.statsu', 'data.status']],
  [['order.paid'], { 'previous.Total': 1 }, ['previous.Total', 'previous.total']],
  [['order.created'], { 'data.customer.name': 'x' }, ['data.customer.name', null]],
  [['order.created'], { 'data.mets.tags': { $contains: 'x' } }, ['data.mets.tags', 'data.meta.tags']],
  [['order.updated'], { $or: [{ 'data.total': 1 }, { $not: { $and: [{ 'data.sum': 2 }] } }] }, ['data.sum', null]],
  // It looks like a credential, so it is not sent.
  [['order.created'], { 'data.api_key': { $exists: true } }, ['data.api_key', null]],
  [['payment.*'], { 'data.amuont': 1 }, ['data.amuont', 'data.amount']],
  [['order.line.created'], { 'data.regoin': 'x' }, ['data.regoin', 'data.region']],
])('%j with %j', async (eventTypes, filter, [path, near]) => {
  const { id } = await webhook(eventTypes, filter);
  expect(await readUnknownFilterColumns(client)).toEqual([
    { id, tenantId: 'acme', name: 'under test', eventTypes, path, near },
  ]);
});

test.each([
  [['order.paid'], { 'data.status': 'paid', 'previous.total': 1, 'data.meta.customer.name': 'x' }],
  [['order.created'], { 'data.status': { $in: ['data.x', 'previous.y'] } }],
  // A table of two has it, or one event type of several.
  [['order.line.created'], { $or: [{ 'data.quantity': 1 }, { 'data.region': 'x' }] }],
  [['order.created', 'payment.received'], { 'data.amount': 1 }],
  [['*'], { 'data.anything': 1 }],
  // The catalog does not know the columns of these events.
  [['refund.made'], { 'data.anything': 1 }],
  [['order.created', 'nothing.known'], { 'data.anything': 1 }],
  [['nothing.*'], { 'data.anything': 1 }],
])('nothing of %j with %j', async (eventTypes, filter) => {
  await webhook(eventTypes, filter);
  expect(await readUnknownFilterColumns(client)).toEqual([]);
});

const NOTE = 'the filter names data.statsu, which no known event of order.* has. Did you mean data.status?';

test('the command line notes it on create and on update, and stores the filter', async () => {
  const create = ['webhook', 'create', '--tenant', 'acme', '--name', 'x', '--url', 'https://example.com/'];
  const flags = ['--events', 'order.*', '--filter', '{"data.statsu":"paid"}'];
  expect((await cli(...create, ...flags)).stdout).toContain(`\nNote: ${NOTE}\n`);
  const created = JSON.parse((await cli(...create, ...flags, '--json')).stdout);
  expect(created.notes).toContain(NOTE);
  const update = (...args: string[]) => cli('webhook', 'update', created.id, ...args);
  expect((await update('--description', 'x')).stdout).toContain(`updated description.\nNote: ${NOTE}\n`);
  expect(JSON.parse((await update('--name', 'y', '--json')).stdout)).toMatchObject({ name: 'y', notes: [NOTE] });
  const customer = await update('--filter', '{"data.customer":"x"}');
  expect(customer.stdout).toContain('Note: the filter names data.customer, which no known event of order.* has.\n');
  expect((await update('--filter', '{"data.status":"x"}')).stdout).not.toContain('Note');
});

test('the API notes it in its answers, to the tenant', async () => {
  const token = await createKey(database, 'acme');
  const path = '/v1/me/outgoing-webhooks';
  const body = { name: 'x', target_url: 'https://example.com/', event_types: ['order.*'] };
  const created = await api.ask('POST', path, { token, body: { ...body, filter: { 'data.statsu': 'paid' } } });
  expect(created).toMatchObject({ status: 201, body: { filter: { 'data.statsu': 'paid' }, notes: [NOTE] } });
  const one = `${path}/${created.body.id}`;
  const patched = await api.ask('PATCH', one, { token, body: { timeout_ms: 2000 } });
  expect(patched).toMatchObject({ status: 200, body: { notes: [NOTE] } });
  // A client may send an answer back.
  const put = await api.ask('PUT', one, { token, body: { ...patched.body, filter: { 'data.status': 'paid' } } });
  expect(put).toMatchObject({ status: 200, body: { notes: [] } });
});

test('the doctor names them too, until the filter is corrected or a delivery shows that events pass', async () => {
  const { id } = await webhook(['order.*'], { 'data.statsu': 'paid' });
  const found = async () => {
    const { stdout } = await cli('doctor', '--json');
    const results = stdout.split('\n').filter(Boolean);
    return results.map((line) => JSON.parse(line)).filter(({ what }) => what.startsWith('the filter of'));
  };
  const [first, ...others] = await found();
  expect(others).toEqual([]);
  expect(first).toMatchObject({
    check: 'events',
    kind: 'warning',
    what: 'the filter of webhook "under test" of acme names data.statsu, which no known event of order.* has. Did you mean data.status?',
  });
  expect((await paste(first.fix, database)).stdout).toContain('{"data.statsu":"paid"}');
  await cli('webhook', 'update', id, '--filter', '{"data.status":"paid"}');
  expect(await found()).toEqual([]);

  await cli('webhook', 'update', id, '--filter', '{"data.statsu":{"$ne":"paid"}}');
  expect(await found()).toHaveLength(1);
  await database.query(
    `insert into rowhook.webhook_logs
       (lane, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, attempted_at)
     values (rowhook._lane('acme'), 'acme', $1, gen_random_uuid(), 'evt_1_1_0', 'order.sent', 1, 'success', 'delivered', 'https://example.com/', now())`,
    [id],
  );
  expect(await found()).toEqual([]);
});
