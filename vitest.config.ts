// Two projects. unit: no database, no daemon, seconds (npm run test:unit). database: everything else.
// npm test runs both.

import { defineConfig } from 'vitest/config';

const unit = ['test/**/*.unit.test.ts'];

export default defineConfig({
  test: {
    // A process per file: a daemon under test may be killed, and signals belong to processes.
    pool: 'forks',
    // More than there are processors, because tests mostly wait: 370 s on 2 processors instead of
    // 480. CI's processors are often taken by neighbours.
    maxWorkers: process.env.CI ? 2 : 3,
    // A test of one second may take twenty while neighbours have the processors.
    testTimeout: 300_000,
    hookTimeout: 120_000,
    projects: [
      { extends: true, test: { name: 'unit', include: unit } },
      {
        extends: true,
        test: {
          name: 'database',
          include: ['test/**/*.test.ts'],
          exclude: [...unit, 'test/{bench,faults,containers,pictures}/**'],
          globalSetup: ['test/support/global.ts'],
        },
      },
    ],
  },
});
