// The wall between the daemon's network and the URLs that tenants write, from the row to the log.

import { createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readSettings, type Settings } from '../../src/config/settings.ts';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { rowhook } from '../support/cli.ts';
import { startConnectProxy } from '../support/connect-proxy.ts';
import { startDaemonProcess, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { flood, type RawServer, startRawServer } from '../support/raw-server.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const TENANT = 'aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon | undefined;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
});

afterEach(async () => {
  await daemon?.stop();
  daemon = undefined;
  await database.query('delete from rowhook.webhook_configurations');
  receiver.clear();
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const write = (name = 'a client') =>
  database.query('insert into public.clients (organization_id, name) values ($1, $2)', [TENANT, name]);

interface Log extends Record<string, unknown> {
  code: string;
  status: string;
  error: string | null;
  attempt: number;
  next_attempt_at: Date | null;
  remote_ip: string | null;
}

async function logsOf(webhookId: string, count = 1): Promise<Log[]> {
  return waitUntil('its attempts are logged', async () => {
    const rows = await database.query<Log>('select * from rowhook.webhook_logs where webhook_id = $1 order by id', [
      webhookId,
    ]);
    return rows.length >= count ? rows : undefined;
  });
}

async function attemptAt(
  url: string,
  settings: Partial<Settings>,
  columns: Record<string, unknown> = {},
): Promise<Log> {
  const webhook = await createWebhook(database, { tenant_id: TENANT, url, ...columns });
  daemon = await startTestDaemon(database, settings);
  await write();
  return (await logsOf(webhook.id))[0] as Log;
}

describe('a refused address', () => {
  const strict = { allowCidrs: [], allowHttp: false };

  test.each<[string, string, Partial<Settings>, Record<string, unknown>, RegExp]>([
    [
      'a private literal',
      'https://10.0.0.7/x',
      strict,
      {},
      /private address 10\.0\.0\.7 .*ROWHOOK_ALLOW_CIDRS\. Then: /,
    ],
    [
      'a name that leads inside',
      'https://localhost/x',
      strict,
      {},
      /^"localhost" is refused: .*add (127\.0\.0\.0\/8|::1\/128) to ROWHOOK_ALLOW_CIDRS\. Then: /,
    ],
    [
      'a metadata address',
      'http://169.254.169.254/latest/meta-data',
      { allowCidrs: ['0.0.0.0/0'] },
      {},
      /No setting opens it\. Give the webhook another URL\. Then: /,
    ],
    ['a denied range', 'https://1.1.1.1/x', { ...strict, denyCidrs: ['1.1.1.0/24'] }, {}, /ROWHOOK_DENY_CIDRS/],
    ['an unlisted address', 'https://1.1.1.1/x', strict, { allowed_ips: ['2.0.0.0/8'] }, /allowed_ips/],
    ['a blocked port', 'https://example.com:25/x', strict, {}, /^Port 25 is refused/],
    ['a URL with another spelling of loopback', 'https://0x7f.1/x', strict, {}, /127\.0\.0\.1 .*Loopback/],
  ])(
    '%s is logged once with a sentence that says what to do, and not tried again',
    async (_, url, settings, columns, error) => {
      const log = await attemptAt(url, settings, columns);
      expect(log).toMatchObject({
        status: 'failed',
        code: 'address_refused',
        attempt: 1,
        next_attempt_at: null,
        remote_ip: null,
      });
      expect(log.error).toMatch(error);
      const [delivery] = await database.query(
        'select state, last_code from rowhook.webhook_deliveries where webhook_id = $1',
        [log.webhook_id],
      );
      // it is kept: opened and replayed, it goes out
      expect(delivery).toEqual({ state: 'given_up', last_code: 'address_refused' });
    },
  );

  test.each<[string, string, Partial<Settings>]>([
    ['http_refused', '127.0.0.1', { allowHttp: false }],
    ['address_refused', '127.0.0.1', { allowCidrs: [] }],
    ['address_refused', 'localhost', { allowCidrs: [] }],
    ['address_refused', '127.0.0.1', { allowHttp: false, allowCidrs: [] }],
    ['http_refused', 'localhost', { allowHttp: false, allowCidrs: [] }],
  ])('%s at %s: the error names the setting and the replay, and both work', async (code, host, settings) => {
    const refused = await attemptAt(`http://${host}:${receiver.port}/inside`, settings);
    expect(refused).toMatchObject({ code, status: 'failed', attempt: 1, next_attempt_at: null });
    expect(receiver.requests).toEqual([]);
    await daemon?.stop();
    const error = refused.error as string;
    const [, cidr = '127.0.0.0/8'] = /add ([^ ]+) to ROWHOOK_ALLOW_CIDRS/.exec(error) ?? [];
    const [, allowHttp = 'true'] = /ROWHOOK_ALLOW_HTTP=([a-z]+)/.exec(error) ?? [];
    expect(error.length, error).toBeLessThan(300);
    const opened = readSettings(
      {},
      { DATABASE_URL: 'postgres://a@b/c', ROWHOOK_ALLOW_CIDRS: `${cidr},::1/128,127.0.0.0/8` },
    );
    daemon = await startTestDaemon(database, { allowCidrs: opened.allowCidrs, allowHttp: allowHttp === 'true' });
    const [, command = ''] = /Then: rowhook (replay .*)$/.exec(error) ?? [];
    const replayed = await rowhook(command.split(' '), { env: { DATABASE_URL: database.url } });
    expect(replayed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Queued 1 event again/m) });
    const [, delivered] = await logsOf(refused.webhook_id as string, 2);
    expect(delivered).toMatchObject({ status: 'success', remote_ip: expect.stringMatching(/^(127\.0\.0\.1|::1)$/) });
  });
});

describe('our own database', () => {
  test('is refused under its address and every other that it has, and the receiver beside it is not', async () => {
    const { hostname, port } = new URL(database.url);
    const ids: string[] = [];
    for (const host of [hostname, 'localhost', '127.0.0.1', '127.1.2.3', '0x7f.1']) {
      ids.push((await createWebhook(database, { tenant_id: TENANT, url: `http://${host}:${port}/` })).id);
    }
    const beside = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/beside') });
    daemon = await startTestDaemon(database, { allowCidrs: ['127.0.0.0/8', '::1/128'] });
    await write();
    for (const id of ids) {
      const [log] = await logsOf(id);
      expect(log).toMatchObject({
        code: 'address_refused',
        error: expect.stringMatching(
          /a service of rowhook itself.*No setting opens it\. Give the webhook another URL\. Then: /,
        ),
      });
    }
    expect((await logsOf(beside.id))[0]).toMatchObject({ status: 'success' });
  });

  test('behind a pooler: neither the pooler nor the server is reached', async () => {
    const server = new URL(database.daemonUrl);
    const sockets = new Set<Socket>();
    // as PgBouncer stands before a server, with another port
    const pooler = createServer((client) => {
      const upstream = new (client.constructor as new () => Socket)().connect(Number(server.port), server.hostname);
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          client.destroy();
          upstream.destroy();
        });
      }
      client.pipe(upstream).pipe(client);
    });
    await new Promise<void>((listening) => pooler.listen(0, '127.0.0.1', listening));
    const { port } = pooler.address() as { port: number };
    const url = new URL(database.daemonUrl);
    url.port = String(port);
    try {
      const ids = [];
      for (const at of [port, server.port])
        ids.push((await createWebhook(database, { tenant_id: TENANT, url: `http://127.0.0.1:${at}/` })).id);
      daemon = await startTestDaemon({ ...database, daemonUrl: url.href });
      await write();
      for (const id of ids) expect((await logsOf(id))[0]).toMatchObject({ code: 'address_refused' });
    } finally {
      await daemon?.stop();
      pooler.close();
      for (const socket of sockets) socket.destroy();
    }
  });
});

describe('a proxy', () => {
  const receiverAt = () => ({ url: `http://hooks.example:${receiver.port}/through` });
  const proxyEnv = (port: number) => ({ ROWHOOK_PROXY_URL: `http://user:hush-0123@127.0.0.1:${port}` });

  test('that ROWHOOK_PROXY_URL names is used and logged without its password; when it fails, that is tried again', async () => {
    const webhook = await createWebhook(database, { tenant_id: TENANT, ...receiverAt() });
    let isOpen = true;
    const proxy = await startConnectProxy({ refuse: () => (isOpen ? undefined : 'HTTP/1.1 403 X\r\n\r\n') });
    const running = startDaemonProcess(database.daemonUrl, { ...proxyEnv(proxy.port), ROWHOOK_LOG_LEVEL: 'trace' });
    try {
      await write('through');
      await receiver.waitFor(({ body }) => body.includes('"through"'));
      expect((await logsOf(webhook.id))[0]).toMatchObject({ code: 'delivered', remote_ip: null });
      isOpen = false;
      await createWebhook(database, { tenant_id: TENANT, url: 'http://other.example/', name: 'other' });
      const inside = await createWebhook(database, { tenant_id: TENANT, url: 'http://169.254.169.254/' });
      await write('refused');
      const failed = await waitUntil('the proxy has refused', async () => {
        const [row] = await database.query<Log>("select * from rowhook.webhook_logs where code = 'proxy_failed'");
        return row;
      });
      expect(failed.error).toBe('the outgoing proxy (ROWHOOK_PROXY_URL) answered 403 to CONNECT other.example:80');
      expect(failed.next_attempt_at).not.toBeNull();
      expect((await logsOf(inside.id))[0]).toMatchObject({ code: 'address_refused' });
      expect(proxy.tunnels.map(({ authority }) => authority)).not.toContain('169.254.169.254:80');
    } finally {
      await running.kill('SIGTERM');
      await proxy.close();
    }
    const { stdout, stderr } = await running.ended;
    const notice =
      stdout.split('\n').find((line) => line.includes('ROWHOOK_PROXY_URL. The proxy resolves names')) ?? '';
    expect(JSON.parse(notice)).toMatchObject({ proxy: `http://127.0.0.1:${proxy.port}` });
    expect(stdout + stderr).not.toContain('hush');
    const rows = await database.query<{ text: string }>('select l::text as text from rowhook.webhook_logs l');
    expect(rows.filter(({ text }) => text.includes('hush'))).toEqual([]);
  });

  test('that only HTTPS_PROXY names is not used, and the daemon says so', async () => {
    const proxy = await startConnectProxy();
    const running = startDaemonProcess(database.daemonUrl, { HTTPS_PROXY: `http://u:hush@127.0.0.1:${proxy.port}` });
    try {
      const line = await waitUntil('it is said', () =>
        running
          .stdout()
          .split('\n')
          .find((each) => each.includes('HTTPS_PROXY')),
      );
      expect(JSON.parse(line).msg).toMatch(/^HTTPS_PROXY is not used\. .*set ROWHOOK_PROXY_URL$/);
    } finally {
      await running.kill('SIGTERM');
      await proxy.close();
    }
    expect((await running.ended).stdout).not.toContain('hush');
    expect(proxy.tunnels).toEqual([]);
  });
});

describe('what a tenant writes into its row never stops the daemon', () => {
  test('odd rows are refused, or fail by themselves', async () => {
    const odd = [
      { url: 'http://127.0.0.1:1/' },
      { url: `http://${'a'.repeat(2_000)}.example/` },
      { url: 'http://[::1]:99999/' },
      { url: 'http://%00/' },
      { url: 'http://\u{1f4a9}.example/\u{1f4a9}' },
      { url: 'http://a b/' },
      { url: 'https://1.1.1.1:0/' },
      { url: 'http://*/' },
      { url: 'http://..../' },
      { url: receiver.url('/x'), headers: { 'x-é': 'a' } },
      { url: receiver.url('/x'), headers: { 'x-a': 'a\r\nb: c' } },
      { url: receiver.url('/x'), allowed_ips: [null] },
      { url: receiver.url('/x'), allowed_ips: ['::ffff:127.0.0.1/128'] },
      { url: receiver.url('/x'), allowed_ips: '{{127.0.0.1/32},{127.0.0.2/32}}' },
      { url: receiver.url('/x'), event_types: '{{*},{a}}' },
      { url: receiver.url('/x'), name: 'a"\\\u2028\u0001' },
      { url: receiver.url('/x'), secret: 'whsec_' },
      { url: receiver.url('/x'), secret: '\u{1f4a9}'.repeat(8) },
      { url: receiver.url('/x'), auth_type: 'basic', auth_config: { username: 'é', password: '\u{1f4a9}' } },
      {
        url: receiver.url('/x'),
        auth_type: 'api_key',
        auth_config: { header_name: 'x'.repeat(100), header_value: '' },
      },
    ];
    const stored: string[] = [];
    for (const columns of odd) {
      await createWebhook(database, { tenant_id: TENANT, ...columns }).then(
        ({ id }) => stored.push(id),
        (error) => expect([columns, error.code]).toEqual([columns, expect.stringMatching(/^(23514|22021|22P02)$/)]),
      );
    }
    expect(stored.length).toBeGreaterThan(8);
    const good = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/good') });
    daemon = await startTestDaemon(database);
    await write('one');
    await receiver.waitFor(({ path }) => path === '/good');
    for (const id of stored)
      expect((await logsOf(id))[0]?.code).toMatch(/^(delivered|address_refused|dns_failed|connection_refused)$/);
    await write('two');
    expect((await logsOf(good.id, 2)).map(({ status }) => status)).toEqual(['success', 'success']);
    const [lane] = await database.query(
      'select count(distinct epoch)::int as epochs from rowhook.webhook_lanes where epoch > 0',
    );
    expect(lane).toEqual({ epochs: 1 });
  });

  test('nor do answers that PostgreSQL cannot store', async () => {
    const odd = await startRawServer({
      onRequest: ({ socket }) =>
        socket.write(
          Buffer.concat([
            Buffer.from(
              'HTTP/1.1 200 OK\r\nx-high: \xff\xfe\r\n__proto__: x\r\ncontent-length: 12\r\n\r\na\0b',
              'latin1',
            ),
            Buffer.from([0xff, 0xc0, 0xed, 0xa0, 0x80, 0xf8, 0x61, 0x0a, 0x0d]),
          ]),
        ),
    });
    try {
      const log = await attemptAt(odd.url(), {});
      expect(log).toMatchObject({ status: 'success', response_body: expect.stringMatching(/^a\ufffdb/) });
      expect(log.response_headers).toMatchObject({ 'x-high': 'ÿþ' });
      expect(Object.keys(log.response_headers as object)).toContain('__proto__');
    } finally {
      await odd.close();
    }
  });
});

test('thirty receivers that answer with floods: the daemon holds little memory and serves the others', async () => {
  const floods = [
    'x'.repeat(65_536),
    '1\r\nx\r\n'.repeat(10_000),
    '\r\n'.repeat(30_000),
    `x-a: ${'y'.repeat(900)}\r\n`.repeat(70),
  ];
  const heads = [
    'HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n',
    'HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n',
    '',
    'HTTP/1.1 200 OK\r\n',
  ];
  let turn = 0;
  const raw: RawServer = await startRawServer({
    onRequest: ({ socket }) => {
      turn += 1;
      socket.write(heads[turn % 4] || '\r\n');
      flood(socket, floods[turn % 4] as string);
    },
  });
  const running = startDaemonProcess(database.daemonUrl);
  try {
    for (let n = 0; n < 30; n++)
      await createWebhook(database, { tenant_id: TENANT, url: raw.url(`/${n}`), retry_enabled: false });
    const good = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/good') });
    await running.tookLanes();
    const before = await running.memory();
    for (let i = 0; i < 10; i++) {
      await write(`event ${i}`);
      await receiver.waitFor((request) => request.path === '/good' && request.body.includes(`event ${i}"`));
    }
    await waitUntil('most floods were cut off', async () => {
      const [row] = await database.query(
        'select count(*)::int as count from rowhook.webhook_logs where webhook_id <> $1',
        [good.id],
      );
      return Number(row?.count) >= 250;
    });
    const after = await running.memory();
    expect(after.mostKb - before.nowKb).toBeLessThan(300_000);
  } finally {
    await running.kill('SIGKILL');
    await raw.close();
  }
});
