// A schema that is migrated while daemons work: the older ones end in order, with a sentence, and the newer ones go on, with nothing
// lost and nothing twice.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { builtForVersion } from '../../src/database/migrations.ts';
import { type Counter, startCounter } from '../support/counter.ts';
import { caughtUp, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { Load } from '../support/load.ts';
import { maxInFlight } from '../support/scene.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Counter;

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startCounter({ answerAfterMs: 60 })];
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url });
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const start = () => startDaemonProcess(database.daemonUrl, { ROWHOOK_MAX_IN_FLIGHT: String(maxInFlight) });

const moreRequests = async (count = 50) => {
  const wanted = receiver.requests + count;
  await waitUntil(`${count} more requests`, () => receiver.requests >= wanted);
};

/** As a migration does: other versions of functions, and a table that others wait for, in one transaction. */
async function migrateTo(version: number): Promise<void> {
  const client = await database.pool.connect();
  await client.query('begin');
  await client.query(
    `create or replace function rowhook.schema_version() returns int language sql stable parallel safe return ${version}`,
  );
  await client.query('alter table rowhook.webhook_lanes add column if not exists of_the_next_version int');
  await client.query('alter table rowhook.webhook_logs add column if not exists of_the_next_version int');
  await client.query('commit');
  client.release();
}

test('an older daemon ends in order, and what it leaves is delivered once', async () => {
  const load = await Load.start(database, { writers: 2, pauseMs: 30 });
  const daemons = [start(), start()];
  // a machine too busy to renew a lease ends a session, and what was in flight is sent again
  const sessionsLost = () => daemons.flatMap(({ stdout }) => stdout().match(/the session ended/g) ?? []).length;
  try {
    for (const daemon of daemons) await daemon.tookLanes();
    await moreRequests();
    const version = await builtForVersion();
    await migrateTo(version + 1);
    for (const { ended } of daemons) {
      const { code, stderr } = await ended;
      expect(stderr).toMatch(
        /is at version \d+, but this rowhook only knows versions up to \d+\. Use a newer rowhook\. Nothing was changed\.$/m,
      );
      expect(code).toBe(1);
    }
    // what they owned is free
    expect(await database.query('select from rowhook.webhook_lanes where owner is not null')).toEqual([]);
    if (sessionsLost() === 0) expect(await database.query('select from rowhook.webhook_daemons')).toEqual([]);
    // an older one that is started does the same at once
    const before = receiver.requests;
    expect((await start().ended).code).toBe(1);
    expect(receiver.requests).toBe(before);

    // the next version, as far as this test can have one: it knows the schema
    await migrateTo(version);
    daemons.push(start());
    await moreRequests();
    const rows = await load.stop();
    await waitUntil('every row has arrived', () => receiver.received.size >= rows.length);
    await caughtUp(database);
    expect(receiver.received.size).toBe(rows.length);
    expect(receiver.requests - rows.length).toBeLessThanOrEqual(sessionsLost() * maxInFlight);
  } finally {
    await load.stop();
    for (const daemon of daemons) await daemon.kill('SIGKILL');
  }
});
