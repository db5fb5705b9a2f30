import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type { AddressPolicy, Endpoint, Resolve } from '../../src/deliver/address-guard.ts';
import { shared } from '../../src/deliver/dns.ts';
import { ResponseBody } from '../../src/deliver/response-body.ts';
import { createSender, type Sender, type SenderOptions } from '../../src/deliver/sender.ts';
import type { Request } from '../../src/model.ts';
import type { Outcome } from '../../src/outcome.ts';
import { type Answers, flood, type RawConnection, type RawServer, startRawServer } from '../support/raw-server.ts';
import { startReceiver } from '../support/receiver.ts';
import { answer } from '../support/resolve.ts';
import { waitUntil } from '../support/wait.ts';

const OK = 'HTTP/1.1 200 OK\r\n';
const ERROR = 'HTTP/1.1 500 X\r\n';
const EMPTY = `${OK}content-length: 0\r\n\r\n`;
const loopback = { allowHttp: true, allowCidrs: ['127.0.0.0/8'], denyCidrs: [] };

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function sender(policy: Partial<AddressPolicy> = {}, options: SenderOptions = {}): Sender {
  const made = createSender({ ...loopback, ...policy }, options);
  cleanups.push(() => made.close());
  return made;
}

async function server(answers: Answers): Promise<RawServer> {
  const started = await startRawServer(answers);
  cleanups.push(() => started.close());
  return started;
}

const answering = (bytes: string | Buffer): Answers => ({ onRequest: ({ socket }) => socket.write(bytes) });

function request(url: string, more: Partial<Request> = {}): Request {
  return {
    tenantId: 'acme',
    url,
    method: 'POST',
    headers: {},
    body: Buffer.from('{}'),
    timeoutMs: 60_000,
    allowedIps: null,
    ...more,
  };
}

/** A response that names what it answers. */
const answerTo = (path: string) => `${OK}content-length: ${path.length}\r\n\r\n${path}`;

/** undici takes a socket back two turns of the event loop after its response. */
async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(setImmediate);
}

/** What the outcome says, without times. */
const brief = ({ status, code, response }: Outcome) => [status, code, response?.status ?? null];

describe('a receiver that breaks off', () => {
  const methods = ['POST', 'PUT', 'PATCH'] as const;

  test('refuses the connection', async () => {
    const gone = await server({});
    await gone.close();
    const outcome = await sender().send(request(gone.url()));
    expect(outcome).toMatchObject({ status: 'failed', code: 'connection_refused', remoteIp: null, response: null });
    expect(outcome.error).toBe(`127.0.0.1:${gone.port}: it refused the connection (ECONNREFUSED)`);
  });

  const stages: Record<string, (end: (c: RawConnection) => void) => Answers> = {
    'as soon as it is connected': (end) => ({ onConnect: end }),
    'at the first bytes of the request': (end) => ({ onBytes: end }),
    'when it has the request': (end) => ({ onRequest: end }),
    'in the status line': (end) => ({ onRequest: (c) => c.socket.write('HTTP/1.1 20', () => end(c)) }),
    'in the headers': (end) => ({ onRequest: (c) => c.socket.write(`${ERROR}x-a: b\r\nx-`, () => end(c)) }),
  };
  const cases = Object.entries(stages).flatMap(([stage, answers]) =>
    methods.flatMap((method) => [
      [`resets ${stage}`, method, answers(({ socket }) => socket.resetAndDestroy())] as const,
      [`closes ${stage}`, method, answers(({ socket }) => socket.end())] as const,
    ]),
  );

  test.each(cases)('%s: %s fails once, and is not sent again on a first connection', async (_, method, answers) => {
    const broken = await server(answers);
    const outcome = await sender().send(request(broken.url(), { method }));
    expect(outcome).toMatchObject({ status: 'failed', code: 'connection_reset' });
    expect(outcome.error).toMatch(/before it answered/);
    expect(broken.connections).toHaveLength(1);
    expect(broken.requests.length).toBeLessThanOrEqual(1);
  });

  test('answers and closes without having read a large request: an answer or a reset, and no waiting', async () => {
    const hasty = await server({
      onConnect: ({ socket }) => {
        socket.pause();
        socket.write(`${OK}content-length: 0\r\nconnection: close\r\n\r\n`, () => socket.destroy());
      },
    });
    const outcome = await sender().send(request(hasty.url(), { body: Buffer.alloc(4_000_000) }));
    expect(['delivered', 'connection_reset']).toContain(outcome.code);
    expect(outcome.durationMs).toBeLessThan(4_000);
  });
});

/** Headers that undici does not take, each behind a status line. */
const brokenHeads = [
  ['a folded header', `x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n`],
  ['a space before the colon', `content-length : 0\r\n\r\n`],
  ['a NUL in a header', `x-a: b\0c\r\ncontent-length: 0\r\n\r\n`],
  ['two lengths', `content-length: 2\r\ncontent-length: 3\r\n\r\nabc`],
  ['a length and chunks', `content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['a negative length', `content-length: -2\r\n\r\nab`],
  ['a length that is a word', `content-length: two\r\n\r\nab`],
  ['a length of 23 digits', `content-length: 99999999999999999999999\r\n\r\nab`],
  ['a signed length', `content-length: +2\r\n\r\nab`],
  ['headers of 100 kB', `${`x-a: ${'b'.repeat(1_000)}\r\n`.repeat(100)}\r\n`],
] as const;

describe('what is not HTTP/1.1', () => {
  test.each<[string, string | Buffer]>([
    ['noise', Buffer.from([0, 1, 2, 0xff, 0xfe, 13, 10, 13, 10])],
    ['HTTP/0.9', 'hello\n'],
    ['HTTP/3.7', 'HTTP/3.7 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['HTTP/0.9 with a status', 'HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['HTTP/1.2', 'HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['HTTP/2.0', 'HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200\r\ncontent-length: 0\r\n\r\n'],
    ['http/1.1', 'http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['RTSP', 'RTSP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['RTSP/1.0 behind empty lines', '\r\n\r\nRTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['RTSP behind early hints', 'HTTP/1.1 103 X\r\n\r\nRTSP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['RTSP as early hints', `RTSP/1.1 103 X\r\n\r\n${EMPTY}`],
    ['ICE', 'ICE/1.0 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['SSH', 'SSH-2.0-OpenSSH_9.7\r\n'],
    ['a TLS alert', Buffer.from([0x15, 3, 1, 0, 2, 2, 40])],
    ['ICY', 'ICY 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['status 000', 'HTTP/1.1 000 X\r\ncontent-length: 0\r\n\r\n'],
    ['status 099', 'HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n'],
    ['status 99', 'HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n'],
    ['status 600', 'HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n'],
    ['status 999', 'HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n'],
    ['status 1000', 'HTTP/1.1 1000 X\r\ncontent-length: 0\r\n\r\n'],
    ['101 Switching Protocols', 'HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x05hello'],
    ['100 Continue that nobody asked for', `HTTP/1.1 100 Continue\r\n\r\n${EMPTY}`],
    ['bare line feeds', 'HTTP/1.1 200 OK\ncontent-length: 0\n\n'],
    ['bare carriage returns', 'HTTP/1.1 200 OK\rcontent-length: 0\r\r'],
    ...brokenHeads.map(([name, head]): [string, string] => [`500 with ${name}`, `${ERROR}${head}`]),
  ])('%s is a protocol error, and its socket is not used again', async (_, bytes) => {
    const odd = await server({
      onRequest: ({ socket, number }, { path }) => socket.write(number === 1 ? bytes : answerTo(path)),
    });
    const to = sender();
    expect(await to.send(request(odd.url('/first')))).toMatchObject({ status: 'failed', code: 'protocol_error' });
    expect((await to.send(request(odd.url('/second')))).response?.body).toBe('/second');
    // undici may open one more for a request that was given up, and sends nothing on it
    expect(odd.connections.map(({ requests }) => requests).filter(Boolean)).toEqual([1, 1]);
  });

  test('a status line of another protocol is refused however it is cut into packets, and named', async () => {
    const slow = await server({
      onRequest: async ({ socket }) => {
        for (const letter of 'RTSP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n') {
          socket.write(letter);
          await turn();
        }
      },
    });
    const outcome = await sender().send(request(slow.url()));
    expect(brief(outcome)).toEqual(['failed', 'protocol_error', null]);
    expect(outcome.error).toBe(`127.0.0.1:${slow.port}: it sent a status line of "RTSP/1.1"`);
  });

  test.each<[string, string, number]>([
    ['a status line in the middle of a body', answerTo('RTSP/1.1 200 OK\r\n\r\n'), 200],
    ['a status line without a phrase', 'HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n', 200],
    ['empty lines before it', `\r\n\r\n${EMPTY}`, 200],
    ['early hints and an empty line', `HTTP/1.1 103 X\r\nlink: </x>\r\n\r\n\r\n${EMPTY}`, 200],
  ])('%s is HTTP/1.1 all the same', async (_, bytes, status) => {
    for (const cut of [0, 1, 12, 20]) {
      const odd = await server({
        onRequest: async ({ socket }) => {
          if (cut > 0) socket.write(bytes.slice(0, cut));
          await turn();
          socket.write(bytes.slice(cut));
        },
      });
      expect(brief(await sender().send(request(odd.url())))).toEqual(['success', 'delivered', status]);
    }
  });

  test.each<[string, string, number]>([
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nhello', 200],
    ['no length at all', `${OK}\r\nhello`, 200],
    ['early hints', `HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${answerTo('hello')}`, 200],
    ['an unknown status', 'HTTP/1.1 599 X\r\ncontent-length: 5\r\n\r\nhello', 599],
  ])('%s is read all the same', async (_, bytes, status) => {
    const old = await server({ onRequest: ({ socket }) => socket.end(bytes) });
    const { response } = await sender().send(request(old.url()));
    expect(response).toMatchObject({ status, body: 'hello' });
  });

  test('headers named like the properties of objects are headers', async () => {
    const sly = await server(
      answering(`${OK}__proto__: a\r\nconstructor: b\r\ntoString: c\r\ncontent-length: 0\r\n\r\n`),
    );
    const { response } = await sender().send(request(sly.url()));
    expect(Object.entries(response?.headers ?? {})).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['tostring', 'c'],
      ['content-length', '0'],
    ]);
  });
});

describe('a response whose head is complete', () => {
  /** Each as the body of a status, with what follows the blank line written and then done. */
  const bodies: Record<string, (status: string) => Answers> = {
    'a body that 204 does not have': (status) => answering(`${status}content-length: 5\r\n\r\nhello`),
    'a chunk size that is none': (status) => answering(`${status}transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n`),
    'a chunk without its end': (status) => answering(`${status}transfer-encoding: chunked\r\n\r\n1\r\nabcdef`),
    'trailers of 100 kB': (status) =>
      answering(`${status}transfer-encoding: chunked\r\n\r\n0\r\n${`x: ${'y'.repeat(999)}\r\n`.repeat(100)}\r\n`),
    'a reset in the body': (status) => ({
      onRequest: (c) => c.socket.write(`${status}content-length: 9\r\n\r\nhal`, () => c.socket.resetAndDestroy()),
    }),
    'an end in the body': (status) => ({
      onRequest: (c) => c.socket.end(`${status}content-length: 9\r\n\r\nhal`),
    }),
    'an end in a chunk': (status) => ({
      onRequest: (c) => c.socket.end(`${status}transfer-encoding: chunked\r\n\r\n9\r\nhal`),
    }),
    'a reset in a body without a length': (status) => ({
      onRequest: (c) => c.socket.write(`${status}\r\nhal`, () => c.socket.resetAndDestroy()),
    }),
    'a body that does not end': (status) => answering(`${status}content-length: 9\r\n\r\nhal`),
    'gzip that is none': (status) => answering(`${status}content-encoding: gzip\r\ncontent-length: 3\r\n\r\nhal`),
  };
  const cases = Object.entries(bodies).flatMap(([body, answers]) => [
    [`200 with ${body}`, answers(OK), ['success', 'delivered', 200]] as const,
    [`204 with ${body}`, answers('HTTP/1.1 204 No Content\r\n'), ['success', 'delivered', 204]] as const,
    [`205 with ${body}`, answers('HTTP/1.1 205 Reset Content\r\n'), ['success', 'delivered', 205]] as const,
    [`410 with ${body}`, answers('HTTP/1.1 410 Gone\r\n'), ['failed', 'gone', 410]] as const,
    [`500 with ${body}`, answers('HTTP/1.1 500 X\r\n'), ['failed', 'http_error', 500]] as const,
    [`304 with ${body}`, answers('HTTP/1.1 304 X\r\n'), ['failed', 'redirect_refused', 304]] as const,
  ]);

  test.each(cases)('%s: the status decides, and another request is sent elsewhere', async (name, answers, expected) => {
    const odd = await server({
      onRequest: (connection, asked) => {
        if (asked.path === '/first') answers.onRequest?.(connection, asked);
        else connection.socket.write(answerTo(asked.path));
      },
    });
    const to = sender();
    // a busy machine needs its time for the head
    const outcome = await to.send(request(odd.url('/first'), { timeoutMs: name.includes('not end') ? 1_500 : 60_000 }));
    expect(brief(outcome)).toEqual(expected);
    expect((await to.send(request(odd.url('/second'))))?.response?.body).toBe('/second');
    if (!name.includes('gzip')) expect(odd.connections[0]?.requests).toBe(1);
    expect(odd.requests.map(({ path }) => path)).toEqual(['/first', '/second']);
  });

  test.each<[string, (status: string) => Answers]>([
    ...brokenHeads.map(([name, head]): [string, (status: string) => Answers] => [
      name,
      (status) => answering(`${status}${head}`),
    ]),
    ['an end in a header', (status) => ({ onRequest: ({ socket }) => socket.end(`${status}x-a: b\r\nx-`) })],
    [
      'a reset in a header',
      (status) => ({ onRequest: (c) => c.socket.write(status, () => c.socket.resetAndDestroy()) }),
    ],
    ['headers that do not end', (status) => answering(`${status}x-a: b\r\n`)],
  ])('%s: a 2xx status line that came whole is a success, and nothing else is', async (name, answers) => {
    const statuses: [string, string, number | null][] = [
      [OK, 'success', 200],
      ['HTTP/1.0 204\r\n', 'success', 204],
      [`HTTP/1.1 103 X\r\n\r\n\r\n${OK}`, 'success', 200],
      [ERROR, 'failed', null],
      ['HTTP/1.1 410 Gone\r\n', 'failed', null],
      ['RTSP/1.0 200 OK\r\n', 'failed', null],
    ];
    const check = async ([line, status, code]: (typeof statuses)[number]) => {
      const odd = await server({
        onRequest: (connection, asked) => {
          if (asked.path === '/first') answers(line).onRequest?.(connection, asked);
          else connection.socket.write(answerTo(asked.path));
        },
      });
      const to = sender();
      const timeoutMs = name.includes('not end') ? 1_500 : 60_000;
      const { response, ...outcome } = await to.send(request(odd.url('/first'), { timeoutMs }));
      expect([line, outcome.status, response?.status ?? null]).toEqual([line, status, code]);
      expect((await to.send(request(odd.url('/second')))).response?.body).toBe('/second');
      expect(odd.requests.map(({ path }) => path)).toEqual(['/first', '/second']);
    };
    await Promise.all(statuses.map(check));
  });
});

describe('nothing goes on for ever', () => {
  const drip = (head: string, drop: string): Answers => ({
    onRequest: ({ socket }) => {
      socket.write(head);
      const timer = setInterval(() => socket.write(drop), 20);
      socket.on('close', () => clearInterval(timer));
    },
  });

  test.each<[string, Answers, unknown[]]>([
    ['a receiver that never answers', {}, ['failed', 'timeout', null]],
    ['a status line, letter by letter', drip('HTTP/1.1 200 ', 'x'), ['failed', 'timeout', null]],
    ['a header, letter by letter', drip(`${OK}x-a: `, 'x'), ['success', 'delivered', 200]],
    ['a header of an error, letter by letter', drip(`${ERROR}x-a: `, 'x'), ['failed', 'timeout', null]],
    ['a body without a length', drip(`${OK}\r\n`, 'x'), ['success', 'delivered', 200]],
    ['a body in chunks', drip(`${OK}transfer-encoding: chunked\r\n\r\n`, '1\r\nx\r\n'), ['success', 'delivered', 200]],
  ])('%s: one deadline covers all of it, and the socket is closed', async (_, answers, expected) => {
    const slow = await server(answers);
    const startedAt = performance.now();
    const [outcome, timerMs] = await Promise.all([
      sender().send(request(slow.url(), { timeoutMs: 300 })),
      sleep(300).then(() => performance.now() - startedAt),
    ]);
    expect(brief(outcome)).toEqual(expected);
    expect(outcome.error).toBe(expected[0] === 'failed' ? 'no response within 300 ms' : null);
    expect(outcome.durationMs).toBeGreaterThanOrEqual(299);
    // as late as any timer of this process is
    expect(outcome.durationMs).toBeLessThan(timerMs + 700);
    await waitUntil('the socket is closed', () => slow.connections[0]?.socket.destroyed);
  });

  test('a receiver that reads nothing of a large request: the deadline covers sending, too', async () => {
    const deaf = await server({ onConnect: ({ socket }) => socket.pause() });
    const outcome = await sender().send(request(deaf.url(), { body: Buffer.alloc(20_000_000), timeoutMs: 300 }));
    expect(brief(outcome)).toEqual(['failed', 'timeout', null]);
  });

  test('a name that is not resolved in time: nothing is sent when it is at last', async () => {
    const late = await server(answering(EMPTY));
    const answers: (() => void)[] = [];
    const resolve: Resolve = (_name, _options, callback) => {
      answers.push(() => callback(null, [{ address: '127.0.0.1', family: 4 }]));
    };
    const outcome = await sender({}, { resolve }).send(
      request(`http://slow.example:${late.port}/`, { timeoutMs: 100 }),
    );
    expect(brief(outcome)).toEqual(['failed', 'timeout', null]);
    answers[0]?.();
    await waitUntil('it has connected', () => late.connections.length === 1);
    await waitUntil('it has closed that connection', () => late.connections[0]?.socket.readableEnded);
    expect(late.requests).toEqual([]);
  });

  const gigabyte = 1_000_000_000;
  test.each<[string, string, string, unknown[]]>([
    ['a body of 1 GB', `${OK}content-length: ${gigabyte}\r\n\r\n`, 'x'.repeat(65_536), ['success', 'delivered', 200]],
    [
      'an error page of 1 GB',
      `HTTP/1.1 500 X\r\ncontent-length: ${gigabyte}\r\n\r\n`,
      'x'.repeat(65_536),
      ['failed', 'http_error', 500],
    ],
    [
      'a body in chunks of one byte',
      `${OK}transfer-encoding: chunked\r\n\r\n`,
      '1\r\nx\r\n'.repeat(1_000),
      ['success', 'delivered', 200],
    ],
    [
      'endless chunks',
      `${OK}transfer-encoding: chunked\r\n\r\n`,
      `ffff\r\n${'x'.repeat(65_535)}\r\n`,
      ['success', 'delivered', 200],
    ],
    ['an endless body without a length', `${OK}\r\n`, 'x'.repeat(65_536), ['success', 'delivered', 200]],
    ['endless headers', OK, `x-a: ${'b'.repeat(1_000)}\r\n`, ['success', 'delivered', 200]],
    ['headers with names only', OK, 'x:\r\n'.repeat(1_000), ['success', 'delivered', 200]],
    ['endless headers of an error', ERROR, `x-a: ${'b'.repeat(1_000)}\r\n`, ['failed', 'protocol_error', null]],
    ['one endless header', `${OK}x-a: `, 'b'.repeat(65_536), ['success', 'delivered', 200]],
    ['an endless reason phrase', 'HTTP/1.1 200 ', 'b'.repeat(65_536), ['failed', 'protocol_error', null]],
    ['empty lines before the status line', '', '\r\n'.repeat(10_000), ['failed', 'protocol_error', null]],
    [
      'a flood of 102 Processing',
      '',
      'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000),
      ['failed', 'protocol_error', null],
    ],
    [
      'a flood of 103 Early Hints',
      '',
      `HTTP/1.1 103 X\r\nlink: ${'x'.repeat(900)}\r\n\r\n`.repeat(50),
      ['failed', 'protocol_error', null],
    ],
    [
      'endless chunk extensions',
      `${OK}transfer-encoding: chunked\r\n\r\n1;x=`,
      'y'.repeat(65_536),
      ['success', 'delivered', 200],
    ],
    [
      'endless trailers',
      `${OK}transfer-encoding: chunked\r\n\r\n0\r\n`,
      `x: ${'y'.repeat(999)}\r\n`,
      ['success', 'delivered', 200],
    ],
  ])('%s is cut off while it is read', async (_, head, chunk, expected) => {
    let flow: ReturnType<typeof flood> | undefined;
    const endless = await server({
      onRequest: ({ socket }) => {
        socket.write(head);
        flow = flood(socket, chunk);
      },
    });
    const outcome = await sender().send(request(endless.url(), { timeoutMs: 20_000 }));
    expect(brief(outcome)).toEqual(expected);
    expect(outcome.response?.body.length ?? 0).toBeLessThanOrEqual(5_000);
    await waitUntil('the socket is closed', () => endless.connections[0]?.socket.destroyed);
    // what the kernels of both sides buffer is taken, too
    expect(flow?.taken).toBeLessThan(16_000_000);
  });

  test('thousands of headers behind the longest head, or as trailers, take no more time than their bytes', async () => {
    const headers = `x: ${'a'.repeat(16_300)}\r\n${'x:\r\n'.repeat(80_000)}`;
    const heads = [ERROR, `HTTP/1.1 103 X\r\n\r\n${ERROR}`, `${OK}transfer-encoding: chunked\r\n\r\n0\r\n`];
    const before = process.cpuUsage();
    for (const head of heads) {
      const endless = await server(answering(head + headers));
      const to = sender();
      for (let i = 0; i < 3; i++) {
        const { code } = await to.send(request(endless.url()));
        expect(code).toBe(head.startsWith(OK) ? 'delivered' : 'protocol_error');
      }
    }
    const { user, system } = process.cpuUsage(before);
    // 3 s when undici made an error for each header
    expect((user + system) / 1_000).toBeLessThan(1_500);
  });

  test('ten interim responses are enough', async () => {
    const early = 'HTTP/1.1 103 X\r\n\r\n';
    const patient = await server(answering(early.repeat(10) + EMPTY));
    expect((await sender().send(request(patient.url()))).code).toBe('delivered');
    const flooding = await server(answering(early.repeat(11) + EMPTY));
    expect(await sender().send(request(flooding.url()))).toMatchObject({
      code: 'protocol_error',
      error: expect.stringContaining('more than 10 interim responses'),
    });
  });

  test('a gzip bomb stays as it came: nothing is decompressed', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    const heads: string[] = [];
    const packed = await server({
      onBytes: (_connection, bytes) => heads.push(bytes.toString()),
      onRequest: ({ socket }) =>
        socket.write(
          Buffer.concat([Buffer.from(`${OK}content-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`), bomb]),
        ),
    });
    const headers = { 'accept-encoding': 'identity' };
    const outcome = await sender().send(request(packed.url(), { headers }));
    expect(brief(outcome)).toEqual(['success', 'delivered', 200]);
    expect(heads[0]).toMatch(/\r\naccept-encoding: identity\r\n/);
    expect(outcome.response?.body.length).toBeLessThanOrEqual(5_000);
  });
});

describe('what is kept of a body', () => {
  const kept = (...chunks: Buffer[]) => {
    const body = new ResponseBody();
    const goesOn = chunks.map((chunk) => body.add(chunk));
    return { text: body.text(), goesOn };
  };

  test('up to 5,000 characters of it as they are', () => {
    expect(kept(Buffer.from('a'.repeat(5_000))).text).toBe('a'.repeat(5_000));
    expect(kept(Buffer.from('a'.repeat(5_001))).text).toBe(`${'a'.repeat(4_999)}…`);
    expect(kept().text).toBe('');
  });

  test('whole characters, whatever the chunks', () => {
    const text = 'é漢𝄞'.repeat(1_250);
    const bytes = [...Buffer.from(text)].map((byte) => Buffer.from([byte]));
    expect(kept(...bytes).text).toBe(text);
    const cut = kept(Buffer.from('𝄞'.repeat(3_000))).text;
    expect(cut).toBe(`${'𝄞'.repeat(2_499)}…`);
    expect(cut.isWellFormed()).toBe(true);
  });

  test('what PostgreSQL cannot store is replaced', () => {
    expect(kept(Buffer.from('a\0b')).text).toBe('a\ufffdb');
    expect(kept(Buffer.from([0x61, 0xff, 0xc0, 0x62])).text).toBe('a\ufffd\ufffdb');
  });

  test('is read up to 64 kB in 4,096 chunks, and takes 20 kB of memory', () => {
    const [sixteen, one] = [Buffer.alloc(16, 'x'), Buffer.from('x')];
    const [body, drops] = [new ResponseBody(), new ResponseBody()];
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 4_096; i++) expect([body.add(sixteen), drops.add(one)]).toEqual([true, true]);
    expect([body.add(one), drops.add(one)]).toEqual([false, false]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200_000);
    expect([body.text().length, drops.text().length]).toEqual([5_000, 4_097]);
  });
});

describe('sockets', () => {
  test('are kept: 50 requests one after another take one connection', async () => {
    const receiver = await server({ onRequest: ({ socket }, { path }) => socket.write(answerTo(path)) });
    const to = sender();
    for (let i = 0; i < 50; i++) {
      const outcome = await to.send(request(receiver.url(`/${i}`)));
      expect(outcome).toMatchObject({ status: 'success', remoteIp: '127.0.0.1', response: { body: `/${i}` } });
      await turn();
    }
    expect(receiver.connections).toHaveLength(1);
  });

  describe('that are used again', () => {
    /** Answers a connection's first request, and does something else with its second. */
    const answerOnce = (second: (connection: RawConnection) => void): Answers => ({
      onRequest: (connection, { path }) => {
        if (connection.requests === 1) connection.socket.write(answerTo(path));
        else second(connection);
      },
    });

    test.each<[string, (c: RawConnection) => void]>([
      ['is reset', ({ socket }) => socket.resetAndDestroy()],
      ['is closed', ({ socket }) => socket.end()],
    ])('and one %s under a request: it is sent once more, on a new one', async (_, close) => {
      const receiver = await server(answerOnce(close));
      const to = sender();
      await to.send(request(receiver.url('/1')));
      await turn();
      expect(await to.send(request(receiver.url('/2')))).toMatchObject({ code: 'delivered', response: { body: '/2' } });
      expect(receiver.requests.map(({ path }) => path)).toEqual(['/1', '/2', '/2']);
      expect(receiver.connections.map(({ requests }) => requests)).toEqual([2, 1]);
    });

    test('and the new one breaks as well: it is a failure, and sent no third time', async () => {
      const receiver = await server({
        onRequest: ({ socket, number, requests }, { path }) => {
          if (number + requests === 2) socket.write(answerTo(path));
          else socket.resetAndDestroy();
        },
      });
      const to = sender();
      await to.send(request(receiver.url('/1')));
      await turn();
      expect(brief(await to.send(request(receiver.url('/2'))))).toEqual(['failed', 'connection_reset', null]);
      expect(receiver.requests.map(({ path }) => path)).toEqual(['/1', '/2', '/2']);
    });

    test.each<[string, string, string]>([
      ['a byte of an answer came', 'H', 'connection_reset'],
      ['a head came', 'HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\n', 'http_error'],
    ])('and %s: it is not sent once more', async (_, bytes, code) => {
      const receiver = await server(answerOnce(({ socket }) => socket.end(bytes)));
      const to = sender();
      await to.send(request(receiver.url('/1')));
      await turn();
      expect((await to.send(request(receiver.url('/2')))).code).toBe(code);
      expect(receiver.requests.map(({ path }) => path)).toEqual(['/1', '/2']);
    });

    test('and nobody answers: one deadline covers both connections, and silence is no reason to send again', async () => {
      const receiver = await server({
        onRequest: ({ socket, number, requests }, { path }) => {
          if (number + requests === 2) socket.write(answerTo(path));
          else if (number === 1 && path === '/2') setTimeout(() => socket.resetAndDestroy(), 1_000);
        },
      });
      const to = sender();
      await to.send(request(receiver.url('/1')));
      await turn();
      const startedAt = performance.now();
      const [outcome, timerMs] = await Promise.all([
        to.send(request(receiver.url('/2'), { timeoutMs: 2_000 })),
        sleep(2_000).then(() => performance.now() - startedAt),
      ]);
      expect(brief(outcome)).toEqual(['failed', 'timeout', null]);
      // two deadlines would take 3 s
      expect(outcome.durationMs).toBeLessThan(timerMs + 700);
      expect(receiver.requests.map(({ path }) => path)).toEqual(['/1', '/2', '/2']);
    });

    test('and its agent was retired meanwhile: it is sent once more all the same', async () => {
      const receiver = await server(answerOnce(({ socket, number }) => number > 1 && socket.write(answerTo('/other'))));
      const to = sender();
      await to.send(request(receiver.url('/1'), { allowedIps: ['127.0.0.0/8'] }));
      await turn();
      const second = to.send(request(receiver.url('/2'), { allowedIps: ['127.0.0.0/8'] }));
      await waitUntil('it is under way', () => receiver.requests.length === 2);
      for (let n = 0; n < 100; n++)
        await to.send(request(receiver.url('/other'), { allowedIps: ['127.0.0.1', `10.0.0.${n}`] }));
      receiver.connections[0]?.socket.resetAndDestroy();
      expect(await second).toMatchObject({ code: 'delivered', response: { body: '/2' } });
    });

    test('and the name has moved inside: the new one is judged like any other', async () => {
      const receiver = await server(answerOnce(({ socket }) => socket.resetAndDestroy()));
      let moved = false;
      const resolve: Resolve = (name, options, callback) =>
        answer(moved ? '169.254.169.254' : '127.0.0.1')(name, options, callback);
      const to = sender({ allowCidrs: ['127.0.0.1/32'] }, { resolve });
      const send = () => to.send(request(`http://rebinding.example:${receiver.port}/`));
      expect((await send()).code).toBe('delivered');
      await turn();
      moved = true;
      expect((await send()).code).toBe('address_refused');
    });
  });

  test('are kept while another tenant uses many lists of allowed_ips', async () => {
    const [receiver, other] = [await server(answering(EMPTY)), await server(answering(EMPTY))];
    const to = sender();
    for (let n = 0; n < 250; n++) {
      if (n % 50 === 0) await to.send(request(receiver.url()));
      await to.send(request(other.url(), { allowedIps: ['127.0.0.1', `10.0.0.${n}`] }));
    }
    expect(receiver.connections.length).toBe(1);
  });

  test.each<[string, number[]]>([
    ['keep-alive: timeout=1', [1, 1, 1]],
    ['keep-alive: timeout=0', [1, 1, 1]],
    ['keep-alive: timeout=600, max=100', [3]],
    ['connection: close', [1, 1, 1]],
  ])('are kept no longer than the receiver says: %s', async (hint, expected) => {
    const receiver = await server(answering(`${OK}${hint}\r\ncontent-length: 0\r\n\r\n`));
    const to = sender();
    for (let i = 0; i < 3; i++) {
      await to.send(request(receiver.url()));
      await turn();
    }
    expect(receiver.connections.map(({ requests }) => requests)).toEqual(expected);
  });

  test('are closed a second before a receiver would close them', async () => {
    const receiver = await server(answering(`${OK}Keep-Alive: timeout=2\r\ncontent-length: 0\r\n\r\n`));
    const startedAt = performance.now();
    await sender().send(request(receiver.url()));
    await waitUntil('it is closed', () => receiver.connections[0]?.socket.readableEnded);
    expect(performance.now() - startedAt).toBeGreaterThan(950);
    expect(performance.now() - startedAt).toBeLessThan(1_900);
  });

  test('are not shared with webhooks that have other allowed_ips', async () => {
    const receiver = await server(answering(EMPTY));
    const to = sender();
    await to.send(request(receiver.url()));
    await to.send(request(receiver.url(), { allowedIps: ['127.0.0.1/32'] }));
    await turn();
    await to.send(request(receiver.url(), { allowedIps: ['127.0.0.1/32'] }));
    const refused = await to.send(request(receiver.url(), { allowedIps: ['127.0.0.2/32'] }));
    expect(refused.code).toBe('address_refused');
    expect(receiver.connections.map(({ requests }) => requests)).toEqual([1, 2]);
  });

  test.each<[string, string]>([
    ['a second response in the same packet', `${answerTo('/first')}${answerTo('poison')}`],
    ['half of a second response', `${answerTo('/first')}HTTP/1.1 200`],
    ['a body longer than its length', `${OK}content-length: 6\r\n\r\n/first${answerTo('poison')}`],
    ['204 with a body that is a response', `HTTP/1.1 204 No Content\r\n\r\n${answerTo('poison')}`],
    ['304 with a body that is a response', `HTTP/1.1 304 Not Modified\r\n\r\n${answerTo('poison')}`],
    [
      'chunks and more behind them',
      `${OK}transfer-encoding: chunked\r\n\r\n6\r\n/first\r\n0\r\n\r\n${answerTo('poison')}`,
    ],
    [
      'connection: close, and more behind it',
      `${OK}connection: close\r\ncontent-length: 6\r\n\r\n/first${answerTo('poison')}`,
    ],
    ['an unasked timeout notice', `${answerTo('/first')}HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n`],
  ])('%s is never taken for the answer to the next request', async (_, bytes) => {
    const forging = await server({
      onRequest: ({ socket, number }, { path }) => socket.write(number === 1 ? bytes : answerTo(path)),
    });
    const to = sender();
    await to.send(request(forging.url('/first')));
    expect((await to.send(request(forging.url('/second')))).response?.body).toBe('/second');
    await turn();
    expect((await to.send(request(forging.url('/third')))).response?.body).toBe('/third');
    expect(forging.connections[0]).toMatchObject({ requests: 1, socket: { destroyed: true } });
  });

  test('a response that comes while the socket is idle closes it', async () => {
    const forging = await server({
      onRequest: ({ socket, number }, { path }) => {
        socket.write(answerTo(path));
        if (number === 1) setTimeout(() => socket.write(answerTo('poison')), 30);
      },
    });
    const to = sender();
    await to.send(request(forging.url('/first')));
    await waitUntil('the socket is closed', () => forging.connections[0]?.socket.destroyed);
    expect((await to.send(request(forging.url('/second')))).response?.body).toBe('/second');
  });

  test('500 requests to a receiver that errs at random: each gets its own answer or none', async () => {
    const errors: ((path: string) => string)[] = [
      (path) => `${answerTo(path)}${answerTo('poison')}`,
      (path) => `${OK}content-length: 99\r\n\r\n${path}`,
      () => `HTTP/1.1 204 No Content\r\n\r\n${answerTo('poison')}`,
      () => 'HTTP/1.1 2',
      () => '\0\0\0',
      () => 'HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      (path) => `HTTP/1.1 103 X\r\n\r\n${answerTo(path)}`,
    ];
    let count = 0;
    const erratic = await server({
      onRequest: ({ socket }, { path }) => {
        count += 1;
        if (count % 3 !== 0) socket.write(answerTo(path));
        else if (count % 2 === 0) socket.end(errors[count % errors.length]?.(path) ?? '');
        else socket.write(errors[count % errors.length]?.(path) ?? '');
      },
    });
    const to = sender();
    let timeouts = 0;
    const send = async (worker: number) => {
      for (let i = 0; i < 50; i++) {
        const path = `/${worker}.${i}`;
        const { response, status, code } = await to.send(request(erratic.url(path), { timeoutMs: 200 }));
        if (code === 'timeout') timeouts += 1;
        if (status === 'success' && response?.status === 200) expect(response.body).toBe(path);
        expect(response?.body ?? '').not.toContain('poison');
      }
    };
    await Promise.all(Array.from({ length: 10 }, (_, worker) => send(worker)));
    // exactly one request for each, never one again on a new connection
    expect(erratic.requests.map(({ path }) => path).sort()).toEqual(
      [...new Set(erratic.requests.map(({ path }) => path))].sort(),
    );
    // on a busy machine the deadline may end before the request is sent
    expect(erratic.requests.length).toBeLessThanOrEqual(500);
    expect(erratic.requests.length).toBeGreaterThanOrEqual(500 - timeouts);
  });

  test('idle ones are not hoarded, however long receivers ask for them to be kept', async () => {
    const receiver = await server(answering(`${OK}keep-alive: timeout=600\r\ncontent-length: 0\r\n\r\n`));
    const to = sender({}, { resolve: answer('127.0.0.1') });
    for (let i = 0; i < 1_200; i += 100) {
      const names = Array.from({ length: 100 }, (_, n) => `http://h${i + n}.example:${receiver.port}/`);
      for (const { code } of await Promise.all(names.map((url) => to.send(request(url)))))
        expect(code).toBe('delivered');
    }
    const open = () => receiver.connections.filter(({ socket }) => !socket.destroyed && !socket.readableEnded).length;
    await waitUntil('idle sockets were closed', () => open() <= 1_000);
  });
});

describe('where requests go', () => {
  test('a name is judged by its addresses, a literal by itself, before anything is dialled', async () => {
    const receiver = await startReceiver();
    cleanups.push(() => receiver.close());
    const closed = sender({ allowCidrs: [] });
    for (const host of ['localhost', '127.0.0.1', '[::1]', '[::ffff:127.0.0.1]', '2130706433', '0x7f.1', 'LOCALHOST']) {
      const outcome = await closed.send(request(`http://${host}:${receiver.port}/`));
      expect([host, outcome.code]).toEqual([host, 'address_refused']);
      expect(outcome.error).toMatch(/Loopback( Address)?\).*ROWHOOK_ALLOW_CIDRS/);
    }
    expect(receiver.requests).toEqual([]);
    const open = sender({ allowCidrs: ['127.0.0.0/8', '::1/128'] });
    expect(await open.send(request(`http://localhost:${receiver.port}/`))).toMatchObject({ code: 'delivered' });
    expect(receiver.requests).toHaveLength(1);
  });

  test('a name with one bad address among good ones is refused', async () => {
    const receiver = await server(answering(EMPTY));
    const to = sender({ allowCidrs: ['127.0.0.1/32'] }, { resolve: answer('127.0.0.1', '10.0.0.7') });
    const outcome = await to.send(request(`http://mixed.example:${receiver.port}/`));
    expect(outcome).toMatchObject({
      code: 'address_refused',
      error: expect.stringContaining('10.0.0.0/8, Private-Use'),
    });
    expect(receiver.connections).toEqual([]);
  });

  test('a name that moves inside is refused at its next connection, and never looked up while one is open', async () => {
    const receiver = await server({
      onRequest: ({ socket, requests }) =>
        socket.write(requests < 3 ? EMPTY : `${OK}connection: close\r\ncontent-length: 0\r\n\r\n`),
    });
    const lookups: string[] = [];
    const resolve: Resolve = (name, options, callback) => {
      lookups.push(name);
      answer(lookups.length === 1 ? '127.0.0.1' : '169.254.169.254')(name, options, callback);
    };
    const to = sender({ allowCidrs: ['127.0.0.1/32'] }, { resolve });
    const send = () => to.send(request(`http://rebinding.example:${receiver.port}/`));
    for (let i = 0; i < 3; i++) {
      expect((await send()).code).toBe('delivered');
      await turn();
    }
    expect(await send()).toMatchObject({ code: 'address_refused', error: expect.stringContaining('Link Local') });
    expect(lookups).toHaveLength(2);
    expect(receiver.connections).toHaveLength(1);
  });

  test('a name that is slow to resolve is asked for once at a time, and keeps no other from being resolved', async () => {
    const receiver = await server(answering(EMPTY));
    const asked: string[] = [];
    const answers: (() => void)[] = [];
    const resolve = shared((name, options, callback) => {
      asked.push(name);
      const reply = () => answer('127.0.0.1')(name, options, callback);
      if (name === 'slow.example') answers.push(reply);
      else reply();
    });
    const to = sender({}, { resolve });
    const slow = Array.from({ length: 20 }, () => to.send(request(`http://slow.example:${receiver.port}/`)));
    expect((await to.send(request(`http://fast.example:${receiver.port}/`))).code).toBe('delivered');
    await waitUntil('it is asked for', () => answers.length === 1);
    answers[0]?.();
    for (const outcome of await Promise.all(slow)) expect(outcome.code).toBe('delivered');
    expect(asked).toEqual(['slow.example', 'fast.example']);
  });

  test.runIf(process.platform === 'linux')('there are threads enough for 64 names at a time', async () => {
    const script = `
      await import(${JSON.stringify(new URL('../../src/deliver/sender.ts', import.meta.url).href)});
      await import('node:dns').then(({ promises }) => promises.lookup('localhost'));
      console.log((await import('node:fs')).readdirSync('/proc/self/task').length);`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
    expect(Number(stdout)).toBeGreaterThan(128);
  });

  test('ROWHOOK_DENY_CIDRS wins, allowed_ips narrow', async () => {
    const receiver = await server(answering(EMPTY));
    const url = receiver.url();
    expect((await sender({ denyCidrs: ['127.0.0.1/32'] }).send(request(url))).error).toMatch(/ROWHOOK_DENY_CIDRS/);
    const to = sender();
    expect((await to.send(request(url, { allowedIps: ['10.0.0.0/8'] }))).error).toMatch(/allowed_ips/);
    expect((await to.send(request(url, { allowedIps: ['127.0.0.1/32'] }))).code).toBe('delivered');
    expect(receiver.requests).toHaveLength(1);
  });

  test.each([
    ['https://user:hunter2@127.0.0.1/', /user name or a password/],
    ['ftp://127.0.0.1/', /"ftp:" is refused/],
    ['https://127.0.0.1:25/', /Port 25 is refused/],
    ['https://127.0.0.1:0/', /Port 0 is refused/],
    ['nonsense', /not valid/],
  ])('%s is refused before anything is dialled', async (url, error) => {
    const outcome = await sender().send(request(url));
    expect(outcome).toMatchObject({ status: 'failed', code: 'address_refused', error: expect.stringMatching(error) });
    expect(outcome.error).not.toContain('hunter2');
  });

  test('http: needs ROWHOOK_ALLOW_HTTP', async () => {
    const receiver = await server(answering(EMPTY));
    const outcome = await sender({ allowHttp: false }).send(request(receiver.url('/secret-path')));
    expect(outcome).toMatchObject({ code: 'http_refused', error: expect.stringContaining('ROWHOOK_ALLOW_HTTP=true') });
    const both = await sender({ allowHttp: false }).send(request('http://169.254.169.254/'));
    expect(both).toMatchObject({ code: 'address_refused', error: expect.stringContaining('No setting opens it') });
    expect(outcome.error).not.toContain('secret-path');
    expect(receiver.connections).toEqual([]);
  });

  test('an allowed_ips entry that is no range refuses the request instead of stopping the daemon', async () => {
    const to = sender();
    const outcome = await to.send(request('http://127.0.0.1/', { allowedIps: [null as unknown as string] }));
    expect(outcome).toMatchObject({
      status: 'failed',
      code: 'address_refused',
      error: expect.stringContaining('"null"'),
    });
  });

  test.each([301, 302, 303, 307, 308])('%i is not followed', async (status) => {
    const receiver = await startReceiver();
    cleanups.push(() => receiver.close());
    receiver.respond('/', { status, headers: { location: receiver.url('/elsewhere') } });
    expect(await sender().send(request(receiver.url()))).toMatchObject({ status: 'failed', code: 'redirect_refused' });
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/']);
  });

  test('proxy settings of the environment change nothing', async () => {
    const receiver = await startReceiver();
    const proxied: string[] = [];
    const proxy = createServer((incoming, response) => {
      proxied.push(incoming.url ?? '');
      response.end();
    }).on('connect', (incoming, socket) => {
      proxied.push(incoming.url ?? '');
      socket.destroy();
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    cleanups.push(
      () => receiver.close(),
      async () => {
        proxy.close();
      },
    );
    const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const script = `
      const { createSender } = await import(${JSON.stringify(new URL('../../src/deliver/sender.ts', import.meta.url).href)});
      const sender = createSender(${JSON.stringify(loopback)});
      const send = (url) => sender.send({ tenantId: 'acme', url, method: 'POST', headers: {}, body: Buffer.from('{}'), timeoutMs: 60000, allowedIps: null });
      console.log(JSON.stringify([(await send('${receiver.url()}')).code, (await send('https://127.0.0.1:${receiver.port}/')).code]));
      await sender.close();`;
    const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy'];
    const env = {
      ...Object.fromEntries(names.map((name) => [name, at])),
      NODE_USE_ENV_PROXY: '1',
      NO_PROXY: '',
      PATH: process.env.PATH,
    };
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env });
    expect(JSON.parse(stdout)).toEqual(['delivered', 'tls_failed']);
    expect(proxied).toEqual([]);
  });
});

describe('our own database', () => {
  const at = (host: string, port: number) => ({ closed: (): Endpoint[] => [{ host, port }] });
  const open = { allowCidrs: ['0.0.0.0/0', '::/0'] };

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.1', 'localhost'],
    ['localhost', '127.0.0.1'],
    ['::1', '127.0.0.1'],
    ['127.0.0.1', '127.9.9.9'],
    ['127.0.0.1', '[::1]'],
    ['/var/run/postgresql', '127.0.0.1'],
    ['127.0.0.1', '[::ffff:127.0.0.1]'],
  ])('at %s is not reached as %s, whatever is opened', async (host, dialled) => {
    const database = await server(answering(EMPTY));
    const to = sender(open, at(host, database.port));
    const outcome = await to.send(request(`http://${dialled}:${database.port}/`));
    expect(outcome).toMatchObject({ status: 'failed', code: 'address_refused' });
    expect(outcome.error).toMatch(
      /closed address .*\(a service of rowhook itself\)( is refused)?\. No setting opens it\. Give the webhook another URL\.$/,
    );
    expect(database.connections).toEqual([]);
  });

  test('is found under any name that leads to its address, also one that its own name has moved to', async () => {
    const database = await server(answering(EMPTY));
    const addresses: Record<string, string> = { 'db.internal': '10.0.0.1', 'innocent.example': '127.0.0.1' };
    const resolve: Resolve = (name, options, callback) => answer(addresses[name] as string)(name, options, callback);
    const to = sender(open, { ...at('db.internal', database.port), resolve });
    const send = () => to.send(request(`http://innocent.example:${database.port}/`));
    expect((await send()).code).toBe('delivered');
    for (const { socket } of database.connections) socket.destroy();
    addresses['db.internal'] = '127.0.0.1';
    await waitUntil('it is refused', async () => (await send()).code === 'address_refused');
  });

  test('other ports of the same address stay open, and so does its port elsewhere', async () => {
    const receiver = await server(answering(EMPTY));
    expect((await sender(open, at('127.0.0.1', receiver.port + 1)).send(request(receiver.url()))).code).toBe(
      'delivered',
    );
    expect((await sender(open, at('192.0.2.1', receiver.port)).send(request(receiver.url()))).code).toBe('delivered');
  });

  test('is not reached when its own name cannot be looked up: then its port is closed everywhere', async () => {
    const receiver = await server(answering(EMPTY));
    const resolve: Resolve = (_name, _options, callback) =>
      callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
    const to = sender(open, { ...at('db.internal', receiver.port), resolve });
    expect((await to.send(request(receiver.url()))).code).toBe('dns_failed');
    expect(receiver.connections).toEqual([]);
  });
});

test('after close() everything has ended, and what was under way has failed', async () => {
  const hanging = await server({});
  const to = createSender(loopback);
  const outcomes = [to.send(request(hanging.url())), to.send(request(hanging.url(), { allowedIps: ['127.0.0.0/8'] }))];
  await waitUntil('both are under way', () => hanging.requests.length === 2);
  await to.close();
  for (const outcome of await Promise.all(outcomes)) expect(outcome.status).toBe('failed');
  expect((await to.send(request(hanging.url()))).status).toBe('failed');
});
