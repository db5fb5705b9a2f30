// Webhooks that are changed, switched off and on, deleted and made anew while events for them are under way. What is asked: each
// event has an end, in the receiver's hands or in the log, and nobody else notices.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { MAX_IN_FLIGHT, Scene } from '../support/account.ts';
import { startCounter } from '../support/counter.ts';
import { caughtUp } from '../support/daemon.ts';
import { createDatabase } from '../support/database.ts';
import { random } from '../support/random.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const changes = Number(process.env.ROWHOOK_TEST_CHANGES || 200);

test(`${changes} changes of webhooks between the change of a row and its delivery`, async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  // of the same tenant: its configuration is loaded anew at every change of the others
  const scene = await Scene.start(database, { pauseMs: 15 });
  onTestFinished(() => scene.close());
  const receivers = [await startCounter({ answerAfterMs: 25 }), await startCounter({ answerAfterMs: 25 })];
  onTestFinished(async () => void (await Promise.all(receivers.map((receiver) => receiver.close()))));
  const urls = receivers.map(({ url }) => url);
  const make = () =>
    createWebhook(database, { tenant_id: 'acme', url: urls[0] as string, max_in_flight: MAX_IN_FLIGHT });
  scene.daemon();
  await scene.newRows();

  const chance = random(Number(process.env.ROWHOOK_TEST_SEED || 1));
  const all = [(await make()).id];
  const deletedBy = new Map<string, number>();
  for (let change = 0; change < changes; change++) {
    const id = all.at(-1) as string;
    const kind = Math.floor(chance() * 4);
    if (kind === 0) {
      await database.query('delete from rowhook.webhook_configurations where id = $1', [id]);
      deletedBy.set(id, performance.now());
      all.push((await make()).id);
    } else {
      const set = [
        '',
        `url = '${urls[change % 2]}'`,
        `is_active = not is_active`,
        `secret = 'whsec_' || repeat('${change % 10}', 32)`,
      ][kind];
      await database.query(`update rowhook.webhook_configurations set ${set} where id = $1`, [id]);
    }
    await sleep(chance() * 100);
  }
  // what waits for one that is switched off goes on when it is on again
  await database.query('update rowhook.webhook_configurations set is_active = true');
  await scene.healed();
  await scene.settle(`${changes} changes of the tenant's other webhooks`, { crashes: 0 });

  await caughtUp(database);
  const last = all.at(-1) as string;
  // one log row for each attempt, and a last one that says how it ended
  const [open] = await waitUntil('all have an end', async () => {
    const rows = await database.query<{ unfinished: number; skipped: number; sent: number }>(
      `select count(*) filter (where not ended)::int as unfinished, count(*) filter (where skipped)::int as skipped,
              count(*) filter (where sent)::int as sent
         from (select delivery_id, bool_or(status in ('success', 'skipped')) as ended, bool_or(status = 'skipped') as skipped,
                      bool_or(status = 'success') as sent
                 from rowhook.webhook_logs where webhook_id = any ($1::uuid[]) group by 1) as d`,
      [all],
    );
    return rows[0]?.unfinished === 0 && rows;
  });
  const requests = receivers.reduce((sum, receiver) => sum + receiver.requests, 0);
  const distinct = receivers.reduce((sum, receiver) => sum + receiver.received.size, 0);
  console.log(
    `${deletedBy.size} webhooks deleted, ${changes - deletedBy.size} changes: ${open?.sent} deliveries sent, ${open?.skipped} skipped with a reason, ${requests} requests, ${requests - distinct} again`,
  );
  // the same event for two webhooks has one id, and each receiver may have had both
  expect(requests).toBeGreaterThanOrEqual(open?.sent ?? 0);
  const [{ requested } = { requested: 0 }] = await database.query<{ requested: number }>(
    "select count(*)::int as requested from rowhook.webhook_logs where webhook_id = any ($1::uuid[]) and status <> 'skipped'",
    [all],
  );
  expect(requests).toBe(requested);

  // and what is deleted stays silent
  await database.query('delete from rowhook.webhook_configurations where id = $1', [last]);
  await caughtUp(database);
  const before = receivers.reduce((sum, receiver) => sum + receiver.requests, 0);
  await database.query("select rowhook.emit('a.b', '{\"id\": 0}', 'acme')");
  await waitUntil('another webhook has it', () => scene.arrived.has(0));
  await caughtUp(database);
  expect(receivers.reduce((sum, receiver) => sum + receiver.requests, 0)).toBe(before);
});
