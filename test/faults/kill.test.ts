// kill -9 of the daemon, at random points: while it starts, takes lanes, reads, sends, records.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Scene } from '../support/account.ts';
import { createDatabase } from '../support/database.ts';
import { random } from '../support/random.ts';

const kills = Number(process.env.ROWHOOK_TEST_KILLS || 200);
/** Every fifth one dies while it starts. */
const startMs = 600;
const workMs = 800;

test(`${kills} times kill -9 of the daemon`, { timeout: 3_600_000 }, async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const scene = await Scene.start(database, { pauseMs: 20 });
  onTestFinished(() => scene.close());
  // a third of the processor's time that a start takes
  const cache = await mkdtemp(join(tmpdir(), 'rowhook-cache-'));
  onTestFinished(() => rm(cache, { recursive: true, force: true }));
  const env = { NODE_COMPILE_CACHE: cache };
  const chance = random(Number(process.env.ROWHOOK_TEST_SEED || 1));
  let crashes = 0;
  for (let kill = 0; kill < kills; kill++) {
    const daemon = scene.daemon(env);
    if (kill % 5 > 0) {
      await daemon.tookLanes();
      crashes += 1;
      await sleep(chance() * workMs);
    } else await sleep(chance() * startMs);
    await daemon.kill('SIGKILL');
    // its lease would end 6 s later: it is dead for sure, and 200 of these would take half an hour
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() - interval '1 s'");
  }
  scene.daemon(env);
  await scene.healed();
  const { rows } = await scene.settle(`kill -9, ${kills} times`, { crashes });
  expect(rows).toBeGreaterThan(kills);
});
