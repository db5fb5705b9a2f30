// A tenant with SQL of its own keeps a transaction open: whatever it holds, the daemon goes on for everybody else.

import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { type Attacker, createAttacker } from '../support/attacker.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const T1 = 'aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa';
const T2 = 'bbbbbbbb-2222-4222-8222-bbbbbbbbbbbb';

let database: TestDatabase;
let attacker: Attacker;
let receiver: Receiver;
let daemon: Daemon;
let holder: pg.Client;
let own: string;
let round = 0;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  attacker = await createAttacker(database);
  receiver = await startReceiver();
  daemon = await startTestDaemon(database);
  await createWebhook(database, { tenant_id: T2, url: receiver.url('/victim') });
});

afterAll(async () => {
  await daemon.stop();
  await receiver.close();
  await attacker.drop();
  await database.drop();
});

beforeEach(async () => {
  round += 1;
  receiver.respond(`/attacker${round}`, { status: 500 });
  own = (
    await createWebhook(database, {
      tenant_id: T1,
      url: receiver.url(`/attacker${round}`),
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
      retry_attempts: 20,
    })
  ).id;
  holder = await attacker.connect(T1);
  await holder.query('begin');
});

afterEach(async () => {
  await holder.query('rollback');
  await holder.end();
  await database.query('delete from rowhook.webhook_configurations where tenant_id = $1', [T1]);
});

const write = (tenant: string, name: string) =>
  database.query('insert into public.clients (organization_id, name) values ($1, $2)', [tenant, name]);

const epochs = () => database.query('select lane, epoch from rowhook.webhook_lanes order by lane');

const attempts = () => receiver.requestsTo(`/attacker${round}`).length;

/** A delivery of the attacker's that waits for its next attempt, and failures that are counted. */
async function parkedDelivery(): Promise<string> {
  await write(T1, 'to be parked');
  const row = await waitUntil('a delivery is parked', async () => {
    const [found] = await database.query<{ delivery_id: string }>(
      `select delivery_id from rowhook.webhook_deliveries d join rowhook.webhook_health h using (webhook_id)
        where webhook_id = $1 and state = 'waiting' and attempt >= 1`,
      [own],
    );
    return found;
  });
  return row.delivery_id;
}

/** Tenant 2's events arrive and are logged, by the same session of the daemon. */
async function expectBusinessAsUsual(): Promise<void> {
  const before = await epochs();
  for (let i = 0; i < 3; i++) {
    const name = `round ${round}.${i}`;
    await write(T2, name);
    await receiver.waitFor(({ path, body }) => path === '/victim' && body.includes(`"${name}"`), { timeoutMs: 5_000 });
  }
  await waitUntil(
    'all are logged',
    async () => {
      const [row] = await database.query(
        "select count(*)::int as logged from rowhook.webhook_logs where tenant_id = $1 and status = 'success'",
        [T2],
      );
      return row?.logged === receiver.requestsTo('/victim').length;
    },
    { timeoutMs: 5_000 },
  );
  expect(await epochs()).toEqual(before);
}

describe('while a tenant holds in an open transaction', () => {
  test.each<[string, (delivery: string) => string]>([
    ['the deletion of its webhook', () => `select rowhook.delete_webhook('${own}')`],
    ['a change of its webhook', () => "update rowhook.webhook_configurations set url = url || '?x'"],
    ['the row of its webhook', () => 'select id from rowhook.webhook_configurations for update'],
    ['a replay of the delivery that is tried just now', (delivery) => `select rowhook.replay_delivery('${delivery}')`],
  ])('%s, attempts for it go on, and other tenants notice nothing', async (_, statement) => {
    const delivery = await parkedDelivery();
    await holder.query(statement(delivery));
    const until = attempts() + 2;
    await receiver.waitFor(() => attempts() >= until, { timeoutMs: 10_000 });
    await expectBusinessAsUsual();
  });

  test('its webhook, whose receiver says 410: it is disabled later, and other tenants notice nothing', async () => {
    await holder.query('select id from rowhook.webhook_configurations for update');
    receiver.respond(`/attacker${round}`, { status: 410 });
    for (let i = 0; i < 6; i++) await write(T1, `gone ${i}`);
    await receiver.waitFor(() => attempts() >= 6);
    await expectBusinessAsUsual();
    await holder.query('rollback');
    await write(T1, 'gone for good');
    await waitUntil('it is disabled', async () => {
      const [row] = await database.query('select is_active from rowhook.webhook_configurations where id = $1', [own]);
      return row?.is_active === false;
    });
  });

  test('a replay of given-up deliveries, the daemon keeps its tables in shape', async () => {
    await parkedDelivery();
    await database.query(
      "update rowhook.webhook_deliveries set state = 'given_up', next_attempt_at = null where webhook_id = $1",
      [own],
    );
    await holder.query(`select rowhook.replay('${own}', '-infinity')`);
    await database.query('select rowhook._drop_old_logs(30)');
    await expectBusinessAsUsual();
  });

  test('the log that it reads, dropping old days of it neither waits for long nor keeps writers waiting', async () => {
    await database.query(
      `create table rowhook.webhook_logs_20200101 partition of rowhook.webhook_logs
         for values from ('2020-01-01 00:00+00') to ('2020-01-02 00:00+00')`,
    );
    const readable = ['webhook_logs', 'webhook_deliveries', 'webhook_health', 'webhook_tenants', 'webhook_sources'];
    for (const table of readable) await holder.query(`lock table rowhook.${table} in access share mode`);
    await holder.query('select count(*) from rowhook.webhook_logs');
    // Its own bound ends the wait, because the holder's transaction stays open.
    await expect(database.query('select rowhook._drop_old_logs(30)')).rejects.toMatchObject({ code: '55P03' });
    const [bound] = await database.query(
      "select 'lock_timeout=100ms' = any (proconfig) as own from pg_proc where oid = 'rowhook._drop_old_logs'::regproc",
    );
    expect(bound).toEqual({ own: true });
    await expectBusinessAsUsual();
    await holder.query('rollback');
    expect(await database.query('select rowhook._drop_old_logs(30) as dropped')).toEqual([{ dropped: 1 }]);
  });

  test('every advisory lock that it can think of, partitions are made all the same', async () => {
    for (const { name } of await database.query<{ name: string }>(
      "select p.oid::regproc::text as name from pg_proc p where p.pronamespace = 'rowhook'::regnamespace union select 'rowhook'",
    )) {
      await holder.query('select pg_advisory_xact_lock(hashtextextended($1, 0)), pg_advisory_xact_lock(hashtext($1))', [
        name,
      ]);
    }
    await database.query('select rowhook._make_log_partitions()');
    await expectBusinessAsUsual();
  });
});

describe('NOTIFY on our channel', () => {
  test('with any payload wakes the daemon and does nothing else', async () => {
    const before = await database.query('select count(*)::int as count from rowhook.webhook_logs');
    for (const payload of ['', 'x', '{"tenant":"other"}', "'; drop table x; --", 'y'.repeat(7_999)]) {
      await holder.query("select pg_notify('rowhook', $1)", [payload]);
    }
    await holder.query('commit');
    await expectBusinessAsUsual();
    const after = await database.query('select count(*)::int as count from rowhook.webhook_logs');
    expect(Number(after[0]?.count) - Number(before[0]?.count)).toBe(3);
  });

  // `lanes` says that some were freed: each was answered by a renewal of the lease, which writes
  test.each([
    ['x', "select pg_notify('rowhook', repeat('x', 7000) || i) from generate_series(1, 500) as i"],
    // one a transaction, as equal ones of a transaction are one
    ['lanes', "do $$ begin for i in 1..500 loop perform pg_notify('rowhook', 'lanes'); commit; end loop; end $$"],
  ])('a flood of %s slows nobody down by much', async (_, statement) => {
    await holder.query('commit');
    await holder.query('set synchronous_commit = off');
    let flooding = true;
    let sent = 0;
    const flood = (async () => {
      while (flooding) {
        await holder.query(statement);
        sent += 500;
      }
    })();
    try {
      await waitUntil('it has begun', () => sent >= 2_000);
      await expectBusinessAsUsual();
    } finally {
      flooding = false;
      await flood;
    }
    await holder.query('begin');
  });
});
