// When many endpoints hang at the same moment, they want more slots than there are. Those that answer must not wait for their
// timeouts.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const maxInFlight = 48;
const timeoutMs = 15_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

test.each([
  ['one tenant', 1, 12],
  ['twelve tenants', 12, 1],
])('%s whose webhooks hang all at once leave slots for those that answer', async (_, tenants, webhooks) => {
  const receiver = await startReceiver();
  receiver.respond('/hangs', { hang: true });
  const dead = Array.from({ length: tenants }, (_, n) => `dead ${n} of ${tenants}`);
  for (const tenant of dead)
    for (let n = 0; n < webhooks; n++)
      await createWebhook(database, { tenant_id: tenant, url: receiver.url('/hangs'), timeout_ms: timeoutMs });
  const alive = `alive beside ${tenants}`;
  await createWebhook(database, { tenant_id: alive, url: receiver.url('/answers') });
  const daemon = await startTestDaemon(database, { maxInFlight });

  // each wants its 8 at once: 96 in all
  const emit = (tenant: string, count: number) =>
    database.query("select count(rowhook.emit('a.b', '{}', $1)) from generate_series(1, $2)", [tenant, count]);
  const startedAt = performance.now();
  for (const tenant of dead) await emit(tenant, 8);
  // one tenant alone may have half of them, all suspects together two thirds
  const taken = tenants === 1 ? maxInFlight / 2 : (2 / 3) * maxInFlight;
  await waitUntil('slots are taken', () => receiver.requestsTo('/hangs').length >= taken);
  for (let n = 1; n <= 20; n++) {
    await emit(alive, 1);
    await waitUntil(`event ${n} arrives`, () => receiver.requestsTo('/answers').length >= n);
  }
  // none of those that hang has timed out by then
  expect(performance.now() - startedAt).toBeLessThan(timeoutMs);
  // and there are never more under way than the bound on what a crash repeats
  expect(receiver.requestsTo('/hangs').length).toBeLessThanOrEqual(maxInFlight);

  await database.query('delete from rowhook.webhook_configurations');
  // which ends those that hang
  await receiver.close();
  await daemon.stop();
});
