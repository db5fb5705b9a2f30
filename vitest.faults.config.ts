// What takes long: the fault matrix, and a short run of every measurement. npm run test:faults

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/faults/*.test.ts', 'test/bench/*.test.ts'],
    globalSetup: ['test/support/global.ts'],
    pool: 'forks',
    // they wait for timeouts rather than for the processor, and measure how long healing takes
    maxWorkers: 1,
    maxConcurrency: 3,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
});
