// A small round of test/faults/inbound.test.ts, which has fifty kills and 20,000 events.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { sendThrough, workThrough } from '../support/inbound-faults.ts';

test('kill -9 of the process and a crash of PostgreSQL lose no event that was answered', async () => {
  const survived = await sendThrough(['kill', 'immediate'], 100);
  expect(survived).toMatchObject({ lost: 0, twice: 0 });
  expect(survived.answered).toBeGreaterThan(200);
});

test('workers that die give back what they have claimed, and nobody else processes it twice', async ({
  onTestFinished,
}) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const worked = await workThrough(database, 400, 2);
  expect(worked).toMatchObject({ processed: 400, effects: 400, effectsOf: 400 });
  expect(worked.died).toBeGreaterThan(0);
});
