import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/*.test.ts'],
    globalSetup: ['test/support/global.ts'],
    // A process per file: a daemon under test may be killed, and signals belong to processes.
    pool: 'forks',
    // many wait for leases and timeouts rather than for the processor
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
