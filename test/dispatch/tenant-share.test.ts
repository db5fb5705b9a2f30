// One tenant's receivers hang. Its requests cannot be taken back, so they must not be all that the daemon may have under way.

import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { expect, type TestContext, test } from 'vitest';
import { startCounter } from '../support/counter.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import type { TestDatabase } from '../support/database.ts';
import { ownDatabase } from '../support/scene.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

/** Takes requests and answers none, unless `onData` does. */
async function startHanging(
  onTestFinished: TestContext['onTestFinished'],
  onData: (socket: Socket, chunk: Buffer) => void = () => {},
) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('data', (chunk) => onData(socket, chunk));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((closed) => server.close(closed));
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, sockets };
}

/** An event of a neighbour arrives while nothing of the hostile tenant has ended. */
async function expectNoOneWaits(database: TestDatabase, onTestFinished: TestContext['onTestFinished']): Promise<void> {
  const receiver = await startCounter();
  onTestFinished(() => receiver.close());
  await createWebhook(database, { tenant_id: 'neighbour', url: receiver.url });
  for (let n = 1; n <= 3; n++) {
    await database.query("select rowhook.emit('a.b', '1', 'neighbour')");
    await waitUntil('it arrives', () => receiver.requests === n);
  }
  expect(await database.query("select from rowhook.webhook_logs where tenant_id = 'hostile'")).toEqual([]);
}

const HANGS = { tenant_id: 'hostile', timeout_ms: 30_000, max_in_flight: 1_000 };

test('batches that hang: each of their deliveries takes a permit', async ({ onTestFinished }) => {
  const database = await ownDatabase(onTestFinished);
  const { url, sockets } = await startHanging(onTestFinished);
  for (let n = 0; n < 6; n++)
    await createWebhook(database, { ...HANGS, url, batch_max_events: 100, batch_max_wait_ms: 0 });
  const daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_MAX_IN_FLIGHT: '256' });
  onTestFinished(() => daemon.kill('SIGKILL'));
  await daemon.tookLanes();
  await database.query("select count(rowhook.emit('a.b', '1', 'hostile')) from generate_series(1, 100)");
  await waitUntil('some hang', () => sockets.size >= 2);
  // after a second they are slow, and others may start what they would not have started before
  await waitUntil('they are parked', async () => {
    const rows = await database.query("select from rowhook.webhook_deliveries where tenant_id = 'hostile'");
    return rows.length >= 600;
  });
  await expectNoOneWaits(database, onTestFinished);
});

test('tests of webhooks that hang: they start at once, and within the share of their tenant', async ({
  onTestFinished,
}) => {
  const database = await ownDatabase(onTestFinished);
  const { url, sockets } = await startHanging(onTestFinished);
  const { id } = await createWebhook(database, { ...HANGS, url, event_types: ['a.b'] });
  const daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_MAX_IN_FLIGHT: '32' });
  onTestFinished(() => daemon.kill('SIGKILL'));
  await daemon.tookLanes();
  for (let n = 0; n < 3; n++) {
    await database.query('select rowhook.test($1) from generate_series(1, 20)', [id]);
    await waitUntil('they are parked', async () => {
      const rows = await database.query("select from rowhook.webhook_deliveries where tenant_id = 'hostile'");
      return rows.length >= 20 * (n + 1);
    });
  }
  expect(sockets.size).toBeGreaterThan(0);
  await expectNoOneWaits(database, onTestFinished);
});

test('one large event for many webhooks that hang: events of others are read and sent before they time out', async ({
  onTestFinished,
}) => {
  const database = await ownDatabase(onTestFinished);
  const { url, sockets } = await startHanging(onTestFinished);
  for (let n = 0; n < 60; n++) await createWebhook(database, { ...HANGS, url });
  const daemon = startDaemonProcess(database.daemonUrl);
  onTestFinished(() => daemon.kill('SIGKILL'));
  await daemon.tookLanes();
  await database.query("select rowhook.emit('a.b', to_json(repeat('x', 1000000)), 'hostile')");
  await waitUntil('some hang', () => sockets.size >= 10);
  await expectNoOneWaits(database, onTestFinished);
});

test('receivers that answer with what takes long to search for credentials: events of others arrive meanwhile', async ({
  onTestFinished,
}) => {
  const database = await ownDatabase(onTestFinished);
  const headers = Array.from({ length: 1_500 }, (_, n) => `${n.toString(36)}: %41\r\n`).join('');
  const body = `%41${'a'.repeat(6_000)}`;
  const answer = `HTTP/1.1 200 OK\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`;
  let requests = 0;
  const { url: base, sockets } = await startHanging(onTestFinished, (socket, chunk) => {
    if (!chunk.includes('POST ')) return;
    requests += 1;
    socket.write(answer);
  });
  const query = Array.from({ length: 400 }, (_, n) => `%2${n.toString(36).padStart(2, '0')}`).join('&');
  const url = `${base}?${query}`.slice(0, 2_048);
  for (let n = 0; n < 60; n++) await createWebhook(database, { tenant_id: 'hostile', url });
  const receiver = await startCounter();
  onTestFinished(() => receiver.close());
  await createWebhook(database, { tenant_id: 'neighbour', url: receiver.url });
  const daemon = startDaemonProcess(database.daemonUrl);
  onTestFinished(() => daemon.kill('SIGKILL'));
  await daemon.tookLanes();
  await database.query("select rowhook.emit('a.b', '1', 'hostile') from generate_series(1, 10)");
  await waitUntil('some are sent', () => sockets.size > 0);
  await database.query("select rowhook.emit('a.b', '1', 'neighbour')");
  await waitUntil('it arrives', () => receiver.requests === 1, { timeoutMs: 10_000 });
  await waitUntil('all are sent', () => requests >= 600);
  // The daemon keeps its lanes.
  expect(daemon.stdout()).not.toContain('"level":50');
});
