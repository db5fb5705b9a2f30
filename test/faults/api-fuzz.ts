// npm run fuzz:api -- --requests 10000 --seed 1
//
// Random requests for every route of `rowhook serve`, from its schemas and from none. Exit codes: 0 each was answered, none with
// 500, and memory stayed flat; 1 it was otherwise; 2 wrong usage.

import { parseArgs } from 'node:util';
import { startTestApi } from '../support/api.ts';
import { fuzz } from '../support/api-fuzz-run.ts';
import { startServer } from '../support/server.ts';

/** What the heap may have grown from the first third of the requests to the end. */
const GROWTH_MB_MAX = 40;

const { count, seed } = readArguments();
console.log(`fuzz:api: ${count} requests, seed ${seed}`);
const server = await startServer();
const api = await startTestApi(server.database);
const heap: number[] = [];
try {
  const begun = performance.now();
  const { statuses, failures, succeeded } = await fuzz(api, server.database, {
    ...{ count, seed, atOnce: 16 },
    each: (n) => {
      if (n % Math.ceil(count / 30) === 0) heap.push(heapMb());
    },
  });
  heap.push(heapMb());
  const seconds = (performance.now() - begun) / 1_000;
  console.log(`${count} requests in ${seconds.toFixed(0)} s; ${succeeded.size} paths answered 2xx`);
  console.log(`by status: ${JSON.stringify(statuses)}`);
  console.log(`heap in MB: ${heap.map((mb) => mb.toFixed(0)).join(' ')}`);
  for (const failure of failures.slice(0, 50)) console.log(`FAILED ${failure}`);
  const growth = (heap.at(-1) as number) - (heap[Math.floor(heap.length / 3)] as number);
  console.log(`${failures.length} failures; the heap grew by ${growth.toFixed(0)} MB`);
  process.exitCode = failures.length > 0 || growth > GROWTH_MB_MAX ? 1 : 0;
} finally {
  await api.stop();
  await server.stop();
}

function heapMb(): number {
  global.gc?.();
  return process.memoryUsage().heapUsed / 1_048_576;
}

function readArguments(): { count: number; seed: number } {
  try {
    const { values } = parseArgs({
      options: { requests: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' } },
    });
    return { count: Number(values.requests), seed: Number(values.seed) };
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
}
