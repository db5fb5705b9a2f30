// Inbound events under faults: the process is killed, PostgreSQL is restarted, workers die.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect, test } from 'vitest';
import { createKey } from '../support/api.ts';
import { startRowhook } from '../support/cli.ts';
import { createDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

const kills = Number(process.env.ROWHOOK_TEST_INBOUND_KILLS || 50);
const events = Number(process.env.ROWHOOK_TEST_INBOUND_EVENTS || 20_000);
const SENDERS = 8;

const isUp = (url: string) =>
  fetch(`${url}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  );

test(`${kills} times kill -9 or a restart of PostgreSQL: every answered 2xx is a row, and no key has two`, {
  timeout: 1_800_000,
}, async ({ onTestFinished }) => {
  const server = await startServer({ fsync: 'on' });
  onTestFinished(() => server.stop());
  const { database, embedded } = server;
  const key = await createKey(database, 'acme', ['inbound']);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    DATABASE_URL: database.apiUrl,
    ROWHOOK_API_PORT: String(port),
    ROWHOOK_API_METRICS_PORT: '0',
    ROWHOOK_INBOUND_RATE_LIMIT: '10000000',
    ROWHOOK_LOG_LEVEL: 'silent',
  };
  let serve = startRowhook(['serve'], { env });
  onTestFinished(() => void serve.process.kill('SIGKILL'));
  const answered = new Map<string, string>();
  let isOver = false;
  const send = async (sender: number) => {
    for (let n = 0; !isOver; n++) {
      const id = `${sender}-${n}`;
      // again until it is answered, as senders do
      while (!isOver && !answered.has(id)) {
        const headers = { 'content-type': 'application/json', 'x-api-key': key, 'webhook-id': id };
        const answer = await fetch(`${url}/api/webhooks/a`, { method: 'POST', headers, body: `{"id":"${id}"}` }).catch(
          () => undefined,
        );
        if (answer?.ok) answered.set(id, ((await answer.json().catch(() => ({}))) as { id?: string }).id ?? '');
        else await sleep(20);
      }
    }
  };
  const senders = Array.from({ length: SENDERS }, (_, sender) => send(sender));
  for (let kill = 0; kill < kills; kill++) {
    await waitUntil('it answers', () => isUp(url));
    const before = answered.size;
    await waitUntil('events are stored', () => answered.size > before + 20);
    if (kill % 2 === 0) {
      serve.process.kill('SIGKILL');
      await serve.ended;
      serve = startRowhook(['serve'], { env });
    } else {
      await embedded.stop(kill % 4 === 1 ? 'fast' : 'immediate');
      await embedded.start();
    }
  }
  await waitUntil('it answers', () => isUp(url));
  isOver = true;
  await Promise.all(senders);
  const rows = await database.query<{ id: string; key: string }>(
    'select id, idempotency_key as key from rowhook.integration_events',
  );
  const byKey = new Map(rows.map((row) => [row.key, row.id]));
  expect(byKey.size).toBe(rows.length);
  const lost = [...answered].filter(([id, row]) => !byKey.has(id) || (row !== '' && byKey.get(id) !== row));
  expect(lost).toEqual([]);
  expect(answered.size).toBeGreaterThan(kills * 20);
});

test(`20 workers claim ${events} events while some are killed: none is lost, none is held by two`, {
  timeout: 1_800_000,
}, async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  await database.query(
    `select count(r.id)
       from generate_series(1, ${events}) as n
      cross join lateral rowhook._receive_for('t' || n % 50, 'a', to_json(n), '{}', '{}', '\\x', null, 0) as r`,
  );
  await database.query('create table effects (id uuid, attempts int, primary key (id, attempts))');
  let done = 0;
  const work = async (worker: number) => {
    while (done < events) {
      const client = new pg.Client(database.url);
      client.on('error', () => {});
      await client.connect();
      try {
        for (let n = 0; done < events; n++) {
          const { rows } = await client.query<{ id: string; attempts: number }>(
            "select id, attempts from rowhook.claim_integration_events(max_count => 50, lease => '2 s')",
          );
          if (rows.length === 0) await sleep(50);
          // Every fifth worker dies with what it has claimed.
          if (worker % 5 === 0 && n % 7 === 3) break;
          for (const { id, attempts } of rows) {
            await client.query('begin');
            const ended = await client
              .query('select rowhook.complete_integration_event($1, $2)', [id, attempts])
              .then(() => client.query('insert into effects values ($1, $2)', [id, attempts]))
              .then(
                () => true,
                () => false,
              );
            await client.query(ended ? 'commit' : 'rollback');
            if (ended) done += 1;
          }
        }
      } finally {
        await client.end();
      }
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, worker) => work(worker)));
  const [counts] = await database.query(
    `select (select count(*)::int from rowhook.integration_events where status = 'processed') as processed,
            (select count(*)::int from effects) as effects,
            (select count(distinct id)::int from effects) as events`,
  );
  expect(counts).toEqual({ processed: events, effects: events, events });
});
