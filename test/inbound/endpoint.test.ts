// Inbound webhooks over HTTP: with a key, signed by a source, refused, received twice, relayed.

import { createHmac, randomUUID } from 'node:crypto';
import { sign as signGithub } from '@octokit/webhooks-methods';
import pg from 'pg';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApi } from '../../src/api/server.ts';
import { apiSettings, createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

const MIB = 1_048_576;
const TENANT = '123e4567-e89b-12d3-a456-426614174000';
let database: TestDatabase;
let api: TestApi;
let [key, writer] = ['', ''];

interface Source {
  id: string;
  secret: string;
}

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database, { inboundRateLimit: 1_000_000 });
  key = await createKey(database, TENANT, ['inbound']);
  writer = await createKey(database, TENANT);
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

type Body = string | Buffer;

async function post(path: string, headers: Record<string, string>, body?: Body, base = api.url) {
  const response = await fetch(`${base}${path}`, { method: 'POST', headers, ...(body !== undefined && { body }) });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) };
}

const json = { 'content-type': 'application/json' };
const withKey = { ...json, 'x-api-key': '' };
const receive = (body: Body, headers: Record<string, string> = {}, name = 'lead.captured') =>
  post(`/api/webhooks/${name}`, { ...withKey, 'x-api-key': key, ...headers }, body);
const count = async () =>
  (await database.query<{ n: number }>('select count(*)::int as n from rowhook.integration_events'))[0]?.n;
const stored = async (id: string) =>
  (
    await database.query<{ payload: string; event_name: string; source: string | null; headers: object; hops: number }>(
      'select *, payload::text as payload from rowhook.integration_events where id = $1',
      [id],
    )
  )[0];

async function createSource(verification: string, more: object = {}): Promise<Source> {
  const body = { name: `s-${randomUUID()}`, verification, ...more };
  const answer = await api.ask('POST', '/v1/me/inbound-sources', { token: writer, body });
  expect([answer.status, answer.text]).toEqual([201, expect.any(String)]);
  return answer.body as unknown as Source;
}

describe('with a key', () => {
  test("the CRM guide's request, word for word, answers as the guide shows", async () => {
    const body = '{"email":"lead@example.com","source":"website_form","utm_campaign":"summer2025"}';
    const headers = { 'X-Tenant-ID': TENANT, 'X-API-Key': key, 'Content-Type': 'application/json' };
    const answer = await post('/api/webhooks/lead.captured', headers, body);
    expect([answer.status, answer.body]).toEqual([
      201,
      {
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
        tenant_id: TENANT,
        event_name: 'lead.captured',
        payload: JSON.parse(body),
        status: 'received',
        received_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      },
    ]);
    expect(await stored(answer.body.id)).toMatchObject({
      tenant_id: TENANT,
      event_name: 'lead.captured',
      payload: body,
      source: null,
      status: 'received',
      attempts: 0,
      remote_ip: '127.0.0.1',
      headers: { 'content-type': 'application/json', 'user-agent': expect.any(String) },
    });
  });

  test('the event may name itself', async () => {
    const bearer = { ...json, authorization: `Bearer ${key}` };
    const [byHeader, byType, neither] = [
      await post('/api/v1/webhooks/receive', { ...bearer, 'x-webhook-event': 'form sent' }, '{"type":"no"}'),
      await post('/api/v1/webhooks/receive', bearer, '{"type":"order.paid"}'),
      await post('/api/v1/webhooks/receive', bearer, '[]'),
    ];
    expect([byHeader.body.event_name, byType.body.event_name, neither.body.event_name]).toEqual([
      'form.sent',
      'order.paid',
      'webhook',
    ]);
  });

  test.each(['webhook-id', 'idempotency-key'])('the same %s again answers the first row', async (header) => {
    const before = (await count()) ?? 0;
    const id = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => receive(`{"n": ${i}}`, { [header]: id }, `a.b${i % 2}`)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 200, 200, 200, 200, 201]);
    const [first] = answers.filter(({ status }) => status === 201);
    for (const { body, text } of answers) {
      expect(body).toEqual(first?.body);
      expect(text).toBe(first?.text);
    }
    expect(await count()).toBe(before + 1);
    const ofOther = await createKey(database, 'other', ['inbound']);
    expect((await receive('{}', { [header]: id, 'x-api-key': ofOther })).status).toBe(201);
  });

  test('bytes are kept, in the row and in the answer', async () => {
    const big = `{"pad":"${'x'.repeat(MIB - 10)}"}`;
    expect(Buffer.byteLength(big)).toBe(MIB);
    const texts = [
      '{ "n": 12345678901234567890.10, "a":1, "a":2, "10":1, "9":1 ,"\\u0000":"\\u0000\\ud800" }',
      `${'['.repeat(512)}1E400${']'.repeat(512)}`,
      '"just text"',
      'null',
      '{"é":"日本 \u2028"}',
      big,
    ];
    for (const text of texts) {
      const answer = await receive(text);
      expect(answer.status).toBe(201);
      expect((await stored(answer.body.id))?.payload).toBe(text);
      expect(answer.text).toContain(`"payload":${text},"status"`);
    }
  });

  test('what is refused is not stored', async () => {
    const before = await count();
    const wrong = [
      [413, `"${'x'.repeat(MIB)}"`, {}],
      [415, 'a=1', { 'content-type': 'application/x-www-form-urlencoded' }],
      [415, '{}', { 'content-type': 'text/plain' }],
      [415, '{}', { 'content-encoding': 'gzip' }],
      [400, '{"a":}', {}],
      [400, '', {}],
      [400, '['.repeat(513) + ']'.repeat(513), {}],
      [400, '['.repeat(MIB), {}],
      [400, Buffer.from([0x22, 0xff, 0x22]), {}],
      [400, '{}', { 'webhook-id': 'x'.repeat(513) }],
      [401, '{}', { 'x-api-key': 'nothing' }],
      [401, '{}', { 'x-api-key': `rhk_${'x'.repeat(43)}` }],
      [401, '{"a":}', { 'x-api-key': `rhk_${'x'.repeat(43)}` }],
      [401, '{}', { 'x-tenant-id': 'another' }],
      [401, '{"a":}', { 'x-tenant-id': 'another' }],
      [403, '{}', { 'x-api-key': writer }],
      [403, '{"a":}', { 'x-api-key': writer }],
    ] as const;
    for (const [status, body, headers] of wrong) {
      const answer = await receive(body, headers);
      expect([status, headers, answer.status, answer.text]).toEqual([status, headers, status, expect.any(String)]);
    }
    expect((await receive('{"a":}')).body.detail).toBe('The body is not valid JSON at position 5.');
    expect((await receive('{}', {}, 'not%20a%20name')).status).toBe(400);
    expect((await receive('{}', {}, 'a'.repeat(121))).status).toBe(400);
    for (const name of ['subscriptions', 'zapier']) expect((await receive('{}', {}, name)).status).not.toBe(201);
    expect(await count()).toBe(before);
  });

  test('401 is one answer, whatever is wrong', async () => {
    const texts = new Set<string>();
    for (const headers of [{ 'x-api-key': 'x' }, { 'x-tenant-id': 'other' }, { 'x-api-key': `rhk_${'y'.repeat(43)}` }])
      texts.add((await receive('{}', headers)).text);
    texts.add((await post('/api/v1/webhooks/receive/src_abcdefghijklmnopqrstuvwx', json, '{}')).text);
    texts.add((await post('/api/v1/webhooks/receive/nobody', { ...json, 'x-tenant-id': TENANT }, '{}')).text);
    expect(texts.size).toBe(1);
  });

  test('a database that cannot hold a character says so', async () => {
    const latin = await createDatabase({ encoding: 'LATIN1' });
    const other = await startTestApi(latin);
    try {
      const token = await createKey(latin, 'acme', ['inbound']);
      const headers = { ...json, 'x-api-key': token };
      const refused = await post('/api/webhooks/a', headers, '"日本"', other.url);
      expect([refused.status, refused.body.code]).toEqual([400, 'bad_request']);
      expect((await post('/api/webhooks/a', headers, '"é"', other.url)).status).toBe(201);
    } finally {
      await other.stop();
      await latin.drop();
    }
  });
});

describe('a signed sender, by its address alone', () => {
  const BODY = '{"id":"evt_1","type":"invoice.paid","n":12345678901234567890}';
  const signers: Record<string, (secret: string, body: string, at: Date) => Promise<Record<string, string>>> = {
    standard_webhooks: async (secret, body, at) => ({
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign('msg_1', at, body),
    }),
    stripe: async (secret, payload, at) => ({
      'stripe-signature': await new Stripe('sk_test').webhooks.generateTestHeaderStringAsync({
        payload,
        secret,
        timestamp: Math.floor(at.getTime() / 1_000),
      }),
    }),
    github: async (secret, body) => ({
      'x-hub-signature-256': await signGithub(secret, body),
      'x-github-event': 'push',
      'x-github-delivery': randomUUID(),
    }),
    shopify: async (secret, body) => ({
      'x-shopify-hmac-sha256': createHmac('sha256', secret).update(body).digest('base64'),
      'x-shopify-topic': 'orders/create',
    }),
    slack: async (secret, body, at) => {
      const time = String(Math.floor(at.getTime() / 1_000));
      const sum = createHmac('sha256', secret).update(`v0:${time}:${body}`).digest('hex');
      return { 'x-slack-request-timestamp': time, 'x-slack-signature': `v0=${sum}` };
    },
    hmac: async (secret, body) => ({ 'x-signature': createHmac('sha256', secret).update(body).digest('hex') }),
  };
  const names: Record<string, string> = {
    standard_webhooks: 'invoice.paid',
    stripe: 'invoice.paid',
    github: 'push',
    shopify: 'orders.create',
    slack: 'invoice.paid',
  };

  test.each(Object.keys(signers))('%s', async (verification) => {
    const { id, secret } = await createSource(verification);
    const sign = signers[verification] as (typeof signers)[string];
    const send = async (body: string, headers: Record<string, string>) =>
      post(`/api/v1/webhooks/receive/${id}`, { ...json, ...headers }, body);
    const first = await send(BODY, await sign(secret, BODY, new Date()));
    expect([first.status, first.text]).toEqual([201, expect.any(String)]);
    const row = await stored(first.body.id);
    expect(row?.payload).toBe(BODY);
    expect(row?.event_name).toBe(names[verification] ?? row?.source);

    const before = await count();
    const headers = await sign(secret, BODY, new Date());
    expect((await send(BODY.replace('paid', 'paie'), headers)).status).toBe(401);
    const old = new Date(Date.now() - 6 * 60_000);
    const later = await send(BODY, await sign(secret, BODY, old));
    if (['standard_webhooks', 'stripe', 'slack'].includes(verification)) expect(later.status).toBe(401);
    else expect([later.status, later.body.id]).toEqual([200, first.body.id]);
    expect(await count()).toBe(before);

    const rotate = { token: writer, body: { overlap_seconds: 3_600 } };
    const rotated = await api.ask('POST', `/v1/me/inbound-sources/${id}/rotate-secret`, rotate);
    expect(rotated.status).toBe(200);
    const other = BODY.replace('evt_1', 'evt_2');
    const again = new Date();
    for (const each of [secret, rotated.body.secret as string])
      expect((await send(other, await sign(each, other, again))).status).toBeLessThan(300);
    await database.query(
      "update rowhook.inbound_sources set previous_secret_expires_at = now() - interval '1 s' where id = $1",
      [id],
    );
    expect((await send(BODY, await sign(secret, BODY, again))).status).toBe(401);
    expect((await send(BODY, await sign(rotated.body.secret as string, BODY, again))).status).toBeLessThan(300);
  });

  test('api_key', async () => {
    const { id, secret } = await createSource('api_key', { event_name: 'form.sent' });
    const path = `/api/v1/webhooks/receive/${id}`;
    expect((await post(path, { ...json, 'x-api-key': `${secret}x` }, '{}')).status).toBe(401);
    const answer = await post(path, { ...json, 'x-api-key': secret }, '{}');
    expect([answer.status, answer.body.event_name]).toEqual([201, 'form.sent']);
  });

  test('Slack asks whether the address is right, and its commands are forms, as are hooks of GitHub', async () => {
    const slack = await createSource('slack');
    const path = `/api/v1/webhooks/receive/${slack.id}`;
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const challenge = '{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}';
    const before = (await count()) ?? 0;
    const asked = await post(
      path,
      { ...json, ...(await signers.slack?.(slack.secret, challenge, new Date())) },
      challenge,
    );
    expect([asked.status, asked.body]).toEqual([200, { challenge: JSON.parse(challenge).challenge }]);
    expect((await post(path, json, challenge)).status).toBe(401);
    expect(await count()).toBe(before);

    const command = 'command=%2Fweather&text=94070+today';
    const told = await post(path, { ...form, ...(await signers.slack?.(slack.secret, command, new Date())) }, command);
    expect(told.body.payload).toEqual({ command: '/weather', text: '94070 today' });

    const github = await createSource('github');
    const hook = `payload=${encodeURIComponent('{"zen": "Keep it.","n":1.0}')}`;
    const signed = await signers.github?.(github.secret, hook, new Date());
    const pushed = await post(`/api/v1/webhooks/receive/${github.id}`, { ...form, ...signed }, hook);
    expect([pushed.status, (await stored(pushed.body.id))?.payload]).toEqual([201, '{"zen": "Keep it.","n":1.0}']);

    const hmac = await createSource('hmac');
    const refused = await post(
      `/api/v1/webhooks/receive/${hmac.id}`,
      { ...form, ...(await signers.hmac?.(hmac.secret, command, new Date())) },
      command,
    );
    expect(refused.status).toBe(415);
  });

  test('a source has a name in its tenant; a removed one is 410', async () => {
    const name = 'billing';
    const { id, secret } = await createSource('api_key', { name });
    const send = (named: string, headers = {}) =>
      post(`/api/v1/webhooks/receive/${named}`, { ...json, 'x-api-key': secret, ...headers }, '{}');
    expect((await send(name, { 'x-tenant-id': TENANT })).status).toBe(201);
    expect((await send(name)).status).toBe(401);
    expect((await send(name, { 'x-tenant-id': 'other' })).status).toBe(401);
    expect((await send(id)).status).toBe(201);
    const twice = { name, verification: 'github' };
    expect((await api.ask('POST', '/v1/me/inbound-sources', { token: writer, body: twice })).status).toBe(409);
    expect((await api.ask('DELETE', `/v1/me/inbound-sources/${id}`, { token: writer })).status).toBe(204);
    expect((await send(id)).status).toBe(410);
    expect((await send(name, { 'x-tenant-id': TENANT })).status).toBe(410);
    expect((await api.ask('DELETE', `/v1/me/inbound-sources/${id}`, { token: writer })).status).toBe(404);
    await createSource('api_key', { name });
  });

  test('other addresses are refused', async () => {
    const { id, secret } = await createSource('api_key', { allowed_ips: ['192.0.2.0/24'] });
    const send = () => post(`/api/v1/webhooks/receive/${id}`, { ...json, 'x-api-key': secret }, '{}');
    expect((await send()).status).toBe(401);
    const body = { allowed_ips: ['127.0.0.0/8'] };
    expect((await api.ask('PATCH', `/v1/me/inbound-sources/${id}`, { token: writer, body })).status).toBe(200);
    expect((await send()).status).toBe(201);
  });
});

test('an organization that floods gets 429, and others do not', async () => {
  const limited = await startTestApi(database, { inboundRateLimit: 5 });
  try {
    const [flood, calm] = [
      await createKey(database, 'flood', ['inbound']),
      await createKey(database, 'calm', ['inbound']),
    ];
    const send = (token: string) => post('/api/webhooks/a', { ...json, 'x-api-key': token }, '{}', limited.url);
    const answers = [];
    for (let i = 0; i < 8; i++) answers.push(await send(flood));
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201, 201, 429, 429, 429]);
    expect(Number(answers.at(-1)?.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await send(calm)).status).toBe(201);
    // what was refused is not stored
    const rows = await database.query("select from rowhook.integration_events where tenant_id = 'flood'");
    expect(rows).toHaveLength(5);
    // another key of the same organization has the same limit, from its second request on
    const another = await createKey(database, 'flood', ['inbound']);
    await send(another);
    expect((await send(another)).status).toBe(429);
  } finally {
    await limited.stop();
  }
});

test('a flood fills the table no further than its limit, and not the log', async () => {
  const lines: { status?: number }[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const limited = await startApi(apiSettings(database.apiUrl, { inboundRateLimit: 2 }), log);
  try {
    const token = await createKey(database, 'noisy', ['inbound']);
    const url = `http://127.0.0.1:${limited.port}`;
    const send = (name: string) => post(`/api/webhooks/${name}`, { ...json, 'x-api-key': token }, '{}', url);
    const statuses = [];
    for (const name of ['a', 'a', 'a', 'a', 'zapier']) statuses.push((await send(name)).status);
    expect(statuses).toEqual([201, 201, 429, 429, 404]);
    await waitUntil('the last answer is in the log', () => lines.some(({ status }) => status === 404));
    expect(lines.flatMap(({ status }) => status ?? [])).toEqual([404]);
  } finally {
    await limited.stop();
  }
});

test('wrong signatures are counted for their source, and harm no other', async () => {
  const own = await startTestApi(database);
  try {
    const [bad, good] = [await createSource('api_key'), await createSource('api_key')];
    const send = ({ id, secret }: Source) =>
      post(`/api/v1/webhooks/receive/${id}`, { ...json, 'x-api-key': secret }, '{}', own.url);
    const wrong = { ...bad, secret: 'not the secret' };
    const statuses = [];
    for (let i = 0; i < 62; i++) statuses.push((await send(wrong)).status);
    expect([statuses[59], statuses[60]]).toEqual([401, 429]);
    expect((await send(good)).status).toBe(201);
  } finally {
    await own.stop();
  }
});

test('workers that listen are notified, without a payload', async () => {
  const listener = new pg.Client(database.url);
  const heard: (string | undefined)[] = [];
  listener.on('notification', ({ payload }) => heard.push(payload));
  await listener.connect();
  await listener.query('listen rowhook_inbound');
  await receive('{}');
  await waitUntil('a notification comes', () => heard.length > 0);
  expect(new Set(heard)).toEqual(new Set(['']));
  await listener.end();
});
