// Inbound events under faults, in full. test/inbound/crash.test.ts has a small round of the same.

import { expect, test } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { type Fault, sendThrough, workThrough } from '../support/inbound-faults.ts';

const kills = Number(process.env.ROWHOOK_TEST_INBOUND_KILLS || 50);
const events = Number(process.env.ROWHOOK_TEST_INBOUND_EVENTS || 20_000);
const BETWEEN = 20;

/** Half of them end our process, a quarter each restarts PostgreSQL in one of two ways. */
const FAULTS: readonly Fault[] = ['kill', 'fast', 'kill', 'immediate'];

test(`${kills} times kill -9 or a restart of PostgreSQL: every answered 2xx is a row, and no key has two`, {
  timeout: 3_600_000,
}, async () => {
  const faults = Array.from({ length: kills }, (_, n) => FAULTS[n % FAULTS.length] as Fault);
  const survived = await sendThrough(faults, BETWEEN);
  const counts = Object.fromEntries(FAULTS.map((fault) => [fault, faults.filter((each) => each === fault).length]));
  console.log(JSON.stringify({ ...counts, ...survived }));
  expect(survived).toMatchObject({ lost: 0, twice: 0 });
  expect(survived.answered).toBeGreaterThan(kills * BETWEEN);
});

test(`20 workers claim ${events} events while some are killed: none is lost, none is held by two`, {
  timeout: 3_600_000,
}, async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const worked = await workThrough(database, events, 20);
  console.log(JSON.stringify(worked));
  expect(worked).toMatchObject({ processed: events, effects: events, effectsOf: events });
  expect(worked.died).toBeGreaterThan(0);
});
