// The outbox is a ring of slots, and a slot is emptied before its turn comes again: under load, and while something or other is in the
// way. Inserts never fail, nothing unread is dropped, every event arrives with its payload. Slots of half a second instead of a day.
//
// ROWHOOK_TEST_FULL=1 goes on for minutes.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import type { TestDatabase } from '../support/database.ts';
import { atPace } from '../support/pace.ts';
import { freePort } from '../support/port.ts';
import { ownDatabase } from '../support/scene.ts';
import { startServer, type TestServer, wantedMajor } from '../support/server.ts';
import { hasTool } from '../support/tool.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const full = process.env.ROWHOOK_TEST_FULL === '1';
/** How often the ring goes round in each part. */
const rounds = full ? 8 : 1;
/** Half a second each, by the server's clock. */
const slotNumber = "floor(date_part('epoch', clock_timestamp()) * 2)";

/** pg_dump refuses servers that are newer than itself. */
const dumpMajor = hasTool('pg_dump', '--version')
  ? Number(/ (\d+)\./.exec(spawnSync('pg_dump', ['--version']).stdout.toString())?.[1])
  : undefined;

/** Rows of `items` that are written all the time, and what came of them. */
class Traffic {
  readonly database: TestDatabase;
  readonly receiver: Counter;
  /** Ids that arrived, and whether all of their payload did. */
  readonly arrived: Map<number, boolean>;
  readonly failures: Error[] = [];
  written = 0;
  /** Slots that were emptied. */
  recycled = 0;
  longestInsertMs = 0;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  private constructor(database: TestDatabase, receiver: Counter, arrived: Map<number, boolean>) {
    this.database = database;
    this.receiver = receiver;
    this.arrived = arrived;
  }

  static async start(database: TestDatabase): Promise<Traffic> {
    const arrived = new Map<number, boolean>();
    const receiver = await startCounter({
      onRequest: (body) => {
        const { id, note } = JSON.parse(body.toString()).data;
        arrived.set(id, note === noteOf(id));
      },
    });
    await database.query(`
      create table items (id int primary key generated always as identity, tenant_id text, note text);
      select rowhook.watch('items');
      create or replace function rowhook._slot() returns smallint language sql volatile
        return (${slotNumber}::bigint % 8)::smallint`);
    for (let n = 0; n < 20; n++) await createWebhook(database, { tenant_id: `tenant ${n}`, url: receiver.url });
    const traffic = new Traffic(database, receiver, arrived);
    const writers = Array.from({ length: 3 }, () => traffic.#write());
    traffic.#running = Promise.all([...writers, traffic.#recycle()]);
    return traffic;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #write(): Promise<void> {
    const client = new pg.Client(this.database.url);
    await client.connect();
    // an insert that waits for anything like this long has failed as well
    await client.query("set lock_timeout = '2s'");
    const write = async () => {
      const askedAt = performance.now();
      const tenant = `tenant ${Math.floor(Math.random() * 20)}`;
      await client.query(INSERT, [tenant]).then(
        () => this.written++,
        (error) => this.failures.push(error),
      );
      this.longestInsertMs = Math.max(this.longestInsertMs, performance.now() - askedAt);
    };
    await atPace(20, () => this.#stopped, write);
    await client.end();
  }

  /** As the daemon does once a minute, where a slot lasts a day. */
  async #recycle(): Promise<void> {
    const client = new pg.Client(this.database.daemonUrl);
    await client.connect();
    const recycle = async () => {
      const { rows } = await client.query('select rowhook._recycle_slot() as slot');
      if (rows[0].slot !== null) this.recycled += 1;
    };
    await atPace(50, () => this.#stopped, recycle);
    await client.end();
  }

  async ids(): Promise<number[]> {
    return (await this.database.query<{ id: number }>('select id from items')).map(({ id }) => id);
  }

  expectArrival(ids: readonly number[]): Promise<unknown> {
    const missing = () => ids.filter((id) => !this.arrived.has(id));
    return waitUntil('all have arrived', () => missing().length === 0, { timeoutMs: 30_000, everyMs: 100 }).catch(
      () => {
        throw new Error(
          `${missing().length} of ${ids.length} rows have not arrived, such as ${missing().slice(0, 5)}.`,
        );
      },
    );
  }

  /** How many slots are emptied while the ring goes round. */
  async goesRound(): Promise<number> {
    const before = this.recycled;
    const now = async () => {
      const [row] = await this.database.query<{ number: number }>(`select ${slotNumber} as number`);
      return row?.number ?? 0;
    };
    const end = (await now()) + 8 * rounds + 1;
    await waitUntil('the ring has gone round', async () => (await now()) > end, { timeoutMs: 120_000, everyMs: 50 });
    return this.recycled - before;
  }
}

const INSERT = `
  with item as (select nextval('items_id_seq') as id)
  insert into items (id, tenant_id, note) overriding system value select id, $1, 'note of ' || id from item`;
const noteOf = (id: number) => `note of ${id}`;

describe('slots that are emptied under load', () => {
  const timeout = full ? 300_000 : 90_000;
  let server: TestServer;
  let database: TestDatabase;
  let traffic: Traffic;
  let daemon: DaemonProcess;
  /** A transaction that stays open from the beginning to the end, with a row in one of the slots. */
  let open: pg.Client;
  let openSlot: number;

  beforeAll(async () => {
    const major = dumpMajor === 15 || dumpMajor === 18 ? dumpMajor : wantedMajor;
    server = await startServer({}, { major });
    ({ database } = server);
    traffic = await Traffic.start(database);
    open = new pg.Client(database.url);
    await open.connect();
    await open.query('begin');
    await open.query(INSERT, ['tenant 1']);
    // to look takes a lock on every slot, which is let go of again
    await open.query('savepoint looked');
    const { rows } = await open.query('select slot from rowhook.webhook_outbox where xid = pg_current_xact_id()');
    openSlot = rows[0].slot;
    await open.query('rollback to looked');
    daemon = startDaemonProcess(database.daemonUrl);
    await daemon.tookLanes();
  });
  afterAll(async () => {
    await daemon.kill('SIGKILL');
    await traffic.stop();
    await open.end();
    await traffic.receiver.close();
    await server.stop();
  });

  test('leave parked deliveries their payload', { timeout }, async () => {
    // refused for longer than the ring takes
    const { id: webhookId } = await createWebhook(database, {
      tenant_id: 'parked',
      url: `http://127.0.0.1:${await freePort()}/`,
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
      retry_attempts: 20,
    });
    // not into the slot of the open transaction, which stays
    // in time for all of them
    const isElsewhere = async () => {
      const [now] = await database.query<{ ahead: number }>('select (rowhook._slot() - $1 + 8) % 8 as ahead', [
        openSlot,
      ]);
      return now !== undefined && now.ahead > 0 && now.ahead < 4;
    };
    await waitUntil('the slot is another one', isElsewhere);
    const ids: number[] = [];
    for (let n = 0; n < 20; n++) {
      const [row] = await database.query<{ id: number }>(`${INSERT} returning id`, ['parked']);
      ids.push(row?.id as number);
    }
    await waitUntil(
      'the slot is emptied, and they have their payload',
      async () => {
        const kept = await database.query(
          `select from rowhook.webhook_deliveries d
            where webhook_id = $1 and has_payload and not exists (select from rowhook.webhook_outbox o where o.id = d.outbox_id)`,
          [webhookId],
        );
        return kept.length === ids.length;
      },
      { timeoutMs: 50_000 },
    );
    await database.query('update rowhook.webhook_configurations set url = $1 where id = $2', [
      traffic.receiver.url,
      webhookId,
    ]);
    await traffic.expectArrival(ids);
  });

  test('stay while a daemon is away for longer than the ring', { timeout }, async () => {
    await daemon.kill('SIGTERM');
    const before = traffic.written;
    const emptied = await traffic.goesRound();
    const written = traffic.written - before;
    const unread = await database.query(
      'select from rowhook.webhook_outbox o join rowhook.webhook_lanes l using (lane) where not pg_visible_in_snapshot(o.xid, l.from_snapshot)',
    );
    expect(unread.length).toBeGreaterThanOrEqual(written);
    daemon = startDaemonProcess(database.daemonUrl);
    await daemon.tookLanes();
    console.log(
      `${written} rows were written while nobody read, and ${emptied} slots emptied that had been read before`,
    );
    await traffic.expectArrival(await traffic.ids());
  });

  test.runIf(dumpMajor !== undefined)(
    'stay while a pg_dump runs, which keeps nobody from writing',
    { timeout },
    async (context) => {
      if (dumpMajor !== server.embedded.major)
        context.skip(`pg_dump ${dumpMajor} refuses PostgreSQL ${server.embedded.major}`);
      // much more than pipes and sockets hold
      await database.query(
        'create table ballast as select n, repeat(md5(n::text), 30) as text from generate_series(1, 40000) as n',
      );
      const dump = spawn('pg_dump', ['--dbname', database.url], { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = once(dump, 'exit');
      await waitUntil('it holds every slot', async () => {
        const held = await database.query(
          `select from pg_locks l join pg_stat_activity a using (pid) join pg_class c on c.oid = l.relation
          where a.application_name = 'pg_dump' and l.granted and c.relname ~ '^webhook_outbox_\\d$'`,
        );
        return held.length === 8;
      });
      const before = traffic.arrived.size;
      expect(await traffic.goesRound()).toBe(0);
      expect(traffic.arrived.size).toBeGreaterThan(before);
      expect(dump.exitCode).toBeNull();
      let bytes = 0;
      dump.stdout.on('data', (chunk) => {
        bytes += chunk.length;
      });
      expect((await ended)[0]).toBe(0);
      const held = traffic.recycled;
      await waitUntil('slots are emptied again', () => traffic.recycled > held);
      console.log(`a dump of ${Math.round(bytes / 2 ** 20)} MiB held them`);
    },
  );

  test('have dropped nothing, and refused nobody', { timeout }, async () => {
    await traffic.stop();
    await open.query('commit');
    const ids = await traffic.ids();
    await traffic.expectArrival(ids);
    await caughtUp(database, { timeoutMs: 30_000 });
    expect(traffic.failures).toEqual([]);
    expect([...traffic.arrived].filter(([, isWhole]) => !isWhole)).toEqual([]);
    console.log(
      `${ids.length} rows, ${traffic.recycled} times a slot was emptied, the longest insert took ${traffic.longestInsertMs.toFixed(0)} ms`,
    );
  });
});

/** What a daemon does of it when it starts, and once a minute from then on. */
describe('a daemon', () => {
  const start = (database: TestDatabase, onTestFinished: TestContext['onTestFinished'], env = {}) => {
    const daemon = startDaemonProcess(database.daemonUrl, env);
    onTestFinished(() => daemon.kill('SIGKILL'));
    return daemon;
  };
  const daysOfLog = async (database: TestDatabase): Promise<number[]> => {
    const rows = await database.query<{ day: number }>(
      `select to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') - (now() at time zone 'UTC')::date as day
         from pg_inherits
        where inhparent = 'rowhook.webhook_logs'::regclass and inhrelid::regclass::text ~ '[0-9]{8}$' order by 1`,
    );
    return rows.map(({ day }) => day);
  };
  /** A partition of the log, so many days from today, as it was made in its time. */
  const makeDay = (database: TestDatabase, day: number) =>
    database.query(`
      do $$
      declare
        v_day date := (now() at time zone 'UTC')::date + ${day};
      begin
        execute format('create table rowhook.%I partition of rowhook.webhook_logs for values from (%L) to (%L)',
                       'webhook_logs_' || to_char(v_day, 'YYYYMMDD'), v_day || ' 00:00+00', v_day + 1 || ' 00:00+00');
        execute format('alter table rowhook.%I owner to rowhook_owner', 'webhook_logs_' || to_char(v_day, 'YYYYMMDD'));
      end
      $$`);

  test('says that a slot cannot be emptied, and who holds it', { timeout: 120_000 }, async ({ onTestFinished }) => {
    const database = await ownDatabase(onTestFinished);
    // the slot whose turn comes next, as it was filled in the round before
    await database.query(`
      insert into rowhook.webhook_outbox (lane, tenant_id, event_types, occurred_at, slot)
      values (5, 't', '{a.b}', now() - interval '7 days 1 hour', (rowhook._slot() + 1) % 8)`);
    await database.query('update rowhook.webhook_lanes set from_snapshot = pg_current_snapshot()');
    const holder = new pg.Client(database.url);
    await holder.connect();
    onTestFinished(() => holder.end());
    await holder.query('begin; select from rowhook.webhook_outbox limit 1');
    const daemon = start(database, onTestFinished);
    const line = await waitUntil(
      'the log says so',
      () => /^.*pinned by the transaction of process.*$/m.exec(daemon.stdout())?.[0],
    );
    expect(JSON.parse(line)).toMatchObject({ level: 40, fix: expect.stringMatching(/^select pg_terminate_backend/) });
    expect(await database.query('select from rowhook.webhook_outbox')).toHaveLength(1);
    await daemon.kill('SIGTERM');
    await holder.query('rollback');
    const next = start(database, onTestFinished);
    // at once, unless its own reader is in the way: then a minute later
    await waitUntil(
      'it is empty',
      async () => (await database.query('select from rowhook.webhook_outbox')).length === 0,
      { timeoutMs: 80_000 },
    );
    await waitUntil('that is said', () => next.stdout().includes('"recycle a slot"'));
    expect(next.stdout()).not.toContain('pinned');
  });

  test('makes the days of the log ahead, and drops the old ones, though somebody reads one of them', async ({
    onTestFinished,
  }) => {
    const database = await ownDatabase(onTestFinished);
    const tenant = { tenant_id: 'acme', url: `http://127.0.0.1:${await freePort()}/` };
    await createWebhook(database, tenant);
    // it was away for so long that no partition is left for today
    for (const day of await daysOfLog(database)) {
      await database.query(
        `do $$ begin execute format('drop table rowhook.%I', 'webhook_logs_' || to_char((now() at time zone 'UTC')::date + ${day}, 'YYYYMMDD')); end $$`,
      );
    }
    for (const day of [-40, -31, -30]) await makeDay(database, day);
    const reader = new pg.Client(database.url);
    await reader.connect();
    onTestFinished(() => reader.end());
    await reader.query('begin; select count(*) from rowhook.webhook_logs');
    await database.query("select rowhook.emit('a.b', '{}', 'acme')");
    const first = start(database, onTestFinished);
    await waitUntil(
      'the attempt is in the log',
      async () => (await database.query('select from rowhook.webhook_logs')).length > 0,
    );
    await waitUntil('the old days are there still', () => first.stdout().includes('drop old logs failed'));
    // what reads the whole log keeps days from being made, and nothing from being recorded
    expect(await daysOfLog(database)).toEqual([-40, -31, -30]);
    await first.kill('SIGTERM');
    await reader.query('rollback');
    const second = start(database, onTestFinished);
    await waitUntil('they are dropped', () => second.stdout().includes('"drop old logs"'));
    expect(second.stdout()).toContain('"make log partitions"');
    expect(await daysOfLog(database)).toEqual([-30, -1, 0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await database.query('select from rowhook.webhook_logs')).not.toHaveLength(0);
  });
});
