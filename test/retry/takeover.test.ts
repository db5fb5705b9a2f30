// What a new owner of lanes must know of the attempts of the owner before it.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Lane, Position } from '../../src/model.ts';
import { findBegun } from '../../src/retry/takeover.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();
const at = (time: string): Position => ({ from: '1:1:', to: null, lastId: null, at: time, sequenceValue: '1' });

/** An attempt of a tenant in lane 3, and its delivery's id. */
async function attempted(tenantId: string, time: string): Promise<string> {
  const id = randomUUID();
  await database.query(
    `insert into rowhook.webhook_logs
       (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, lane,
        duration_ms)
     values ($1, $2, gen_random_uuid(), $3, 'e', 'a.b', 1, 'success', 'delivered', 'u', 3, 1)`,
    [time, tenantId, id],
  );
  return id;
}

test('of a tenant that lags it is asked since its own position, however far another one is behind', async () => {
  const slow = await attempted('slow', hoursAgo(2));
  const quick = [await attempted('quick', hoursAgo(2)), await attempted('quick', hoursAgo(0.5))];
  const others = [await attempted('other', hoursAgo(1)), await attempted('other', hoursAgo(0))];
  const lagging = [
    { tenantId: 'slow', lane: 3, position: at(hoursAgo(3)) },
    { tenantId: 'quick', lane: 3, position: at(hoursAgo(1)) },
  ];
  const lane: Lane = { lane: 3, epoch: '1', position: at(hoursAgo(0.1)), lagging };
  const begun = await findBegun(database.pool, [lane]);
  expect([...(begun.get(3) ?? [])].sort()).toEqual([slow, quick[1], others[1]].sort());
});
