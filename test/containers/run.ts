// Runs the whole test suite on each Docker image of ROWHOOK_TEST_IMAGES, one after the other:
//
//   ROWHOOK_TEST_IMAGES=postgres:15,postgres:16,postgres:17,postgres:18 npm run test:containers
//   npm run test:containers -- test/read/windows.test.ts        only some of it; arguments go to vitest
//
// Where testcontainers' own image, which cleans up after us, cannot be pulled: TESTCONTAINERS_RYUK_DISABLED=true.
// Tests that stop and restart a server run on the embedded one all the same: a container is not theirs to kill.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { GenericContainer, Wait } from 'testcontainers';

const images = (process.env.ROWHOOK_TEST_IMAGES ?? '')
  .split(',')
  .map((image) => image.trim())
  .filter(Boolean);

/** Pulling is not part of it. */
const startMs = 120_000;
const password = 'rowhook';

/** As those of the embedded server in test/support/global.ts. */
const settings = { fsync: 'off', max_connections: '300', max_prepared_transactions: '20' };

if (images.length === 0) {
  console.error(
    'ROWHOOK_TEST_IMAGES is not set: name PostgreSQL images, separated by commas, such as postgres:15,postgres:18',
  );
  process.exit(2);
}

const failed: string[] = [];
for (const image of images) {
  console.log(`\n${image}`);
  if (!(await passes(image))) failed.push(image);
}
console.log(failed.length === 0 ? `\nPassed on ${images.join(', ')}.` : `\nFailed on ${failed.join(', ')}.`);
process.exitCode = failed.length === 0 ? 0 : 1;

async function passes(image: string): Promise<boolean> {
  const container = await new GenericContainer(image)
    .withEnvironment({ POSTGRES_PASSWORD: password })
    .withCommand(['postgres', ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])])
    .withExposedPorts(5432)
    // the image starts a server to make the database with, and then the one that stays
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
    .withStartupTimeout(startMs)
    .start();
  try {
    const url = `postgres://postgres:${password}@${container.getHost()}:${container.getMappedPort(5432)}/postgres`;
    return await vitestPasses(url);
  } finally {
    await container.stop();
  }
}

async function vitestPasses(databaseUrl: string): Promise<boolean> {
  const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], {
    env: { ...process.env, ROWHOOK_TEST_DATABASE_URL: databaseUrl },
    stdio: 'inherit',
  });
  const [code] = await once(child, 'exit');
  return code === 0;
}
