// Watched tables that are replaced: by renaming, by DROP and CREATE, by a restore in place. They are found again by their names,
// and what cannot be followed is reported with the statement that mends it.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Maintenance } from '../../src/capture/maintenance.ts';
import { sourceProblems } from '../../src/capture/source-problems.ts';
import { tenantNote } from '../../src/operations/webhooks/tenant-note.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { findDumpTools } from '../support/dump.ts';
import { lines, takeChanges } from '../support/outbox.ts';
import { paste } from '../support/paste.ts';
import { wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const tools = findDumpTools([wantedMajor]);
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

const inItsPlace = 'app.orders: another table has this name now: it is watched instead';

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
    // the function stays, and so does what the doctor counts its time from
    const source = "select id, counted_from - 'changes' as counts from rowhook.webhook_sources";
    const [before] = await database.query(source);
    await database.query(sql);
    expect(await reconcile()).toEqual([inItsPlace, ...more]);
    expect(await reconcile()).toEqual([]);
    await expectCaptured();
    expect(await database.query(source)).toEqual([before]);
  });

  test('also when it comes back later: until then its source is kept, with its settings', async () => {
    await database.query('drop table app.orders');
    expect(await reconcile()).toEqual([
      "app.orders: its table was dropped; the source is kept for 7 days, in case the table comes back: select rowhook.unwatch('app.orders') removes it now",
    ]);
    expect(await reconcile()).toEqual([]);
    await database.query('create table app.orders (id int primary key, account text, state text, seen int)');
    expect(await reconcile()).toEqual([inItsPlace, 'app.orders: triggers attached']);
    await expectCaptured();
  });

  test('unless it was unwatched by then: the source is forgotten with the triggers of the earlier table', async () => {
    await database.query(`
      create table app.new (like app.orders including all);
      begin; alter table app.orders rename to old; alter table app.new rename to orders; commit`);
    expect(await database.query("select rowhook.unwatch('app.orders')")).toEqual([{ unwatch: true }]);
    expect(await reconcile()).toEqual([]);
    expect(await database.query("select from pg_trigger where tgname ~ '^rowhook_'")).toEqual([]);
  });

  test('and two that swap their names are both watched on', async () => {
    await database.query(`
      create table app.other (id int primary key, account text); select rowhook.watch('app.other', tenant_column => 'account');
      alter table app.orders rename to x; alter table app.other rename to orders; alter table app.x rename to other`);
    expect(await reconcile()).toEqual([
      'app.other: its table is app.orders now, and is watched under that name',
      'app.orders: its table is app.other now, and is watched under that name',
    ]);
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
    expect(await reconcile()).toEqual([
      'app.orders: its table is app.rows now, and is watched under that name; app.orders is a view now, which is not watched',
    ]);
    expect(await reconcile()).toEqual([]);
    await expectCaptured();
  });

  test('a table that takes the name after a reconcile() is another one, so the new name was reported', async () => {
    await database.query('alter table app.orders rename to archive');
    expect(await reconcile()).toEqual(['app.orders: its table is app.archive now, and is watched under that name']);
    await database.query('create table app.orders (like app.archive including all)');
    expect(await reconcile()).toEqual([]);
  });
});

/** What pg_restore --clean --if-exists -t does, whose CREATE TRIGGER calls the function of the source. */
describe('a watched table is restored in place', () => {
  const restore = async (names = { table: 'app.orders' }) => {
    const [source] = await database.query<{ id: number }>('select max(id) as id from rowhook.webhook_sources');
    const trigger = (operation: string, images: string) =>
      `create trigger rowhook_${operation} after ${operation} on ${names.table} referencing ${images}
         for each statement execute function rowhook._capture_${source?.id}();`;
    await database.query(`
      drop table if exists app.orders;
      create table ${names.table} (id int primary key, account text, state text, seen int);
      insert into ${names.table} values (7, 'acme', 'new', 1);
      ${trigger('delete', 'old table as rowhook_old')}
      ${trigger('insert', 'new table as rowhook_new')}
      ${trigger('update', 'old table as rowhook_old new table as rowhook_new')}`);
    return source?.id;
  };

  test('it is watched on, whoever calls reconcile(), and holds up no other source', async () => {
    await database.query(`
      create table app.parted (id int primary key, account text) partition by list (id);
      select rowhook.watch('app.parted', tenant_column => 'account', capture => 'all')`);
    await database.query("select rowhook.unwatch('app.orders')");
    await database.query(
      `select rowhook.watch('app.orders', prefix => 'order', tenant_column => 'account', capture => 'all',
                            derived => '{"state":"state.changed"}', ignore_columns => '{seen}')`,
    );
    await restore();
    await database.query('create table app.parted_1 partition of app.parted for values in (1)');
    const daemon = new pg.Client(database.daemonUrl);
    await daemon.connect();
    try {
      // its triggers came with it, so the daemon has none to make
      const [followed, ...rest] = await reconcile(daemon);
      expect(followed).toBe(inItsPlace);
      expect(rest).toEqual([expect.stringMatching(/^app.parted: triggers missing, /)]);
    } finally {
      await daemon.end();
    }
    expect(await reconcile()).toEqual(['app.parted_1: triggers attached']);
    await database.query('delete from app.orders');
    await expectCaptured();
  });

  test.skipIf(!tools)('by pg_restore itself', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'rowhook-restore-')), 'orders.dump');
    await tools?.dump(database.url, file, ['--table=app.orders']);
    await tools?.restore(database.url, file, ['--clean', '--if-exists']);
    const [before] = await database.query('select id from rowhook.webhook_sources');
    expect(await reconcile()).toEqual([inItsPlace]);
    await expectCaptured();
    expect(await database.query('select id from rowhook.webhook_sources')).toEqual([before]);
    await rm(dirname(file), { recursive: true });
  });

  test('also under another name: the source is forgotten with the triggers that came along', async () => {
    const id = await restore({ table: 'app.restored' });
    await reconcile();
    await database.query("insert into app.restored values (8, 'acme'); select rowhook.unwatch('app.orders')");
    expect(await database.query("select from pg_trigger where tgrelid = 'app.restored'::regclass")).toEqual([]);
    expect(await database.query(`select to_regproc('rowhook._capture_${id}') as function`)).toEqual([
      { function: null },
    ]);
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
        /^app.orders: another table has this name now and is not watched, because it has no column account: /,
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
      expect(line).toContain(`is not watched, because its owner is ${role}: select rowhook.watch('app.orders'`);
      await database.query(statementIn(line));
      expect(await reconcile()).toEqual([]);
      await expectCaptured();
    }));

  test('one with a foreign table under it: with triggers on it, its UPDATE and DELETE would be refused', async () => {
    await database.query(`
      create foreign data wrapper nothing; create server nothing foreign data wrapper nothing; drop table app.orders;
      create table app.orders (id int, account text, state text, seen int) partition by list (account);
      create table app.near partition of app.orders for values in ('acme');
      create foreign table app.far partition of app.orders default server nothing`);
    const told = [
      expect.stringMatching(
        /is not watched, because it has the foreign table app.far under it, .*: select rowhook.watch/,
      ),
      expect.stringMatching(/^app.orders: its table was dropped/),
    ];
    expect(await reconcile()).toEqual(told);
    expect(await reconcile()).toEqual(told.slice(0, 1));
    expect(await database.query("select from pg_trigger where tgname ~ '^rowhook_'")).toEqual([]);
    const [problem] = await sourceProblems(database.pool);
    expect(problem?.fix).toMatch(
      /^alter table app.orders detach partition app.far; select rowhook.watch\('app.orders'/,
    );
    await database.query(problem?.fix ?? '');
    expect(await reconcile()).toEqual([]);
    await expectCaptured();
    await database.query('drop foreign data wrapper nothing cascade');
  });

  test.each([
    ['a view', 'create view app.orders as select 1 as id'],
    ['a materialized view', 'create materialized view app.orders as select 1 as id'],
    [
      'a partition of another table',
      'create table app.whole (id int) partition by list (id); create table app.orders partition of app.whole default',
    ],
  ])('%s, which takes the name of a table that was dropped', async (kind, sql) => {
    await database.query(`drop table app.orders; ${sql}`);
    const [problem] = await sourceProblems(database.pool);
    expect(problem?.what).toBe(
      `the watched table app.orders was dropped, and app.orders is ${kind} now, which is not watched`,
    );
    await database.query(problem?.fix ?? '');
    expect(await sourceProblems(database.pool)).toEqual([]);
  });

  test('unwatch() of a name alone means the table that is watched, not one that was dropped in another schema', async () => {
    await database.query(`
      create schema app_new; create table app_new.orders (id int, account text); drop table app.orders;
      select rowhook.watch('app_new.orders', tenant_column => 'account')`);
    const unwatch = "set local search_path = app, app_new; select rowhook.unwatch('orders'); reset search_path";
    const left = () => database.query('select schema_name from rowhook.webhook_sources order by id');
    await database.query(unwatch);
    expect(await left()).toEqual([{ schema_name: 'app' }]);
    await database.query(unwatch);
    expect(await left()).toEqual([]);
  });

  test('one that the daemon may not make triggers on: the owner calls reconcile()', async () => {
    await database.query(
      'drop table app.orders; create table app.orders (id int primary key, account text, state text, seen int)',
    );
    const daemon = new pg.Client(database.daemonUrl);
    await daemon.connect();
    try {
      const told = [
        'app.orders: another table has this name now and lacks triggers, and rowhook_test_daemon may not create them: let the owner of the table run select rowhook.reconcile()',
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
          /^app.orders: unwatch: \w+ may not drop the triggers of table app.copy, whose owner is \w+\. Let the owner \w+ run first: drop trigger/,
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

  test('a name with a quote in it: what is offered can be pasted, as SQL and into a shell', async () => {
    await database.query(`create table "It's mine" (id int primary key, tenant_id text)`);
    const { hint } = await failed(database.query("select rowhook.watch('its mine')"));
    const [, statement = '', command = ''] = /In SQL: (.*); in a shell: (.*)$/.exec(hint) ?? [];
    await paste(statement, database);
    expect((await paste(command, database)).stdout).toMatch(/^Watching public\."It's mine":/);
  });

  test('what is not near at all is not offered, nor what one may not see', () =>
    asRole(async (role, session) => {
      await database.query(`grant rowhook_owner to ${role}`);
      for (const name of ['basket', 'zebra']) {
        const { hint } = await failed(session.query(`select rowhook.watch('${name}')`));
        expect(hint).toBe('Check the name, and write the table with its schema, for example public.deals.');
      }
      const { message, hint } = await failed(session.query("select rowhook.watch('shop.baskets')"));
      expect(message).toBe(`watch: ${role} may not use the schema shop`);
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

  test('unwatch as one whose members include the owner: PostgreSQL refuses to grant that role back', () =>
    asRole(async (owner) => {
      await asRole(async (role, session) => {
        await database.query(`
          alter table app.orders owner to ${owner}; create table app.kid () inherits (app.orders);
          alter table app.kid owner to ${owner}; select rowhook.reconcile();
          grant rowhook_owner to ${role}; grant ${role} to ${owner}; grant usage on schema app to ${role}, ${owner}`);
        const { hint } = await failed(session.query("select rowhook.unwatch('app.orders')"));
        expect(hint).toMatch(
          new RegExp(`^Let the owner ${owner} run first: drop trigger rowhook_delete on app.orders;`),
        );
        await database.query(`set local role ${owner}; ${hint.replace(/^.*run first: /, '')}`);
        expect((await session.query("select rowhook.unwatch('app.orders')")).rows).toEqual([{ unwatch: true }]);
        await database.query(`revoke ${role} from ${owner}`);
      });
    }));

  test('unwatch of a table of a superuser, whose role nobody should be granted', () =>
    asRole(async (role, session) => {
      await database.query(`grant rowhook_owner to ${role}; grant usage on schema app to ${role}`);
      const { hint } = await failed(session.query("select rowhook.unwatch('app.orders')"));
      expect(hint).toMatch(/^Let the owner postgres run first: drop trigger /);
      await database.query(hint.replace(/^.*run first: /, ''));
      expect((await session.query("select rowhook.unwatch('app.orders')")).rows).toEqual([{ unwatch: true }]);
    }));

  test('watch as one who is not the owner of the table', () =>
    asRole(async (role, session) => {
      await database.query(`
        grant rowhook_owner to ${role}; grant usage on schema app to ${role};
        create table app.more (id int primary key, tenant_id text)`);
      const { message, hint } = await failed(session.query("select rowhook.watch('app.more')"));
      expect(message).toBe(`watch: ${role} may not make triggers on table app.more`);
      // to connect as an owner that is no member of rowhook_owner would be of no use
      await asRole(async (owner) => {
        await database.query(`alter table app.more owner to ${owner}`);
        expect((await failed(session.query("select rowhook.watch('app.more')"))).hint).toBe(
          `Let its owner ${owner} run: grant trigger on app.more to ${role};`,
        );
        await database.query('alter table app.more owner to current_user');
      });
      await database.query(hint.replace(/^.*run: /, ''));
      await session.query("select rowhook.watch('app.more')");
    }));
});

describe('what the commands, the log and the metrics say of it', () => {
  const cli = (...args: string[]) => rowhook(args, { env: { DATABASE_URL: database.url } });
  const doctor = async (check: string) =>
    (await cli('doctor', '--json')).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((result) => result.check === check && result.kind !== 'fine');
  const replace =
    'drop table app.orders; create table app.orders (id int primary key, account text, state text, seen int)';

  test('status, sources and doctor name the table and the statement, which mends it', async () => {
    await database.query(replace);
    const what = 'app.orders is now another table, which is not watched';
    const fix = 'select * from rowhook.reconcile();   -- as the owner of the table and a member of rowhook_owner';
    const [found] = await doctor('triggers');
    expect(found).toMatchObject({ kind: 'error', what, fix });
    for (const command of ['status', 'sources']) {
      const { stdout, code } = await cli(command);
      expect(stdout).toContain(`${what}\n  ${fix}`);
      expect(code).toBe(0);
    }
    expect((await cli('status')).stdout).toMatch(/watched tables +1, 1 of them with problems/);
    expect(JSON.parse((await cli('sources', '--json')).stdout)).toMatchObject({
      relation: 'app.orders',
      problems: [{ what, fix }],
    });
    await database.query(found.fix);
    expect(await doctor('triggers')).toEqual([]);
    await expectCaptured();
  });

  test('and a table that was dropped, which is forgotten by its name', async () => {
    await database.query('drop table app.orders');
    const [found] = await doctor('triggers');
    expect(found).toMatchObject({ kind: 'warning', what: 'the watched table app.orders was dropped' });
    expect((await cli('sources')).stdout).toMatch(/app.orders +account/);
    expect(await cli('unwatch', 'app.orders')).toMatchObject({ code: 0, stdout: 'No longer watching app.orders.\n' });
    expect(await database.query('select from rowhook.webhook_sources')).toEqual([]);
  });

  test('the daemon warns, and its metrics count it, until it is mended', async () => {
    const said: { level: number; msg: string; table?: string; fix?: string }[] = [];
    const log = pino({ level: 'info' }, { write: (line: string) => void said.push(JSON.parse(line)) });
    const daemonPool = new pg.Pool({ connectionString: database.daemonUrl });
    const maintenance = new Maintenance(daemonPool, 30, log);
    const warnings = () => said.filter(({ level }) => level === 40).map(({ msg, table }) => [table, msg]);
    try {
      await maintenance.run();
      expect([maintenance.sourcesNotCaptured, warnings()]).toEqual([0, []]);
      await database.query(`${replace}; select pg_stat_force_next_flush()`);
      const told = [['app.orders', 'app.orders is now another table, which is not watched']];
      await waitUntil('it is noticed', async () => {
        await maintenance.run();
        return maintenance.sourcesNotCaptured === 1;
      });
      await maintenance.run();
      expect(warnings()).toEqual(told);
      await reconcile();
      await waitUntil('it is mended', async () => {
        await maintenance.run();
        return maintenance.sourcesNotCaptured === 0;
      });
      expect(warnings()).toEqual(told);
    } finally {
      await daemonPool.end();
    }
  });

  test('maintenance begins nothing more once its session ends, and complains of no pool', async () => {
    const said: string[] = [];
    const daemonPool = new pg.Pool({ connectionString: database.daemonUrl });
    const end = (line: string) => {
      said.push(JSON.parse(line).msg);
      maintenance.stop();
      void daemonPool.end();
    };
    const maintenance: Maintenance = new Maintenance(daemonPool, 30, pino({ level: 'info' }, { write: end }));
    // the first task has something to say
    await database.query(
      `do $$ begin execute format('drop table rowhook.webhook_logs_%s', to_char((now() + '7 days') at time zone 'UTC', 'YYYYMMDD')); end $$`,
    );
    await maintenance.run();
    expect(said).toEqual(['make log partitions']);
  });
});

describe('what sources produce, and what webhooks ask for', () => {
  const cli = (...args: string[]) => rowhook(args, { env: { DATABASE_URL: database.url } });
  const notices = async (sql: string) => {
    const session = new pg.Client(database.url);
    const said: { message: string | undefined; hint: string | undefined }[] = [];
    session.on('notice', ({ message, hint }) => said.push({ message, hint }));
    await session.connect();
    await session.query(sql);
    await session.end();
    return said;
  };
  const found = async () =>
    (await cli('doctor', '--json')).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter(({ check, kind }) => check === 'events' && kind !== 'fine');

  test('two tables with the same event types: a notice, a note and the doctor offer a prefix, which mends it', async () => {
    await database.query('create schema app_new; create table app_new.orders (id int primary key, account text)');
    await database.query("select rowhook.watch('app.orders', tenant_column => 'account')");
    const message =
      'app_new.orders and app.orders share event types, such as orders.created: a webhook receives the events of both tables';
    const statement = "select rowhook.watch('app_new.orders', prefix => 'app_new_orders', tenant_column => 'account');";
    const said = await notices("select rowhook.watch('app_new.orders', tenant_column => 'account')");
    expect(said).toEqual([{ message, hint: `To tell them apart, choose a prefix: ${statement}` }]);
    expect((await cli('watch', 'app_new.orders', '--tenant-column', 'account')).stdout).toContain(`Note: ${message}`);
    expect(await found()).toMatchObject([
      {
        what: 'app_new.orders and app.orders have the same event types, such as orders.created',
        fix: statement,
      },
    ]);
    expect(await notices(statement)).toEqual([]);
    expect(await found()).toEqual([]);
  });

  test('tables of different tenants, and those that inherit, share them on purpose', async () => {
    await database.query('create schema app_new; create table app_new.orders () inherits (app.orders)');
    const [before] = await database.query<{ statement: string }>(
      `select rowhook._watch_statement(s, s.relation) as statement
         from rowhook.webhook_sources s where relation = 'app.orders'::regclass`,
    );
    expect(await notices(String(before?.statement))).toEqual([]);
    await database.query("select rowhook.watch('app.orders', tenant_column => 'account')");
    await database.query('alter table app_new.orders no inherit app.orders; select rowhook.reconcile()');
    await database.query("select rowhook.watch('app.orders', tenant_id => 'one')");
    expect(await notices("select rowhook.watch('app_new.orders', tenant_id => 'two')")).toEqual([]);
    expect(await found()).toEqual([]);
  });

  test('the offered prefix leaves room for the longest event type, and children have the prefix of their parent', async () => {
    const derived = `derived => '{"state":{"x":"${'y'.repeat(110)}"}}'`;
    await database.query(`
      create schema app_new; create table app_new.orders (id int, account text, state text);
      create table app_new.kid () inherits (app_new.orders);
      select rowhook.watch('app.orders', tenant_column => 'account')`);
    const said = await notices(`select rowhook.watch('app_new.orders', tenant_column => 'account', ${derived})`);
    expect(said.map(({ message }) => message)).toEqual([
      'app_new.orders and app.orders share event types, such as orders.created: a webhook receives the events of both tables',
    ]);
    expect(await notices(String(said[0]?.hint).replace('To tell them apart, choose a prefix: ', ''))).toEqual([]);
    expect(await database.query('select relation::text, prefix from rowhook.webhook_sources order by 1')).toEqual([
      { relation: 'app.orders', prefix: 'orders' },
      { relation: 'app_new.kid', prefix: 'app_new_orders' },
      { relation: 'app_new.orders', prefix: 'app_new_orders' },
    ]);
    const long = 'app_new'.padEnd(60, 'w');
    await database.query(`alter schema app_new rename to ${long}`);
    const statement = `select rowhook.watch('${long}.orders', prefix => 'orders', tenant_column => 'account', ${derived})`;
    const [again] = await notices(statement);
    expect(await notices(String(again?.hint).replace('To tell them apart, choose a prefix: ', ''))).toEqual([]);
    await database.query(`select rowhook.unwatch('${long}.orders'); drop schema ${long} cascade`);
  });

  test('names of other letters: a prefix is asked for, or told', async () => {
    await database.query(
      'create table app."заказы" (id int, tenant_id text); create table app."größe" (id int, tenant_id text)',
    );
    const { message, hint } = await failed(database.query(`select rowhook.watch('app."заказы"')`));
    expect(message).toBe('watch: the name app."заказы" has no ASCII letters or digits, so it cannot become the prefix');
    await database.query(hint.replace('Choose a prefix, for example: ', ''));
    const [said] = await notices(`select rowhook.watch('app."größe"')`);
    expect(said?.message).toBe('app."größe" has the prefix gr_e, because event types consist of ASCII letters');
    const statement = String(said?.hint).replace('To choose another prefix: ', '').replace("'gr_e'", "'groesse'");
    expect(await notices(statement)).toEqual([]);
  });

  test('an active webhook that asks for what nothing produces: webhook list and doctor, with the near one', async () => {
    const { id: webhook } = await createWebhook(database, {
      tenant_id: 'acme',
      url: 'https://example.com/',
      event_types: ['orders.created', 'shipment.*'],
    });
    const what = 'wants orders.created, shipment.*, which no watched table produces';
    expect((await cli('webhook', 'list')).stdout).toContain(`${webhook} ${what}. Did you mean order.created?`);
    const [result] = await found();
    expect(result.what).toContain(what);
    expect(result.fix).toBe(`rowhook webhook update ${webhook} --events 'order.created,shipment.*' --force`);
    await paste(result.fix, database);
    const [other] = await found();
    expect(other.what).toContain('wants shipment.*, which no watched table produces');
    expect((await paste(other.fix, database)).stdout).toContain('order.created');
    await cli('webhook', 'update', webhook, '--events', 'order.created');
    expect(await found()).toEqual([]);
    expect((await cli('webhook', 'list')).stdout).not.toContain('wants');
    await database.query('delete from rowhook.webhook_configurations');
  });

  test('a tenant that nothing has heard of: a note to an operator, with the near one; none for one that is known', async () => {
    await database.query("insert into app.orders values (1, 'acme&co', 'new', 1)");
    const create = async (tenant: string, ...more: string[]) => {
      const flags = `--name n --url https://example.com/ --events * --tenant ${tenant}`.split(' ');
      return (await cli('webhook', 'create', ...flags, ...more)).stdout;
    };
    const note = 'no watched row, no event and no other webhook has the tenant "acmeco". Did you mean "acme&co"?';
    expect(await create('acmeco')).toContain(`Note: ${note}`);
    await database.query("delete from rowhook.webhook_configurations where tenant_id = 'acmeco'");
    const { id, notes } = JSON.parse(await create('acmeco', '--json'));
    expect(notes).toEqual([
      `${note} If so, run "rowhook webhook delete ${id}", and create it again with --tenant 'acme&co'.`,
    ]);
    const [, deletion = '', flag = ''] = /"(rowhook [^"]*)".* (--tenant .*)\.$/.exec(notes[0]) ?? [];
    await paste(deletion, database);
    const again = `rowhook webhook create ${flag} --name n --url https://example.com/ --events '*'`;
    expect((await paste(again, database)).stdout).not.toContain('Note: no watched row');
    // many tenants whose names are long
    await database.query(
      "insert into app.orders select n, '00000000-0000-4000-8000-' || lpad(n::text, 12, '0') from generate_series(2, 1001) as n",
    );
    expect(await create('00000000-0000-4000-8000-0000000000007')).toContain(
      'Did you mean "00000000-0000-4000-8000-000000000007"?',
    );
    // others' tenants are no tenant's to know
    await asRole(async (role, session) => {
      await database.query(`grant rowhook_app to ${role}`);
      expect(await tenantNote(session, { id, tenant_id: 'acmeco' })).toBeNull();
    });
    await database.query('delete from rowhook.webhook_configurations');
  });

  test('rows without a tenant are no events, but counted, and the doctor says so until null is ruled out', async () => {
    await database.query("select rowhook.watch('app.orders', prefix => 'order', tenant_column => 'account')");
    await database.query("select setval('rowhook.rows_without_tenant', 1, false)");
    await database.query(
      'insert into app.orders values (1, null), (2, null); update app.orders set state = $$x$$ where id = 1',
    );
    await database.query("update app.orders set account = 'acme'");
    const [result] = await found();
    expect(result.what).toBe('at least 3 changed rows had no tenant. The tenant column of app.orders may be null');
    await database.query(
      "select rowhook.watch('app.orders', prefix => 'order', tenant_column => 'account', capture => 'all')",
    );
    await takeChanges(database);
    await database.query('insert into app.orders values (3, null)');
    expect(await takeChanges(database)).toEqual([]);
    expect((await found())[0].what).toMatch(/^at least 4 changed rows/);
    await database.query('delete from app.orders where id = 3');
    await database.query(result.fix);
    expect(await found()).toEqual([]);
    await reconcile();
    await database.query("insert into app.orders values (4, 'acme')");
    expect(await takeChanges(database)).toHaveLength(1);
  });
});
