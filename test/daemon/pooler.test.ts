// ROWHOOK_WAKE=poll behind PgBouncer in transaction mode: each transaction may get another session of the server, and find there what
// a stranger left. The pool is smaller than what two daemons ask for, so sessions go from hand to hand.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { hasPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { maxInFlight } from '../support/scene.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const POOL_SIZE = 4;

if (!hasPgBouncer) console.warn('Skipped: PgBouncer is not installed (Debian: apt-get install pgbouncer).');

describe.runIf(hasPgBouncer)('behind PgBouncer in transaction mode', () => {
  let database: TestDatabase;
  let pooler: PgBouncer;
  let receiver: Receiver;
  let counter: Counter;
  const daemons: DaemonProcess[] = [];
  /** Ids of items, as often as they came. */
  const arrived = new Map<number, number>();

  const start = async () => {
    const daemon = startDaemonProcess(pooler.url, {
      ROWHOOK_WAKE: 'poll',
      ROWHOOK_MAX_IN_FLIGHT: String(maxInFlight),
    });
    daemons.push(daemon);
    await daemon.tookLanes();
    return daemon;
  };
  const insert = (count: number) =>
    database.query("insert into items (tenant_id) select 'tenant ' || n % 40 from generate_series(1, $1) as n", [
      count,
    ]);
  const items = async () => {
    const [row] = await database.query<{ count: number }>('select count(*)::int from items');
    return row?.count ?? 0;
  };
  const allArrive = () =>
    waitUntil('all items have arrived', async () => arrived.size === (await items()), { timeoutMs: 60_000 });

  beforeAll(async () => {
    database = await createDatabase();
    pooler = await startPgBouncer(database.daemonUrl, 'transaction', POOL_SIZE);
    receiver = await startReceiver();
    counter = await startCounter({
      answerAfterMs: 5,
      onRequest: (body) => {
        const { id } = JSON.parse(body.toString()).data;
        arrived.set(id, (arrived.get(id) ?? 0) + 1);
      },
    });
    await database.query(`
      create table items (id int primary key generated always as identity, tenant_id text);
      select rowhook.watch('items')`);
    for (let n = 0; n < 40; n++) await createWebhook(database, { tenant_id: `tenant ${n}`, url: counter.url });
  });
  afterAll(async () => {
    for (const daemon of daemons) await daemon.kill('SIGKILL');
    await receiver.close();
    await counter.close();
    await pooler.stop();
    await database.drop();
  });

  test('daemons deliver, large windows too, share the lanes, stop in order, and take over', {
    timeout: 120_000,
  }, async () => {
    const first = await start();
    await insert(1);
    await allArrive();
    // more than one window holds
    await insert(1_200);
    await allArrive();

    const second = await start();
    await waitUntil('the lanes are shared', async () => {
      await insert(5);
      const held = await database.query('select owner, count(*)::int as lanes from rowhook.webhook_lanes group by 1');
      return held.length === 2 && held.every(({ lanes }) => lanes === 8);
    });
    await allArrive();
    first.process.kill('SIGTERM');
    await insert(100);
    expect((await first.ended).code).toBe(0);
    await allArrive();
    await caughtUp(database);
    // nobody was lost, so nothing came twice
    expect(Math.max(...arrived.values())).toBe(1);
    expect(first.stdout() + second.stdout()).not.toContain('the session ended');

    const third = await start();
    await second.kill('SIGKILL');
    await insert(100);
    await allArrive();
    await caughtUp(database, { timeoutMs: 30_000 });
    expect([...arrived.values()].reduce((sum, times) => sum + times - 1, 0)).toBeLessThanOrEqual(maxInFlight);
    expect(third.stdout()).not.toContain('the session ended');
  });

  test('failed attempts are tried again, and replays go out', { timeout: 60_000 }, async () => {
    let failures = 0;
    receiver.respond('/flaky', () => ({ status: failures++ < 3 ? 503 : 200 }));
    const webhook = await createWebhook(database, {
      tenant_id: 'flaky',
      url: receiver.url('/flaky'),
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
    });
    await database.query("select rowhook.emit('a.b', '{\"is\":\"tried again\"}', 'flaky')");
    const requests = await receiver.waitFor(4, { timeoutMs: 40_000 });
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    await waitUntil('the success is recorded', async () => {
      const logs = await database.query(
        "select from rowhook.webhook_logs where tenant_id = 'flaky' and status = 'success'",
      );
      return logs.length === 1;
    });
    await database.query("select rowhook.replay($1, now() - interval '1 hour', \"only\" => 'all')", [webhook.id]);
    await receiver.waitFor(5);
  });

  test('transactions are prepared, and what they wrote is delivered', async () => {
    const writer = await database.pool.connect();
    await writer.query('begin');
    await writer.query("insert into items (tenant_id) values ('tenant 1')");
    await writer.query("prepare transaction 'pooled'");
    await writer.query("commit prepared 'pooled'");
    writer.release();
    await allArrive();
  });

  test('sessions are left as they were found', async () => {
    expect(await leftBehind()).toEqual([]);
  });

  /** What differs, in any of the pool's sessions, from what a new one has. */
  async function leftBehind(): Promise<string[]> {
    const pool = new pg.Pool({ connectionString: pooler.url, max: POOL_SIZE });
    try {
      const clients = await Promise.all(Array.from({ length: POOL_SIZE }, () => pool.connect()));
      // each holds a session of its own while its transaction is open
      await Promise.all(clients.map((client) => client.query('begin')));
      const found = await Promise.all(
        clients.map(async (client) => {
          const { rows } = await client.query(
            `select name || ' = ' || setting as what from pg_settings where source = 'session' and name <> 'application_name'
             union all select 'prepared ' || name from pg_prepared_statements
             union all select 'listens to ' || c from pg_listening_channels() as c
             union all select 'holds an advisory lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
          );
          return rows.map(({ what }) => what as string);
        }),
      );
      await Promise.all(clients.map((client) => client.query('rollback')));
      for (const client of clients) client.release();
      return found.flat();
    } finally {
      await pool.end();
    }
  }
});
