// Too little of everything: file descriptors, memory, disk.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Scene } from '../support/account.ts';
import { startCounter } from '../support/counter.ts';
import { caughtUp, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase } from '../support/database.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const canLimit = await run('prlimit', ['--version']).then(
  () => true,
  () => false,
);
const canMount = isRoot && process.platform === 'linux';
if (!canLimit) console.log('Skipped: prlimit (util-linux) is not installed.');
if (!canMount) console.log('Skipped: a small disk of its own for PostgreSQL needs root, on Linux.');

describe('too few', () => {
  test.runIf(canLimit)('file descriptors: 64, for 200 endpoints', async ({ onTestFinished }) => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const scene = await Scene.start(database);
    onTestFinished(() => scene.close());
    // as many sockets as it may have requests
    const crowd = await startCounter({ answerAfterMs: 500 });
    onTestFinished(() => crowd.close());
    const endpoints = 200;
    for (let n = 0; n < endpoints; n++) {
      await createWebhook(database, {
        tenant_id: 'crowd',
        url: crowd.url,
        retry_strategy: 'linear',
        retry_delay_seconds: 1,
        retry_attempts: 20,
      });
    }
    const daemon = scene.daemon({ ROWHOOK_MAX_IN_FLIGHT: '256' });
    await scene.newRows();
    await run('prlimit', ['--pid', String(daemon.pid), '--nofile=64:1024']);
    const events = 10;
    for (let n = 0; n < events; n++) {
      await database.query("select rowhook.emit('a.b', '{}', 'crowd')");
      await sleep(500);
    }
    await run('prlimit', ['--pid', String(daemon.pid), '--nofile=1024:1024']);
    await scene.healed();
    const startedAt = performance.now();
    await waitUntil('the crowd has all', () => crowd.requests >= endpoints * events, { timeoutMs: 90_000 });
    console.log(`the crowd has all ${((performance.now() - startedAt) / 1_000).toFixed(1)} s later`);
    await scene.settle('ulimit -n 64', { crashes: 8 });
    const failed = await database.query<{ code: string; error: string; count: number }>(
      `select code, substring(error from '\\(.*\\)') as error, count(*)::int from rowhook.webhook_logs where status = 'failed' group by 1, 2 order by 3 desc`,
    );
    console.log(`failed attempts: ${JSON.stringify(failed)}`);
    const blamed = await database.query(
      "select error from rowhook.webhook_logs where status = 'failed' and error not like '%rowhook itself has no socket left%' limit 1",
    );
    expect(blamed).toEqual([]);
    expect(daemon.process.exitCode).toBeNull();
  });
});

describe('too little', () => {
  test('memory: a heap of 64 MB, and 300 MB of events', async ({ onTestFinished }) => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const receiver = await startCounter();
    onTestFinished(() => receiver.close());
    await createWebhook(database, { tenant_id: 'acme', url: receiver.url, max_in_flight: 100 });
    // at once: 300 of 1 MB, 5,000 small ones, and 2,000 of 10 kB
    await database.query(
      "select rowhook.emit('a.b', to_json(repeat('x', 1000000)), 'acme') from generate_series(1, 300)",
    );
    await database.query("select rowhook.emit('a.b', '{}', 'acme') from generate_series(1, 5000)");
    await database.query(
      "select rowhook.emit('a.b', to_json(repeat('é', 5000)), 'acme') from generate_series(1, 2000)",
    );
    const daemon = startDaemonProcess(database.daemonUrl, { NODE_OPTIONS: '--max-old-space-size=64' });
    onTestFinished(() => daemon.kill('SIGKILL'));
    await waitUntil(
      'all has arrived',
      async () => {
        if (daemon.process.exitCode !== null || daemon.process.signalCode !== null)
          throw new Error(`The daemon died: ${(await daemon.ended).stderr.slice(0, 2_000)}`);
        return receiver.received.size === 7_300;
      },
      { timeoutMs: 240_000 },
    );
    await caughtUp(database);
    const { mostKb } = await daemon.memory();
    console.log(
      `64 MB of heap: 7,300 events received, ${receiver.requests - 7_300} again, at most ${Math.round(mostKb / 1024)} MB resident`,
    );
    expect(receiver.requests).toBe(7_300);
  });

  test.runIf(canMount)('disk: PGDATA is full for a while', async ({ onTestFinished }) => {
    const home = await mkdtemp(join(tmpdir(), 'rowhook-disk-'));
    onTestFinished(() => rm(home, { recursive: true, force: true }));
    const disk = join(home, 'disk');
    await mkdir(disk);
    await run('chmod', ['755', home]);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'rowhook', disk]);
    onTestFinished(async () => void (await run('umount', ['-l', disk])));
    const server = await startServer({ max_wal_size: '100MB', wal_recycle: 'off' }, { dataDir: join(disk, 'data') });
    onTestFinished(() => server.stop());
    const scene = await Scene.start(server.database);
    onTestFinished(() => scene.close());
    const daemon = scene.daemon();
    await scene.newRows();

    const filler = join(disk, 'filler');
    await fill(filler);
    // writers are refused now, or the server has died of it
    const before = scene.load.acknowledged.length;
    await sleep(15_000);
    const meanwhile = scene.load.acknowledged.length - before;
    const again = scene.receiver.requests - scene.arrived.size;
    await rm(filler);
    await server.embedded.start();
    await scene.healed();
    console.log(`a full disk for 15 s: ${meanwhile} writes acknowledged meanwhile, ${again} sent again until then`);
    await scene.settle('PGDATA full for 15 s', { crashes: 2 });
    expect(daemon.process.exitCode).toBeNull();
  });
});

async function fill(path: string): Promise<void> {
  const file = await open(path, 'w');
  const block = randomBytes(64 * 1024);
  try {
    for (let size = block.length; size >= 1; size = Math.floor(size / 4)) {
      // until not even a byte is left
      for (;;) {
        const written = await file.write(block, 0, size).then(
          ({ bytesWritten }) => bytesWritten,
          () => 0,
        );
        if (written < size) break;
      }
    }
  } finally {
    await file.close().catch(() => {});
  }
}
