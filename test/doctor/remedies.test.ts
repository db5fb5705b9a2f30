// Remedies of the doctor, run as they are printed, in the state that they are meant for: those of tables with odd names, and those
// that no other test runs. remedies.unit.test.ts says which test runs which.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { captureCost } from '../../src/doctor/checks/capture-cost.ts';
import { daemons } from '../../src/doctor/checks/daemons.ts';
import { muted } from '../../src/doctor/checks/muted-sessions.ts';
import { ring } from '../../src/doctor/checks/outbox-slots.ts';
import { privileges } from '../../src/doctor/checks/privileges.ts';
import { schema } from '../../src/doctor/checks/schema.ts';
import { longTransactions } from '../../src/doctor/checks/transactions.ts';
import { triggers } from '../../src/doctor/checks/triggers.ts';
import { type Check, type CheckResult, LIMITS, type Limits } from '../../src/doctor/finding.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { paste, startPasted } from '../support/paste.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  await database.query('create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere');
});

afterAll(() => database.drop());

/** What one check finds. */
async function results(check: Check, limits: Partial<Limits> = {}, url = database.url): Promise<CheckResult[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const found = await check({
      client,
      databaseUrl: url,
      wake: 'poll',
      environment: undefined,
      limits: { ...LIMITS, handoverMs: 0, ...limits },
      now: Date.now,
    });
    return found.filter(({ kind }) => kind !== 'fine');
  } finally {
    await client.end();
  }
}

const fixFor = (result: CheckResult | undefined) => (result && 'fix' in result ? result.fix : '');
/** Quotes of SQL, of a shell and of identifiers, a space, and what is not ASCII. */
const ODD = `"It's Ü"`;
const SETTINGS = `prefix => 'odd', events => '{updated}', derived => '{"it''s": "its"}', ignore_columns => '{"n o",updated_at}', capture => 'all'`;

describe('a table with odd names', () => {
  test.each<[what: string, make: string, choose?: [string, string]]>([
    ['was dropped', `drop table ${ODD}`],
    ['has lost its column tenant_id', `alter table ${ODD} drop column tenant_id`],
    [
      'has lost its column tenant_id',
      `alter table ${ODD} drop column tenant_id, drop column org_id`,
      ["'...'", "'Kunde Nr'"],
    ],
    ["has lost it's, from which events are derived", `alter table ${ODD} drop column "it's"`],
    [
      'is now another table',
      `alter table ${ODD} rename to "It's old"; create table ${ODD} (id int primary key, org_id text, "it's" text)`,
    ],
    [
      'is now another table',
      `drop table ${ODD}; create table ${ODD} (id int primary key, tenant_id text, "n o" text, "it's" text)`,
    ],
    ['lacks rowhook_insert', `drop trigger rowhook_insert on ${ODD}`],
    ['rowhook_update is disabled', `alter table ${ODD} disable trigger rowhook_update`],
    ['has a foreign table under it', `create foreign table "It's far" () inherits (${ODD}) server nowhere`],
  ])('%s: %s', async (what, make, choose = ['', '']) => {
    await database.query(`
      create table ${ODD} (id int primary key, tenant_id text, org_id text, "Kunde Nr" text, "it's" text, "n o" text);
      select rowhook.watch('${ODD.replaceAll("'", "''")}', ${SETTINGS})`);
    const before = await settings();
    await database.query(make);
    const [found, ...others] = await results(triggers);
    expect(others).toEqual([]);
    expect(found?.what).toContain(what);
    await paste(fixFor(found).replace(...choose), database);
    expect(await results(triggers)).toEqual([]);
    for (const row of await settings()) expect(row).toMatchObject(before[0] as object);
    await database.query(`
      select rowhook.unwatch(relation::text) from rowhook.webhook_sources where prefix = 'odd';
      drop table if exists ${ODD}, "It's old" cascade; drop foreign table if exists "It's far"`);
  });

  /** What a remedy must not take away. */
  const settings = () =>
    database.query("select capture, events from rowhook.webhook_sources where prefix = 'odd' order by id");

  test('is what a subscription fills, or what capture costs much', async () => {
    await database.query(`
      create table ${ODD} (id int primary key, tenant_id text);
      select rowhook.watch('${ODD.replaceAll("'", "''")}', prefix => 'odd', capture => 'all');
      create subscription odd connection 'host=127.0.0.1' publication p with (connect = false, slot_name = none)`);
    await database.query(
      `insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, '${ODD.replaceAll("'", "''")}'::regclass, 'r' from pg_subscription where subname = 'odd'`,
    );
    await database.query(`insert into ${ODD} select n, 'acme' from generate_series(1, 100) as n`);
    try {
      const [subscription] = await results(muted);
      expect((await paste(fixFor(subscription), database)).stdout).toMatch(/^Watching public\."It's Ü":/);
    } finally {
      await database.query('delete from pg_subscription_rel');
      await database.query('drop subscription odd');
    }
    await database.query(
      `select rowhook.watch('${ODD.replaceAll("'", "''")}', prefix => 'odd', capture => 'all'); insert into ${ODD} select n, 'acme' from generate_series(101, 200) as n`,
    );
    const cost = await waitUntil('its rows are counted', async () => {
      const found = await results(captureCost, { captureShare: 0, captureSeconds: 0 });
      return found.find(({ what }) => what.includes(ODD));
    });
    await paste(fixFor(cost), database);
    expect(await settings()).toEqual([{ capture: 'all', events: ['created'] }]);
    await database.query(
      `select rowhook.unwatch('${ODD.replaceAll("'", "''")}'); drop table ${ODD}; truncate rowhook.webhook_outbox`,
    );
  });
});

test.each([
  ['a foreign partition of a partition', 'detach partition'],
  ['the other remedy', 'unwatch'],
])('%s', async (_, verb) => {
  await database.query(`
    create table top (id int, tenant_id text) partition by list (id);
    create table middle partition of top for values in (1, 2) partition by list (id);
    select rowhook.watch('top');
    create foreign table far partition of middle for values in (2) server nowhere`);
  const remedy = fixFor((await results(triggers))[0]);
  expect(remedy).toContain(verb);
  await paste(verb === 'unwatch' ? remedy.replace(/^.* or /, '') : remedy, database);
  expect(await results(triggers)).toEqual([]);
  await database.query("select rowhook.unwatch('top'); drop table top; drop foreign table if exists far");
});

test('no table is watched', async () => {
  await database.query('select rowhook.unwatch(relation) from rowhook.webhook_sources');
  const [none] = await results(triggers);
  expect(none?.what).toBe('no table is watched');
  await paste(fixFor(none), database);
  expect(await results(triggers)).toEqual([]);
});

test('rowhook is not installed', async () => {
  const bare = await createDatabase({ bare: true });
  try {
    const [missing] = await results(schema, {}, bare.url);
    await paste(fixFor(missing), bare);
    expect(await results(schema, {}, bare.url)).toEqual([]);
  } finally {
    await bare.drop();
  }
});

test('transactions that may not be seen, and a daemon that may do anything: the roles', async () => {
  const role = `reader_${database.name}`;
  await database.query(`create role ${role} login password 'secret'; grant rowhook_daemon to ${role}`);
  const url = databaseUrl(database.url, database.name, role, 'secret');
  const mighty = new pg.Client({ connectionString: database.url, application_name: 'rowhook reader' });
  await mighty.connect();
  try {
    const [unseen] = await results(longTransactions, {}, url);
    await paste(fixFor(unseen), database);
    expect(await results(longTransactions, {}, url)).toEqual([]);
    const [superuser] = await results(privileges);
    await paste(fixFor(superuser), database);
    await mighty.query("select set_config('application_name', 'x', false)");
    expect(await database.query("select pg_has_role('rowhook_login', 'rowhook_daemon', 'usage') as is")).toEqual([
      { is: true },
    ]);
  } finally {
    await mighty.end();
    await database.query(`drop owned by ${role}; drop role ${role}; drop role if exists rowhook_login`);
  }
});

test('an API that could bypass row-level security: the role', async () => {
  const mighty = new pg.Client({ connectionString: database.url, application_name: 'rowhook api' });
  await mighty.connect();
  try {
    const [superuser] = await results(privileges);
    await paste(fixFor(superuser), database);
    await mighty.query("select set_config('application_name', 'x', false)");
    expect(await results(privileges)).toEqual([]);
    expect(await database.query("select pg_has_role('rowhook_api_login', 'rowhook_api', 'usage') as is")).toEqual([
      { is: true },
    ]);
  } finally {
    await mighty.end();
    await database.query('drop role if exists rowhook_api_login');
  }
});

test('nobody delivers, and a slot waits for it: both say how to start one', async () => {
  await database.query(
    `insert into rowhook.webhook_outbox (lane, tenant_id, event_types, occurred_at, slot)
     values (5, 't', '{a.b}', now() - interval '7 days 1 hour', (floor(extract(epoch from now()) / 86400)::bigint + 1) % 8)`,
  );
  const [lanes] = await results(daemons);
  const [slot] = await results(ring);
  expect(slot?.what).toMatch(/pinned by lanes 5, .*: no daemon owns them$/);
  expect(fixFor(slot)).toBe(fixFor(lanes));
  const daemon = await startPasted(fixFor(lanes), { DATABASE_URL: database.daemonUrl, ROWHOOK_HTTP_PORT: '0' });
  try {
    await waitUntil('it delivers', async () => (await results(daemons)).length === 0);
    await waitUntil('the slot is read', async () => (await results(ring)).every((one) => fixFor(one) !== fixFor(slot)));
  } finally {
    daemon.process.kill('SIGTERM');
    await daemon.ended;
  }
});
