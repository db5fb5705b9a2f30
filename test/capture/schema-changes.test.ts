// The columns of a watched table change under its capture function. The app's statements go on, in sessions that ran them
// before and in new ones; so do the events; and reconcile() sees to the rest.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { lines, takeChanges } from '../support/outbox.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await database.query("create type mood as enum ('fine'); create type pair as (x int, y text)");
});

beforeEach(() => database.query('drop table if exists t, renamed, elsewhere.t; select rowhook.reconcile()'));
afterAll(() => database.drop());

/** What comes before reconcile() was run; after it, everything comes. Nothing: the tenant is unknown. */
type Outcome = 'everything' | 'nothing';

interface Alteration {
  sql: string;
  outcome?: Outcome;
  /** What an UPDATE sets from then on; default `b = 'z'`. */
  set?: string;
  /** The table's name from then on. */
  table?: string;
  /** What to watch again, where reconcile() cannot know. */
  watch?: string;
}

const alterations: Alteration[] = [
  { sql: 'alter table t add column added int', set: 'added = 5' },
  { sql: "alter table t add column added text not null default 'd'", set: "added = 'e'" },
  { sql: 'alter table t add column added int generated always as (a * 2) stored', set: 'a = 7' },
  { sql: 'alter table t drop column a' },
  { sql: 'alter table t drop column b', set: 'a = 7' },
  { sql: 'alter table t drop column a, drop column b, drop column m, drop column p', set: 'c = 7' },
  { sql: 'alter table t drop column updated_at' },
  { sql: 'alter table t drop column a; alter table t add column a text', set: "a = 'x'" },
  { sql: 'alter table t rename column a to renamed', set: 'renamed = 7' },
  { sql: 'alter table t rename column b to renamed', set: "renamed = 'z'" },
  { sql: 'alter table t rename column updated_at to changed_at', set: "changed_at = 7, b = 'z'" },
  {
    sql: 'alter table t rename column a to x; alter table t rename column b to a; alter table t rename column x to b',
    set: 'b = 7',
  },
  { sql: 'alter table t alter column a type text' },
  { sql: 'alter table t alter column a type bigint', set: 'a = 9223372036854775807' },
  {
    sql: 'alter table t alter column a drop default, alter column a type json using \'{"a":1,"a":2}\'',
    set: "a = '[1e400]'",
  },
  { sql: "alter table t alter column a drop default, alter column a type xml using '<a/>'", set: "a = '<b/>'" },
  { sql: "alter table t alter column a drop default, alter column a type point using '(1,2)'", set: "a = '(3,4)'" },
  {
    sql: "alter table t alter column a drop default, alter column a type pair using row(1, 'x')",
    set: "a = row(2, 'y')",
  },
  { sql: 'alter table t alter column a drop default, alter column a type int[] using array[a]', set: "a = '{1,NULL}'" },
  { sql: 'alter table t alter column b drop default, alter column b type json using to_json(b)', set: "b = '{}'" },
  { sql: 'alter table t alter column b drop default, alter column b type mood using null', set: "b = 'fine'" },
  {
    sql: "drop type if exists fleeting cascade; create type fleeting as enum ('q'); alter table t add column f fleeting; drop type fleeting cascade",
  },
  {
    sql: `alter table t alter column tenant_id drop default, alter column tenant_id type json using '1'; alter table t alter column tenant_id set default '"acme"'`,
  },
  { sql: 'alter table t alter column tenant_id type varchar(100)' },
  { sql: 'alter table t drop column tenant_id', outcome: 'nothing', watch: "tenant_id => 'acme'" },
  { sql: 'alter table t rename column tenant_id to organization' },
  {
    sql: 'alter table t rename column tenant_id to organization; alter table t alter column organization type varchar(9)',
  },
  { sql: 'alter table t rename column id to ident' },
  { sql: 'alter table t rename column id to ident; alter table t rename column a to id', set: 'id = 7' },
  { sql: 'alter table t drop column id' },
  { sql: 'alter table t drop constraint t_pkey' },
  { sql: 'alter table t alter column id type text' },
  {
    sql: 'alter table t drop constraint t_pkey; alter table t alter column id drop default, alter column id type json using to_json(id); alter table t alter column id set default to_json(8)',
  },
  { sql: 'alter table t drop constraint t_pkey; alter table t add primary key (c)' },
  { sql: 'alter table t drop constraint t_pkey; alter table t add primary key (c, id) deferrable' },
  { sql: 'alter table t rename to renamed', table: 'renamed' },
  { sql: 'create schema if not exists elsewhere; alter table t set schema elsewhere', table: 'elsewhere.t' },
  { sql: 'alter table t set unlogged' },
  {
    sql: 'alter table t enable row level security, force row level security; create policy p on t using (true) with check (true)',
  },
];

const definition = `id serial %key, tenant_id text default 'acme', a int default 1, b text default 'y', c serial, m mood, p pair, updated_at int`;

describe.each([
  ['a primary key', 'primary key'],
  ['no primary key', 'unique'],
])('a table with %s', (_, key) => {
  const needsKey = /pkey|column id/;
  const possible = alterations.filter(({ sql }) => key === 'primary key' || !needsKey.test(sql));

  test.each(possible)('$sql', async (alteration) => {
    const { sql, set = "b = 'z'", table = 't', watch } = alteration;
    const outcome = alteration.outcome ?? 'everything';
    await database.query(`create table t (${definition.replace('%key', key)})`);
    await database.query(
      `select rowhook.watch('t', prefix => 't', capture => 'all', derived => '{"a":"a.changed","b":{"z":"b.is.z"}}')`,
    );
    const old = new pg.Client(database.url);
    await old.connect();
    try {
      // it has its plans by then
      for (let n = 0; n < 7; n++) await old.query('insert into t default values; update t set a = a + 1');
      await old.query('delete from t');
      await takeChanges(database);

      await database.query(sql);
      for (const session of [old, database]) await expectEvents(session, table, set, outcome);
      const reconciled = await database.query('select * from rowhook.reconcile()');
      if (watch) {
        expect(reconciled.map(({ change }) => change)).toContainEqual(expect.stringMatching(/tenant_column$|^capture/));
        await database.query(`select rowhook.watch('${table}', prefix => 't', capture => 'all', ${watch})`);
      }
      expect(await database.query('select * from rowhook.reconcile()')).toEqual([]);
      for (const session of [old, database]) await expectEvents(session, table, set, 'everything');
    } finally {
      await old.end();
    }
  });

  /** Inserts, updates and deletes a row, and compares what was captured with the row as it prints. */
  async function expectEvents(
    session: { query(sql: string): Promise<unknown> },
    table: string,
    set: string,
    outcome: Outcome,
  ): Promise<void> {
    const row = async () => (await database.query(`select row_to_json(r)::text as row from ${table} as r`))[0]?.row;
    await session.query(`insert into ${table} default values`);
    const created = await row();
    await session.query(`update ${table} set ${set}`);
    const updated = await row();
    await session.query(`update ${table} set ${set}`);
    await session.query(`delete from ${table}`);
    expect(created).not.toBe(updated);

    const came = lines(await takeChanges(database)).map((line) =>
      line.replace(/ was .*/, '').replace(/ t\.(a\.changed|b\.is\.z)/g, ''),
    );
    const expected = {
      everything: [`t.created ${created}`, `t.updated ${updated}`, `t.deleted ${updated}`],
      nothing: [],
    }[outcome];
    expect(came).toEqual(expected);
  }
});

test('a row whose only change is in a column that came since is an event, though updated_at changed too', async () => {
  await database.query(
    "create table t (id int primary key, tenant_id text, updated_at int); insert into t values (1, 'acme', 1)",
  );
  await database.query("select rowhook.watch('t', capture => 'all')");
  await database.query('alter table t add column added int');
  await database.query(
    'update t set updated_at = 2, added = 3; update t set updated_at = 3; update t set updated_at = 3',
  );
  expect(lines(await takeChanges(database))).toEqual([
    't.updated {"id":1,"tenant_id":"acme","updated_at":2,"added":3} was {"updated_at":1,"added":null}',
  ]);
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([
    { relation: 'public.t', change: 'capture function rewritten: the table changed' },
  ]);
  await database.query('update t set updated_at = 4, added = 4; update t set updated_at = 5');
  expect(lines(await takeChanges(database))).toEqual([
    't.updated {"id":1,"tenant_id":"acme","updated_at":4,"added":4} was {"updated_at":3,"added":3}',
  ]);
});

test('one column of a composite key is dropped: rows are paired by position, also those that share the other', async () => {
  await database.query(`
    create table t (a int, b int, tenant_id text, v int, primary key (a, b));
    insert into t values (1, 1, 'acme', 1), (1, 2, 'acme', 2), (1, 3, 'acme', 3);
    select rowhook.watch('t', capture => 'all');
    alter table t drop column b;
    update t set v = v + 10`);
  expect(lines(await takeChanges(database))).toEqual(
    [1, 2, 3].map((v) => `t.updated {"a":1,"tenant_id":"acme","v":${v + 10}} was {"v":${v}}`),
  );
  await database.query('select rowhook.reconcile(); update t set v = v + 10');
  expect(lines(await takeChanges(database))).toEqual(
    [11, 12, 13].map((v) => `t.updated {"a":1,"tenant_id":"acme","v":${v + 10}} was {"v":${v}}`),
  );
});

test('a table with one fixed tenant may lose all its columns, and be replaced by a table without any', async () => {
  const statements = 'insert into t default values; delete from t';
  const events = ['t.created {}', 't.deleted {}'];
  await database.query(`
    create table t (v int); select rowhook.watch('t', tenant_id => 'acme', capture => 'all');
    alter table t drop column v; ${statements}`);
  expect(lines(await takeChanges(database))).toEqual(events);
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([
    { relation: 'public.t', change: 'capture function rewritten: the table changed' },
  ]);
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([]);

  await database.query('drop table t; create table t ()');
  expect(await database.query('select * from rowhook.reconcile()')).toContainEqual({
    relation: 'public.t',
    change: 'another table has this name now: it is watched instead',
  });
  await database.query(statements);
  expect(lines(await takeChanges(database))).toEqual(events);
});

// Its catalogs are older than its table. What it plans is kept by its session, for transactions that come later.
test.each([
  ['tenant_id', 'organization', '{"id":1,"organization":"acme"'],
  ['id', 'ident', '{"ident":1,"tenant_id":"acme"'],
  ['v', 'w', '{"id":1,"tenant_id":"acme"'],
])(
  '%s is renamed while a transaction in REPEATABLE READ runs that has not come to the table yet',
  async (old, name, row) => {
    await database.query(`
    create table t (id int primary key, tenant_id text, v int); insert into t values (1, 'acme', 1);
    select rowhook.watch('t', capture => 'all', derived => '{"v":"v.changed"}')`);
    const session = new pg.Client(database.url);
    await session.connect();
    try {
      await session.query('begin isolation level repeatable read; select count(*) from pg_class');
      await database.query(`alter table t rename column ${old} to ${name}`);
      const v = old === 'v' ? 'w' : 'v';
      await session.query(`update t set ${v} = 2; commit`);
      await session.query(`update t set ${v} = 3`);
      const changes = await database.query<{ change: string }>('select change from rowhook.reconcile()');
      expect(changes).toEqual([{ change: 'capture function rewritten: the table changed' }]);
      await session.query(`update t set ${v} = 4`);
      expect(lines(await takeChanges(database))).toEqual(
        [2, 3, 4].map((n) => `t.updated t.v.changed ${row},"${v}":${n}} was {"${v}":${n - 1}}`),
      );
    } finally {
      await session.end();
    }
  },
);

test('the tenant column is renamed while a statement runs that comes to the table by a foreign key', async () => {
  await database.query(`
    create table parent (id int primary key); insert into parent values (1);
    create table t (id int primary key, tenant_id text, parent int references parent on delete set null);
    insert into t values (1, 'acme', 1);
    create function wait() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(77); return old; end';
    create trigger wait before delete on parent for each row execute function wait();
    select rowhook.watch('t', capture => 'all')`);
  const session = new pg.Client(database.url);
  await session.connect();
  try {
    await session.query('select pg_advisory_lock(77)');
    const deleted = database.query('delete from parent');
    await waitUntil('it waits', async () => {
      const waiting = await session.query("select from pg_locks where locktype = 'advisory' and not granted");
      return waiting.rowCount === 1;
    });
    await session.query('alter table t rename column tenant_id to organization; select pg_advisory_unlock(77)');
    await deleted;
    expect(lines(await takeChanges(database))).toEqual([
      't.updated {"id":1,"organization":"acme","parent":null} was {"parent":1}',
    ]);
  } finally {
    await session.end();
    await database.query('drop table t, parent; drop function wait');
  }
});

test('reconcile() tells of a tenant column that is gone, each time, until the table is watched again', async () => {
  await database.query(
    "create table t (id int, tenant_id text, acct text); select rowhook.watch('t'); alter table t drop column tenant_id",
  );
  const told = {
    relation: 'public.t',
    change: 'nothing is captured: column tenant_id is gone; watch the table again with its new tenant_column',
  };
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([
    { relation: 'public.t', change: 'capture function rewritten: the table changed' },
    told,
  ]);
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([told]);
  await database.query("select rowhook.watch('t', tenant_column => 'acct')");
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([]);
});
