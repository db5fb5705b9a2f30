import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Counter, startCounter } from '../support/counter.ts';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Counter;
let daemon: DaemonProcess;
let onRequest = () => {};

beforeEach(async () => {
  database = await createDatabase();
  onRequest = () => {};
  receiver = await startCounter({ onRequest: () => onRequest() });
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

afterEach(async () => {
  daemon.process.kill('SIGCONT');
  await daemon.kill('SIGKILL');
  await receiver.close();
  await database.drop();
});

const emit = (events: number) =>
  database.query(`select rowhook.emit('a.b', '{}', 'acme') from generate_series(1, ${events})`);

const nothingWasParked = async () =>
  expect(await database.query('select is_called from parked')).toEqual([{ is_called: false }]);

test('a pause of the daemon is not held against the endpoints: nothing is parked for it', async () => {
  // few enough to be delivered within a second also where the processors are busy
  const events = 100;
  const pausedAfter = 20;
  onRequest = () => {
    if (receiver.requests === pausedAfter) daemon.process.kill('SIGSTOP');
  };
  await emit(events);
  await waitUntil('the daemon is paused', () => receiver.requests >= pausedAfter);
  await waitUntil('what waits is older than what may wait in memory for an endpoint', async () => {
    const [row] = await database.query("select now() - max(occurred_at) > '1.5 s' as old from rowhook.webhook_outbox");
    return row?.old;
  });
  const before = receiver.requests;
  expect(before).toBeLessThan(events);
  daemon.process.kill('SIGCONT');
  await waitUntil('every event has come', () => receiver.received.size >= events);
  expect(receiver.requests).toBe(events);
  await nothingWasParked();
});

test('a daemon that gets little of a processor parks nothing: it is not its endpoint that is slow', async () => {
  // in memory for longer than a second in all, and for less than the ten by the clock also where the rest of the machine is busy
  const events = 300;
  const perTurn = 20;
  const pauseMs = 90;
  const startedAt = performance.now();
  let stopped = false;
  onRequest = () => {
    if (stopped || receiver.requests % perTurn !== 0) return;
    stopped = daemon.process.kill('SIGSTOP');
    setTimeout(() => {
      daemon.process.kill('SIGCONT');
      stopped = false;
    }, pauseMs);
  };
  await emit(events);
  await waitUntil('every event has come', () => receiver.received.size >= events);
  expect(performance.now() - startedAt).toBeGreaterThan(1_000);
  expect(receiver.requests).toBe(events);
  await nothingWasParked();
});
