// Whatever dies: it goes on by itself, nothing is lost, and at most what was in flight comes twice.
//
// These tests wait for leases to run out rather than for the processor, so they run side by side.

import { describe, expect, test } from 'vitest';
import { startCounter } from '../support/counter.ts';
import { caughtUp, startDaemonProcess } from '../support/daemon.ts';
import { startProxy } from '../support/proxy.ts';
import {
  expectNothingLost,
  expectTidyConnections,
  maxInFlight,
  moreRequests,
  ownDatabase,
  secondsOf,
  startScene,
} from '../support/scene.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

describe.concurrent('it goes on by itself', { timeout: 240_000 }, () => {
  test('when the daemon is killed, again and again, and another one started', async ({ onTestFinished }) => {
    const scene = await startScene(await ownDatabase(onTestFinished), onTestFinished);
    const kills = process.env.ROWHOOK_TEST_FULL ? 6 : 2;
    const seconds: number[] = [];
    let daemon = scene.daemon();
    await daemon.tookLanes();
    for (let kill = 0; kill < kills; kill++) {
      await moreRequests(scene);
      await daemon.kill('SIGKILL');
      daemon = scene.daemon();
      seconds.push(await secondsOf(() => daemon.tookLanes()));
    }
    await expectNothingLost(scene, kills, 'kill -9', seconds);
    await expectTidyConnections(scene);
    expect(Math.max(...seconds)).toBeLessThan(30);
  });

  test('when it is killed in the middle of a large window, where it goes on from its last page', async ({
    onTestFinished,
  }) => {
    const database = await ownDatabase(onTestFinished);
    // half of the attempts at most are for one tenant: 1,600 a second
    const receiver = await startCounter({ answerAfterMs: 10 });
    onTestFinished(() => receiver.close());
    await createWebhook(database, { tenant_id: 'acme', url: receiver.url, max_in_flight: maxInFlight });
    const events = 9_000;
    await database.query(
      `select count(rowhook.emit('a.b', to_json(n), 'acme')) from generate_series(1, ${events}) as n`,
    );
    const env = { ROWHOOK_MAX_IN_FLIGHT: String(maxInFlight) };
    const first = startDaemonProcess(database.daemonUrl, env);
    // the position is written every 2 s under load
    await waitUntil('it has written a position inside of the window', async () => {
      const inside = await database.query('select from rowhook.webhook_lagging_tenants where done_id > 1000');
      return inside.length > 0;
    });
    await first.kill('SIGKILL');
    const before = receiver.requests;
    expect(before).toBeLessThan(events);
    const second = startDaemonProcess(database.daemonUrl, env);
    onTestFinished(() => second.kill('SIGKILL'));
    await waitUntil('everything has arrived', () => receiver.received.size === events, { timeoutMs: 240_000 });
    await caughtUp(database);
    const twice = receiver.requests - events;
    // a machine that stands still for longer than a lease ends sessions too
    const lost = [first, second].flatMap((daemon) => daemon.stdout().match(/"the session ended/g) ?? []).length;
    console.log(
      `kill -9 after ${before} of ${events} events of one statement: ${twice} came twice, ${lost} sessions were lost besides`,
    );
    expect(twice).toBeLessThanOrEqual(maxInFlight * (1 + lost));
  });

  test('when PostgreSQL is restarted, fast and immediately', async ({ onTestFinished }) => {
    const server = await startServer();
    onTestFinished(() => server.stop());
    const scene = await startScene(server.database, onTestFinished);
    const daemon = scene.daemon();
    await daemon.tookLanes();
    const seconds: number[] = [];
    const modes = ['fast', 'immediate'] as const;
    for (const mode of modes) {
      await moreRequests(scene);
      await server.embedded.stop(mode);
      await server.embedded.start();
      seconds.push(await moreRequests(scene));
    }
    await expectNothingLost(scene, modes.length, 'restarts of PostgreSQL', seconds);
    await expectTidyConnections(scene);
    expect(daemon.process.exitCode).toBeNull();
    // the figure is in the log line; here only what no busy machine explains
    expect(Math.max(...seconds)).toBeLessThan(20);
  });

  test('when each of its connections is terminated', async ({ onTestFinished }) => {
    const scene = await startScene(await ownDatabase(onTestFinished), onTestFinished);
    const daemon = scene.daemon();
    await daemon.tookLanes();
    const names = ['rowhook reader', 'rowhook', 'rowhook listen'];
    for (const name of names) {
      await moreRequests(scene);
      const ended = await scene.database.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1',
        [name],
      );
      expect(ended.length, name).toBeGreaterThan(0);
      await moreRequests(scene);
      await waitUntil(`${name} is there again`, async () => {
        const there = await scene.database.query(
          'select from pg_stat_activity where datname = current_database() and application_name = $1',
          [name],
        );
        return there.length > 0;
      });
    }
    await expectNothingLost(scene, names.length, 'pg_terminate_backend');
    await expectTidyConnections(scene);
    expect(daemon.process.exitCode).toBeNull();
  });

  test('when the network falls silent without closing a connection', async ({ onTestFinished }) => {
    const database = await ownDatabase(onTestFinished);
    const scene = await startScene(database, onTestFinished);
    const url = new URL(database.daemonUrl);
    const proxy = await startProxy({ host: url.hostname, port: Number(url.port) });
    onTestFinished(() => proxy.close());
    url.port = String(proxy.port);
    const daemon = scene.daemon({ DATABASE_URL: url.href });
    await moreRequests(scene);
    proxy.fallSilent();
    const beforeSilence = scene.receiver.requests;
    const seconds = await secondsOf(() =>
      waitUntil('it delivers again', () => scene.receiver.requests > beforeSilence + maxInFlight + 100, {
        timeoutMs: 60_000,
      }),
    ).catch((error) => {
      throw new Error(`${error.message}\n${daemon.stdout().slice(-4_000)}`);
    });
    await expectNothingLost(scene, 1, 'a silent network', [seconds]);
    expect(daemon.process.exitCode).toBeNull();
    // kernels give up after 15 minutes
    expect(seconds).toBeLessThan(60);
  });
});
