// "I changed a row and nothing came": each place where a change may stop is found, and what is printed mends it.

import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import type { Answer, Step } from '../../src/operations/why/answer.ts';
import { whyOf } from '../../src/operations/why/why.ts';
import { rowhook } from '../support/cli.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { paste } from '../support/paste.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;
let client: pg.Client;
let id = 0;

beforeAll(async () => {
  database = await createDatabase();
  receiver = await startReceiver();
  await database.query(`
    create table orders (id int primary key, tenant_id text, v text);
    create table "User" (id int primary key, tenant_id text);
    create schema s2;
    create table s2.invoices (id int primary key, tenant_id text);
    create table invoices (id int primary key, tenant_id text);
    create table lines (order_id uuid, n numeric(10, 2), tenant_id text, v text, primary key (order_id, n));
    create table parts (id int, day date, tenant_id text, primary key (id, day)) partition by range (day);
    create table parts_1 partition of parts for values from ('2025-01-01') to ('2026-01-01');
    create table parts_2 partition of parts for values from ('2026-01-01') to ('2027-01-01');
    create table odd ("Key" numeric, "t x" text, tenant_id text, v text, primary key ("Key", "t x"));
    create table keyless (v text, tenant_id text);
    create table calls (at timestamptz default now());
    create function called(int) returns boolean language plpgsql as $$ begin insert into calls default values; return true; end $$;
    create domain checked as int check (called(value));
    create table domains (id checked primary key, tenant_id text);
    create type color as enum ('red', 'blue');
    create domain paint as color;
    create table colors (id color, other paint, tenant_id text, primary key (id, other));
    create table "It's Ü" ("Nr." int primary key, "Kunde Nr" text);
    create table loose (id int primary key, tenant_id text) partition by list (id);
    create table loose_1 partition of loose default;
    create view a_view as select * from orders;
    select rowhook.watch(t::regclass) from unnest('{orders,s2.invoices,lines,parts,odd,keyless,domains,colors}'::text[]) as t;`);
  daemon = await startTestDaemon(database);
  client = new pg.Client(database.url);
  await client.connect();
});

beforeEach(async () => {
  id += 1;
  receiver.clear();
  receiver.respond('/in', { status: 200 });
  await database.query('delete from rowhook.webhook_configurations');
});

afterAll(async () => {
  await client.end();
  await daemon.stop();
  await receiver.close();
  await database.drop();
});

const cli = (...args: string[]) => rowhook(args, { env: { DATABASE_URL: database.url } });
const ask = (table = 'orders', ...key: string[]): Promise<Answer> =>
  whyOf(client, { table, key: key.length > 0 ? key : [String(id)] });
const refusal = async (table: string, ...key: string[]) =>
  (await ask(table, ...key).catch((error: Error) => error)) as Error;
const stops = ({ steps }: Answer): Step[] => steps.filter(({ kind }) => kind === 'stops');
const webhook = (columns: Record<string, unknown> = {}) =>
  createWebhook(database, { tenant_id: 'acme', url: receiver.url('/in'), retry_enabled: false, ...columns });
const insert = (tenant: string | null = 'acme', table = 'orders', row = id) =>
  database.query(`insert into ${table} (id, tenant_id) values ($1, $2)`, [row, tenant]);
const change = (row = id) => database.query("update orders set v = concat(v, 'x') where id = $1", [row]);

/** A remedy as it was printed: a command of ours, or SQL. What it prints. */
const run = async (fix = '') => (await paste(fix, database)).stdout;

test('what was delivered: exit code 0, each webhook and what became of it', async () => {
  const all = await webhook();
  await webhook({ name: 'created', event_types: ['orders.created'], filter: { 'data.v': 'never' } });
  await insert();
  await receiver.waitFor(1);
  await waitUntil('it is recorded', async () => (await ask()).arrived);
  const { code, stdout, stderr } = await cli('why', 'orders', String(id));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain(
    `public.orders, id = ${id}: the row exists, tenant acme\n✓ public.orders is watched since 20`,
  );
  expect(stdout).toMatch(
    new RegExp(`orders\\.created to ${all.id} \\(under test\\): success, delivered, last attempt 20`),
  );
  expect(stdout).toMatch(/\(created\): not sent: .*data\.v/);
  expect(stdout).toMatch(/\nThe newest change was delivered\.\n$/);

  // a row that is gone, whose last event says so
  await database.query('delete from orders where id = $1', [id]);
  await receiver.waitFor(2);
  const gone = await waitUntil('it is recorded', async () => {
    const answer = await ask();
    return answer.changes[0]?.sendings[0]?.happened ? answer : undefined;
  });
  expect(gone).toMatchObject({ row: 'gone', tenant_id: 'acme', arrived: true });
  expect(gone.changes.map(({ event_types }) => event_types)).toEqual([['orders.deleted'], ['orders.created']]);
  await caughtUp(database);
  const json = await cli('why', 'orders', String(id), '--json');
  expect(JSON.parse(json.stdout)).toEqual(JSON.parse(JSON.stringify(gone)));
});

describe('the table', () => {
  test('is not watched: the remedy watches it, and the next change is captured', async () => {
    await webhook();
    const [stop, ...others] = stops(await ask('"User"'));
    expect(others).toEqual([]);
    expect(stop).toMatchObject({ what: 'public."User" is not watched' });
    await run(stop?.fix);
    await insert('acme', '"User"');
    expect((await ask('"User"')).changes).toHaveLength(1);
  });

  test('is a partition: the remedy watches the whole table', async () => {
    await webhook();
    await run(stops(await ask('loose_1'))[0]?.fix);
    await insert('acme', 'loose');
    expect((await ask('loose_1')).changes).toHaveLength(1);
  });

  test('has odd names, and no column that is known to be the tenant: the remedies can be pasted', async () => {
    await webhook();
    const odd = `"It's Ü"`;
    const [stop] = stops(await ask(odd, '1'));
    await run(stop?.fix?.replace('<column>', `'Kunde Nr'`));
    await database.query(`insert into ${odd} values (1, null)`);
    const [withoutTenant] = stops(await ask(odd, '1'));
    await run(withoutTenant?.fix?.replace('<tenant>', 'acme'));
    expect((await ask(odd, '1')).changes).toHaveLength(1);
  });

  test('took the place of a watched one: the remedy keeps the settings', async () => {
    await webhook();
    await database.query(`
      create table plans (id int primary key, account text);
      select rowhook.watch('plans', prefix => 'plan', tenant_column => 'account');
      drop table plans; create table plans (id int primary key, account text)`);
    const [stop] = stops(await ask('plans'));
    expect(stop?.what).toBe('public.plans is now another table, which is not watched');
    await run(stop?.fix);
    await database.query("insert into plans values ($1, 'acme')", [id]);
    expect(await ask('plans')).toMatchObject({ changes: [{ event_types: ['plan.created'] }] });
  });

  test.each([
    ['user', 'public."User"'],
    ['Ordres', 'public.orders'],
    ['public.order', 'public.orders'],
  ])('%s is not there: the near name is a command', async (text, name) => {
    const command = /Did you mean (.*?)( or .*)?\?$/.exec((await refusal(text)).message)?.[1] ?? '';
    expect(command).toContain(name);
    const words = [...command.slice('rowhook '.length).matchAll(/'([^']*)'|(\S+)/g)].map(([, a, b]) => a ?? b ?? '');
    expect((await cli(...words)).code).not.toBe(2);
    expect(await cli('why', text, '1')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no table'),
    });
  });

  test.each(['a.b.c.d', 'nothing like it', '"', ''])('%j is no name', async (text) => {
    expect((await refusal(text)).message).toMatch(/there is no table .*"rowhook sources" lists/);
  });

  test('that another schema has too, and where that one is watched', async () => {
    const { steps } = await ask('invoices', '7');
    expect(steps).toMatchObject([
      { kind: 'stops', what: 'public.invoices is not watched' },
      { kind: 'note', fix: 'rowhook why s2.invoices 7' },
    ]);
  });

  test('without a primary key, or a view', async () => {
    expect((await refusal('keyless', '1')).message).toContain('public.keyless has no primary key');
    expect((await refusal('a_view', '1')).message).toContain('public.a_view is not a table');
  });
});

describe('triggers', () => {
  test.each([
    ['alter table orders disable trigger rowhook_update', 'is disabled: UPDATE statements make no events'],
    ['alter table orders enable replica trigger rowhook_update', 'is enabled for replicas only'],
    ['drop trigger rowhook_update on orders', 'public.orders has no trigger rowhook_update'],
  ])('%s: the remedy mends it', async (breaking, what) => {
    await webhook();
    await insert();
    await database.query(breaking);
    await change();
    const answer = await ask();
    expect(stops(answer)).toMatchObject([{ what: expect.stringContaining(what) }]);
    expect(answer.changes.map(({ event_types }) => event_types)).toEqual([['orders.created']]);
    await run(stops(answer)[0]?.fix);
    await change();
    expect(stops(await ask())).toEqual([]);
    expect((await ask()).changes[0]?.event_types).toEqual(['orders.updated']);
  });

  test('of a partition, asked for the partition or for the whole', async () => {
    await webhook();
    await database.query('alter table parts_2 disable trigger rowhook_insert');
    await database.query("insert into parts_2 values ($1, '2026-05-05', 'acme')", [id]);
    const key = [String(id), '2026-05-05'];
    const seen = await ask('parts', ...key);
    expect(stops(seen)[0]?.what).toContain('the trigger rowhook_insert of public.parts_2 is disabled');
    expect(stops(await ask('parts_2', ...key))).toEqual(stops(seen));
    await run(stops(seen)[0]?.fix);
    await database.query("update parts_2 set tenant_id = 'acme', day = '2026-05-06' where id = $1", [id]);
    expect((await ask('parts', String(id), '2026-05-06')).changes).toHaveLength(1);
  });

  test('a database whose sessions are mute', async () => {
    await webhook();
    await database.query(`alter database ${database.name} set rowhook.mute = 'on'`);
    const [stop] = stops(await ask());
    expect(stop?.what).toContain('rowhook.mute=on is set for database');
    await run(stop?.fix);
    expect(stops(await ask()).filter(({ what }) => what.includes('mute=on'))).toEqual([]);
  });
});

describe('the row', () => {
  test('whose tenant is null', async () => {
    const { id: of } = await webhook();
    await insert(null);
    const [stop] = stops(await ask());
    expect(stop?.what).toBe('tenant_id of the row is null, and a row without a tenant makes no event');
    await run(stop?.fix?.replace('<tenant>', 'acme'));
    await waitUntil('it arrives', async () => (await ask()).arrived);
    expect((await ask()).changes[0]?.sendings).toMatchObject([{ webhook_id: of, sent: true }]);
  });

  test('by a composite key, written as people write it', async () => {
    const order = randomUUID();
    await webhook();
    await database.query("insert into lines values ($1, 1.5, 'acme')", [order]);
    for (const key of [
      [order, '1.50'],
      [order.toUpperCase(), '1.5'],
    ]) {
      const answer = await ask('lines', ...key);
      expect(answer).toMatchObject({ row: 'found', changes: [{ event_types: ['lines.created'] }] });
    }
    expect((await refusal('lines', order)).message).toMatch(
      /2 columns\. Use: rowhook why public\.lines <order_id> <n>$/,
    );
    expect((await refusal('lines', 'x', '1')).message).toContain(
      'this is not a key of the table: invalid input syntax',
    );
    expect(await cli('why', 'lines', 'x', '1')).toMatchObject({ code: 2 });
  });

  test('by a key whose equal values print differently, under names and with values that are to be quoted', async () => {
    await webhook();
    const text = `it's (a, "b") \\`;
    await database.query('insert into odd values (1.0, $1, null)', [text]);
    const asked = () => ask('odd', '1', text);
    const [stop] = stops(await asked());
    await run(stop?.fix?.replace('<tenant>', 'acme'));
    expect(await asked()).toMatchObject({ row: 'found', changes: [{ event_types: ['odd.created'] }] });
    await database.query('delete from odd');
    expect(await ask('odd', '1.0', text)).toMatchObject({ row: 'gone', changes: [{}, {}] });
  });

  test('by a key of a type and a domain of its own', async () => {
    await webhook();
    await database.query("insert into colors values ('red', 'blue', 'acme')");
    expect(await ask('colors', 'red', 'blue')).toMatchObject({
      row: 'found',
      changes: [{ event_types: ['colors.created'] }],
    });
    expect((await refusal('colors', 'red', 'green')).message).toContain('invalid input value for enum');
  });

  test('that somebody holds locked: all else is answered', async () => {
    await webhook();
    await insert();
    const other = await database.pool.connect();
    try {
      await other.query('begin; lock table orders in access exclusive mode');
      const answer = await ask();
      expect(answer).toMatchObject({
        row: 'unseen',
        tenant_id: 'acme',
        changes: [{ event_types: ['orders.created'] }],
      });
      expect(answer.steps.find(({ kind }) => kind === 'note')?.what).toMatch(
        /^the row cannot be read: canceling statement due to lock timeout$/,
      );
    } finally {
      await other.query('rollback');
      other.release();
    }
  });

  test('that this role may not read; and nothing but the row is asked, and nothing is written', async () => {
    await webhook();
    await insert();
    await insert('acme', 'domains');
    await database.query('delete from calls');
    expect(await ask('domains')).toMatchObject({ row: 'found', changes: [{ event_types: ['domains.created'] }] });
    expect(await database.query('select from calls')).toEqual([]);
    const other = new pg.Client(database.daemonUrl);
    await other.connect();
    try {
      const asked = () => whyOf(other, { table: 'public.orders', key: [String(id)] });
      const unseen = await asked();
      expect(unseen).toMatchObject({
        row: 'unseen',
        tenant_id: 'acme',
        changes: [{ event_types: ['orders.created'] }],
      });
      const note = unseen.steps.find(({ kind }) => kind === 'note');
      expect(note?.what).toContain('the row cannot be read: permission denied for');
      // no grant: the daemon's login can only deliver
      expect(note?.fix).toBe('run "rowhook why" with a login that may read public.orders, such as that of its owner');
      expect(await ask()).toMatchObject({ row: 'found' });
    } finally {
      await other.end();
    }
  });
});

describe('webhooks', () => {
  test('none has the tenant; a near one is named', async () => {
    await webhook({ tenant_id: 'acm' });
    await insert();
    const [stop] = stops(await ask());
    expect(stop?.what).toBe(`no webhook has the row's tenant "acme"; there are webhooks of "acm"`);
    await run(stop?.fix?.replace('<name>', 'CRM').replace('<url>', 'https://example.com/in'));
    await change();
    expect((await ask()).changes).toHaveLength(1);
  });

  test('wants other events: the remedy adds those of the table', async () => {
    await webhook({ event_types: ['deal.*'] });
    await insert();
    const [stop, captured] = stops(await ask());
    expect(stop?.what).toMatch(/^webhook \S+ \(under test\) wants deal\.\*, which the table does not produce$/);
    expect(captured?.what).toBe('no change of this row is in the outbox. The lines above say why');
    await run(stop?.fix);
    await change();
    await receiver.waitFor(1);
    await waitUntil('it arrives', async () => (await ask()).arrived);
  });

  test('wants a misspelt event of the table: the remedy corrects it, and keeps those of other tables', async () => {
    const { id } = await webhook({ event_types: ['orders.updatd', 'colors.created'] });
    await insert();
    const [stop] = stops(await ask());
    expect(stop?.fix).toBe(`rowhook webhook update ${id} --events orders.updated,colors.created --force`);
    await run(stop?.fix);
    await change();
    await receiver.waitFor(1);
  });

  test.each([
    ['is_active = false', /is switched off$/],
    ["is_active = false, disabled_at = now(), disabled_reason = 'gone'", /is disabled by rowhook: gone$/],
  ])('%s: the remedies enable it, and send what it missed', async (set, what) => {
    await webhook();
    await database.query(`update rowhook.webhook_configurations set ${set}`);
    await insert();
    await caughtUp(database);
    const [stop] = stops(await ask());
    expect(stop?.what).toMatch(what);
    expect(await run(stop?.fix)).toContain('it missed 1 event');
    await run((await ask()).changes[0]?.sendings[0]?.fix);
    await receiver.waitFor(1);
    await waitUntil('it arrives', async () => (await ask()).arrived);
  });

  test.each([
    [false, 'given_up'],
    [true, 'waiting'],
  ])('a receiver that fails, retries %j: it is %s, and the remedy sends it', async (retry_enabled, status) => {
    receiver.respond('/in', { status: 500 });
    await webhook({ retry_enabled, retry_strategy: 'linear', retry_delay_seconds: 3600 });
    await insert();
    const answer = await waitUntil('it has failed', async () => {
      const now = await ask();
      return now.changes[0]?.sendings[0]?.happened?.status === status ? now : undefined;
    });
    expect(answer.arrived).toBe(false);
    expect(stops(answer)).toEqual([]);
    expect((await cli('why', 'orders', String(id))).code).toBe(1);
    receiver.respond('/in', { status: 200 });
    await run(answer.changes[0]?.sendings[0]?.fix);
    await receiver.waitFor(2);
    await waitUntil('it arrives', async () => (await ask()).arrived);
  });

  test('a URL that the daemon refuses: both settings are named, and the remedy sends it', async () => {
    const other = await webhook({ name: 'other', url: 'http://localhost:8080/' });
    await daemon.stop();
    daemon = await startTestDaemon(database, { allowHttp: false, allowCidrs: [] });
    const { id: refused } = await webhook();
    await insert();
    const answer = await waitUntil('it is refused', async () => {
      const now = await ask();
      return stops(now).length === 2 ? now : undefined;
    });
    const [first, second] = [other.id, refused].map((of) => stops(answer).find(({ what }) => what.includes(of)));
    expect(first?.what).toMatch(/^orders\.created was not sent to webhook .* \(other\): .*ALLOW_HTTP.*ALLOW_CIDRS/);
    expect(second?.what).toMatch(
      / 127\.0\.0\.1 .* add 127\.0\.0\.1\/32 to ROWHOOK_ALLOW_CIDRS\. .*ROWHOOK_ALLOW_HTTP=true/,
    );
    expect(second?.what).not.toContain('--since');
    expect((await cli('why', 'orders', String(id))).stdout).toMatch(/\n✗ orders\.created was not sent to webhook /);
    await daemon.stop();
    daemon = await startTestDaemon(database);
    await run(second?.fix);
    await receiver.waitFor(1);
    await waitUntil('it arrives', async () => stops(await ask()).length === 1);
    expect((await cli('why', 'orders', String(id))).stdout).toMatch(
      /\nThe newest change was not delivered to every webhook\. The lines with ✗ say why\.\n$/,
    );
  });

  test('no daemon runs: it is to be started', async () => {
    await webhook();
    await daemon.stop();
    await insert();
    const [stop] = stops(await ask());
    expect(stop).toMatchObject({
      what: 'no daemon is running, so its newest change has not been read',
      fix: 'rowhook start',
    });
    daemon = await startTestDaemon(database);
    await waitUntil('it arrives', async () => (await ask()).arrived);
  });
});

test('the newest changes come first, also where ids get a digit more, and five of them', async () => {
  await webhook();
  await insert();
  await caughtUp(database);
  await database.query("select setval('rowhook.webhook_outbox_id_seq', 9997)");
  for (let n = 0; n < 5; n++) await change();
  expect((await ask()).changes.map(({ outbox_id }) => outbox_id)).toEqual(['10002', '10001', '10000', '9999', '9998']);
});

test('a webhook that is newer than the event: it was not sent to it, and the remedy sends it', async () => {
  await webhook();
  await insert();
  await receiver.waitFor(1);
  await waitUntil('it is recorded', async () => (await ask()).arrived);
  await caughtUp(database);
  receiver.respond('/new', { status: 200 });
  const { id: newer } = await webhook({ name: 'newer', url: receiver.url('/new') });
  const answer = await ask();
  const late = answer.changes[0]?.sendings.find(({ webhook_id }) => webhook_id === newer);
  expect(late).toMatchObject({ sent: false, because: 'the webhook did not exist yet', happened: null });
  expect((await cli('why', 'orders', String(id))).stdout).toMatch(
    /\(newer\): not sent: the webhook did not exist yet\n/,
  );
  await run(late?.fix);
  await receiver.waitFor(2);
  await waitUntil('it is recorded', async () => (await ask()).changes[0]?.sendings.every(({ happened }) => happened));
});

test('a row that was changed before there was a watch or a webhook', async () => {
  await insert();
  await webhook();
  const [stop, ...others] = stops(await ask());
  expect(others).toEqual([]);
  expect(stop?.what).toMatch(
    /^no change of this row is in the outbox\. Possible reasons, the likely one first: no webhook of its tenant wanted it at that moment: webhook \S+ \(under test\) was created at 20\S+\. Then write the row again; it was changed/,
  );
  expect((await cli('why', 'orders', String(id))).stdout).toMatch(/\nNothing arrived\. The lines with ✗ say why\.\n$/);
});
