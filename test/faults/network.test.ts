// The network between daemon and database, and between daemon and receivers: cut one way and both, slow, in crumbs.

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, type TestContext, test } from 'vitest';
import { Scene, type SceneOptions } from '../support/account.ts';
import { createDatabase } from '../support/database.ts';
import { type Direction, startProxy, type Proxy as TcpProxy } from '../support/proxy.ts';

type Finished = TestContext['onTestFinished'];

const ways: [string, Direction[]][] = [
  ['from the daemon', ['out']],
  ['to the daemon', ['in']],
  ['both ways', ['out', 'in']],
];

/** What passes byte by byte costs this process a system call for each. */
const gently = { pauseMs: 200 };

async function sceneBehindProxy(onTestFinished: Finished, load: Pick<SceneOptions, 'pauseMs'> = {}) {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const url = new URL(database.daemonUrl);
  const proxy = await startProxy({ host: url.hostname, port: Number(url.port) });
  onTestFinished(() => proxy.close());
  url.port = String(proxy.port);
  const scene = await Scene.start(database, load);
  onTestFinished(() => scene.close());
  const daemon = scene.daemon({ DATABASE_URL: url.href });
  await scene.newRows();
  return { scene, proxy, daemon };
}

async function receiverBehindProxy(onTestFinished: Finished, load: Pick<SceneOptions, 'pauseMs'> = {}) {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  let proxy: TcpProxy | undefined;
  const scene = await Scene.start(database, {
    ...load,
    webhook: { timeout_ms: 1_000 },
    via: async (url) => {
      proxy = await startProxy({ host: '127.0.0.1', port: Number(new URL(url).port) });
      return `http://127.0.0.1:${proxy.port}/`;
    },
  });
  onTestFinished(() => scene.close());
  onTestFinished(() => proxy?.close());
  const daemon = scene.daemon();
  await scene.newRows();
  return { scene, proxy: proxy as TcpProxy, daemon };
}

describe.concurrent('between daemon and database the network', () => {
  for (const [name, directions] of ways) {
    test(`is cut ${name}, for 3 and for 15 s`, async ({ onTestFinished }) => {
      const { scene, proxy, daemon } = await sceneBehindProxy(onTestFinished);
      for (const cutMs of [3_000, 15_000]) {
        proxy.cut(...directions);
        await sleep(cutMs);
        proxy.heal();
        await scene.healed();
      }
      await scene.settle(`database cut off ${name} for 3 and 15 s`, { crashes: 2 });
      expect(daemon.process.exitCode).toBeNull();
    });
  }

  test('breaks every connection, again and again', async ({ onTestFinished }) => {
    const { scene, proxy, daemon } = await sceneBehindProxy(onTestFinished);
    for (let turn = 0; turn < 5; turn++) {
      proxy.reset();
      await scene.healed();
    }
    await scene.settle('connections to the database reset, 5 times', { crashes: 5 });
    expect(daemon.process.exitCode).toBeNull();
  });

  for (const [name, pace] of [
    ['comes 50 ms late each way', { latencyMs: 50 }],
    ['passes a byte at a time', { sliceBytes: 1 }],
  ] as const) {
    test(name, async ({ onTestFinished }) => {
      const { scene, proxy, daemon } = await sceneBehindProxy(onTestFinished, gently);
      proxy.slow(pace);
      await scene.newRows(300);
      proxy.heal();
      await scene.healed();
      await scene.settle(`the database's network ${name}`, { crashes: 0 });
      expect(daemon.stdout()).not.toContain('the session ended');
    });
  }
});

describe.concurrent('between daemon and receiver the network', () => {
  for (const [name, directions] of ways) {
    test(`is cut ${name}, for 5 s`, async ({ onTestFinished }) => {
      const { scene, proxy } = await receiverBehindProxy(onTestFinished);
      proxy.cut(...directions);
      await sleep(5_000);
      proxy.heal();
      // its breaker has opened: 30 s, unless somebody touches the webhook
      await scene.healed();
      await scene.settle(`receiver cut off ${name} for 5 s`, { crashes: 0 });
    });
  }

  test('breaks every connection, again and again', async ({ onTestFinished }) => {
    const { scene, proxy } = await receiverBehindProxy(onTestFinished);
    for (let turn = 0; turn < 3; turn++) {
      proxy.reset();
      await scene.healed();
    }
    await scene.settle('connections to the receiver reset, 3 times', { crashes: 0, breaks: 3 });
  });

  test('passes a byte at a time', async ({ onTestFinished }) => {
    const { scene, proxy } = await receiverBehindProxy(onTestFinished, gently);
    proxy.slow({ sliceBytes: 1 });
    await scene.newRows(100);
    proxy.heal();
    await scene.healed();
    await scene.settle("the receiver's network passes a byte at a time", { crashes: 0 });
  });
});
