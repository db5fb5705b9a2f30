// kill -9 of daemons while tenants lag: one of two, or both at once; while they start, take lanes, hand them over, read and record.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Behind } from '../support/behind.ts';
import { createDatabase } from '../support/database.ts';
import { random } from '../support/random.ts';

const kills = Number(process.env.ROWHOOK_TEST_KILLS || 100);
/** Every fifth one dies while it starts. */
const startMs = 600;
const workMs = 1_200;

test(`${kills} times kill -9 while tenants lag`, { timeout: 3_600_000 }, async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const behind = await Behind.start(database, onTestFinished);
  const cache = await mkdtemp(join(tmpdir(), 'rowhook-cache-'));
  onTestFinished(() => rm(cache, { recursive: true, force: true }));
  const env = { NODE_COMPILE_CACHE: cache };
  const chance = random(Number(process.env.ROWHOOK_TEST_SEED || 1));
  let [one, other] = [behind.daemon(env), behind.daemon(env)];
  await Promise.race([one.tookLanes(), other.tookLanes()]);
  let lagged = 0;
  for (let kill = 0; kill < kills; ) {
    // one that has no lanes yet has nothing that a kill could lose
    if (chance() < 0.8) await one.tookLanes();
    const lag = await behind.keepThemLagging();
    await sleep(chance() * workMs);
    await behind.changeSome();
    const both = chance() < 0.2 && kill + 1 < kills;
    await Promise.all([behind.kill(one), both && behind.kill(other)]);
    kill += both ? 2 : 1;
    if (lag) lagged += both ? 2 : 1;
    if (chance() < 0.2) {
      const early = behind.daemon(env);
      await sleep(chance() * startMs);
      await behind.kill(early);
    }
    [one, other] = [both ? behind.daemon(env) : other, behind.daemon(env)];
  }
  await behind.settle(`kill -9 of two daemons, ${kills} times, ${lagged} of them while tenants lagged`);
  expect(lagged).toBeGreaterThan(kills / 2);
  expect(behind.crashes).toBeGreaterThan(kills / 2);
});
