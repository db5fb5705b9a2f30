// Watched tables that are replaced: by renaming, by DROP and CREATE, by a restore in place. They are found again by their names,
// and what cannot be followed is reported with the statement that mends it.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, databaseUrl, type TestDatabase } from './support/database.ts';
import { lines, takeChanges } from './support/outbox.ts';
import { wantedMajor } from './support/server.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

beforeEach(async () => {
  await database.query(`
    select rowhook.unwatch(relation) from rowhook.webhook_sources;
    drop schema if exists app, app_old, app_new cascade;
    create schema app;
    create table app.orders (id int primary key, account text, state text, seen int);
    select rowhook.watch('app.orders', prefix => 'order', tenant_column => 'account', capture => 'all',
                         derived => '{"state":"state.changed"}', ignore_columns => '{seen}')`);
  await takeChanges(database);
});

afterAll(() => database.drop());

const reconcile = async (on: Pick<pg.Client, 'query'> = database.pool) =>
  (await on.query<{ line: string }>("select relation || ': ' || change as line from rowhook.reconcile()")).rows.map(
    ({ line }) => line,
  );

const inItsPlace = 'app.orders: another table has this name by now: it is watched in its place';

/** What the source was watched with holds for the table that is app.orders by now. */
async function expectCaptured(): Promise<void> {
  await takeChanges(database);
  await database.query(`
    insert into app.orders values (1, 'acme', 'new', 1); update app.orders set seen = 2;
    update app.orders set state = 'paid'; delete from app.orders`);
  expect(lines(await takeChanges(database))).toEqual([
    'order.created {"id":1,"account":"acme","state":"new","seen":1}',
    'order.updated order.state.changed {"id":1,"account":"acme","state":"paid","seen":2} was {"state":"new"}',
    'order.deleted {"id":1,"account":"acme","state":"paid","seen":2}',
  ]);
}

async function asRole<T>(work: (role: string, session: pg.Client) => Promise<T>, options = ''): Promise<T> {
  const role = `rowhook_test_${randomBytes(6).toString('hex')}`;
  await database.query(`create role ${role} login password 'secret' ${options}`);
  const session = new pg.Client(databaseUrl(database.url, database.name, role, 'secret'));
  await session.connect();
  try {
    return await work(role, session);
  } finally {
    await session.end();
    await database.query(`reassign owned by ${role} to current_user; drop owned by ${role}; drop role ${role}`);
  }
}

const failed = (query: Promise<unknown>) =>
  query.then(
    () => ({ message: '', hint: '' }),
    (error: pg.DatabaseError) => ({ message: error.message, hint: error.hint ?? '' }),
  );

describe('a watched table is replaced, and watched on with the same settings', () => {
  test.each<[how: string, sql: string, more?: string[]]>([
    [
      'by a copy of it, in one transaction',
      `begin; create table app.new (like app.orders including all); alter table app.orders rename to old;
       alter table app.new rename to orders; drop table app.old; commit`,
      ['app.orders: triggers attached'],
    ],
    [
      'by a copy of it, while the earlier one stays',
      `create table app.new (like app.orders including all);
       begin; alter table app.orders rename to old; alter table app.new rename to orders; commit`,
      ['app.orders: triggers attached', 'app.old: triggers detached'],
    ],
    [
      'by DROP and CREATE',
      'drop table app.orders; create table app.orders (id int primary key, account text, state text, seen int)',
      ['app.orders: triggers attached'],
    ],
    [
      'by a partitioned table that takes the earlier one as a partition',
      `begin; alter table app.orders rename to orders_0; alter table app.orders_0 alter id set not null;
       create table app.orders (like app.orders_0 including all) partition by range (id);
       alter table app.orders attach partition app.orders_0 for values from (0) to (1000); commit`,
      ['app.orders: triggers attached'],
    ],
    [
      'by the table of another schema, which takes the name of this one',
      `create schema app_new; create table app_new.orders (like app.orders including all);
       begin; alter schema app rename to app_old; alter schema app_new rename to app; commit`,
      ['app.orders: triggers attached', 'app_old.orders: triggers detached'],
    ],
    [
      'by one with its columns in another order',
      `drop table app.orders; create table app.orders (id int primary key, account text, state text, seen int, gone int);
       alter table app.orders drop gone`,
      ['app.orders: triggers attached'],
    ],
  ])('%s', async (_, sql, more = []) => {
    const [before] = await database.query('select id from rowhook.webhook_sources');
    await database.query(sql);
    expect(await reconcile()).toEqual([inItsPlace, ...more]);
    expect(await reconcile()).toEqual([]);
    await expectCaptured();
    expect(await database.query('select id from rowhook.webhook_sources')).toEqual([before]);
  });

  test('also when it comes back later: until then its source is kept, with its settings', async () => {
    await database.query('drop table app.orders');
    expect(await reconcile()).toEqual([
      "app.orders: its table was dropped; the source is kept for 7 days, in case it comes back: select rowhook.unwatch('app.orders') forgets it now",
    ]);
    expect(await reconcile()).toEqual([]);
    await database.query('create table app.orders (id int primary key, account text, state text, seen int)');
    expect(await reconcile()).toEqual([inItsPlace, 'app.orders: triggers attached']);
    await expectCaptured();
  });

  test('and two that swap their names are both watched on', async () => {
    await database.query(`
      create table app.other (id int primary key, account text); select rowhook.watch('app.other', tenant_column => 'account');
      alter table app.orders rename to x; alter table app.other rename to orders; alter table app.x rename to other`);
    expect(await reconcile()).toEqual([]);
    expect(
      await database.query('select relation::text, schema_name, table_name from rowhook.webhook_sources order by id'),
    ).toEqual([
      { relation: 'app.other', schema_name: 'app', table_name: 'other' },
      { relation: 'app.orders', schema_name: 'app', table_name: 'orders' },
    ]);
  });

  test('a view of its name is no table: the table that was renamed is watched on', async () => {
    await database.query('alter table app.orders rename to rows; create view app.orders as select * from app.rows');
    expect(await reconcile()).toEqual([]);
    await expectCaptured();
  });
});

describe('what cannot be followed is reported, each time, with a statement that mends it', () => {
  const statementIn = (line: string | undefined) => /select rowhook\..*;$/.exec(line ?? '')?.[0] ?? '';

  test('one that lacks the column of the tenant', async () => {
    await database.query(
      'drop table app.orders; create table app.orders (id int primary key, tenant_id text, state text, seen int)',
    );
    const told = [
      expect.stringMatching(
        /^app.orders: another table has this name by now and is not watched, since it has no column account: /,
      ),
    ];
    const [line] = await reconcile();
    expect([line]).toEqual(told);
    expect(await reconcile()).toEqual(told);
    expect(statementIn(line)).toBe(
      `select rowhook.watch('app.orders', prefix => 'order', tenant_column => 'tenant_id', derived => '{"state": "state.changed"}', ignore_columns => '{seen}', capture => 'all');`,
    );
    await database.query(statementIn(line));
    expect(await reconcile()).toEqual([]);
    await database.query("insert into app.orders values (1, 'acme', 'new', 1)");
    expect(lines(await takeChanges(database))).toEqual([
      'order.created {"id":1,"tenant_id":"acme","state":"new","seen":1}',
    ]);
    expect(await database.query('select count(*)::int as sources from rowhook.webhook_sources')).toEqual([
      { sources: 1 },
    ]);
  });

  test('one of another owner, who could have anything run otherwise', () =>
    asRole(async (role) => {
      await database.query(`
        drop table app.orders; create table app.orders (id int primary key, account text, state text, seen int);
        alter table app.orders owner to ${role}`);
      const [line] = await reconcile();
      expect(line).toContain(`is not watched, since its owner is ${role}: select rowhook.watch('app.orders'`);
      await database.query(statementIn(line));
      expect(await reconcile()).toEqual([]);
      await expectCaptured();
    }));

  test('one that the daemon may not make triggers on: the owner calls reconcile()', async () => {
    await database.query(
      'drop table app.orders; create table app.orders (id int primary key, account text, state text, seen int)',
    );
    const daemon = new pg.Client(database.daemonUrl);
    await daemon.connect();
    try {
      const told = [
        'app.orders: another table has this name by now and lacks triggers, and rowhook_test_daemon may not make them: let the owner of the table run select rowhook.reconcile()',
      ];
      expect(await reconcile(daemon)).toEqual(told);
      expect(await reconcile(daemon)).toEqual(told);
      expect(await reconcile()).toEqual([inItsPlace, 'app.orders: triggers attached']);
      expect(await reconcile(daemon)).toEqual([]);
    } finally {
      await daemon.end();
    }
    await expectCaptured();
  });

  test('one source that fails holds up no other', async () => {
    // a trigger of ours on a table that is no source, as a restore under another name leaves it
    await database.query(`
      create table app.parted (id int primary key, account text) partition by list (id);
      select rowhook.watch('app.parted', tenant_column => 'account');
      create table app.copy (like app.orders including all)`);
    const [source] = await database.query<{ id: number }>(
      "select id from rowhook.webhook_sources where relation = 'app.orders'::regclass",
    );
    await database.query(`
      create trigger rowhook_insert after insert on app.copy referencing new table as rowhook_new
        for each statement execute function rowhook._capture_${source?.id}();
      drop table app.orders;
      update rowhook.webhook_sources set lost_at = now() - interval '8 days' where id = ${source?.id}`);
    await asRole(async (role, session) => {
      await database.query(`
        grant rowhook_owner to ${role}; grant usage on schema app to ${role}; alter table app.parted owner to ${role};
        create table app.parted_1 partition of app.parted for values in (1); alter table app.parted_1 owner to ${role}`);
      expect(await reconcile(session)).toEqual([
        'app.parted_1: triggers attached',
        expect.stringMatching(
          /^app.orders: unwatch: \w+ may not drop the triggers of table app.copy, whose owner is \w+\. Connect as a login/,
        ),
      ]);
    });
    expect(await reconcile()).toEqual(['app.orders: forgotten: its table was dropped']);
    await database.query("insert into app.copy values (1, 'acme')");
    expect(await takeChanges(database)).toEqual([]);
  });
});

describe('a name that is not there is answered with those that are near', () => {
  beforeEach(() =>
    database.query(`
      drop schema if exists shop cascade; drop table if exists "User", "Bestellung für Ü", invoices;
      create schema shop; create table shop.baskets (id int primary key, tenant_id text);
      create table "User" (id int primary key, tenant_id text);
      create table invoices (id int primary key, tenant_id text);
      create table "Bestellung für Ü" (id int primary key, tenant_id text)`),
  );

  test.each([
    ['User', 'user', 'public."User"'],
    ['"user"', '"user"', 'public."User"'],
    ['public.User', 'public."user"', 'public."User"'],
    ['Users', 'users', 'public."User"'],
    ['baskets', 'baskets', 'shop.baskets'],
    ['invocies', 'invocies', 'public.invoices'],
    ['shop.invoices', 'shop.invoices', 'public.invoices'],
    ['bestellung für ü', '"bestellung für ü"', 'public."Bestellung für Ü"'],
  ])('%s', async (given, _, near) => {
    for (const command of ['watch', 'unwatch']) {
      const { message, hint } = await failed(database.query(`select rowhook.${command}($1::text)`, [given]));
      expect(message).toMatch(new RegExp(`^${command}: there is no table `));
      expect(hint).toBe(
        `Is it ${near}? In SQL: select rowhook.${command}('${near}'); in a shell: rowhook ${command} '${near}'`,
      );
      const remedy = /select rowhook[^;]*/.exec(hint)?.[0] ?? '';
      await database.query(command === 'watch' ? remedy.replace(')', ", prefix => 'p')") : remedy);
    }
  });

  test('what is not near at all is not offered, nor what one may not see', () =>
    asRole(async (role, session) => {
      await database.query(`grant rowhook_owner to ${role}`);
      for (const name of ['basket', 'zebra']) {
        const { hint } = await failed(session.query(`select rowhook.watch('${name}')`));
        expect(hint).toBe('Check its name, and name it with its schema, for example public.deals.');
      }
      const { message, hint } = await failed(session.query("select rowhook.watch('shop.baskets')"));
      expect(message).toBe(`watch: ${role} may not look into schema shop`);
      await database.query(hint.replace(/^.*run: /, ''));
      await database.query(`alter table shop.baskets owner to ${role}`);
      await session.query("select rowhook.watch('shop.baskets')");
    }));
});

describe('somebody who may not', () => {
  test.each(wantedMajor === 15 ? ['inherit'] : ['inherit', 'noinherit'])(
    'unwatch as one who is not the owner of the table (%s)',
    (inherit) =>
      asRole(async (owner) => {
        await database.query(`alter table app.orders owner to ${owner}`);
        await asRole(async (role, session) => {
          const how = inherit === 'inherit' ? '' : 'with inherit true';
          await database.query(`grant rowhook_owner to ${role} ${how}; grant usage on schema app to ${role}`);
          const { message, hint } = await failed(session.query("select rowhook.unwatch('app.orders')"));
          expect(message).toBe(
            `unwatch: ${role} may not drop the triggers of table app.orders, whose owner is ${owner}`,
          );
          await database.query(hint.replace(/^.*run first: /, ''));
          expect((await session.query("select rowhook.unwatch('app.orders')")).rows).toEqual([{ unwatch: true }]);
        }, inherit);
      }),
  );

  test('watch as one who is not the owner of the table', () =>
    asRole(async (role, session) => {
      await database.query(`
        grant rowhook_owner to ${role}; grant usage on schema app to ${role};
        create table app.more (id int primary key, tenant_id text)`);
      const { message, hint } = await failed(session.query("select rowhook.watch('app.more')"));
      expect(message).toBe(`watch: ${role} may not make triggers on table app.more`);
      await database.query(hint.replace(/^.*run: /, ''));
      await session.query("select rowhook.watch('app.more')");
    }));
});
