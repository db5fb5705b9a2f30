// What webhook_minutes says is what webhook_logs holds, whoever dies.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BUCKETS_MS, bucketOf } from '../../src/outcome.ts';
import { Counts } from '../../src/record/counts.ts';
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

const DURATIONS = ['0.5', ...BUCKETS_MS.map((ms) => ms + 0.5)];

/** Counts of the log, by webhook, as webhook_minutes has them. */
const logged = (minute = 'true') =>
  database.query(
    `select webhook_id, count(*) filter (where status = 'success')::int as success,
            count(*) filter (where status = 'failed')::int as failed,
            count(*) filter (where status = 'skipped')::int as skipped,
            count(*) filter (where status <> 'skipped')::int as sent
       from rowhook.webhook_logs where ${minute} group by 1 order by 1`,
  );
const counted = () =>
  database.query(
    `select webhook_id, sum(success)::int as success, sum(failed)::int as failed, sum(skipped)::int as skipped,
            sum((select sum(d) from unnest(durations) as d))::int as sent
       from rowhook.webhook_minutes group by 1 order by 1`,
  );
const emit = (count: number, tenant: string) =>
  database.query(`select count(rowhook.emit('a.b', to_json(n), $1)) from generate_series(1, $2::int) as n`, [
    tenant,
    count,
  ]);

test('every attempt is counted once, also when the daemon is killed and another one goes on', {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  // ten failures in a row would open the breaker
  let requests = 0;
  receiver.respond('/fails', () => ({ status: requests++ % 2 === 0 ? 500 : 200 }));
  const columns = { max_in_flight: 100, retry_enabled: false };
  await createWebhook(database, { tenant_id: 'one', url: receiver.url('/works'), ...columns });
  await createWebhook(database, { tenant_id: 'one', url: receiver.url('/fails'), ...columns });
  await createWebhook(database, { tenant_id: 'two', url: receiver.url('/works'), ...columns });
  await emit(50, 'one');
  const first = startDaemonProcess(database.daemonUrl);
  onTestFinished(() => first.kill('SIGKILL'));
  await waitUntil('the first daemon has counted', async () => (await counted()).length > 0);
  await emit(50, 'two');
  await waitUntil('they are logged', async () => (await logged()).length === 3);
  await first.kill('SIGKILL');
  const second = startDaemonProcess(database.daemonUrl);
  onTestFinished(() => second.kill('SIGKILL'));
  await second.tookLanes();
  await emit(20, 'one');
  await waitUntil('all of it is counted', async () => {
    const [log, counts] = [await logged(), await counted()];
    const sent = log.reduce((sum, row) => sum + Number(row.sent), 0);
    return sent >= 190 && JSON.stringify(log) === JSON.stringify(counts);
  });
  // and a stop counts what is left
  await emit(30, 'two');
  await waitUntil('the last are received', () => receiver.requests.length >= 220);
  await second.kill('SIGTERM');
  expect(await counted()).toEqual(await logged());
  const [last] = await database.query(
    `select max(m.last_attempt_at) - max(l.attempted_at) between '-1 s' and '1 s' as same
       from rowhook.webhook_minutes m cross join rowhook.webhook_logs l`,
  );
  expect(last).toEqual({ same: true });
});

test('a lane that is received is counted from the log, once, and only by its owner', async () => {
  const own = await createDatabase();
  try {
    const [us, others] = [randomUUID(), randomUUID()];
    await own.query(`update rowhook.webhook_lanes set owner = '${us}', epoch = 7 where lane = 3`);
    const log = (count: number) =>
      own.query(
        `insert into rowhook.webhook_logs
           (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url,
            lane, duration_ms)
         select date_trunc('minute', now()), 't', '${randomUUID()}', gen_random_uuid(), 'e', 'a.b', 1, 'success',
                'delivered', 'u', 3, d
           from unnest($1::int[]) as d, generate_series(1, ${count})`,
        [DURATIONS.map(Number).map(Math.floor)],
      );
    await log(2);
    const counts = (owner: string) =>
      new Counts(
        {
          pool: own.pool,
          owner,
          epochs: new Map([[3, '7']]),
          clock: { now: () => Date.now() },
          onUncounted: (error) => expect.unreachable(error.message),
        },
        () => {},
      );
    await counts(others).write();
    expect(await own.query('select from rowhook.webhook_minutes')).toEqual([]);
    const ours = counts(us);
    await ours.write();
    const rows = () => own.query('select success, failed, skipped, durations from rowhook.webhook_minutes order by 1');
    const durations = Array.from({ length: BUCKETS_MS.length + 1 }, () => 0);
    for (const ms of DURATIONS)
      durations[bucketOf(Math.floor(Number(ms)))] = 2 + (durations[bucketOf(Math.floor(Number(ms)))] ?? 0);
    const twice = { success: 2 * DURATIONS.length, failed: 0, skipped: 0, durations };
    expect(await rows()).toEqual([twice]);
    await ours.write();
    expect(await rows()).toEqual([twice]);
    // another process of the same owner, which knows nothing
    await log(1);
    await counts(us).write();
    expect(await rows()).toEqual([
      { ...twice, success: DURATIONS.length, durations: durations.map((n) => n / 2) },
      twice,
    ]);
    // a count that cannot be written is taken from the log later
    const errors: Error[] = [];
    const refused = new Counts(
      {
        pool: own.pool,
        owner: us,
        epochs: new Map([[3, '7']]),
        clock: { now: () => Date.now() },
        onUncounted: (error) => errors.push(error),
      },
      () => {},
    );
    await log(1);
    await own.query('alter table rowhook.webhook_minutes add constraint no check (false) not valid');
    await refused.write();
    expect(errors).toHaveLength(1);
    await own.query('alter table rowhook.webhook_minutes drop constraint no');
    await refused.write();
    expect(await rows()).toHaveLength(3);
    // rows of the last months go
    await own.query(`update rowhook.webhook_minutes set minute = now() - interval '31 days' where success = $1`, [
      twice.success,
    ]);
    await own.query('select rowhook._delete_old_rows(30)');
    expect(await rows()).toHaveLength(2);
  } finally {
    await own.drop();
  }
});
