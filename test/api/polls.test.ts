// A poll gets what the outbox holds, and has it written; and REST hooks have samples.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let token: string;
let foreign: string;
const ACME = crypto.randomUUID();
const OTHER = crypto.randomUUID();

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  api = await startTestApi(database);
  token = await createKey(database, ACME);
  foreign = await createKey(database, OTHER);
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const poll = async (resource: string, as = token): Promise<[number, unknown]> => {
  const { status, body } = await api.ask('GET', `/webhooks/zapier/${resource}/poll`, { token: as });
  return [status, body];
};
const addDeal = async (organization: string) => {
  const [row] = await database.query<{ id: string }>(
    "insert into deals (organization_id, title) values ($1, 'a deal') returning id",
    [organization],
  );
  return row?.id;
};
const codeOf = async () =>
  (
    await database.query<{ source: string }>(
      `select p.prosrc as source from pg_proc p join rowhook.webhook_sources s on p.proname = '_capture_' || s.id
        where s.relation = 'deals'::regclass`,
    )
  )[0]?.source ?? '';

test('a poll has its events written, for its organization and no other, and for 8 days', async () => {
  const before = await codeOf();
  await addDeal(ACME);
  expect(await poll('deals')).toEqual([200, []]);
  const id = await addDeal(ACME);
  await addDeal(OTHER);
  expect((await poll('deals'))[1]).toMatchObject([{ id, title: 'a deal', webhook_event: 'deal.created' }]);
  expect(await database.query('select tenant_id, event_types from rowhook.webhook_outbox')).toEqual([
    { tenant_id: ACME, event_types: ['deal.created'] },
  ]);
  await database.query("update deals set title = 'other' where id = $1", [id]);
  expect((await poll('deal.updated'))[1]).toEqual([]);
  await database.query("update deals set title = 'third' where id = $1", [id]);
  expect((await poll('deal.updated'))[1]).toMatchObject([{ title: 'third' }]);

  await database.query("update rowhook.webhook_polls set wanted_until = now() - interval '1 s'");
  await addDeal(ACME);
  expect((await poll('deals'))[1]).toHaveLength(1);
  expect(await codeOf()).not.toBe(before);
  await database.query("update rowhook.webhook_polls set wanted_until = now() - interval '1 s'");
  await database.query('select rowhook._delete_old_rows(30)');
  expect(await codeOf()).toBe(before);
});

test('many that begin to poll at once all get an answer', async () => {
  const resources = ['deals', 'deal.updated', 'deal.deleted', 'contacts', 'contact.updated', 'nothing', 'no.thing'];
  const asked = resources.flatMap((resource) => [poll(resource), poll(resource, foreign), poll(resource)]);
  expect(new Set((await Promise.all(asked)).map(([status]) => status))).toEqual(new Set([200]));
  const rows = await database.query('select tenant_id, event_type from rowhook.webhook_polls');
  // what no table produces is not noted: emit() always writes
  expect(rows).toHaveLength(2 * 5);
  const code = await codeOf();
  expect(code.match(/rowhook\.webhook_polls/g)?.length).toBeGreaterThan(0);
  await poll('deals');
  expect(await codeOf()).toBe(code);
});

describe('a sample of a REST hook', () => {
  const sample = (event: string, as = token) => api.ask('GET', `/v1/me/hooks/sample?event=${event}`, { token: as });

  test('is the newest events, else one with the columns of the table', async () => {
    await poll('contacts');
    const organization = ACME;
    await database.query("insert into contacts (organization_id, first_name, last_name) values ($1, 'Ada', 'L')", [
      organization,
    ]);
    const newest = await sample('contact.created');
    expect([newest.status, newest.body]).toEqual([200, [expect.objectContaining({ first_name: 'Ada' })]]);
    const madeUp = await sample('contact.created', foreign);
    expect(madeUp.body).toEqual([
      expect.objectContaining({
        webhook_event: 'contact.created',
        webhook_event_id: 'evt_0_0_0',
        last_name: 'Lovelace',
        id: expect.any(String),
      }),
    ]);
    expect((await sample('order.paid')).body).toEqual([expect.objectContaining({ webhook_event: 'order.paid' })]);
    expect((await sample('%20')).status).toBe(404);
    expect((await api.ask('GET', '/v1/me/hooks/sample', { token })).status).toBe(400);
  });
});
