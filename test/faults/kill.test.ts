// kill -9 of the daemon, at random points: while it starts, takes lanes, reads, sends, records.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Scene } from '../support/account.ts';
import { createDatabase } from '../support/database.ts';
import { random } from '../support/random.ts';

const kills = Number(process.env.ROWHOOK_TEST_KILLS || 200);
/** Every fifth one dies while it starts. */
const startMs = 600;
const workMs = 800;

test(`${kills} times kill -9 of the daemon`, { timeout: 1_200_000 }, async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const scene = await Scene.start(database, { pauseMs: 20 });
  onTestFinished(() => scene.close());
  const chance = random(Number(process.env.ROWHOOK_TEST_SEED || 1));
  let crashes = 0;
  for (let kill = 0; kill < kills; kill++) {
    const daemon = scene.daemon();
    if (kill % 5 > 0) {
      await daemon.tookLanes();
      crashes += 1;
      await sleep(chance() * workMs);
    } else await sleep(chance() * startMs);
    await daemon.kill('SIGKILL');
    // its lease would end 6 s later: it is dead for sure, and 200 of these would take half an hour
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() - interval '1 s'");
  }
  scene.daemon();
  await scene.healed();
  const { rows } = await scene.settle(`kill -9, ${kills} times`, { crashes });
  expect(rows).toBeGreaterThan(kills);
});
