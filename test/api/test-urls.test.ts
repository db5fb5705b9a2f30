// Test URLs: what is sent to them is shown to their organization, for an hour.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Answer, createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let [writer, reader, foreign] = ['', '', ''];

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database, { inboundRateLimit: 60 });
  writer = await createKey(database, 'acme');
  reader = await createKey(database, 'acme', ['read']);
  foreign = await createKey(database, 'other');
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const make = (token = writer) => api.ask('POST', '/v1/me/test-urls', { token });
const read = (id: unknown, token = reader) => api.ask('GET', `/v1/me/test-urls/${id}`, { token });
const requestsOf = ({ body }: Answer) => body.requests as Record<string, unknown>[];

test('what arrives is shown, newest first, as text', async () => {
  const { status, body: made } = await make();
  expect([status, made]).toEqual([
    201,
    {
      id: expect.stringMatching(/^tst_[A-Za-z0-9]{24}$/),
      url: `${api.url}/api/test-urls/${made.id}`,
      expires_at: expect.any(String),
    },
  ]);
  const minutes = (Date.parse(made.expires_at as string) - Date.now()) / 60_000;
  expect(minutes).toBeGreaterThan(50);
  expect(minutes).toBeLessThan(61);
  const url = made.url as string;
  const headers = { 'content-type': 'application/json', 'webhook-id': 'msg_1' };
  const answer = await fetch(url, { method: 'POST', headers, body: '{"n": 12345678901234567890}' });
  expect([answer.status, await answer.json()]).toEqual([200, { received: true }]);
  await fetch(url, { method: 'PUT', body: new Uint8Array([0x61, 0, 0xff, 0x62]) });
  await fetch(url, { method: 'PATCH', headers: { 'x-long': 'y'.repeat(3_000) }, body: 'z'.repeat(200_000) });
  const shown = await read(made.id);
  const [long, bytes, json] = requestsOf(shown);
  expect(requestsOf(shown)).toHaveLength(3);
  expect(json).toMatchObject({
    method: 'POST',
    body: '{"n": 12345678901234567890}',
    body_bytes: 27,
    headers: { 'webhook-id': 'msg_1', 'content-type': 'application/json' },
    remote_ip: '127.0.0.1',
  });
  expect(bytes).toMatchObject({ method: 'PUT', body: 'a\ufffd\ufffdb', body_bytes: 4 });
  expect(long).toMatchObject({ method: 'PATCH', body: 'z'.repeat(100_000), body_bytes: 200_000 });
  expect((long as { headers: Record<string, string> }).headers['x-long']).toHaveLength(2_000);
  expect(shown.body).toMatchObject({ id: made.id, url, expires_at: made.expires_at });
});

test('the newest 50 are kept, and a flood is refused', async () => {
  const { body: made } = await make();
  const statuses: number[] = [];
  for (let n = 1; n <= 61; n++)
    statuses.push((await fetch(made.url as string, { method: 'POST', body: String(n) })).status);
  expect(statuses).toEqual([...Array.from({ length: 60 }, () => 200), 429]);
  const bodies = requestsOf(await read(made.id)).map(({ body }) => body);
  expect(bodies).toEqual(Array.from({ length: 50 }, (_, index) => String(60 - index)));
});

test('an unknown one, one of another organization, and one that has ended are not there', async () => {
  const { body: made } = await make();
  expect((await read(made.id, foreign)).status).toBe(404);
  expect((await read('tst_none')).status).toBe(404);
  expect((await fetch(`${api.url}/api/test-urls/tst_none`, { method: 'POST', body: 'x' })).status).toBe(404);
  await database.query("update rowhook.test_urls set expires_at = now() - interval '1 s' where id = $1", [made.id]);
  const late = await fetch(made.url as string, { method: 'POST', body: 'x' });
  // 410 would disable the webhook.
  expect([late.status, (await late.json()) as object]).toMatchObject([
    404,
    { detail: expect.stringContaining('has ended') },
  ]);
  expect((await read(made.id)).status).toBe(404);
  await database.query('select rowhook._delete_old_rows(30)');
  const left = await database.query('select id from rowhook.test_urls where id = $1', [made.id]);
  expect(left).toEqual([]);
});

test('who may only read makes none, and an organization has ten', async () => {
  expect((await make(reader)).status).toBe(403);
  for (let n = 0; n < 10; n++) expect((await make(foreign)).status).toBe(201);
  const refused = await make(foreign);
  expect(refused.status).toBe(409);
  expect(refused.body.detail).toContain('10 test URLs already');
});
