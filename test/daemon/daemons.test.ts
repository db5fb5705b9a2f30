// Several daemons share the lanes fairly, and nothing is lost, repeated or turned around when one comes, goes, dies or sleeps.
//
// These tests wait for leases to run out rather than for the processor, so they run side by side.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, type TestContext, test } from 'vitest';
import { freeLanes, renewLanes, takeLanes } from '../../src/daemon/lane-rows.ts';
import { Lease } from '../../src/daemon/lease.ts';
import { createLogger } from '../../src/observe/log.ts';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { atPace } from '../support/pace.ts';
import { startReceiver } from '../support/receiver.ts';
import { maxInFlight, ownDatabase, secondsOf } from '../support/scene.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

/** Spread over all 16 lanes. */
const tenants = Array.from({ length: 40 }, (_, n) => `tenant ${n}`);

/** Three writers: 75 events a second. */
const WRITE_EVERY_MS = 40;

/** Counters of all tenants that writers count up, through whatever happens; every webhook asks for ordering 'row'. */
class Counters {
  readonly database: TestDatabase;
  readonly receiver: Counter;
  /** The highest value of each counter whose commit was acknowledged. */
  readonly acknowledged = new Map<number, number>();
  readonly arrived: Map<number, number[]>;
  readonly #writers: Promise<unknown>;
  readonly #daemons: DaemonProcess[] = [];
  #stopped = false;

  private constructor(database: TestDatabase, receiver: Counter, arrived: Map<number, number[]>) {
    this.database = database;
    this.receiver = receiver;
    this.arrived = arrived;
    this.#writers = Promise.all([this.#write(), this.#write(), this.#write()]);
  }

  static async start(onTestFinished: TestContext['onTestFinished']): Promise<Counters> {
    const database = await ownDatabase(onTestFinished);
    const arrived = new Map<number, number[]>(tenants.map((_, id) => [id, []]));
    const receiver = await startCounter({
      answerAfterMs: 60,
      onRequest: (body) => {
        const { data } = JSON.parse(body.toString());
        arrived.get(data.id)?.push(data.n);
      },
    });
    await database.query(
      'create table counters (id int primary key, tenant_id text not null, n int not null default 0)',
    );
    await database.query(
      'insert into counters (id, tenant_id) select n - 1, t from unnest($1::text[]) with ordinality as x (t, n)',
      [tenants],
    );
    await database.query("select rowhook.watch('counters')");
    for (const tenant_id of tenants) await createWebhook(database, { tenant_id, url: receiver.url, ordering: 'row' });
    const counters = new Counters(database, receiver, arrived);
    onTestFinished(async () => {
      await counters.#stop();
      for (const daemon of counters.#daemons) await daemon.kill('SIGKILL');
      await receiver.close();
    });
    return counters;
  }

  daemon(): DaemonProcess {
    const daemon = startDaemonProcess(this.database.daemonUrl, { ROWHOOK_MAX_IN_FLIGHT: String(maxInFlight) });
    this.#daemons.push(daemon);
    return daemon;
  }

  async #write(): Promise<void> {
    const client = new pg.Client(this.database.url);
    await client.connect();
    const write = async () => {
      const id = Math.floor(Math.random() * tenants.length);
      const { rows } = await client.query('update counters set n = n + 1 where id = $1 returning n', [id]);
      this.acknowledged.set(id, Math.max(rows[0].n, this.acknowledged.get(id) ?? 0));
    };
    await atPace(WRITE_EVERY_MS, () => this.#stopped, write);
    await client.end();
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    await this.#writers;
  }

  /** Lanes by the process that holds them. */
  async lanes(): Promise<Record<string, number>> {
    const rows = await this.database.query<{ pid: string; count: number }>(
      `select split_part(owner_name, ':', 2) as pid, count(*)::int from rowhook.webhook_lane_owners group by 1`,
    );
    return Object.fromEntries(rows.map(({ pid, count }) => [pid, count]));
  }

  /** Waits until these daemons, and no others, hold their fair shares, and says how many seconds it took. */
  shared(...daemons: DaemonProcess[]): Promise<number> {
    const fair = daemons.map((_, i) => Math.floor(16 / daemons.length) + (i < 16 % daemons.length ? 1 : 0));
    const pids = daemons.map(({ pid }) => String(pid)).sort();
    return secondsOf(() =>
      waitUntil(
        `${fair} lanes`,
        async () => {
          const lanes = await this.lanes();
          const isFair = JSON.stringify(Object.values(lanes).sort((a, b) => b - a)) === JSON.stringify(fair);
          return isFair && JSON.stringify(Object.keys(lanes).sort()) === JSON.stringify(pids);
        },
        { timeoutMs: 120_000, everyMs: 50 },
      ),
    );
  }

  async more(count = 60): Promise<void> {
    const wanted = this.receiver.requests + count;
    await waitUntil(`${count} more requests`, () => this.receiver.requests >= wanted, { timeoutMs: 120_000 });
  }

  /** Every value of every counter has arrived, in order, and at most so many twice. */
  async expectAll(what: string, twiceMax: number, seconds: readonly number[]): Promise<void> {
    await this.#stop();
    await caughtUp(this.database, { timeoutMs: 120_000 });
    const counters = await this.database.query<{ id: number; n: number }>('select id, n from counters order by id');
    const complete = () => counters.every(({ id, n }) => new Set(this.arrived.get(id)).size >= n);
    await waitUntil('everything has arrived', complete, { timeoutMs: 120_000 });
    let twice = 0;
    for (const { id, n } of counters) {
      const values = this.arrived.get(id) as number[];
      const first = [...new Set(values)];
      expect(first, `counter ${id}`).toEqual(Array.from({ length: n }, (_, i) => i + 1));
      expect(this.acknowledged.get(id) ?? 0).toBeLessThanOrEqual(n);
      twice += values.length - first.length;
    }
    await waitUntil('no delivery waits', async () => {
      return (await this.database.query('select from rowhook.webhook_deliveries')).length === 0;
    });
    const took = seconds.map((s) => s.toFixed(1)).join(', ');
    // on a machine that is too busy to renew a lease a session ends, and what was in flight is sent again
    const lost = this.#daemons.reduce((sum, { stdout }) => sum + stdout().split('the session ended').length - 1, 0);
    console.log(
      `${what}: ${twice} of ${this.receiver.requests} came twice; fair shares after ${took} s; ${lost} sessions lost`,
    );
    expect(twice).toBeLessThanOrEqual(twiceMax + lost * maxInFlight);
  }
}

describe.concurrent('several daemons', { timeout: 600_000 }, () => {
  test('share the lanes fairly as they come, go in order, and are killed', async ({ onTestFinished }) => {
    const counters = await Counters.start(onTestFinished);
    const first = counters.daemon();
    const seconds = [await counters.shared(first)];
    await counters.more();
    const second = counters.daemon();
    seconds.push(await counters.shared(first, second));
    await counters.more();
    const third = counters.daemon();
    seconds.push(await counters.shared(first, second, third));
    await counters.more();
    await second.kill('SIGTERM');
    expect(second.process.exitCode).toBe(0);
    seconds.push(await counters.shared(first, third));
    await counters.more();
    await first.kill('SIGKILL');
    seconds.push(await counters.shared(third));
    await counters.more();
    // whoever comes or goes in order repeats nothing
    await counters.expectAll('joins, a stop, a kill', maxInFlight, seconds);
  });

  test('are restarted one after another, and nothing comes twice', async ({ onTestFinished }) => {
    const counters = await Counters.start(onTestFinished);
    let running = [counters.daemon(), counters.daemon(), counters.daemon()];
    const seconds = [await counters.shared(...running)];
    for (let i = 0; i < 3; i++) {
      const [oldest, ...others] = running as [DaemonProcess, DaemonProcess, DaemonProcess];
      await oldest.kill('SIGTERM');
      expect(oldest.process.exitCode).toBe(0);
      running = [...others, counters.daemon()];
      await counters.more(30);
    }
    seconds.push(await counters.shared(...running));
    await counters.more();
    await counters.expectAll('a rolling restart', 0, seconds);
  });

  test('take over from one that is paused, which changes nothing when it wakes up, and gets its share again', async ({
    onTestFinished,
  }) => {
    const counters = await Counters.start(onTestFinished);
    const [zombie, other] = [counters.daemon(), counters.daemon()];
    const seconds = [await counters.shared(zombie, other)];
    await counters.more();
    // in the middle of a transaction, where it holds the locks of its lanes
    await waitUntil(
      'it is paused while it records',
      async () => {
        zombie.process.kill('SIGSTOP');
        const [inside] = await counters.database.query(
          `select from pg_stat_activity a join rowhook.webhook_lane_owners l on l.owner_name like '%:' || $1
            where datname = current_database() and application_name = 'rowhook' and state = 'idle in transaction'`,
          [String(zombie.pid)],
        );
        if (!inside) zombie.process.kill('SIGCONT');
        return inside !== undefined;
      },
      // It is inside for a few milliseconds of each second, so there must be many tries.
      { everyMs: 3, timeoutMs: 120_000 },
    );
    seconds.push(await counters.shared(other));
    await counters.more();
    zombie.process.kill('SIGCONT');
    await waitUntil('it finds that it has lost its lanes', () => zombie.stdout().includes('the session ended'), {
      timeoutMs: 120_000,
    });
    seconds.push(await counters.shared(zombie, other));
    await counters.more();
    // its session ends, as it has lost its lanes
    await counters.expectAll('a zombie', 0, seconds);
  });

  test('an endpoint that takes its time is neither asked twice nor in the way when lanes move', async ({
    onTestFinished,
  }) => {
    const database = await createDatabase();
    const receiver = await startReceiver();
    const daemons: DaemonProcess[] = [];
    onTestFinished(async () => {
      for (const daemon of daemons) await daemon.kill('SIGKILL');
      await receiver.close();
      await database.drop();
    });
    // longer than a lane waits to come to rest
    receiver.respond('/slow', { delayMs: 3_000, status: 200 });
    for (const [i, tenant_id] of tenants.entries())
      await createWebhook(database, { tenant_id, url: receiver.url(i < 12 ? '/slow' : '/fast') });
    const emit = () => database.query("select rowhook.emit('a.b', '{}', t) from unnest($1::text[]) as t", [tenants]);
    const start = () => {
      const daemon = startDaemonProcess(database.daemonUrl);
      daemons.push(daemon);
      return daemon;
    };
    await start().tookLanes();
    await emit();
    await waitUntil('all are in flight', () => receiver.requests.length === tenants.length);
    const second = start();
    let emitted = 1;
    await waitUntil(
      'the lanes are shared',
      async () => {
        // more would take a slow machine minutes to work off
        if (emitted < 15) {
          await emit();
          emitted += 1;
        }
        const held = await database.query('select owner, count(*)::int as lanes from rowhook.webhook_lanes group by 1');
        return held.length === 2 && held.every(({ lanes }) => lanes === 8);
      },
      { timeoutMs: 120_000, everyMs: 200 },
    );
    expect(second.process.exitCode).toBeNull();
    await waitUntil(
      'all has arrived',
      async () => {
        const [logged] = await database.query(
          "select count(*)::int as n from rowhook.webhook_logs where status = 'success'",
        );
        return logged?.n === emitted * tenants.length;
      },
      { timeoutMs: 120_000 },
    );
    // each event once; on a machine that is too busy to renew a lease a session ends, and what held one of its 256 slots is sent again
    const sessionsLost = daemons.reduce((sum, { stdout }) => sum + stdout().split('the session ended').length - 1, 0);
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(emitted * tenants.length);
    expect(receiver.requests.length - emitted * tenants.length).toBeLessThanOrEqual(sessionsLost * 256);
  });
});

describe('the lanes', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
  });
  beforeEach(async () => {
    await database.query('delete from rowhook.webhook_daemons');
    await database.query('update rowhook.webhook_lanes set owner = null');
  });
  afterAll(() => database.drop());

  test('go to one daemon each, whoever comes in the same moment', async () => {
    const [{ before }] = (await database.query<{ before: number }>(
      'select max(epoch)::int as before from rowhook.webhook_lanes',
    )) as [{ before: number }];
    for (let round = 1; round <= 25; round++) {
      await database.query('update rowhook.webhook_lanes set owner = null');
      const owners = Array.from({ length: 6 }, () => crypto.randomUUID());
      for (const owner of owners) await renewLanes(database.pool, owner, 'racer', false, false);
      const taken = (await Promise.all(owners.map((owner) => takeLanes(database.pool, owner, [], 16)))).flat();
      const rest = await takeLanes(database.pool, crypto.randomUUID(), [], 16);
      expect([...taken, ...rest].map(({ lane }) => lane).sort((a, b) => a - b)).toEqual([...Array(16).keys()]);
      expect(new Set([...taken, ...rest].map(({ epoch }) => epoch))).toEqual(new Set([String(before + round)]));
    }
  });

  test.each([1, 3, 5, 16, 20])('are shared out among %i daemons without a rest', async (count) => {
    const owners = Array.from({ length: count }, () => crypto.randomUUID());
    for (const owner of owners) await renewLanes(database.pool, owner, 'one of many', false, false);
    const shares: number[] = [];
    for (const owner of owners)
      shares.push((await renewLanes(database.pool, owner, 'one of many', false, false)).share);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(16);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    // one that is about to go does not count, nor one that has not been heard of
    await renewLanes(database.pool, owners[0] as string, 'leaving', true, false);
    const rest = Math.max(1, count - 1);
    const others = owners.slice(1).map((owner) => renewLanes(database.pool, owner, 'one of many', false, false));
    for (const { share } of await Promise.all(others)) expect(Math.abs(share - 16 / rest)).toBeLessThan(1);
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() - interval '1 s'");
    expect((await renewLanes(database.pool, crypto.randomUUID(), 'alone', false, false)).share).toBe(16);
  });

  test('are lost with a lease that has run out', async () => {
    const owner = crypto.randomUUID();
    const renew = (ownsLanes: boolean) => renewLanes(database.pool, owner, 'late', false, ownsLanes);
    await renew(false);
    await takeLanes(database.pool, owner, [], 16);
    expect((await renew(true)).lanes).toHaveLength(16);
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() + interval '0.5 s'");
    expect((await renew(true)).lanes).toEqual([]);
    // an hour later it is still so, and whoever begins anew gets them
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() - interval '1 hour'");
    expect((await renew(true)).lanes).toEqual([]);
    await renew(false);
    expect(await takeLanes(database.pool, owner, [], 16)).toHaveLength(16);
  });

  test('that a session left behind go to whoever has a share of them', async () => {
    const [daemon, other] = [crypto.randomUUID(), crypto.randomUUID()];
    const lease = (owner: string) => new Lease(owner, database.pool, createLogger('silent'));
    const never = new AbortController().signal;
    expect(await lease(daemon).begin(never)).toHaveLength(16);
    // its session ends while the database is away, and gives nothing back; meanwhile another daemon has come
    await renewLanes(database.pool, other, 'other', false, false);
    expect(await lease(daemon).begin(never)).toHaveLength(8);
    expect(await takeLanes(database.pool, other, [], 16)).toHaveLength(8);
  });

  test('are lost to what it was, and not to another daemon, when the lease cannot be renewed', async () => {
    const lease = new Lease(crypto.randomUUID(), database.pool, createLogger('silent'));
    await lease.begin(new AbortController().signal);
    await database.query('alter table rowhook.webhook_daemons rename to elsewhere');
    await expect(lease.renew()).rejects.toThrow('relation "rowhook.webhook_daemons" does not exist');
    await database.query('alter table rowhook.elsewhere rename to webhook_daemons');
  });

  test('are free when a lease ends in a far future, since the clock was set back', async () => {
    const [dead, other] = [crypto.randomUUID(), crypto.randomUUID()];
    await renewLanes(database.pool, dead, 'dead', false, false);
    await takeLanes(database.pool, dead, [], 16);
    await database.query("update rowhook.webhook_daemons set lease_expires_at = now() + interval '1 hour'");
    expect((await renewLanes(database.pool, other, 'other', false, false)).share).toBe(16);
    expect(await takeLanes(database.pool, other, [], 16)).toHaveLength(16);
  });

  test('that are held are taken from nobody, and those that are freed by anybody', async () => {
    const [one, other] = [crypto.randomUUID(), crypto.randomUUID()];
    for (const owner of [one, other]) await renewLanes(database.pool, owner, 'one of two', false, false);
    expect(await takeLanes(database.pool, one, [], 10)).toHaveLength(10);
    expect(await takeLanes(database.pool, other, [], 16)).toHaveLength(6);
    // what is not its own is not freed
    await freeLanes(database.pool, other, [0, 1]);
    expect(await takeLanes(database.pool, other, [10, 11, 12, 13, 14, 15], 16)).toEqual([]);
    await freeLanes(database.pool, one, [0, 1]);
    const freed = await takeLanes(database.pool, other, [10, 11, 12, 13, 14, 15], 16);
    expect(freed.map(({ lane }) => lane).sort((a, b) => a - b)).toEqual([0, 1]);
    // lanes that an earlier session of the same daemon held are its own
    expect(await takeLanes(database.pool, one, [], 16)).toHaveLength(8);
  });
});
