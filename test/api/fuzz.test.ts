// Random requests for every route. `npm run fuzz:api` sends many more.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../support/api.ts';
import { fuzz } from '../support/api-fuzz-run.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  api = await startTestApi(database);
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

test('no request fails on our side, and each is answered', async () => {
  const { statuses, failures, succeeded } = await fuzz(api, database, {
    ...{ count: 400, seed: 19, atOnce: 8 },
    // A test waits for a daemon, and none runs here.
    without: /\/(test|session)$|\/webhooks\/(receive|\{event_name\})/,
  });
  expect(failures).toEqual([]);
  // requests from the schemas get through
  expect(succeeded.size).toBeGreaterThan(10);
  expect(statuses[422]).toBeGreaterThan(20);
});
