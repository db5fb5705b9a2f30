// ROWHOOK_PROXY_URL: what goes out through a proxy, what the address guard still refuses, and what is said when the proxy fails.

import { createServer } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import type { AddressPolicy, Resolve } from '../../src/deliver/address-guard.ts';
import { proxyNotice } from '../../src/deliver/proxy.ts';
import { createSender, type Sender, type SenderOptions } from '../../src/deliver/sender.ts';
import type { Outcome } from '../../src/outcome.ts';
import { selfSigned } from '../support/certificate.ts';
import { type ConnectProxy, type ConnectProxyOptions, startConnectProxy } from '../support/connect-proxy.ts';
import { type Answers, type RawServer, startRawServer } from '../support/raw-server.ts';

const trusted = selfSigned(['hooks.example', 'localhost', '127.0.0.1']);
const untrusted = selfSigned(['hooks.example']);
// this process trusts it as it trusts a public authority
setDefaultCACertificates([...getCACertificates('default'), trusted.cert]);

const EMPTY = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';
const PASSWORD = 'hush:0123@456';
const answering: Answers = { onRequest: ({ socket }) => socket.write(EMPTY) };

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(answers = answering, tls?: { key: string; cert: string }): Promise<RawServer> {
  const started = await startRawServer(answers, tls);
  cleanups.push(() => started.close());
  return started;
}

async function proxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const started = await startConnectProxy(options);
  cleanups.push(() => started.close());
  return started;
}

const unasked: Resolve = (name) => {
  throw new Error(`${name} was looked up by rowhook`);
};

function sender(
  port: number,
  policy: Partial<AddressPolicy> = {},
  options: SenderOptions = {},
  scheme = 'http',
): Sender {
  const made = createSender(
    { allowHttp: true, allowCidrs: [], denyCidrs: [], ...policy },
    { proxy: `${scheme}://user:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/`, resolve: unasked, ...options },
  );
  cleanups.push(() => made.close());
  return made;
}

const post = (to: Sender, url: string, allowedIps: string[] | null = null, timeoutMs = 60_000): Promise<Outcome> =>
  to.send({ tenantId: 'acme', url, method: 'POST', headers: {}, body: Buffer.from('{}'), timeoutMs, allowedIps });

async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(setImmediate);
}

describe('through a proxy', () => {
  test.each<[string, string, string]>([
    ['http', 'http', 'http'],
    ['https', 'https', 'http'],
    ['https, through a proxy that speaks TLS itself,', 'https', 'https'],
    ['http, through a proxy that speaks TLS itself,', 'http', 'https'],
  ])(
    '%s requests go out, by a name that only the proxy can look up, over one tunnel',
    async (_, scheme, proxyScheme) => {
      const receiver = await server(answering, scheme === 'https' ? trusted : undefined);
      const through = await proxy(proxyScheme === 'https' ? { tls: trusted } : {});
      const to = sender(through.port, {}, {}, proxyScheme);
      for (let i = 0; i < 3; i++) {
        const outcome = await post(to, `${scheme}://hooks.example:${receiver.port}/a?b=c`);
        // the address is the proxy's, and says nothing of the receiver
        expect(outcome).toMatchObject({ code: 'delivered', remoteIp: null, response: { status: 200 } });
        await turn();
      }
      const authority = `hooks.example:${receiver.port}`;
      const credentials = `Basic ${Buffer.from(`user:${PASSWORD}`).toString('base64')}`;
      expect(through.tunnels).toEqual([
        { authority, headers: expect.objectContaining({ host: authority, 'proxy-authorization': credentials }) },
      ]);
      expect(receiver.connections.map(({ requests }) => requests)).toEqual([3]);
      expect(receiver.requests[0]).toEqual({ method: 'POST', path: '/a?b=c', body: '{}' });
    },
  );

  test("the receiver's certificate is checked inside of the tunnel", async () => {
    const receiver = await server(answering, untrusted);
    const through = await proxy();
    expect((await post(sender(through.port), `https://hooks.example:${receiver.port}/`)).code).toBe('tls_failed');
    const other = await server(answering, trusted);
    expect((await post(sender(through.port), `https://other.example:${other.port}/`)).code).toBe('tls_failed');
    expect(receiver.requests).toEqual([]);
  });

  test('a kept tunnel that is closed under a request: it is sent once more, through a new one', async () => {
    const receiver = await server({
      onRequest: ({ socket, requests }) => (requests === 1 ? socket.write(EMPTY) : socket.destroy()),
    });
    const through = await proxy();
    const to = sender(through.port);
    for (let i = 0; i < 2; i++) {
      expect((await post(to, `http://hooks.example:${receiver.port}/`)).code).toBe('delivered');
      await turn();
    }
    expect(receiver.connections.map(({ requests }) => requests)).toEqual([2, 1]);
    expect(through.tunnels).toHaveLength(2);
  });
});

describe('the address guard behind a proxy', () => {
  const closed = () => [{ host: 'DB.example.com', port: 5432 }];
  const onlyTheDatabase: Resolve = (name, options, callback) =>
    name === 'DB.example.com'
      ? callback(null, [{ address: '192.0.2.1', family: 4 }])
      : unasked(name, options, callback);

  test.each<[string, RegExp, Partial<AddressPolicy>, string[] | null]>([
    ['http://10.0.0.7/', /add 10\.0\.0\.7\/32 to ROWHOOK_ALLOW_CIDRS/, {}, null],
    ['http://169.254.169.254/', /No setting opens it/, { allowCidrs: ['0.0.0.0/0'] }, null],
    ['http://[::1]/', /Loopback/, {}, null],
    ['http://2130706433/', /Loopback/, {}, null],
    ['https://1.1.1.1/', /ROWHOOK_DENY_CIDRS/, { denyCidrs: ['1.1.1.0/24'] }, null],
    ['https://1.1.1.1/', /allowed_ips/, {}, ['2.0.0.0/8']],
    ['https://hooks.example/', /allowed_ips cannot be checked/, {}, ['1.1.1.0/24']],
    ['https://db.example.com:5432/', /a service of rowhook itself/, {}, null],
    ['https://db.example.com.:5432/', /a service of rowhook itself/, {}, null],
    ['http://localhost/', /could resolve it to a private address/, { allowCidrs: ['127.0.0.0/8'] }, null],
    ['http://A.LOCALHOST./', /could resolve it to a private address/, {}, null],
    ['http://metadata/', /could resolve it to a private address/, {}, null],
    ['http://metadata.google.internal/', /could resolve it to a private address/, {}, null],
    ['http://printer.local/', /could resolve it to a private address/, {}, null],
    ['http://a.home.arpa/', /could resolve it to a private address/, {}, null],
    ['http://x.corp/', /could resolve it to a private address/, {}, null],
    ['http://kubernetes.default.svc/', /could resolve it to a private address/, {}, null],
    ['http://localhost../', /could resolve it to a private address/, {}, null],
    ['http://127.0.0.1../', /could resolve it to a private address/, {}, null],
    ['https://db.example.com..:5432/', /a service of rowhook itself/, {}, null],
  ])('%s is refused, and the proxy is not asked', async (url, error, policy, allowedIps) => {
    const through = await proxy();
    const outcome = await post(sender(through.port, policy, { closed, resolve: onlyTheDatabase }), url, allowedIps);
    expect(outcome).toMatchObject({ status: 'failed', code: 'address_refused', error: expect.stringMatching(error) });
    expect(through.tunnels).toEqual([]);
  });

  test.each([
    ['hooks.example', {}, null],
    ['local.example', {}, null],
    ['internal.hooks.example', {}, null],
    ['127.0.0.1', { allowCidrs: ['127.0.0.1/32'] }, null],
    ['127.0.0.1', { allowCidrs: ['127.0.0.0/8'] }, ['127.0.0.1/32']],
  ] as const)('%s is asked for', async (host, policy, allowedIps) => {
    const receiver = await server();
    const through = await proxy();
    const to = sender(through.port, policy, { closed });
    expect((await post(to, `http://${host}:${receiver.port}/`, allowedIps && [...allowedIps])).code).toBe('delivered');
    expect(through.tunnels.map(({ authority }) => authority)).toEqual([`${host}:${receiver.port}`]);
  });
});

describe('a proxy that fails', () => {
  test.each<[string, string, RegExp]>([
    [
      'asks for other credentials',
      'HTTP/1.1 407 X\r\n\r\n',
      /answered 407 to CONNECT hooks\.example:9999\. It needs a user/,
    ],
    [
      'forbids the host',
      'HTTP/1.1 403 X\r\ncontent-length: 2\r\n\r\nno',
      /answered 403 to CONNECT hooks\.example:9999$/,
    ],
    ['cannot reach the host', 'HTTP/1.1 502 X\r\n\r\n', /answered 502/],
    ['redirects', 'HTTP/1.1 302 X\r\nlocation: http://10.0.0.7/\r\n\r\n', /answered 302/],
    ['switches protocols', 'HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n', /answered 101/],
    ['hangs up', '', /cannot be used \(ECONNRESET\)/],
    ['speaks another protocol', 'SSH-2.0-OpenSSH_9.7\r\n', /cannot be used \(HPE_/],
    ['speaks for the receiver', `HTTP/1.1 200 OK\r\n\r\n${EMPTY}`, /of its own through the tunnel/],
    [
      'sends endless headers',
      `HTTP/1.1 200 OK\r\n${`x: ${'y'.repeat(999)}\r\n`.repeat(100)}`,
      /cannot be used \(HPE_HEADER/,
    ],
  ])('%s: the error says that it was the proxy, and neither who it is nor how it is asked', async (_, bytes, error) => {
    const through = await proxy({ refuse: () => bytes });
    for (const scheme of ['http', 'https']) {
      const outcome = await post(sender(through.port, {}), `${scheme}://hooks.example:9999/`);
      expect(outcome).toMatchObject({ status: 'failed', code: 'proxy_failed', response: null, remoteIp: null });
      expect(outcome.error).toMatch(error);
      expect(outcome.error).toMatch(/^the outgoing proxy \(ROWHOOK_PROXY_URL\) /);
      expect(outcome.error).not.toMatch(new RegExp(`hush|user:|${through.port}|127\\.0\\.0\\.1`));
    }
  });

  test('is not there', async () => {
    const through = await proxy();
    await through.close();
    const outcome = await post(sender(through.port), 'https://hooks.example/');
    expect(outcome).toMatchObject({ code: 'proxy_failed', error: expect.stringMatching(/\(ECONNREFUSED\)$/) });
  });

  test('is silent: the deadline of the attempt covers it', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening));
    cleanups.push(async () => silent.close());
    const { port } = silent.address() as { port: number };
    const outcome = await post(sender(port), 'https://hooks.example/', null, 300);
    expect(outcome).toMatchObject({ code: 'timeout', error: 'no response within 300 ms' });
  });
});

describe('what is said at the start', () => {
  test('the proxy without its credentials, and what is not judged', () => {
    const notice = proxyNotice('http://user:hush@proxy.example:3128/', { HTTPS_PROXY: 'http://other' });
    expect(notice).toEqual({
      proxy: 'http://proxy.example:3128',
      text: expect.stringMatching(/resolves names.*ROWHOOK_DENY_CIDRS/),
    });
    expect(JSON.stringify(notice)).not.toMatch(/hush|user/);
  });

  test("the environment's proxies that are not used, without their URLs", () => {
    const env = { HTTPS_PROXY: 'http://u:hush@p', all_proxy: 'socks5://p', NO_PROXY: '*', HTTP_PROXY: '' };
    expect(proxyNotice(undefined, env)?.text).toBe(
      'HTTPS_PROXY, all_proxy is not used. Requests go out directly. To send them through a proxy, set ROWHOOK_PROXY_URL',
    );
    expect(proxyNotice(undefined, { NO_PROXY: 'a' })).toBeNull();
  });
});
