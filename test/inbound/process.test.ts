// Inbound events are claimed, completed, failed and retried, by workers of all tenants and of one.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { receiveSql } from '../support/inbound-events.ts';
import { waitUntil } from '../support/wait.ts';

interface Event {
  id: string;
  tenant_id: string;
  event_name: string;
  status: string;
  attempts: number;
  error_message: string | null;
}

const password = randomBytes(12).toString('hex');
const suffix = randomBytes(4).toString('hex');
const [workerRole, appRole] = [`worker_${suffix}`, `app_${suffix}`];
let database: TestDatabase;
let worker: pg.Client;
let app: pg.Client;

async function connect(role: string): Promise<pg.Client> {
  const client = new pg.Client(databaseUrl(database.url, database.name, role, password));
  client.on('error', () => {});
  await client.connect();
  return client;
}

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`create role ${workerRole} login password '${password}'; grant rowhook_worker to ${workerRole};
                        create role ${appRole} login password '${password}'; grant rowhook_app to ${appRole}`);
  [worker, app] = [await connect(workerRole), await connect(appRole)];
  await app.query("set rowhook.tenant_id = 'acme'");
});

afterAll(async () => {
  await Promise.all([worker?.end(), app?.end()]);
  await database?.query(`drop role ${workerRole}; drop role ${appRole}`);
  await database?.drop();
});

beforeEach(() => database.query('delete from rowhook.integration_events'));

/** Events as the API stores them. */
async function put(tenantId: string, count: number, name = 'lead.captured'): Promise<string[]> {
  const rows = await database.query<{ id: string }>(
    `select r.id from generate_series(1, $2::int) as n
      cross join lateral ${receiveSql('$1', '$3', "json_build_object('n', n)", "'192.0.2.1'")} as r`,
    [tenantId, count, name],
  );
  return rows.map(({ id }) => id);
}

const claim = async (client: pg.Client, names: string[] | null = null, max = 10, lease = '1 minute') =>
  (
    await client.query<Event>('select * from rowhook.claim_integration_events($1, $2, $3::interval)', [
      names,
      max,
      lease,
    ])
  ).rows;
const event = async (id: string | undefined) =>
  (await database.query<Event>('select * from rowhook.integration_events where id = $1', [id]))[0];
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: pg.DatabaseError) => error.code,
  );
/** As time does. */
const endLeases = () =>
  database.query(
    "update rowhook.integration_events set available_at = now() - interval '1 s' where status = 'processing'",
  );

test('as the issue writes it', async () => {
  await put('acme', 3);
  await put('acme', 1, 'other');
  const { rows } = await worker.query<Event>(
    "select * from rowhook.claim_integration_events(event_names => '{lead.captured}', max_count => 10, lease => '1 minute')",
  );
  expect(rows.map(({ event_name, status, attempts }) => [event_name, status, attempts])).toEqual(
    Array(3).fill(['lead.captured', 'processing', 1]),
  );
  const [first, second, third] = rows.map(({ id }) => id);
  await worker.query('select rowhook.complete_integration_event($1, 1)', [first]);
  await worker.query("select rowhook.fail_integration_event($1, 'no mail address')", [second]);
  await worker.query("select rowhook.fail_integration_event($1, 'mail is down', '0 seconds', 1)", [third]);
  expect([await event(first), await event(second), await event(third)]).toMatchObject([
    { status: 'processed', error_message: null },
    { status: 'failed', error_message: 'no mail address' },
    { status: 'received', error_message: 'mail is down' },
  ]);
  expect((await claim(worker, ['lead.captured'])).map(({ id, attempts }) => [id, attempts])).toEqual([[third, 2]]);
  expect(await claim(worker, ['lead.captured'])).toEqual([]);
  expect(await claim(worker, ['other', 'lead.captured'])).toHaveLength(1);
});

describe('a lease', () => {
  test('that ends gives the event back, and its claim is refused from then on', async () => {
    const [id] = await put('acme', 1);
    await claim(worker, null, 1, '1 second');
    await waitUntil('it can be claimed again', async () => (await claim(worker)).length > 0);
    expect(await event(id)).toMatchObject({ status: 'processing', attempts: 2 });
    for (const call of ['complete_integration_event($1, 1)', "fail_integration_event($1, 'x', null, 1)"])
      expect(await refusal(worker.query(`select rowhook.${call}`, [id]))).toBe('55000');
    await worker.query('select rowhook.complete_integration_event($1, 2)', [id]);
    // A worker that got no answer asks again.
    await worker.query('select rowhook.complete_integration_event($1, 2)', [id]);
    expect(await refusal(worker.query("select rowhook.fail_integration_event($1, 'late')", [id]))).toBe('55000');
  });

  test('ends ten times at most', async () => {
    const [id] = await put('acme', 1);
    for (let attempt = 1; attempt <= 10; attempt++) {
      expect((await claim(worker)).map(({ attempts }) => attempts)).toEqual([attempt]);
      await endLeases();
    }
    expect(await claim(worker)).toEqual([]);
    expect(await event(id)).toMatchObject({ status: 'failed', attempts: 10, error_message: expect.any(String) });
    await worker.query('select rowhook.retry_integration_event($1)', [id]);
    expect((await claim(worker)).map(({ attempts }) => attempts)).toEqual([11]);
    await worker.query("select rowhook.fail_integration_event($1, 'no', '0 s')", [id]);
    expect(await event(id)).toMatchObject({ status: 'received' });
  });

  test('of a worker that failed ten times ends in failed, with a time to retry or without', async () => {
    const [id] = await put('acme', 1);
    for (let attempt = 1; attempt <= 10; attempt++) {
      await claim(worker);
      await worker.query("select rowhook.fail_integration_event($1, 'again', '0 s')", [id]);
    }
    expect(await event(id)).toMatchObject({ status: 'failed', attempts: 10 });
  });
});

test('tenants take turns', async () => {
  await put('flood', 300);
  for (const tenant of ['a', 'b', 'c']) await put(tenant, 2);
  for (const names of [null, ['lead.captured']]) {
    const claimed = await claim(worker, names, 8);
    expect(claimed).toHaveLength(8);
    expect(new Set(claimed.map(({ tenant_id }) => tenant_id))).toEqual(new Set(['a', 'b', 'c', 'flood']));
    await database.query("update rowhook.integration_events set status = 'received', available_at = received_at");
  }
  // what nobody else wants goes to whoever has more
  expect(await claim(worker, null, 100)).toHaveLength(100);
});

test('a tenant of a thousand is found sooner or later', async () => {
  await database.query(`select ${receiveSql("'t' || n", "'a'")} from generate_series(1, 100) as n`);
  let left = 100;
  while (left > 0) {
    const claimed = await claim(worker, null, 7);
    expect(claimed.length).toBeGreaterThan(0);
    left -= claimed.length;
  }
  expect(await claim(worker)).toEqual([]);
});

describe('an application', () => {
  test('sees, claims and ends the events of its own tenant, and nothing else', async () => {
    const [[own], [foreign]] = [await put('acme', 1), await put('other', 1)];
    expect((await app.query('select id from rowhook.integration_events')).rows).toEqual([{ id: own }]);
    expect((await claim(app)).map(({ id }) => id)).toEqual([own]);
    for (const call of [
      'complete_integration_event($1)',
      "fail_integration_event($1, 'x')",
      'retry_integration_event($1)',
    ])
      expect(await refusal(app.query(`select rowhook.${call}`, [foreign]))).toBe('P0002');
    expect(
      (await app.query("update rowhook.integration_events set status = 'processed' where id = $1", [foreign])).rowCount,
    ).toBe(0);
    expect(await event(foreign)).toMatchObject({ status: 'received', attempts: 0 });
  });

  test('may poll and set the status itself, as the guide does, and no other column', async () => {
    const [id] = await put('acme', 1);
    await app.query(
      "update rowhook.integration_events set status = 'processed', processed_at = now(), error_message = null where id = $1",
      [id],
    );
    expect(await event(id)).toMatchObject({ status: 'processed' });
    for (const set of ["payload = '1'", 'attempts = 0', "tenant_id = 'other'", 'available_at = now()'])
      expect(await refusal(app.query(`update rowhook.integration_events set ${set}`))).toBe('42501');
    for (const statement of [
      'delete from rowhook.integration_events',
      "insert into rowhook.integration_events (id, tenant_id, event_name, payload) values (gen_random_uuid(), 'acme', 'a', '1')",
      'select secret from rowhook.inbound_sources',
      `select ${receiveSql("'acme'", "'a'")}`,
      "select * from rowhook._inbound_source('x', null, null, null)",
      'select * from rowhook._claim_inbound(null, null, 1, interval $$1 minute$$)',
      'select rowhook._complete_inbound(null, gen_random_uuid(), null)',
    ])
      expect([statement, await refusal(app.query(statement))]).toEqual([statement, '42501']);
  });

  test('without a tenant has nothing', async () => {
    await put('acme', 1);
    const nobody = await connect(appRole);
    expect(await claim(nobody)).toEqual([]);
    expect((await nobody.query('select from rowhook.integration_events')).rowCount).toBe(0);
    await nobody.end();
  });
});

test('a worker calls the functions, and reads no table', async () => {
  for (const table of ['integration_events', 'inbound_sources', 'webhook_configurations', 'api_keys'])
    expect(await refusal(worker.query(`select from rowhook.${table}`))).toBe('42501');
});

test('what cannot be is refused', async () => {
  const wrong = [
    'rowhook.claim_integration_events(max_count => 0)',
    'rowhook.claim_integration_events(max_count => 1001)',
    "rowhook.claim_integration_events(lease => '0')",
    "rowhook.claim_integration_events(lease => '2 days')",
    "rowhook.claim_integration_events(event_names => '{null}')",
  ];
  for (const call of wrong) expect(await refusal(worker.query(`select ${call}`))).toBe('22023');
  const [id] = await put('acme', 1);
  expect(await refusal(worker.query("select rowhook.fail_integration_event($1, 'x', '-1 s')", [id]))).toBe('22023');
  expect(await refusal(worker.query('select rowhook.complete_integration_event(gen_random_uuid())'))).toBe('P0002');
});

describe('days', () => {
  const day = (ago: number) => `now() - interval '${ago} days'`;
  const partitions = async () =>
    (
      await database.query<{ name: string }>(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'rowhook.integration_events'::regclass order by 1",
      )
    ).map(({ name }) => name);

  test('there are partitions for a week ahead, and a default one that takes what has none', async () => {
    expect(await partitions()).toHaveLength(10);
    const [made] = await database.query('select rowhook._make_inbound_partitions() as made');
    expect(made).toEqual({ made: 0 });
  });

  test('a day goes when nothing in it waits, and after 90 days in any case', async () => {
    const insert = (ago: number, status: string) =>
      database.query(
        `insert into rowhook.integration_events (id, tenant_id, event_name, payload, status, received_at)
         values (gen_random_uuid(), 'acme', 'a', '1', '${status}', ${day(ago)})`,
      );
    await insert(40, 'processed');
    await insert(50, 'processing');
    await insert(95, 'received');
    // each call moves the rows of one day out of the default partition
    for (let i = 0; i < 3; i++) await database.query('select rowhook._make_inbound_partitions()');
    expect(await partitions()).toHaveLength(13);
    expect(await database.query('select from only rowhook.integration_events_default')).toHaveLength(0);
    expect(await database.query('select rowhook._drop_old_inbound(30) as dropped')).toEqual([{ dropped: 2 }]);
    expect(await database.query('select status from rowhook.integration_events')).toEqual([{ status: 'processing' }]);
    await database.query("update rowhook.integration_events set status = 'failed'");
    expect(await database.query('select rowhook._drop_old_inbound(30) as dropped')).toEqual([{ dropped: 1 }]);
  });
});
