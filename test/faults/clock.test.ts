// Clocks that are wrong, and that jump under load: the daemon's, which must not count, and the database's, which does.

import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, type TestContext, test } from 'vitest';
import { Scene } from '../support/account.ts';
import { createDatabase } from '../support/database.ts';
import { startServer } from '../support/server.ts';

/** Debian's package "faketime" (libfaketime): a clock that is off by what a file says. */
const library = (await readdir('/usr/lib', { withFileTypes: true }).catch(() => []))
  .map(({ name }) => `/usr/lib/${name}/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path));
if (!library) console.log('Skipped: libfaketime is not installed (Debian: apt-get install faketime).');

const offsets = ['+1h', '-1h', '-10y'] as const;
const right = '+0';

/** A clock that is right at first. */
async function startClock(onTestFinished: TestContext['onTestFinished']) {
  const home = await mkdtemp(join(tmpdir(), 'rowhook-clock-'));
  onTestFinished(() => rm(home, { recursive: true }));
  // the server runs as another user
  await chmod(home, 0o755);
  const file = join(home, 'offset');
  const set = (offset: string) => writeFile(file, `${offset}\n`, { mode: 0o644 });
  await set(right);
  const env = {
    LD_PRELOAD: library as string,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    // clocks that count from the start of the machine do not jump
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
  return { set, env };
}

describe.runIf(library)('the clock', () => {
  for (const offset of offsets) {
    test(`of the daemon is off by ${offset}, and jumps back`, async ({ onTestFinished }) => {
      const database = await createDatabase();
      onTestFinished(() => database.drop());
      const clock = await startClock(onTestFinished);
      const scene = await Scene.start(database);
      onTestFinished(() => scene.close());
      await clock.set(offset);
      const daemon = scene.daemon(clock.env);
      await scene.healed();
      expect(Math.abs(Date.parse(/"time":"([^"]+)"/.exec(daemon.stdout())?.[1] ?? '') - Date.now())).toBeGreaterThan(
        3_000_000,
      );
      await clock.set(right);
      await scene.healed();
      await clock.set(offset);
      await scene.healed();
      await scene.settle(`the daemon's clock off by ${offset}`, { crashes: 0 });
      expect(daemon.stdout()).not.toContain('the session ended');
      // receivers refuse what is older than five minutes: what is sent tells the database's time
      const [log] = await database.query<{ off: number }>(
        `select max(abs(extract(epoch from attempted_at) - (request_headers ->> 'webhook-timestamp')::float8)) as off
           from rowhook.webhook_logs where request_headers ->> 'webhook-timestamp' is not null`,
      );
      expect(log?.off).toBeLessThan(60);
    });

    test(`of the database jumps by ${offset}, and back`, async ({ onTestFinished }) => {
      const clock = await startClock(onTestFinished);
      Object.assign(process.env, clock.env);
      const server = await startServer({}, { ownCluster: true }).finally(() => {
        for (const name of Object.keys(clock.env)) delete process.env[name];
      });
      onTestFinished(() => server.stop());
      const scene = await Scene.start(server.database);
      onTestFinished(() => scene.close());
      const daemon = scene.daemon();
      await scene.newRows();
      const time = async () => (await server.database.query<{ now: Date }>('select now()'))[0]?.now as Date;
      const before = await time();
      await clock.set(offset);
      const jumped = await time();
      expect(Math.abs(jumped.getTime() - before.getTime())).toBeGreaterThan(3_000_000);
      await scene.healed();
      await scene.newRows(300);
      await clock.set(right);
      await scene.healed();
      await scene.settle(`the database's clock jumps by ${offset} and back`, { crashes: 4 });
      expect(daemon.process.exitCode).toBeNull();
    });
  }
});
