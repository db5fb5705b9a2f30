// Ids that both sides compute: the daemon, and functions of the database.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { deliveryId } from '../../src/payload/ids.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const webhookId = '6b1f7c1e-95a4-4b4e-9a57-0a5fd2b5b0f1';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

test('a delivery id is the same in SQL, also of the largest outbox id', async () => {
  const events = ['1_0', '4095_3', '281474976710655_0', '281474976710656_0', '9223372036854775807_1'];
  for (const event of events.map((end) => `evt_60f127aa_${end}`)) {
    const [row] = await database.query<{ id: string }>(
      `select rowhook._delivery_id('${event}', '${webhookId}')::text as id`,
    );
    expect(deliveryId(event, webhookId)).toBe(row?.id);
  }
});

test('delivery ids are uuids of version 8, in the order of the outbox, and differ by event and webhook', () => {
  const ids = [1, 9, 10, 255, 256, 99_999].map((n) => deliveryId(`evt_60f127aa_${n}_0`, webhookId));
  expect(ids).toEqual([...ids].sort());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const others = ['evt_60f127aa_1_1', 'evt_60f127ab_1_0'].map((event) => deliveryId(event, webhookId));
  const ofAnother = deliveryId('evt_60f127aa_1_0', webhookId.replace('6', '7'));
  expect(new Set([...ids, ...others, ofAnother]).size).toBe(9);
});

test('the id of a batch, which has no outbox id, is a uuid too', () => {
  const [one, other] = ['bat_00ff', 'bat_00fe'].map((id) => deliveryId(id, webhookId));
  expect(one).toMatch(/^00000000-0000-8/);
  expect(other).not.toBe(one);
});
