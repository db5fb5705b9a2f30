// Clients that are slow, or send what no client should: each is bounded, and answered.

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

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

const NEW = { name: 'n', target_url: 'https://a.example/', event_types: ['*'] };

interface Raw {
  answer(): string;
  closed: Promise<unknown>;
  write(text: string | Buffer): Promise<void>;
  isOpen(): boolean;
}

function open(): Raw {
  const socket = connect(api.api.port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  return {
    answer: () => answer,
    closed: new Promise<void>((resolve) => socket.once('close', () => resolve())),
    isOpen: () => !socket.destroyed,
    write: (text) => new Promise((resolve) => socket.write(text, () => resolve())),
  };
}

const head = (method: string, more = '') =>
  `${method} /api/v1/me/outgoing-webhooks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
  `Content-Type: application/json\r\n${more}\r\n`;

/** Sends, and reads until the server closes. */
async function raw(...parts: (string | Buffer)[]): Promise<string> {
  const socket = open();
  for (const part of parts) await socket.write(part);
  await socket.closed;
  return socket.answer();
}

test('200 that send a byte a second keep nobody waiting, and are ended', { timeout: 60_000 }, async () => {
  const text = 'GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ';
  const slow = Array.from({ length: 200 }, open);
  let [sent, late] = [0, 0];
  const drip = setInterval(() => {
    for (const each of slow) if (each.isOpen()) void each.write(text[sent] ?? 'x');
    sent += 1;
  }, 1_000);
  try {
    await waitUntil('each has sent something', async () => sent >= 1);
    while (slow.some(({ isOpen }) => isOpen()) && late < 40) {
      const { status } = await api.ask('GET', '/v1/me', { token });
      expect(status).toBe(200);
      await Promise.race([Promise.all(slow.map(({ closed }) => closed)), once(AbortSignal.timeout(1_000), 'abort')]);
      late += 1;
    }
    expect(slow.filter(({ isOpen }) => isOpen())).toEqual([]);
    expect(new Set(slow.map(({ answer }) => answer().split('\r\n')[0]))).toEqual(new Set(['HTTP/1.1 408 timeout']));
  } finally {
    clearInterval(drip);
  }
});

test('a body of 100 MB is refused when it is too large, and takes no memory', async () => {
  const megabyte = Buffer.alloc(2 ** 20, ' ');
  const chunk = Buffer.concat([Buffer.from('100000\r\n'), megabyte, Buffer.from('\r\n')]);
  const socket = open();
  await socket.write(head('POST', 'Transfer-Encoding: chunked\r\n'));
  const before = process.memoryUsage().arrayBuffers;
  let sent = 0;
  while (sent < 100 && socket.isOpen()) {
    await socket.write(chunk);
    sent += 1;
  }
  await waitUntil('it is answered', async () => socket.answer() !== '');
  expect(socket.answer()).toMatch(/^HTTP\/1\.1 413 /);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 2 ** 20);
  expect((await api.ask('GET', '/v1/me', { token })).status).toBe(200);
});

test('requests in one packet are answered in their order', async () => {
  const ask = (path: string, more = '') =>
    `GET /api/v1/${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;
  const answers = await raw(ask('me') + ask('nothing') + ask('egress-ips') + ask('me', 'Connection: close\r\n'));
  expect([...answers.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status)).toEqual(['200', '404', '200', '200']);
});

test('10,000 headers are too many', async () => {
  const many = Array.from({ length: 10_000 }, (_, n) => `X-${n}: b\r\n`).join('');
  expect(await raw(`GET /api/v1/me HTTP/1.1\r\nHost: x\r\n${many}\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
});

test('two lengths, or a length and chunks, are not guessed', async () => {
  for (const more of [
    'Content-Length: 2\r\nContent-Length: 3\r\n',
    'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n',
  ])
    expect(await raw(head('POST', more), '0\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
});

test.each<[string, Buffer | string, number, RegExp]>([
  ['bad UTF-8', Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]), 400, /not UTF-8/],
  ['half of a surrogate pair', JSON.stringify({ ...NEW, name: '\ud800' }), 422, /cannot hold/],
  ['NUL', JSON.stringify({ ...NEW, name: 'a\0b' }), 422, /cannot hold/],
  [
    '__proto__',
    `{"__proto__":{"name":"x"},${JSON.stringify(NEW).slice(1)}`,
    422,
    /"__proto__","message":"is not a known/,
  ],
  [
    'constructor',
    JSON.stringify({ ...NEW, constructor: { prototype: {} } }),
    422,
    /"constructor","message":"is not a known/,
  ],
  ['1,000 levels', `${'['.repeat(1_000)}${']'.repeat(1_000)}`, 400, /512 levels/],
  ['a number too large', '1e999', 422, /must be object|is not valid|body/],
  ['a name twice', `{"name":"first",${JSON.stringify(NEW).slice(1)}`, 201, /"name":"n"/],
])('a body with %s', async (_, body, status, said) => {
  const response = await fetch(`${api.url}/api/v1/me/outgoing-webhooks`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body as unknown as string,
  });
  expect([response.status, await response.text()]).toEqual([status, expect.stringMatching(said)]);
  expect(({} as { name?: string }).name).toBeUndefined();
});

test('__proto__ in data is data', async () => {
  const data = '{"__proto__":{"a":1},"n":12345678901234567890}';
  const made = await api.ask('POST', '/v1/me/events', { token, body: `{"event":"a.b","data":${data}}` });
  expect(made.status).toBe(201);
  expect((await api.ask('GET', '/v1/me/events', { token })).text).toContain(data);
});

test('PostgreSQL is stopped while 50 requests run: each is answered, and 200 follows', async () => {
  const server = await startServer();
  const other = await startTestApi(server.database);
  const holder = await server.database.pool.connect();
  try {
    const own = await createKey(server.database, 'acme');
    const { body } = await other.ask('POST', '/v1/me/outgoing-webhooks', { token: own, body: NEW });
    await holder.query('begin');
    await holder.query('select from rowhook.webhook_configurations where id = $1 for update', [body.id]);
    const path = `/v1/me/outgoing-webhooks/${body.id}`;
    const running = Array.from({ length: 50 }, () => other.ask('PATCH', path, { token: own, body: { name: 'x' } }));
    await waitUntil('some of them are in the database', async () => {
      const waiting = await server.database.query(
        "select from pg_stat_activity where application_name = 'rowhook api' and wait_event_type = 'Lock'",
      );
      return waiting.length >= 5;
    });
    await server.embedded.stop('immediate');
    const answers = await Promise.all(running);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    expect(answers.every(({ headers }) => Number(headers.get('retry-after')) > 0)).toBe(true);
    await server.embedded.start();
    await waitUntil('it answers again', async () => (await other.ask('GET', path, { token: own })).status === 200);
  } finally {
    holder.release(true);
    await other.stop();
    await server.stop();
  }
});
