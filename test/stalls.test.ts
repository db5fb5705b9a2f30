import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Counter, startCounter } from './support/counter.ts';
import { type DaemonProcess, startDaemonProcess } from './support/daemon.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { waitUntil } from './support/wait.ts';
import { createWebhook } from './support/webhook.ts';

// few enough to be delivered within a second also where the processors are busy
const events = 100;
const pausedAfter = 20;
/** Longer than anything may wait in memory for an endpoint, shorter than the lease. */
const pauseMs = 2_000;

let database: TestDatabase;
let receiver: Counter;
let daemon: DaemonProcess;

beforeAll(async () => {
  database = await createDatabase();
  receiver = await startCounter({
    onRequest: () => {
      if (receiver.requests === pausedAfter) daemon.process.kill('SIGSTOP');
    },
  });
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url, max_in_flight: 32 });
  await database.query('create sequence parked');
  await database.query(
    `create function count_parked() returns trigger language plpgsql security definer as
     $$ begin perform nextval('public.parked'); return new; end $$`,
  );
  await database.query(
    'create trigger count_parked before insert on rowhook.webhook_deliveries for each row execute function count_parked()',
  );
  daemon = startDaemonProcess(database.daemonUrl);
  await daemon.tookLanes();
});

afterAll(async () => {
  await daemon.kill('SIGKILL');
  await receiver.close();
  await database.drop();
});

test('a pause of the daemon is not held against the endpoints: nothing is parked for it', async () => {
  await database.query(`select rowhook.emit('a.b', '{}', 'acme') from generate_series(1, ${events})`);
  await waitUntil('the daemon is paused', () => receiver.requests >= pausedAfter);
  await sleep(pauseMs);
  const before = receiver.requests;
  expect(before).toBeLessThan(events);
  daemon.process.kill('SIGCONT');
  await waitUntil('every event has come', () => receiver.received.size >= events);
  expect(receiver.requests).toBe(events);
  expect(await database.query('select is_called from parked')).toEqual([{ is_called: false }]);
});
