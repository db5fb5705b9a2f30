// An attacker at the inbound endpoint: games with headers, paths and encodings, recorded requests, shared addresses, and what logs
// and answers tell.

import { createHash, createHmac, randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { startRowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;
let api: TestApi;
let [key, writer] = ['', ''];

interface Source {
  id: string;
  secret: string;
  name: string;
}

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database, { inboundRateLimit: 1_000_000 });
  key = await createKey(database, 'acme', ['inbound']);
  writer = await createKey(database, 'acme');
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

async function createSource(verification: string, more: object = {}): Promise<Source> {
  const body = { name: `s-${randomUUID()}`, verification, ...more };
  const { body: made, status } = await api.ask('POST', '/v1/me/inbound-sources', { token: writer, body });
  expect(status).toBe(201);
  return made as unknown as Source;
}

interface Sent {
  path?: string;
  headers?: (readonly [string, string])[];
  body?: string | Buffer;
}

const JSON_TYPE = ['Content-Type', 'application/json'] as const;

/** Bytes of a request as they are given; the status of its answer. 0: there was none. `ends`: nothing more comes. */
async function raw(bytes: Buffer, port: number, ends = false): Promise<{ status: number; text: string }> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('latin1').on('data', (part) => {
    text += part;
  });
  socket.on('error', () => {});
  socket.write(bytes);
  if (ends) socket.end();
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text };
}

/** Each header as a line of its own, in its order and with its case. */
function send(
  { path = '/api/webhooks/a', headers = [], body = '{}' }: Sent,
  port = api.api.port,
): Promise<{ status: number; text: string }> {
  const bytes = Buffer.from(body);
  const lines = [['Host', 'x'], ['Connection', 'close'], ['Content-Length', String(bytes.length)], ...headers];
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return raw(Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1'), bytes]), port);
}

const statusOf = async (sent: Sent) => (await send(sent)).status;
const withKey = (...headers: (readonly [string, string])[]): (readonly [string, string])[] => [
  JSON_TYPE,
  ['X-API-Key', key],
  ...headers,
];
const at = ({ id }: Source) => `/api/v1/webhooks/receive/${id}`;
const count = async () =>
  (await database.query<{ n: number }>('select count(*)::int as n from rowhook.integration_events'))[0]?.n ?? 0;
const sha256 = (secret: string, body: string, encoding: 'hex' | 'base64' = 'hex') =>
  createHmac('sha256', secret).update(body).digest(encoding);

describe('headers that come twice', () => {
  test('a right signature beside a wrong one is refused, whichever comes first', async () => {
    const source = await createSource('github');
    const signature = (sum: string) => ['X-Hub-Signature-256', `sha256=${sum}`] as const;
    const [right, wrong] = [signature(sha256(source.secret, '{}')), signature('0'.repeat(64))];
    const before = await count();
    for (const both of [
      [right, wrong],
      [wrong, right],
      [right, right],
    ])
      expect(await statusOf({ path: at(source), headers: [JSON_TYPE, ...both] })).toBe(401);
    expect(await count()).toBe(before);
    expect(await statusOf({ path: at(source), headers: [JSON_TYPE, right] })).toBe(201);
  });

  test('two ids, times, keys or organizations are none', async () => {
    const source = await createSource('standard_webhooks');
    const time = String(Math.floor(Date.now() / 1_000));
    const secret = Buffer.from(source.secret.slice(6), 'base64');
    const sum = createHmac('sha256', secret).update(`msg_1.${time}.{}`).digest('base64');
    const [id, stamp, signature] = [
      ['webhook-id', 'msg_1'],
      ['webhook-timestamp', time],
      ['webhook-signature', `v1,${sum}`],
    ] as const;
    const [path, before] = [at(source), await count()];
    expect(await statusOf({ path, headers: [JSON_TYPE, id, id, stamp, signature] })).toBe(401);
    expect(await statusOf({ path, headers: [JSON_TYPE, id, stamp, stamp, signature] })).toBe(401);
    expect(await statusOf({ headers: withKey(['X-API-Key', key]) })).toBe(401);
    expect(await statusOf({ headers: withKey(['X-Tenant-ID', 'acme'], ['x-tenant-id', 'other']) })).toBe(401);
    expect(await count()).toBe(before);
    expect(await statusOf({ path, headers: [JSON_TYPE, id, stamp, signature] })).toBe(201);
  });
});

test('games with the framing of a request are refused, and nothing of them is stored', async () => {
  const before = await count();
  const head = (lines: string) =>
    `POST /api/webhooks/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nX-API-Key: ${key}\r\n${lines}\r\n`;
  const wrong: [string, number][] = [
    [`${head('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n')}2\r\n{}\r\n0\r\n\r\n`, 400],
    [`${head('Content-Length: 2\r\nContent-Length: 4\r\n')}{}{}`, 400],
    [`${head('Content-Length: +2\r\n')}{}`, 400],
    [`${head('Transfer-Encoding: gzip\r\n')}{}`, 400],
    [`${head('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n')}2\r\n{}\r\n0\r\n\r\n`, 400],
    [`${head('Transfer-Encoding: chunked\r\n')}zz\r\n{}\r\n0\r\n\r\n`, 400],
    [`${head('Content-Length: 2\r\nX-Folded: a\r\n b\r\n')}{}`, 400],
    [`${head('Content-Length: 2\r\nX-Nul: a\0b\r\n')}{}`, 400],
    [`${head('Content-Length: 2\r\nX-Name : b\r\n')}{}`, 400],
    [`${head(`Content-Length: 2\r\nX-Huge: ${'x'.repeat(20_000)}\r\n`)}{}`, 431],
  ];
  for (const [bytes, status] of wrong) {
    const answer = await raw(Buffer.from(bytes, 'latin1'), api.api.port);
    expect([bytes.slice(150, 260), answer.status]).toEqual([bytes.slice(150, 260), status]);
  }
  expect((await raw(Buffer.from(`${head('Content-Length: 9\r\n')}{}`), api.api.port, true)).status).not.toBe(201);
  expect(await count()).toBe(before);
  const chunked = `${head('Transfer-Encoding: chunked\r\n')}1;a=b\r\n{\r\n1\r\n}\r\n0\r\n\r\n`;
  expect((await raw(Buffer.from(chunked), api.api.port)).status).toBe(201);
});

test('a content type is JSON or it is not', async () => {
  const before = await count();
  const utf16 = Buffer.from('{}', 'utf16le');
  const cases: [status: number, type: string | undefined, body?: string | Buffer][] = [
    [201, 'application/json;charset=UTF-8'],
    [201, 'APPLICATION/JSON'],
    [201, 'application/vnd.api+json; ext="https://x.example"'],
    [415, undefined],
    [415, 'text/json'],
    [415, 'application/jsonp'],
    [415, 'application/json, text/html'],
    [415, 'application/ json'],
    [415, 'multipart/form-data; boundary=x'],
    [415, 'text/plain;application/json'],
    [415, '\u00e9'],
    [400, 'application/json;charset=utf-16', utf16],
    [400, 'application/json;charset=latin1', Buffer.from('"\xe9"', 'latin1')],
    [400, 'application/json', '\ufeff{}'],
  ];
  for (const [status, type, body = '{}'] of cases) {
    const headers = [['X-API-Key', key], ...(type === undefined ? [] : [['Content-Type', type]])] as [string, string][];
    expect([type, await statusOf({ headers, body })]).toEqual([type, status]);
  }
  for (const encoding of ['gzip', 'identity, gzip', 'br'])
    expect(await statusOf({ headers: withKey(['Content-Encoding', encoding]) })).toBe(415);
  expect(await count()).toBe(before + 3);
});

test('the name in a path is decoded once, and is a name or nothing', async () => {
  const named = async (path: string) => {
    const { status, text } = await send({ path: `/api/webhooks/${path}`, headers: withKey() });
    return status === 201 ? JSON.parse(text.slice(text.indexOf('{'))).event_name : status;
  };
  for (const [path, expected] of Object.entries({
    'lead%2Ecaptured': 'lead.captured',
    __proto__: '__proto__',
    constructor: 'constructor',
    'lead%252Ecaptured': 400,
    'lead%2Fcaptured': 400,
    '..%2F..%2Fv1%2Fme': 400,
    'a%00b': 400,
    'a%0d%0aSet-Cookie:%20x': 400,
    '%E2%80%AE': 400,
    'a;b=c': 400,
    'a.': 400,
    // another route, whose scope this key does not have
    '%73ubscriptions': 403,
  }))
    expect([path, await named(path)]).toEqual([path, expected]);
  for (const path of ['%ff', '%', '', 'a/', 'a/../b']) expect([400, 404, 405]).toContain(await named(path));
  expect(await named('a?event_name=b')).toBe('a');
});

test('an address is exact: no other spelling of a source leads to it', async () => {
  const source = await createSource('api_key');
  const ask = (named: string, ...more: (readonly [string, string])[]) =>
    statusOf({
      path: `/api/v1/webhooks/receive/${named}`,
      headers: [JSON_TYPE, ['X-API-Key', source.secret], ...more],
    });
  const before = await count();
  for (const named of [
    source.id.toUpperCase(),
    source.id.slice(0, -1),
    `${source.id}%20`,
    `${source.id}%00`,
    `${source.id}%0A`,
    `${source.id}'%20or%20true--`,
    'src_%25',
    'x'.repeat(2_000),
  ])
    expect([named, await ask(named)]).toEqual([named, 401]);
  for (const tenant of ['Acme', 'me', '*', 'acme, acme', 'x'.repeat(5_000)])
    expect([tenant, await ask(source.name, ['X-Tenant-ID', tenant])]).toEqual([tenant, 401]);
  expect(await count()).toBe(before);
  expect(await ask(source.id.replace('_', '%5F'))).toBe(201);
});

describe('a recorded request', () => {
  test('that comes again with other ids is the first one', async () => {
    const source = await createSource('standard_webhooks');
    const time = String(Math.floor(Date.now() / 1_000));
    const secret = Buffer.from(source.secret.slice(6), 'base64');
    const sum = createHmac('sha256', secret).update(`msg_1.${time}.{}`).digest('base64');
    const signed = [
      JSON_TYPE,
      ['svix-id', 'msg_1'],
      ['svix-timestamp', time],
      ['svix-signature', `v1,${sum}`],
    ] as const;
    const before = await count();
    const path = at(source);
    expect(await statusOf({ path, headers: [...signed] })).toBe(201);
    for (const more of [
      ['Idempotency-Key', 'another'],
      ['IDEMPOTENCY-KEY', 'Another'],
      ['X-Request-Id', 'another'],
      ['webhook-event', 'another'],
    ] as const)
      expect([more, await statusOf({ path, headers: [...signed, more] })]).toEqual([more, 200]);
    // the names of the standard go first, and are not signed
    expect(await statusOf({ path, headers: [...signed, ['webhook-id', 'another']] })).toBe(401);
    expect(await count()).toBe(before + 1);
  });

  test.each([
    ['hmac', 'Webhook-Id'],
    ['github', 'X-GitHub-Delivery'],
    ['shopify', 'X-Shopify-Webhook-Id'],
  ])('of %s takes no id of a later event', async (verification, name) => {
    const source = await createSource(verification);
    const sign = (body: string) =>
      ({
        hmac: ['X-Signature', sha256(source.secret, body)],
        github: ['X-Hub-Signature-256', `sha256=${sha256(source.secret, body)}`],
        shopify: ['X-Shopify-Hmac-Sha256', sha256(source.secret, body, 'base64')],
      })[verification] as [string, string];
    const deliver = (body: string, id: string) =>
      statusOf({ path: at(source), headers: [JSON_TYPE, sign(body), [name, id]], body });
    const before = await count();
    expect(await deliver('{"n":1}', 'order-1')).toBe(201);
    // recorded, and sent again with the ids of what is to come, also the one that stands for its body
    expect(await deliver('{"n":1}', 'order-2')).toBe(200);
    expect(await deliver('{"n":1}', `sha256:${createHash('sha256').update('{"n":2}').digest('hex')}`)).toBe(200);
    expect(await deliver('{"n":2}', 'order-2')).toBe(201);
    expect(await deliver('{"n":2}', 'order-2')).toBe(200);
    expect(await count()).toBe(before + 2);
  });
});

test('an address that fails is refused, and whoever was verified before from there is not', async () => {
  const own = await startTestApi(database);
  onTestFinished(() => own.stop());
  const ask = async (path: string, ...headers: (readonly [string, string])[]) =>
    (await send({ path, headers: [JSON_TYPE, ...headers] }, own.api.port)).status;
  const [known, unknown] = [await createSource('api_key'), await createSource('api_key')];
  const right = (source: Source) => ask(at(source), ['X-API-Key', source.secret]);
  const other = await createKey(database, 'acme', ['inbound']);
  expect(await right(known)).toBe(201);
  expect(await ask('/api/webhooks/a', ['X-API-Key', key])).toBe(201);
  // as a large sender does that somebody told a wrong address
  const statuses = [];
  for (let n = 0; n < 62; n++) statuses.push(await ask('/api/v1/webhooks/receive/src_aaaaaaaaaaaaaaaaaaaaaaaa'));
  expect([statuses[59], statuses[60]]).toEqual([401, 429]);
  expect([await right(known), await ask('/api/webhooks/a', ['X-API-Key', key])]).toEqual([201, 201]);
  // nobody else learns whether they are right
  expect(await right(unknown)).toBe(429);
  for (const token of [other, `rhk_${'x'.repeat(43)}`, 'x.y.z', ''])
    expect(await ask('/api/webhooks/a', ['X-API-Key', token])).toBe(429);
  // a wrong signature of a known source is counted for it, as ever
  expect(await ask(at(known), ['X-API-Key', 'wrong'])).toBe(401);
});

test('no secret is in a log or an answer, whatever fails', async () => {
  const port = await freePort();
  const serve = startRowhook(['serve'], {
    env: {
      DATABASE_URL: database.apiUrl,
      ROWHOOK_API_PORT: String(port),
      ROWHOOK_API_METRICS_PORT: '0',
      ROWHOOK_LOG_LEVEL: 'trace',
    },
  });
  onTestFinished(async () => {
    serve.process.kill('SIGKILL');
    await serve.ended;
  });
  await waitUntil('it listens', () => /"port":\d+/.test(serve.stdout()));
  const source = await createSource('api_key', { signature_header: 'X-Request-Id' });
  const signed = await createSource('hmac');
  const secrets = [key, source.secret, signed.secret, 'hunter2', 's3same'];
  let answers = '';
  const ask = async (sent: Sent) => {
    const { status, text } = await send(sent, port);
    answers += text;
    return status;
  };
  const sign = (body: string) => ['X-Signature', sha256(signed.secret, body)] as const;
  expect(await ask({ headers: withKey(), body: '{"password":"hunter2"' })).toBe(400);
  expect(await ask({ headers: withKey(['X-Tenant-ID', 's3same']) })).toBe(401);
  expect(await ask({ path: `/api/webhooks/a?token=hunter2`, headers: [JSON_TYPE, ['Cookie', 's3same']] })).toBe(401);
  expect(await ask({ path: at(source), headers: [JSON_TYPE, ['X-Request-Id', 'hunter2']] })).toBe(401);
  expect(await ask({ path: at(signed), headers: [JSON_TYPE, sign('x')], body: '{"password":"hunter2"}' })).toBe(401);
  expect(await ask({ path: at(signed), headers: [JSON_TYPE, sign('{"p":"s3same"')], body: '{"p":"s3same"' })).toBe(400);
  // The database refuses what is otherwise right, and prints the row.
  await database.query(`
    create function no_moon() returns trigger language plpgsql as
      'begin raise exception using message = ''no moon'', detail = new.payload::text; end';
    create trigger no_moon before insert on rowhook.integration_events
      for each row when (new.event_name = 'moon') execute function no_moon()`);
  onTestFinished(async () => {
    await database.query('drop function no_moon cascade');
  });
  const refused = { path: '/api/webhooks/moon', headers: withKey(), body: '{"password":"hunter2"}' };
  expect(await ask(refused)).toBe(500);
  await waitUntil('the error is logged', () => serve.stdout().includes('no moon'));
  expect(await ask({ path: at(source), headers: [JSON_TYPE, ['X-Request-Id', source.secret]] })).toBe(201);
  const kept = await database.query('select headers, idempotency_key from rowhook.integration_events');
  await waitUntil('the last is logged', () => serve.stdout().includes('"status":201'));
  const said = serve.stdout() + answers.replace(/"payload":.*?,"status"/g, '') + JSON.stringify(kept);
  for (const secret of secrets) expect([secret, said.includes(secret)]).toEqual([secret, false]);
});
