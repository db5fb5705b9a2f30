// The smallest dispatcher that can be written by hand: a notification that has the row, one POST, one row of a log. It loses what
// is notified while it is away, it bounds nothing and retries nothing.

import pg from 'pg';
import { answer } from '../child.ts';
import { LOG, poster, type Target } from './post.ts';

async function start(target: Target): Promise<void> {
  const listener = new pg.Client(target.url);
  const logs = new pg.Pool({ connectionString: target.url, max: 4 });
  await listener.connect();
  const post = poster(target);
  listener.on('notification', async ({ payload = '' }) => {
    for (const endpoint of Object.keys(target.origins))
      post(endpoint, payload).then((values) => logs.query({ ...LOG, values }));
  });
  await listener.query('listen peer_smallest');
}

answer({ start });
