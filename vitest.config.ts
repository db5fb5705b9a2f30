import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/*.test.ts'],
    globalSetup: ['test/support/global.ts'],
    // A process per file: a daemon under test may be killed, and signals belong to processes.
    pool: 'forks',
    // more than there are processors, since much of it waits: 370 s on 2 of them instead of 480. CI's are often taken by neighbours
    maxWorkers: process.env.CI ? 2 : 3,
    // what takes a second may take twenty while neighbours have the processors
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
});
