// What watch('deals') writes, for those who review capture: test/golden/capture-deals.sql. A change of
// capture changes that file: npx vitest run test/capture/golden.test.ts -u

import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
});

afterAll(() => database.drop());

test('the function and the triggers of deals are those of the golden file', async () => {
  const [written] = await database.query<{ capture: string; triggers: string[] }>(`
    select pg_get_functiondef(to_regproc('rowhook._capture_' || s.id)) as capture,
           array(select pg_get_triggerdef(t.oid) || ';' from pg_trigger t
                  where t.tgrelid = s.relation and t.tgname like 'rowhook%' order by t.tgname) as triggers
      from rowhook.webhook_sources s where s.relation = 'deals'::regclass`);
  const text = [
    "-- What rowhook.watch('deals') writes for the table deals of sql/crm.sql. test/capture/golden.test.ts compares it.",
    '',
    `${written?.capture.trimEnd()};`,
    '',
    ...(written?.triggers ?? []),
    '',
  ].join('\n');
  await expect(text).toMatchFileSnapshot('../golden/capture-deals.sql');
});
