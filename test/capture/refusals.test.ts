// Capture never fails the app's statement for a reason that lies in capture: what cannot be printed makes the event thin, with
// the reason. A type of our own stands for PostGIS: its cast to json is a function in a schema that rowhook_owner may not use.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ThinEvents } from '../../src/daemon/thin-events.ts';
import type { Examination } from '../../src/doctor/finding.ts';
import { printing } from '../../src/doctor/printing.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { lines, takeChanges } from '../support/outbox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create schema extensions;
    revoke all on schema extensions from public;
    create table extensions.systems (id int primary key);
    create type extensions.shape as (kind text);
    create type extensions.sort as enum ('point', 'curve', 'nan', 'assertion', 'lock', 'slow');
    -- a json value that nobody checked, as functions in C return it
    create cast (bytea as json) without function;
    -- as PostGIS' function, it reads a table of its schema
    create function extensions.sort_to_json(extensions.sort) returns json language plpgsql as $$
    begin
      case $1
        when 'curve' then raise feature_not_supported using message = 'geometry type not supported';
        when 'nan' then return '{"type":NaN}'::bytea::json;
        when 'assertion' then assert false, 'no such geometry';
        when 'lock' then raise deadlock_detected;
        when 'slow' then perform pg_sleep(60);
        else perform from extensions.systems;
      end case;
      return json_build_object('type', $1::text);
    end $$;
    create cast (extensions.sort as json) with function extensions.sort_to_json(extensions.sort)`);
});

beforeEach(async () => {
  await database.query(
    'drop table if exists t; select rowhook.reconcile(); grant usage on schema extensions to public',
  );
  await database.query('grant select on extensions.systems to public');
  await takeChanges(database);
});
afterAll(() => database.drop());

const watch = "select rowhook.watch('t', prefix => 't', capture => 'all')";
const told = async () =>
  (await takeChanges(database)).map(({ eventTypes, data, previous, truncated }) =>
    [eventTypes.join(' '), data, previous && `was ${previous}`, truncated && `(${truncated})`]
      .filter(Boolean)
      .join(' '),
  );

test('a cast to json that rowhook_owner may not run makes the event thin, and a grant makes it whole', async () => {
  await database.query('revoke all on schema extensions from public; revoke all on extensions.systems from public');
  await database.query(
    `create table t (id int primary key, tenant_id text default 'acme', s extensions.sort); ${watch}`,
  );
  await database.query("insert into t (id, s) values (1, 'point'), (2, null)");
  await database.query('update t set id = id where id = 1; update t set s = null where id = 1; delete from t');
  expect(await told()).toEqual([
    't.created {"id" : 1} (42501: permission denied for schema extensions)',
    't.created {"id":2,"tenant_id":"acme","s":null}',
    't.updated {"id" : 1} (42501: permission denied for schema extensions)',
    't.deleted {"id":2,"tenant_id":"acme","s":null}',
    't.deleted {"id":1,"tenant_id":"acme","s":null}',
  ]);
  await database.query(
    'grant usage on schema extensions to rowhook_owner; grant select on extensions.systems to rowhook_owner',
  );
  await database.query("insert into t (id, s) values (3, 'point'); update t set s = null where id = 3");
  expect(await told()).toEqual([
    't.created {"id":3,"tenant_id":"acme","s":{"type" : "point"}}',
    't.updated {"id":3,"tenant_id":"acme","s":null} was {"s":{"type" : "point"}}',
  ]);
  await database.query(
    'revoke usage on schema extensions from rowhook_owner; revoke select on extensions.systems from rowhook_owner',
  );
});

test('the doctor names the columns and what to grant, and its statement mends it', async () => {
  await database.query(
    'revoke all on schema extensions from public; revoke all on function extensions.sort_to_json from public',
  );
  await database.query('drop domain if exists sort_domain; create domain sort_domain as extensions.sort');
  await database.query(`create table t (id int primary key, tenant_id text default 'acme', s sort_domain[]); ${watch}`);
  await database.query("insert into t (id, s) values (1, '{point}')");
  const client = new pg.Client(database.daemonUrl);
  await client.connect();
  // names are printed for whoever pastes them, with another search_path
  await client.query('set search_path = public, extensions');
  try {
    const results = async () =>
      (await printing({ client } as unknown as Examination)) as { what: string; fix?: string }[];
    const [cast, thin] = await results();
    expect(cast).toMatchObject({
      what: 'public.t (s) is converted to JSON by extensions.sort_to_json(extensions.sort), which may need rights that rowhook_owner lacks',
      // PostgreSQL does not check EXECUTE when it prints a row
      fix: 'grant usage on schema extensions to rowhook_owner;',
    });
    expect(thin?.what).toMatch(/^rows of public.t could not be converted to JSON: 42501: permission denied for /);
    await takeChanges(database);
    await database.query(cast?.fix as string);
    await database.query("insert into t (id, s) values (2, '{point}')");
    expect(await told()).toEqual(['t.created {"id":2,"tenant_id":"acme","s":[{"type" : "point"}]}']);
    expect((await results()).map(({ fix }) => fix)).toEqual([undefined]);
  } finally {
    await client.end();
    await database.query(
      'revoke usage on schema extensions from rowhook_owner; grant execute on function extensions.sort_to_json to public',
    );
  }
});

test('thin events are counted by reason, and logged once an hour for each table and reason', () => {
  const counted: string[] = [];
  const logged: unknown[] = [];
  let now = 0;
  const thin = new ThinEvents(
    (reason) => counted.push(reason),
    (...line) => logged.push(line),
    () => now,
  );
  const refused = { sourceId: 3, truncated: '42501: permission denied for schema extensions' };
  for (const change of [{ sourceId: 3, truncated: null }, { sourceId: 3, truncated: 'too_large' }, refused, refused]) {
    thin.note(change);
  }
  now = 3_600_000;
  thin.note(refused);
  expect(counted).toEqual(['too_large', 'error_42501', 'error_42501', 'error_42501']);
  expect(logged).toEqual([
    [3, refused.truncated],
    [3, refused.truncated],
  ]);
});

describe('one row that cannot be printed leaves the others of its statement whole', () => {
  const refused = '(0A000: geometry type not supported)';

  test.each([
    ['the column itself', 'extensions.sort', "'curve'", "'point'", '{"type" : "point"}'],
    ['an array', 'extensions.sort[]', "'{curve}'", "'{point}'", '[{"type" : "point"}]'],
    ['a domain', 'sort_domain', "'curve'", "'point'", '{"type" : "point"}'],
    ['a composite type', 'sort_pair', "'(1,curve)'", "'(1,point)'", '{"n":1,"s":{"type" : "point"}}'],
  ])('%s', async (_, type, bad, good, printed) => {
    await database.query('drop domain if exists sort_domain; drop type if exists sort_pair');
    await database.query(
      'create domain sort_domain as extensions.sort; create type sort_pair as (n int, s extensions.sort)',
    );
    await database.query(
      `create table t (id int primary key, tenant_id text default 'acme', v int, s ${type}); ${watch}`,
    );
    await database.query(`insert into t (id, s) values (1, ${bad}), (2, ${good})`);
    await database.query('update t set v = 7');
    await database.query(`update t set s = ${good}`);
    const whole = (id: number) => `{"id":${id},"tenant_id":"acme","v":7,"s":${printed}}`;
    expect(await told()).toEqual([
      `t.created {"id" : 1} ${refused}`,
      `t.created {"id":2,"tenant_id":"acme","v":null,"s":${printed}}`,
      `t.updated {"id" : 1} ${refused}`,
      `t.updated ${whole(2)} was {"v":null}`,
      // its old value cannot be told
      `t.updated {"id" : 1} ${refused}`,
    ]);
    await database.query('update t set s = null where id = 2; delete from t');
    expect((await told()).length).toBe(3);
    await database.query('drop table t');
  });
});

// PostGIS prints a coordinate that is NaN as it is
test('a cast that returns what is not JSON makes the event thin, before it reaches the outbox', async () => {
  const refused = '(22P02: invalid input syntax for type json)';
  await database.query(
    `create table t (id int primary key, tenant_id text default 'acme', s extensions.sort); ${watch}`,
  );
  await database.query("insert into t (id, s) values (1, 'nan'), (2, 'point')");
  await database.query("update t set s = 'point'; update t set s = 'nan' where id = 1; delete from t where id = 1");
  expect(await told()).toEqual([
    `t.created {"id" : 1} ${refused}`,
    't.created {"id":2,"tenant_id":"acme","s":{"type" : "point"}}',
    `t.updated {"id" : 1} ${refused}`,
    `t.updated {"id" : 1} ${refused}`,
    `t.deleted {"id" : 1} ${refused}`,
  ]);
});

// PL/pgSQL does not count a failed ASSERT among OTHERS
test('a cast that fails by an ASSERT makes the event thin, also before reconcile()', async () => {
  await database.query(
    `create table t (id int primary key, tenant_id text default 'acme', s extensions.sort); ${watch}`,
  );
  await database.query("insert into t (id, s) values (1, 'assertion')");
  await database.query("alter table t add column v int; update t set v = 1, s = 'point'");
  expect(await told()).toEqual([
    't.created {"id" : 1} (P0004: no such geometry)',
    't.updated {"id" : 1} (P0004: no such geometry)',
  ]);
});

test('a tenant, a key and a derived column are read by what the type itself prints', async () => {
  await database.query(`
    create table t (id extensions.sort primary key, tenant_id extensions.sort, v extensions.sort);
    select rowhook.watch('t', prefix => 't', capture => 'all', derived => '{"v":{"curve":"bent"}}');
    insert into t values ('curve', 'curve', 'curve')`);
  const changes = await takeChanges(database);
  expect(changes).toMatchObject([
    { eventTypes: ['t.created', 't.bent'], tenantId: 'curve', rowKey: 'curve', data: '{"id" : "curve"}' },
  ]);
});

test('what may refuse is tried without taking a transaction id', async () => {
  const client = new pg.Client(database.url);
  await client.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query(
      `select (rowhook._render(row(s::extensions.sort))).problem from unnest('{curve,point}'::text[]) as s`,
    );
    expect(rows).toEqual([{ problem: '0A000: geometry type not supported' }, { problem: null }]);
    const ids = await client.query('select pg_current_xact_id_if_assigned() as id');
    expect(ids.rows).toEqual([{ id: null }]);
  } finally {
    await client.end();
  }
});

test('a deadlock and a cancelled statement end the statement, as they would without capture', async () => {
  await database.query(
    `create table t (id int primary key, tenant_id text default 'acme', s extensions.sort); ${watch}`,
  );
  await expect(database.query("insert into t (id, s) values (1, 'lock')")).rejects.toMatchObject({ code: '40P01' });
  await expect(
    database.query("set local statement_timeout = '200ms'; insert into t (id, s) values (1, 'slow')"),
  ).rejects.toMatchObject({ code: '57014' });
  expect(await database.query('select from t')).toEqual([]);
  expect(await takeChanges(database)).toEqual([]);
});

test('a type with such a cast comes after the table was watched: the next event is thin too', async () => {
  await database.query(`create table t (id int primary key, tenant_id text default 'acme', s text); ${watch}`);
  await database.query("insert into t values (1, 'acme', 'curve')");
  await database.query('alter table t alter column s type extensions.sort using s::extensions.sort');
  await database.query("insert into t values (2, 'acme', 'curve'), (3, 'acme', 'point')");
  await database.query(
    "alter table t add column more extensions.sort default 'curve'; insert into t values (4, 'acme')",
  );
  expect(await told()).toEqual([
    't.created {"id":1,"tenant_id":"acme","s":"curve"}',
    't.created {"id" : 2} (0A000: geometry type not supported)',
    't.created {"id":3,"tenant_id":"acme","s":{"type" : "point"}}',
    't.created {"id" : 4} (0A000: geometry type not supported)',
  ]);
});

test('an outbox that cannot be written fails the statement: no change goes without its event', async () => {
  await database.query(`create table t (id int primary key, tenant_id text default 'acme'); ${watch}`);
  await database.query('alter table rowhook.webhook_outbox add constraint full_disk check (false) not valid');
  await expect(database.query('insert into t values (1)')).rejects.toThrow('full_disk');
  await database.query('alter table rowhook.webhook_outbox drop constraint full_disk; insert into t values (1)');
  expect(lines(await takeChanges(database))).toEqual(['t.created {"id":1,"tenant_id":"acme"}']);
});

test('virtual columns: the table changes under them, and the next event is right', async ({ skip }) => {
  const [server] = await database.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  if ((server?.version ?? 0) < 180000) skip('PostgreSQL 15 has stored ones only');
  const start = `create table t (id int primary key, tenant_id text default 'acme', a int, b int, s int generated always as (a + b) virtual);
    ${watch}; insert into t (id, a, b) values (1, 2, 3)`;
  for (const [change, columns] of [
    ['alter table t drop column s; alter table t alter column a type text', 'tenant_id":"acme","a":"2","b":7'],
    ['alter table t rename a to a2; alter table t add column a text', 'tenant_id":"acme","a2":2,"b":7,"s":9,"a":null'],
    ['alter table t rename column a to a2', 'tenant_id":"acme","a2":2,"b":7,"s":9'],
    ['alter table t alter column s set expression as (a * b)', 'tenant_id":"acme","a":2,"b":7,"s":14'],
    ['alter table t add column extra int default 4', 'tenant_id":"acme","a":2,"b":7,"s":9,"extra":4'],
  ] as const) {
    await database.query(start);
    await takeChanges(database);
    await database.query(change);
    await database.query('update t set b = 7');
    const [line] = await told();
    expect(line?.replace(/ was .*/, '')).toBe(`t.updated {"id":1,"${columns}}`);
    await database.query('drop table t; select rowhook.reconcile()');
    await takeChanges(database);
  }
  // what is written is the same whoever writes it, or the digest of the columns would never be the one that capture sees
  await database.query(`
    set datestyle = 'SQL, DMY'; set intervalstyle = 'iso_8601'; set timezone = 'Asia/Kathmandu'; set extra_float_digits = -9;
    create table t (id int primary key, tenant_id text default 'acme', at timestamp default '2025-02-03 04:05', f float8 default 1,
      due timestamp generated always as (at + interval '1 hour') virtual,
      late bool generated always as (at > timestamp '01/03/2025 12:00') virtual,
      g float8 generated always as (f * 0.1234567890123456) virtual); ${watch}; reset all`);
  expect(await database.query('select * from rowhook.reconcile()')).toEqual([]);
  await database.query("insert into t (id) values (1); select rowhook.unwatch('t'); drop table t");
  expect(await told()).toEqual([
    't.created {"id":1,"tenant_id":"acme","at":"2025-02-03T04:05:00","f":1,"due":"2025-02-03T05:05:00","late":false,"g":0.1234567890123456}',
  ]);
  // PostgreSQL refuses to read such a column from a transition table: neither a thin UPDATE nor the tenant does
  await database.query(`
    create table t (id int primary key, tenant_id text default 'acme', a int, updated_at int, s int generated always as (1 / a) virtual); ${watch};
    insert into t (id, a) values (1, 1)`);
  await takeChanges(database);
  await database.query('update t set a = 0, updated_at = 1; update t set updated_at = 2');
  expect(await told()).toEqual(['t.updated {"id" : 1} (22012: division by zero)']);
  await database.query(`
    alter table t drop column s, drop column tenant_id;
    alter table t add column org text default 'acme', add column tenant_id text generated always as (org) virtual`);
  const gone = expect.stringMatching(/^nothing is captured: column tenant_id is now a virtual generated column/);
  for (const change of [['capture function rewritten: the table changed', gone], [gone]]) {
    await database.query('update t set a = a + 1');
    expect((await database.query('select * from rowhook.reconcile()')).map((line) => line.change)).toEqual(change);
  }
  await database.query('update t set a = a + 1; drop table t; select rowhook.reconcile()');
  expect(await told()).toEqual([]);
  // a trigger reads such a column as null, so that every event would be lost
  await database.query(
    'create table t (id int primary key, org text, tenant_id text generated always as (org) virtual)',
  );
  await expect(database.query(watch)).rejects.toThrow('is a virtual generated column');
  await database.query("select rowhook.watch('t', tenant_column => 'org', capture => 'all')");
});
