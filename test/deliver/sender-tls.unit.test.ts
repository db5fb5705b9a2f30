import { createServer, getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { createSender, type Sender, type SenderOptions } from '../../src/deliver/sender.ts';
import type { Outcome } from '../../src/outcome.ts';
import { selfSigned } from '../support/certificate.ts';
import { flood, type RawServer, startRawServer } from '../support/raw-server.ts';
import { answer } from '../support/resolve.ts';
import { waitUntil } from '../support/wait.ts';

const trusted = selfSigned(['localhost', 'hooks.example', '127.0.0.1']);
const forAnotherName = selfSigned(['other.example']);
const expired = selfSigned(['localhost'], new Date(Date.now() - 60_000));
const untrusted = selfSigned(['localhost']);
// this process trusts them as it trusts a public authority
setDefaultCACertificates([...getCACertificates('default'), trusted.cert, forAnotherName.cert, expired.cert]);

const EMPTY = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function sender(options: SenderOptions = {}): Sender {
  const made = createSender({ allowHttp: false, allowCidrs: ['127.0.0.0/8', '::1/128'], denyCidrs: [] }, options);
  cleanups.push(() => made.close());
  return made;
}

async function server(identity: { key: string; cert: string }, bytes = EMPTY): Promise<RawServer> {
  const started = await startRawServer({ onRequest: ({ socket }) => socket.write(bytes) }, identity);
  cleanups.push(() => started.close());
  return started;
}

function post(to: Sender, url: string): Promise<Outcome> {
  const body = Buffer.from('{}');
  return to.send({ tenantId: 'acme', url, method: 'POST', headers: {}, body, timeoutMs: 60_000, allowedIps: null });
}

test.each(['localhost', '127.0.0.1'])('a certificate for %s is accepted there, over one connection', async (host) => {
  const receiver = await server(trusted);
  const to = sender();
  for (let i = 0; i < 5; i++) {
    expect(await post(to, `https://${host}:${receiver.port}/`)).toMatchObject({
      code: 'delivered',
      remoteIp: '127.0.0.1',
    });
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  }
  expect(receiver.connections).toHaveLength(1);
});

test('the name is checked, not the address that it led to', async () => {
  const receiver = await server(trusted);
  const to = sender({ resolve: answer('127.0.0.1') });
  expect((await post(to, `https://hooks.example:${receiver.port}/`)).code).toBe('delivered');
  // 127.0.0.1 is in the certificate; other.example, which leads there, is not
  const outcome = await post(to, `https://other.example:${receiver.port}/`);
  expect(outcome).toMatchObject({ code: 'tls_failed', error: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID') });
  expect(receiver.requests).toHaveLength(1);
});

test.each([
  ['for another name', forAnotherName, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ['that has expired', expired, 'CERT_HAS_EXPIRED'],
  ['that nobody vouches for', untrusted, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
])('a certificate %s is refused, however often it is tried', async (_, identity, code) => {
  const receiver = await server(identity);
  const to = sender();
  for (let i = 0; i < 3; i++) {
    const outcome = await post(to, `https://localhost:${receiver.port}/`);
    expect(outcome).toMatchObject({ status: 'failed', code: 'tls_failed', error: expect.stringContaining(code) });
  }
  expect(receiver.requests).toEqual([]);
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'with %s no session is resumed: resuming would skip the check of the name',
  async (version) => {
    const resumed: boolean[] = [];
    const onSocket = (socket: TLSSocket) => {
      resumed.push(socket.isSessionReused());
      socket.on('error', () => {});
      socket.on('data', () => socket.end(EMPTY.replace('content', 'connection: close\r\ncontent')));
    };
    const receiver = createServer({ ...trusted, minVersion: version, maxVersion: version }, onSocket);
    await new Promise<void>((listening) => receiver.listen(0, '127.0.0.1', listening));
    cleanups.push(async () => {
      receiver.close();
    });
    const { port } = receiver.address() as { port: number };
    const to = sender();
    for (let i = 0; i < 5; i++) expect((await post(to, `https://localhost:${port}/`)).code).toBe('delivered');
    expect(resumed).toEqual(Array(5).fill(false));
  },
);

test('plain HTTP where TLS is expected is a failure of TLS', async () => {
  const plain = await startRawServer({ onConnect: ({ socket }) => socket.write(EMPTY) });
  cleanups.push(() => plain.close());
  expect(await post(sender(), `https://localhost:${plain.port}/`)).toMatchObject({
    status: 'failed',
    code: 'tls_failed',
  });
});

test('the guard stands before TLS, too: nothing private is dialled for a public name', async () => {
  const receiver = await server(trusted);
  const strict = createSender({ allowHttp: false, allowCidrs: [], denyCidrs: [] }, { resolve: answer('127.0.0.1') });
  cleanups.push(() => strict.close());
  expect((await post(strict, `https://hooks.example:${receiver.port}/`)).code).toBe('address_refused');
  expect(receiver.connections).toEqual([]);
});

test('floods inside TLS are cut off as others are', async () => {
  let flow: ReturnType<typeof flood> | undefined;
  const endless = await startRawServer(
    {
      onRequest: ({ socket }) => {
        socket.write('HTTP/1.1 200 ');
        flow = flood(socket, 'x'.repeat(65_536));
      },
    },
    trusted,
  );
  cleanups.push(() => endless.close());
  expect(await post(sender(), endless.url())).toMatchObject({ status: 'failed', code: 'protocol_error' });
  await waitUntil('the socket is closed', () => endless.connections[0]?.socket.destroyed);
  expect(flow?.taken).toBeLessThan(16_000_000);
});

test('a kept connection that is closed under a request: its farewell is not an answer, and the request is sent once more', async () => {
  const closing = await startRawServer(
    { onRequest: ({ socket, requests }) => (requests === 1 ? socket.write(EMPTY) : socket.end()) },
    trusted,
  );
  cleanups.push(() => closing.close());
  const to = sender();
  for (let i = 0; i < 2; i++) {
    expect(await post(to, closing.url())).toMatchObject({ code: 'delivered' });
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  }
  expect(closing.connections.map(({ requests }) => requests)).toEqual([2, 1]);
});
