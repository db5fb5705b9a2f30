// Where nobody may make a table, the log goes on.

import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { logDays } from '../../src/doctor/checks/log-days.ts';
import type { Examination } from '../../src/doctor/finding.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startReceiver()];
});
afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const FORBID = `
  create function forbid() returns event_trigger language plpgsql as $$ begin raise 'no DDL here'; end $$;
  create event trigger "no DDL" on ddl_command_start execute function forbid()`;

const ahead = async () =>
  (await database.query<{ ahead: number }>('select rowhook._log_days_ahead() as ahead'))[0]?.ahead;
const day = (n: number) => `((now() at time zone 'UTC')::date + ${n})::timestamp at time zone 'UTC'`;
const byDefault = async () =>
  (
    await database.query<{ day: number }>(`
    select distinct (attempted_at at time zone 'UTC')::date - (now() at time zone 'UTC')::date as day
      from rowhook.webhook_logs_default order by 1`)
  ).map((row) => row.day);
const findings = async () => {
  const client = new pg.Client(database.url);
  await client.connect();
  const results = await logDays({ client } as unknown as Examination).finally(() => client.end());
  return results.filter(({ kind }) => kind === 'warning') as { what: string; fix: string }[];
};
/** An attempt of another day, or several. */
const log = (n: number, count = 1) =>
  database.query(`
    insert into rowhook.webhook_logs (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, lane)
    select ${day(n)} + interval '1 hour', 't', gen_random_uuid(), gen_random_uuid(), 'e', 'a.b', 1, 'success', 'delivered', 'u', 0
      from generate_series(1, ${count})`);

test('everything is recorded while an event trigger forbids DDL, the doctor says it, and its statement mends it', async ({
  onTestFinished,
}) => {
  for (let n = -1; n <= 7; n++) {
    if (n === 1 || n === 2) continue;
    await database.query(
      `do $$ begin execute format('drop table rowhook.webhook_logs_%s', to_char(${day(n)} at time zone 'UTC', 'YYYYMMDD')); end $$`,
    );
  }
  expect(await ahead()).toBe(2);
  await database.query(FORBID);
  // fires for replicas too, and one that fires for them alone: both are to be as they were
  await database.query(`
    alter event trigger "no DDL" enable always;
    create event trigger replicas on ddl_command_start execute function forbid();
    alter event trigger replicas enable replica`);
  await createWebhook(database, { tenant_id: 't', url: receiver.url('/hook') });
  const daemon = startDaemonProcess(database.daemonUrl, { ROWHOOK_HTTP_PORT: '0' });
  onTestFinished(() => daemon.kill('SIGTERM'));
  await waitUntil('it says that it cannot make the days', () => /make log partitions failed/.test(daemon.stdout()));
  await database.query("select rowhook.emit('a.b', '{}', 't')");
  await waitUntil('it is recorded', async () => (await byDefault()).length > 0);
  await daemon.kill('SIGTERM');
  await log(-3);
  expect(await byDefault()).toEqual([-3, 0]);

  const [few, some] = await findings();
  expect(few?.what).toBe('webhook_logs has partitions for only 2 more days');
  expect(some?.what).toBe('webhook_logs_default holds attempts');
  await expect(database.query('select rowhook._make_log_partitions()')).rejects.toThrow('no DDL here');
  // a day with rows in each call
  await database.query(few?.fix as string);
  expect(await byDefault()).toEqual([0]);
  await database.query(some?.fix as string);
  expect(await byDefault()).toEqual([]);
  expect(await ahead()).toBe(7);
  expect(await findings()).toEqual([]);
  const kept = await database.query("select from rowhook.webhook_logs where tenant_id = 't'");
  expect(kept).toHaveLength(2);
  expect(
    await database.query('select evtname as name, evtenabled as enabled from pg_event_trigger order by 1'),
  ).toEqual([
    { name: 'no DDL', enabled: 'A' },
    { name: 'replicas', enabled: 'R' },
  ]);
});

test('many attempts stay where they are until today has a partition, as recording would wait for their move', async () => {
  await database.query('drop event trigger if exists "no DDL"');
  await database.query(
    `do $$ begin execute format('drop table rowhook.webhook_logs_%s', to_char(${day(0)} at time zone 'UTC', 'YYYYMMDD')); end $$`,
  );
  await log(-4, 10_001);
  await log(0, 10_001);
  await database.query('select rowhook._make_log_partitions()');
  expect(await byDefault()).toEqual([-4, 0]);
  await database.query(
    `delete from rowhook.webhook_logs_default
      where ctid in (select ctid from rowhook.webhook_logs_default where attempted_at >= ${day(0)} limit 1)`,
  );
  await database.query('select rowhook._make_log_partitions()');
  expect(await byDefault()).toEqual([-4]);
  await database.query('select rowhook._make_log_partitions()');
  expect(await byDefault()).toEqual([]);
  expect(await database.query(`select from rowhook.webhook_logs where attempted_at >= ${day(0)}`)).toHaveLength(10_000);
});

test('retention ends what no day took, also where tables cannot be dropped', async () => {
  await log(-32);
  await log(-29);
  expect(await byDefault()).toEqual([-32, -29]);
  expect(await database.query('select rowhook._delete_old_rows(30)::int as deleted')).toEqual([{ deleted: 1 }]);
  expect(await byDefault()).toEqual([-29]);
});
