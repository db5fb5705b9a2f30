// Two projects. unit: no database, no daemon, seconds (npm run test:unit). database: everything else.
// npm test runs both.

import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const unit = ['test/**/*.unit.test.ts'];

/**
 * Without the times of an earlier run, large files start first. These are small, and take long:
 * they would start last, and the processors would wait for them.
 */
const LONG = [
  'daemon/lagging',
  'inbound/crash',
  'docs/pages',
  'deploy/package',
  'dispatch/neighbours',
  'daemon/notify-queue',
  'api/lifecycle',
].map((name) => `/test/${name}.test.ts`);

class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => LONG.some((end) => moduleId.endsWith(end));
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

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
    sequence: { sequencer: LongFilesFirst },
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
