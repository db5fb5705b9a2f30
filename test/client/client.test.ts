// `rowhook/client` against `rowhook serve`. What these calls pass and read is checked by tsc.

import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type AnswerTo,
  answerOf,
  createClient,
  jsonText,
  type RowhookClient,
  RowhookError,
  textOf,
  type Webhook,
} from '../../src/client/client.ts';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let client: RowhookClient;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  client = createClient({ baseUrl: api.url, token: await createKey(database, 'a/cme') });
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const path = { org: 'a/cme' };

test('a webhook is made, read, changed and deleted', async () => {
  const body = { name: 'CRM', target_url: 'https://hooks.example.com/in', event_types: ['deal.*'] };
  const made = await client.POST('/api/v1/{org}/outgoing-webhooks', { params: { path }, body });
  expect(made.response.status).toBe(201);
  expect(made.data?.secret).toMatch(/^whsec_/);
  const { id } = made.data as Webhook;
  const params = { path: { ...path, id } };
  const changed = await client.PATCH('/api/v1/{org}/outgoing-webhooks/{id}', { params, body: { is_active: false } });
  expect(changed.data?.state).toBe('off');
  const query = { is_active: false, limit: 10 };
  const list = await client.GET('/api/v1/{org}/outgoing-webhooks', { params: { path, query } });
  expect(list.data?.data.map((webhook) => webhook.id)).toEqual([id]);
  const gone = await client.DELETE('/api/v1/{org}/outgoing-webhooks/{id}', { params });
  expect([gone.response.status, gone.data, gone.error]).toEqual([204, undefined, undefined]);
});

test('what is refused is a problem', async () => {
  const body = { name: 'CRM', target_url: 'nowhere', event_types: ['deal.*'] };
  const { data, error } = await client.POST('/api/v1/{org}/outgoing-webhooks', { params: { path }, body });
  expect(data).toBeUndefined();
  expect([error?.status, error?.code, error?.errors?.map(({ field }) => field)]).toEqual([
    422,
    'invalid',
    ['target_url'],
  ]);
});

test('answerOf() gives the data, or throws what was refused', async () => {
  const types: AnswerTo<'/api/v1/{org}/event-types'> = await answerOf(
    client.GET('/api/v1/{org}/event-types', { params: { path } }),
  );
  expect(types.data.map((type) => type.event_type)).toContain('webhook.test');
  const refused = answerOf(
    client.POST('/api/v1/{org}/outgoing-webhooks', {
      params: { path },
      body: { name: 'CRM', target_url: 'nowhere', event_types: ['deal.*'] },
    }),
  );
  await expect(refused).rejects.toBeInstanceOf(RowhookError);
  await expect(refused).rejects.toMatchObject({
    status: 422,
    code: 'invalid',
    errors: [{ field: 'target_url', message: expect.any(String) }],
  });
  const away = createClient({ baseUrl: 'http://127.0.0.1:9' });
  await expect(answerOf(away.GET('/api/v1/me'))).rejects.toMatchObject({ status: 0, code: 'unreachable' });
});

test('a token may change, and a call may name another one', async () => {
  let token: string | null = 'rhk_wrong';
  const changing = createClient({ baseUrl: api.url, token: () => token });
  expect((await changing.GET('/api/v1/me')).response.status).toBe(401);
  token = await createKey(database, 'other');
  expect((await changing.GET('/api/v1/me')).data?.organization_id).toBe('other');
  const headers = { authorization: `Bearer ${await createKey(database, 'third')}` };
  expect((await changing.GET('/api/v1/me', { headers })).data?.organization_id).toBe('third');
  token = null;
  expect((await changing.GET('/api/v1/me')).response.status).toBe(401);
});

test('the text of data stays as it is, in and out', async () => {
  const text = '{"id": 12345678901234567890, "rate": 1.50, "10": 1, "9": 1e400}';
  const sent = { event: 'order.paid', data: jsonText(text) };
  await client.POST('/api/v1/{org}/events', { params: { path }, body: sent });
  const [inDatabase] = await database.query<{ data: string }>(
    `select data::text from rowhook.webhook_outbox where 'order.paid' = any (event_types)`,
  );
  const { data } = await client.GET('/api/v1/{org}/events', { params: { path } });
  const [event] = data?.data ?? [];
  expect(event?.event).toBe('order.paid');
  expect(textOf(event as object, 'data')).toBe(text);
  expect(inDatabase?.data).toBe(text);
});

test('headers of the document are parameters', async () => {
  const params = { path, header: { 'Idempotency-Key': 'order-1042' } };
  const body = { event: 'order.shipped', data: { n: 1 } };
  const [first, again] = [
    await client.POST('/api/v1/{org}/events', { params, body }),
    await client.POST('/api/v1/{org}/events', { params, body }),
  ];
  expect([first.response.status, again.response.status]).toEqual([201, 200]);
  expect(again.data?.id).toBe(first.data?.id);
});

test('an answer can also be read as text, and jsonText() refuses what is not JSON', async () => {
  const { data } = await client.GET('/api/v1/me', { parseAs: 'text' });
  expect(data).toMatch(/^{"organization_id":"a\/cme"/);
  expect(() => jsonText('{"id":}')).toThrow(SyntaxError);
});
