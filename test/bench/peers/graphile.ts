// graphile-worker with what its documentation says about performance: a local queue, completions in batches, a pool with a
// connection for each job that runs.

import { Logger, run } from 'graphile-worker';
import { answer } from '../child.ts';
import { LOG, poster, type Target } from './post.ts';

const JOBS_AT_A_TIME = 24;

async function start(target: Target): Promise<void> {
  const post = poster(target);
  await run({
    connectionString: target.url,
    noHandleSignals: true,
    // A line for each job would be measured too.
    logger: new Logger(() => () => {}),
    taskList: {
      deliver: async (payload, { query }) => {
        const { endpoint, row } = payload as { endpoint: string; row: string };
        const values = await post(endpoint, row);
        await query(LOG.text, values);
      },
    },
    preset: {
      worker: {
        concurrentJobs: JOBS_AT_A_TIME,
        maxPoolSize: JOBS_AT_A_TIME + 2,
        localQueue: { size: JOBS_AT_A_TIME + 1 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
}

answer({ start });
