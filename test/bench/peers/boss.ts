// pg-boss with what its documentation says about throughput: large batches, fetched without a pause while they are full, by several
// workers, and notifications instead of a poll.

import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { answer } from '../child.ts';
import { columnsOf, LOGS, poster, type Target } from './post.ts';

const QUEUE = 'deliver';
const INSERT_ROWS = 1_000;

interface Job {
  endpoint: string;
  row: string;
}

let boss: PgBoss;

async function open({ url }: { url: string }): Promise<void> {
  boss = new PgBoss({ connectionString: url, useListenNotify: true, max: 10 });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
}

/** Jobs for these rows. */
async function insert({ rows, endpoint }: { rows: number; endpoint: string }): Promise<void> {
  for (let first = 0; first < rows; first += INSERT_ROWS)
    await boss.insert(
      QUEUE,
      Array.from({ length: Math.min(INSERT_ROWS, rows - first) }, (_, n) => ({
        data: { endpoint, row: rowOf(`Deal ${first + n}`) },
      })),
    );
}

/** What row_to_json makes of a deal of the drain. */
const rowOf = (title: string) =>
  JSON.stringify({
    id: '00000000-0000-4000-8000-000000000001',
    organization_id: '00000000-0000-4000-8000-000000000001',
    title: title.padEnd(20, 'x'),
    stage: 'new',
    value: 1,
    currency: 'EUR',
    contact_id: null,
    owner_id: null,
    expected_close: '2030-01-01',
    created_at: '2030-01-01T00:00:00.000000+00:00',
    updated_at: '2030-01-01T00:00:00.000000+00:00',
  });

async function work(target: Target): Promise<void> {
  const post = poster(target);
  const logs = new pg.Pool({ connectionString: target.url, max: 4 });
  const options = { batchSize: 250, localConcurrency: 4, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
  await boss.work<Job>(QUEUE, options, async (jobs) => {
    const rows = await Promise.all(jobs.map(({ data }) => post(data.endpoint, data.row)));
    await logs.query({ ...LOGS, values: columnsOf(rows) });
  });
}

answer({ open, insert, work });
