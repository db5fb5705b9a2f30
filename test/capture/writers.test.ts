// The promise that everything else stands on: whatever writers do at the same time, each committed change is one request.

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const writers = 100;
const seconds = process.env.ROWHOOK_TEST_FULL ? 20 : 8;
/** Of each writer, however slow the machine: 12 in 8 s are usual. */
const turnsAtLeast = 8;
/** Rows that all writers change, so that they wait for each other. */
const sharedRows = 150;
/** At a time; the server allows 20, and other test files use some. */
const preparedMax = 8;

let database: TestDatabase;
let receiver: Receiver;
let daemon: DaemonProcess;

// before each try of the one test: a second one begins anew
beforeEach(async () => {
  prepared = 0;
  preparedKept = 0;
  [database, receiver] = [await createDatabase(), await startReceiver()];
  await database.query(`
    create table items (id text primary key, tenant_id text not null default 'acme', n int not null, mark text not null);
    select rowhook.watch('items')`);
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url('/'), max_in_flight: 64 });
  // PREPARE TRANSACTION fails after a NOTIFY, so the daemon polls
  daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_WAKE: 'poll' });
});
afterEach(async () => {
  await daemon?.kill('SIGTERM');
  await receiver?.close();
  for (const { gid } of await database.query('select gid from pg_prepared_xacts where database = current_database()'))
    await database.query(`rollback prepared '${gid}'`);
  await database.drop();
});

/** What a change says of itself at the receiver: each is unique. */
interface Mark {
  event: string;
  id: string;
  n: number;
  mark: string;
}

const keyOf = ({ event, id, n, mark }: Mark) => `${event} ${id} ${n} ${mark}`;

function markOf(request: ReceivedRequest): Mark {
  const { event, data } = JSON.parse(request.body.toString());
  return { event, id: data.id, n: data.n, mark: data.mark };
}

/** SQLSTATEs of transactions that lost against another one. */
const lost = new Set(['40001', '40P01']);

class Writer {
  readonly acknowledged: Mark[] = [];
  readonly #client: pg.Client;
  readonly #random: () => number;
  #serial = 0;
  #pending: Mark[] = [];

  private constructor(client: pg.Client, seed: number) {
    this.#client = client;
    this.#random = randomFrom(seed);
  }

  static async connect(seed: number): Promise<Writer> {
    const client = new pg.Client(database.url);
    await client.connect();
    return new Writer(client, seed);
  }

  close(): Promise<void> {
    return this.#client.end();
  }

  /** One transaction of a random kind. */
  async turn(): Promise<void> {
    const isolation = this.#pick(['read committed', 'read committed', 'repeatable read', 'serializable']);
    const end = this.#pick(['commit', 'commit', 'commit', 'rollback', 'prepare']);
    this.#pending = [];
    try {
      await this.#client.query(`begin isolation level ${isolation}`);
      if (this.#chance(0.2)) await this.#client.query('select pg_current_xact_id()');
      await this.#pick([() => this.#lifecycle(), () => this.#bulk(), () => this.#savepoints(), () => this.#shared()])();
      if (this.#chance(0.03)) await this.#client.query('select pg_sleep($1)', [2 * this.#random()]);
      if (end === 'prepare') await this.#prepare();
      else await this.#client.query(end);
      if (end !== 'rollback') this.acknowledged.push(...this.#pending);
    } catch (error) {
      if (!lost.has((error as { code?: string }).code ?? '')) throw error;
      await this.#client.query('rollback');
    }
    await this.#client.query('select pg_sleep($1)', [0.05 * this.#random()]);
  }

  /** A row of its own is created, updated, sometimes deleted. */
  async #lifecycle(): Promise<void> {
    const row = { id: randomUUID(), n: 1, mark: randomUUID() };
    await this.#client.query('insert into items (id, n, mark) values ($1, $2, $3)', [row.id, row.n, row.mark]);
    this.#pending.push({ event: 'items.created', ...row });
    await this.#update(row.id);
    if (this.#chance(0.5)) {
      const { rows } = await this.#client.query('delete from items where id = $1 returning id, n, mark', [row.id]);
      this.#pending.push({ event: 'items.deleted', ...rows[0] });
    }
  }

  async #bulk(): Promise<void> {
    const { rows } = await this.#client.query(
      'insert into items (id, n, mark) select gen_random_uuid(), n, gen_random_uuid() from generate_series(1, 10) as n returning id, n, mark',
    );
    for (const row of rows) this.#pending.push({ event: 'items.created', ...row });
  }

  /** What is kept and what is taken back, three levels deep. */
  async #savepoints(): Promise<void> {
    for (const name of ['a', 'b', 'c']) {
      await this.#client.query(`savepoint ${name}`);
      const before = this.#pending.length;
      await this.#lifecycle();
      if (this.#chance(0.4)) {
        await this.#client.query(`rollback to ${name}`);
        this.#pending.length = before;
      } else if (this.#chance(0.5)) await this.#client.query(`release ${name}`);
    }
    await this.#shared();
  }

  /** Rows that others change as well. */
  async #shared(): Promise<void> {
    const rows = new Set([1, 2, 3].map(() => 1 + Math.floor(this.#random() * sharedRows)));
    for (const row of [...rows].sort((a, b) => a - b)) await this.#update(`shared ${row}`);
  }

  async #update(id: string): Promise<void> {
    const { rows } = await this.#client.query(
      'update items set n = n + 1, mark = $2 where id = $1 returning id, n, mark',
      [id, randomUUID()],
    );
    this.#pending.push({ event: 'items.updated', ...rows[0] });
  }

  /** Two-phase commit, by and by; some of it is rolled back in the second phase. */
  async #prepare(): Promise<void> {
    if (prepared >= preparedMax) {
      await this.#client.query('commit');
      return;
    }
    const gid = `${database.name} ${this.#serial++} ${randomUUID()}`;
    prepared += 1;
    try {
      await this.#client.query(`prepare transaction '${gid}'`);
      await this.#client.query('select pg_sleep($1)', [0.3 * this.#random()]);
      const isKept = this.#chance(0.8);
      await this.#client.query(`${isKept ? 'commit' : 'rollback'} prepared '${gid}'`);
      if (!isKept) this.#pending = [];
      else preparedKept += 1;
    } finally {
      prepared -= 1;
    }
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.#random() * choices.length)] as T;
  }
}

let prepared = 0;
let preparedKept = 0;

/** Mulberry32: the same choices in every run. */
function randomFrom(seed: number): () => number {
  let state = seed * 0x9e3779b9;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test(`${writers} writers for ${seconds} s: each committed change arrives once, in the order of its row`, {
  timeout: 120_000,
}, async () => {
  await daemon.tookLanes();
  await database.query(
    `insert into items (id, n, mark) select 'shared ' || n, 0, 'first' from generate_series(1, ${sharedRows}) as n`,
  );
  await receiver.waitFor(sharedRows);

  // open from before the first writer until after the last
  const open = new pg.Client(database.url);
  await open.connect();
  await open.query('begin');
  await open.query("insert into items (id, n, mark) values ('the open one', 1, 'open')");

  const all = await Promise.all(Array.from({ length: writers }, (_, seed) => Writer.connect(seed + 1)));
  const until = performance.now() + seconds * 1_000;
  await Promise.all(
    all.map(async (writer) => {
      for (let turns = 0; turns < turnsAtLeast || performance.now() < until; turns++) await writer.turn();
    }),
  );
  const acknowledged = all.flatMap((writer) => writer.acknowledged);
  const arrivedAtOnce = receiver.requests.length - sharedRows;
  await Promise.all(all.map((writer) => writer.close()));

  // while one transaction is still open, all the others' changes arrive
  const keys = () => receiver.requests.slice(sharedRows).map((request) => keyOf(markOf(request)));
  await waitUntil('all has arrived', () => receiver.requests.length - sharedRows >= acknowledged.length, {
    timeoutMs: 60_000,
  });
  const arrived = keys();
  expect(arrived.filter((key) => key.includes('the open one'))).toEqual([]);
  expect(arrived.toSorted()).toEqual(acknowledged.map(keyOf).toSorted());
  console.log(
    `${acknowledged.length} changes in ${seconds} s (${preparedKept} prepared transactions), ${Math.round((100 * arrivedAtOnce) / acknowledged.length)} % had arrived when the writers stopped`,
  );
  expect(acknowledged.length).toBeGreaterThan(writers * turnsAtLeast);
  if (Number((await database.query('show max_prepared_transactions'))[0]?.max_prepared_transactions) > 0)
    expect(preparedKept).toBeGreaterThan(0);
  // a reader that waits for the oldest transaction would have delivered none of them, and one that waits for a pause neither
  expect(arrivedAtOnce).toBeGreaterThan(0);

  await open.query('commit');
  await open.end();
  const last = await receiver.waitFor((request) => markOf(request).id === 'the open one');
  expect(markOf(last[0] as ReceivedRequest)).toMatchObject({ event: 'items.created', mark: 'open' });

  const states = new Map<string, number[]>();
  for (const request of receiver.requests) {
    const { id, n, event } = markOf(request);
    // a deletion shows the state before it
    states.set(id, [...(states.get(id) ?? []), event === 'items.deleted' ? n + 0.5 : n]);
  }
  const outOfOrder = [...states].filter(([, seen]) => seen.some((n, i) => i > 0 && n <= (seen[i - 1] as number)));
  expect(outOfOrder).toEqual([]);
  // that row has been changed by several writers
  expect(Math.max(...[...states.values()].map((seen) => seen.length))).toBeGreaterThan(5);

  // and each of them is one row of the log
  const total = acknowledged.length + sharedRows + 1;
  await waitUntil('all is logged', async () => {
    const [logged] = await database.query<{ rows: number }>('select count(*)::int as rows from rowhook.webhook_logs');
    return (logged?.rows ?? 0) >= total;
  });
  expect(
    await database.query(
      'select count(*)::int as rows, count(distinct delivery_id)::int as deliveries, min(status) as least, max(status) as most from rowhook.webhook_logs',
    ),
  ).toEqual([{ rows: total, deliveries: total, least: 'success', most: 'success' }]);
  expect(await database.query('select from rowhook.webhook_deliveries')).toEqual([]);
});
