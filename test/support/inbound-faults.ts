// Inbound events under faults: the process is killed, PostgreSQL is restarted, workers die.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createKey } from './api.ts';
import { type RunningCli, startRowhook } from './cli.ts';
import type { TestDatabase } from './database.ts';
import { receiveSql } from './inbound-events.ts';
import { freePort } from './port.ts';
import { startServer } from './server.ts';
import { waitUntil } from './wait.ts';

const SENDERS = 8;

/** `rowhook serve` ends, or PostgreSQL is restarted. */
export type Fault = 'kill' | 'fast' | 'immediate';

export interface Survived {
  /** Requests that were answered with 2xx. */
  answered: number;
  rows: number;
  /** Of those answered: without a row, or with another row than the answer named. */
  lost: number;
  /** Keys with more than one row. */
  twice: number;
}

/** Senders post events while faults happen one after another, each after `between` more answers. */
export async function sendThrough(faults: readonly Fault[], between: number): Promise<Survived> {
  const server = await startServer({ fsync: 'on' });
  const { database, embedded } = server;
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    DATABASE_URL: database.apiUrl,
    ROWHOOK_API_PORT: String(port),
    ROWHOOK_API_METRICS_PORT: '0',
    ROWHOOK_INBOUND_RATE_LIMIT: '10000000',
    ROWHOOK_LOG_LEVEL: 'silent',
  };
  const serving: { process: RunningCli } = { process: startRowhook(['serve'], { env }) };
  try {
    const senders = startSenders(url, await createKey(database, 'acme', ['inbound']));
    const isUp = () =>
      fetch(`${url}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      );
    for (const fault of faults) {
      await waitUntil('it answers', isUp);
      const before = senders.answered.size;
      await waitUntil('events are stored', () => senders.answered.size >= before + between);
      if (fault === 'kill') {
        serving.process.process.kill('SIGKILL');
        await serving.process.ended;
        serving.process = startRowhook(['serve'], { env });
      } else {
        await embedded.stop(fault);
        await embedded.start();
      }
    }
    await waitUntil('it answers', isUp);
    const before = senders.answered.size;
    await waitUntil('events are stored', () => senders.answered.size > before);
    await senders.stop();
    return await compare(database, senders.answered);
  } finally {
    serving.process.process.kill('SIGKILL');
    await serving.process.ended;
    await server.stop();
  }
}

/** Each sends an event again until it is answered, as senders do. */
function startSenders(url: string, key: string) {
  /** Ids of requests, and the row that the answer named; '': the answer broke off. */
  const answered = new Map<string, string>();
  let isOver = false;
  const send = async (sender: number) => {
    for (let n = 0; !isOver; n++) {
      const id = `${sender}-${n}`;
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
  return {
    answered,
    async stop() {
      isOver = true;
      await Promise.all(senders);
    },
  };
}

async function compare(database: TestDatabase, answered: ReadonlyMap<string, string>): Promise<Survived> {
  const rows = await database.query<{ id: string; key: string }>(
    'select id, idempotency_key as key from rowhook.integration_events',
  );
  const byKey = new Map(rows.map((row) => [row.key, row.id]));
  const lost = [...answered].filter(([id, row]) => !byKey.has(id) || (row !== '' && byKey.get(id) !== row));
  return { answered: answered.size, rows: rows.length, lost: lost.length, twice: rows.length - byKey.size };
}

export interface Worked {
  processed: number;
  /** Effects that workers committed, and the events that they are of. */
  effects: number;
  effectsOf: number;
  /** Workers that ended with what they had claimed. */
  died: number;
}

const LEASE = '2 s';

/** Workers claim events; every fifth of them dies again and again with what it has claimed. */
export async function workThrough(database: TestDatabase, events: number, workers: number): Promise<Worked> {
  await database.query(
    `select count(r.id)
       from generate_series(1, ${events}) as n
      cross join lateral ${receiveSql("'t' || n % 50", "'a'", 'to_json(n)')} as r`,
  );
  await database.query('create table effects (id uuid, attempts int, primary key (id, attempts))');
  const counts = { done: 0, died: 0 };
  const work = async (worker: number) => {
    // The first claim of a worker that dies is its last, so some certainly die with events.
    for (let diesAt = 0; counts.done < events; diesAt = 3) {
      const client = new pg.Client(database.url);
      client.on('error', () => {});
      await client.connect();
      try {
        if (await session(client, events, counts, worker % 5 === 0 ? diesAt : null)) counts.died += 1;
      } finally {
        await client.end();
      }
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  const [row] = await database.query<Omit<Worked, 'died'>>(
    `select (select count(*)::int from rowhook.integration_events where status = 'processed') as processed,
            (select count(*)::int from effects) as effects,
            (select count(distinct id)::int from effects) as "effectsOf"`,
  );
  return { ...(row as Omit<Worked, 'died'>), died: counts.died };
}

/** Resolves to true if it died with what it had claimed. An effect and its completion are one transaction. */
async function session(
  client: pg.Client,
  events: number,
  counts: { done: number },
  diesAt: number | null,
): Promise<boolean> {
  for (let n = 0; counts.done < events; n++) {
    const { rows } = await client.query<{ id: string; attempts: number }>(
      `select id, attempts from rowhook.claim_integration_events(max_count => 50, lease => '${LEASE}')`,
    );
    if (rows.length === 0) await sleep(50);
    if (n === diesAt) return rows.length > 0;
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
      if (ended) counts.done += 1;
    }
  }
  return false;
}
