// Tables of every shape: watched, delivered, and unwatched without a trace.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestDatabase } from '../support/database.ts';
import { type Delivered, startDelivered } from '../support/delivered.ts';

let database: TestDatabase;
let delivers: Delivered['delivers'];
let watched: Delivered['watched'];
let close: Delivered['close'];

beforeAll(async () => {
  ({ database, delivers, watched, close } = await startDelivered());
});

afterAll(() => close());

const long = 'n'.repeat(63);

describe('names', () => {
  test.each([
    ['with quotes, a dot, a blank and capitals', 'Quoted_" . Table'],
    ['of 63 bytes', long],
    ['of 63 bytes, in letters of two and four', `${'ß'.repeat(29)}x😀`],
    ['with $$, $body$, a percent sign, a backslash and a single quote', "$$ $body$ %I %1$s \\ it's"],
    ['that is a keyword', 'select'],
    ['of our own', 'rowhook_new'],
  ])('of a table %s', async (_, name) => {
    const table = `"${name.replaceAll('"', '""')}"`;
    await database.query(`create table ${table} (id int primary key, tenant_id text, v text)`);
    await watched(table, '', async () => {
      const [{ prefix } = { prefix: '' }] = await database.query<{ prefix: string }>(
        'select prefix from rowhook.webhook_sources where relation = $1::regclass',
        [table],
      );
      expect(prefix).toMatch(/^[A-Za-z0-9_-]+$/);
      await delivers(
        `insert into ${table} values (1, 'acme', 'a'); update ${table} set v = 'b'; delete from ${table}`,
        [
          `${prefix}.created {"id":1,"tenant_id":"acme","v":"a"}`,
          `${prefix}.updated {"id":1,"tenant_id":"acme","v":"b"} was {"v":"a"}`,
          `${prefix}.deleted {"id":1,"tenant_id":"acme","v":"b"}`,
        ],
      );
    });
  });

  test('of a schema and a table with quotes', async () => {
    await database.query('create schema "My.""Schema"');
    await database.query('create table "My.""Schema"."T" (id int primary key, tenant_id text)');
    await watched('"My.""Schema"."T"', '', () =>
      delivers(`insert into "My.""Schema"."T" values (1, 'acme')`, ['T.created {"id":1,"tenant_id":"acme"}']),
    );
  });

  // what PL/pgSQL, the generated SQL and SQL itself call things
  const columns = [
    ...['index', 'values', 'end', 'select', 'from', 'user', 'row', 'all', 'null', 'default', 'table', 'case'],
    ...['o', 'n', 'i', 'e', 'c', 'd', 'f', 'r', 's', 'u', 'v', 'w', 'c1', 'c2', 'c99', 'k1', 'k2', 'side', 'missing'],
    ...['whole', 'image', 'tenant', 'key', 'position', 'texts', 'data', 'previous', 'fits', 'is_new', 'event_types'],
    ...['row_key', 'source_id', 'lane', 'truncated', 'xid', 'slot', 'occurred_at', 'is_active', 'disabled_at'],
    ...['rowhook_row', 'rowhook_old', 'rowhook_new', 'rowhook_tenant', 'rowhook_side', 'rowhook_missing', 'rowhook'],
    ...['new', 'old', 'found', 'tg_op', 'tg_name', 'tg_relid', 'tg_argv', 'tg_when', 'sqlstate', 'sqlerrm'],
    ...[
      'oid',
      'pg_catalog',
      'webhook_outbox',
      'webhook_configurations',
      'coalesce',
      'to_json',
      'row_to_json',
      'record',
    ],
    ...[
      '$$',
      '$body$',
      '@.',
      'a.b',
      'a"b',
      "it's",
      'back\\slash',
      '%s',
      '%1$I',
      ' ',
      'é',
      '😀',
      'A',
      'tab\t',
      'nl\n',
      long,
    ],
  ];

  test('of columns, also where they are the key and the tenant', async () => {
    const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
    await database.query(
      `create table odd (${columns.map((name) => `${quoted(name)} text`).join(', ')}, tenant_id text,
                         primary key (${['$$', 'new', 'c1', 'a"b', 'r'].map(quoted).join(', ')}))`,
    );
    const json = (change: Record<string, string> = {}) =>
      JSON.stringify(
        Object.fromEntries([...columns.map((name, i) => [name, change[name] ?? String(i)]), ['tenant_id', 'acme']]),
      );
    // JSON.stringify puts names that are numbers first; there are none
    await watched('odd', `derived => '{"found":"found.changed","a\\"b":"b","%s":{"it''s":"its"}}'`, async () => {
      await delivers(`insert into odd values (${columns.map((_, i) => `'${i}'`).join(', ')}, 'acme')`, [
        `odd.created ${json()}`,
      ]);
      for (const name of columns.filter((column) => !['$$', 'new', 'c1', 'a"b', 'r'].includes(column))) {
        const derived = name === 'found' ? ['odd.found.changed'] : [];
        await delivers(
          `update odd set ${quoted(name)} = 'changed'`,
          ['odd.updated', ...derived].map(
            (event) =>
              `${event} ${json({ [name]: 'changed' })} was ${JSON.stringify({ [name]: String(columns.indexOf(name)) })}`,
          ),
        );
        await database.query(
          `set rowhook.mute = 'on'; update odd set ${quoted(name)} = '${columns.indexOf(name)}'; reset rowhook.mute`,
        );
      }
      await delivers(`update odd set "%s" = 'it''s'`, [
        `odd.updated ${json({ '%s': "it's" })} was {"%s":"${columns.indexOf('%s')}"}`,
        `odd.its ${json({ '%s': "it's" })} was {"%s":"${columns.indexOf('%s')}"}`,
      ]);
      await delivers('delete from odd', [`odd.deleted ${json({ '%s': "it's" })}`]);
    });
    for (const name of ['found', 'r', 'a"b', '$$', "it's"]) {
      await watched('odd', `tenant_column => '${name.replaceAll("'", "''")}'`, () =>
        delivers(
          `insert into odd (${['$$', 'new', 'c1', 'a"b', 'r', 'found', "it's"].map(quoted).join(', ')}) values (${Array(7).fill("'acme'").join(', ')});
           set rowhook.mute = 'on'; delete from odd; reset rowhook.mute`,
          [/^odd.created /],
        ),
      );
    }
  });
});

describe('keys', () => {
  test('no primary key: an UPDATE pairs its rows all the same', async () => {
    await database.query('create table keyless (tenant_id text, a int, b text)');
    await watched('keyless', '', () =>
      delivers(
        `insert into keyless select 'acme', n % 2, 'x' from generate_series(1, 3) as n;
         update keyless set b = 'y' where a = 1;
         update keyless set a = a + 1;
         update keyless set b = b;
         delete from keyless where a = 1`,
        [
          ...Array(2).fill('keyless.created {"tenant_id":"acme","a":1,"b":"x"}'),
          'keyless.created {"tenant_id":"acme","a":0,"b":"x"}',
          ...Array(2).fill('keyless.updated {"tenant_id":"acme","a":1,"b":"y"} was {"b":"x"}'),
          ...Array(2).fill('keyless.updated {"tenant_id":"acme","a":2,"b":"y"} was {"a":1}'),
          'keyless.updated {"tenant_id":"acme","a":1,"b":"x"} was {"a":0}',
          'keyless.deleted {"tenant_id":"acme","a":1,"b":"x"}',
        ],
      ),
    );
    expect(
      await database.query(
        "select from rowhook.webhook_outbox where event_types[1] ~ 'keyless' and row_key is not null",
      ),
    ).toEqual([]);
  });

  test('a composite key, one of whose columns changes', async () => {
    await database.query('create table composite (a int, b text, tenant_id text, v int, primary key (b, a))');
    await watched('composite', '', () =>
      delivers(
        `insert into composite values (1, 'x,y', 'acme', 1), (1, 'x', 'acme', 1);
         update composite set v = 2;
         update composite set a = 2 where b = 'x'`,
        [
          'composite.created {"a":1,"b":"x,y","tenant_id":"acme","v":1}',
          'composite.created {"a":1,"b":"x","tenant_id":"acme","v":1}',
          'composite.updated {"a":1,"b":"x,y","tenant_id":"acme","v":2} was {"v":1}',
          'composite.updated {"a":1,"b":"x","tenant_id":"acme","v":2} was {"v":1}',
          'composite.deleted {"a":1,"b":"x","tenant_id":"acme","v":2}',
          'composite.created {"a":2,"b":"x","tenant_id":"acme","v":2}',
        ],
      ),
    );
    const keys = await database.query(
      "select distinct row_key from rowhook.webhook_outbox where event_types[1] ~ 'composite' order by 1",
    );
    expect(keys.map(({ row_key }) => row_key)).toEqual(['("x,y",1)', '(x,1)', '(x,2)']);
  });

  test('keys that rows pass on to each other in one statement are updates of each', async () => {
    await database.query('create table shifting (id int primary key deferrable, tenant_id text, v text)');
    await database.query('create table swapping (id numeric primary key, tenant_id text, v text)');
    await watched('swapping', '', async () => {
      await delivers(`insert into swapping values (1, 'acme', 'one'), (2, 'acme', 'two'), (3.0, 'acme', 'three')`, [
        'swapping.created {"id":1,"tenant_id":"acme","v":"one"}',
        'swapping.created {"id":2,"tenant_id":"acme","v":"two"}',
        'swapping.created {"id":3.0,"tenant_id":"acme","v":"three"}',
      ]);
      await delivers('update swapping set id = 13 - id where id < 3', [
        'swapping.deleted {"id":1,"tenant_id":"acme","v":"one"}',
        'swapping.deleted {"id":2,"tenant_id":"acme","v":"two"}',
        'swapping.created {"id":12,"tenant_id":"acme","v":"one"}',
        'swapping.created {"id":11,"tenant_id":"acme","v":"two"}',
      ]);
    });
    // a deferrable key may hold a value twice in mid-statement, so rows are paired by position: no key, no moving
    await watched('shifting', '', () =>
      delivers(
        `insert into shifting values (1, 'acme', 'one'), (2, 'acme', 'two');
         update shifting set id = 3 - id`,
        [
          'shifting.created {"id":1,"tenant_id":"acme","v":"one"}',
          'shifting.created {"id":2,"tenant_id":"acme","v":"two"}',
          'shifting.updated {"id":2,"tenant_id":"acme","v":"one"} was {"id":1}',
          'shifting.updated {"id":1,"tenant_id":"acme","v":"two"} was {"id":2}',
        ],
      ),
    );
  });

  test('a key of a type with operators of its own, that compares without case', async () => {
    const { query } = database;
    await query(`create schema folded;
      create type folded.txt;
      create function folded.txt_in(cstring) returns folded.txt language internal immutable strict as 'textin';
      create function folded.txt_out(folded.txt) returns cstring language internal immutable strict as 'textout';
      create type folded.txt (input = folded.txt_in, output = folded.txt_out, like = text, category = 'S');
      create cast (folded.txt as text) without function as implicit;
      create function folded.cmp(folded.txt, folded.txt) returns int language sql immutable strict return bttextcmp(lower($1::text), lower($2::text));
      create function folded.lt(folded.txt, folded.txt) returns bool language sql immutable strict return lower($1::text) < lower($2::text);
      create function folded.le(folded.txt, folded.txt) returns bool language sql immutable strict return lower($1::text) <= lower($2::text);
      create function folded.eq(folded.txt, folded.txt) returns bool language sql immutable strict return lower($1::text) = lower($2::text);
      create function folded.ge(folded.txt, folded.txt) returns bool language sql immutable strict return lower($1::text) >= lower($2::text);
      create function folded.gt(folded.txt, folded.txt) returns bool language sql immutable strict return lower($1::text) > lower($2::text);
      create operator folded.< (leftarg = folded.txt, rightarg = folded.txt, function = folded.lt);
      create operator folded.<= (leftarg = folded.txt, rightarg = folded.txt, function = folded.le);
      create operator folded.= (leftarg = folded.txt, rightarg = folded.txt, function = folded.eq);
      create operator folded.>= (leftarg = folded.txt, rightarg = folded.txt, function = folded.ge);
      create operator folded.> (leftarg = folded.txt, rightarg = folded.txt, function = folded.gt);
      create operator class folded.ops default for type folded.txt using btree as
        operator 1 folded.<, operator 2 folded.<=, operator 3 folded.=, operator 4 folded.>=, operator 5 folded.>, function 1 folded.cmp(folded.txt, folded.txt)`);
    await query('create table folding (id folded.txt primary key, tenant_id text, v int)');
    await watched('folding', '', async () => {
      await delivers(
        `insert into folding values ('a', 'acme', 1), ('b', 'acme', 1); update folding set v = 2; update folding set id = 'A' where id operator(folded.=) 'a'`,
        [
          'folding.created {"id":"a","tenant_id":"acme","v":1}',
          'folding.created {"id":"b","tenant_id":"acme","v":1}',
          'folding.updated {"id":"a","tenant_id":"acme","v":2} was {"v":1}',
          'folding.updated {"id":"b","tenant_id":"acme","v":2} was {"v":1}',
          'folding.deleted {"id":"a","tenant_id":"acme","v":2}',
          'folding.created {"id":"A","tenant_id":"acme","v":2}',
        ],
      );
    });
  });

  test('a key, and a tenant, with a collation of their own', async () => {
    await database.query(
      `create collation if not exists "no case" (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
    );
    await database.query(
      `create table collated (id text collate "no case" primary key, tenant_id text collate "no case", v text collate "C")`,
    );
    await watched('collated', '', () =>
      delivers(
        `insert into collated values ('a', 'acme', 'x'), ('b', 'ACME', 'x');
         update collated set v = 'y';
         update collated set id = 'A' where id = 'a'`,
        [
          'collated.created {"id":"a","tenant_id":"acme","v":"x"}',
          'collated.updated {"id":"a","tenant_id":"acme","v":"y"} was {"v":"x"}',
          'collated.deleted {"id":"a","tenant_id":"acme","v":"y"}',
          'collated.created {"id":"A","tenant_id":"acme","v":"y"}',
        ],
      ),
    );
  });

  test('a key that spans time, without overlaps (PostgreSQL 18), or a key with further columns in its index', async () => {
    const [{ version } = { version: 0 }] = await database.query<{ version: number }>(
      "select current_setting('server_version_num')::int as version",
    );
    const temporal =
      version >= 180000 &&
      (await database.query("select from pg_available_extensions where name = 'btree_gist'")).length > 0;
    if (temporal) await database.query('create schema gist; create extension btree_gist schema gist');
    await database.query(
      `create table temporal (id int, during int4range, tenant_id text, v text,
        ${temporal ? 'primary key (id, during without overlaps)' : 'primary key (id, during) include (v)'})`,
    );
    await watched('temporal', '', () =>
      delivers(
        `insert into temporal values (1, '[1,5)', 'acme', 'a'), (1, '[5,9)', 'acme', 'a');
         update temporal set v = 'b';
         update temporal set during = '[1,4)' where during = '[1,5)'`,
        [
          'temporal.created {"id":1,"during":"[1,5)","tenant_id":"acme","v":"a"}',
          'temporal.created {"id":1,"during":"[5,9)","tenant_id":"acme","v":"a"}',
          'temporal.updated {"id":1,"during":"[1,5)","tenant_id":"acme","v":"b"} was {"v":"a"}',
          'temporal.updated {"id":1,"during":"[5,9)","tenant_id":"acme","v":"b"} was {"v":"a"}',
          'temporal.deleted {"id":1,"during":"[1,5)","tenant_id":"acme","v":"b"}',
          'temporal.created {"id":1,"during":"[1,4)","tenant_id":"acme","v":"b"}',
        ],
      ),
    );
  });
});

describe('width', () => {
  const numbered = (count: number, of: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => of(n)).join(', ');

  test.each([
    [120, 'id'],
    [800, 'id'],
    [801, 'id'],
    [800, 'none'],
    [1500, 'id'],
    [1500, 'none'],
    [1597, 'id, "column 7"'],
  ])('%i columns, primary key: %s', async (count, key) => {
    await database.query(
      `create table wide (id int, tenant_id text, ${numbered(count - 3, (n) => `"column ${n}" ${n % 3 === 0 ? 'int' : 'bool'}`)}, updated_at int
       ${key === 'none' ? '' : `, primary key (${key})`})`,
    );
    const row = (change: Record<string, unknown> = {}) =>
      JSON.stringify({
        id: 1,
        tenant_id: 'acme',
        ...Object.fromEntries(Array.from({ length: count - 3 }, (_, n) => [`column ${n}`, n === 7 ? true : null])),
        updated_at: null,
        ...change,
      });
    const last = `column ${count - 4}`;
    const value = (count - 4) % 3 === 0 ? 5 : true;
    await watched('wide', `prefix => 'wide', derived => '{"${last}":"last.changed","column 3":{"4":"four"}}'`, () =>
      delivers(
        `insert into wide (id, tenant_id, "column 7") values (1, 'acme', true);
         update wide set "${last}" = ${value}, "column 3" = 4, updated_at = 1;
         update wide set updated_at = 2;
         delete from wide`,
        [
          `wide.created ${row()}`,
          ...['wide.updated', 'wide.last.changed', 'wide.four'].map(
            (event) =>
              `${event} ${row({ 'column 3': 4, [last]: value, updated_at: 1 })} was {"column 3":null,"${last}":null,"updated_at":null}`,
          ),
          `wide.deleted ${row({ 'column 3': 4, [last]: value, updated_at: 2 })}`,
        ],
      ),
    );
    await database.query('drop table wide');
  });

  test('one column, and none', async () => {
    await database.query('create table narrow (v int); create table empty ()');
    await watched('narrow', `tenant_id => 'acme'`, () =>
      delivers('insert into narrow values (1); update narrow set v = 2; delete from narrow', [
        'narrow.created {"v":1}',
        'narrow.updated {"v":2} was {"v":1}',
        'narrow.deleted {"v":2}',
      ]),
    );
    await watched('empty', `tenant_id => 'acme'`, () =>
      delivers('insert into empty default values; delete from empty', ['empty.created {}', 'empty.deleted {}']),
    );
    // all of them ignored
    await watched('narrow', `tenant_id => 'acme', ignore_columns => '{v}'`, () =>
      delivers('insert into narrow values (1); update narrow set v = 2; delete from narrow', [
        'narrow.created {"v":1}',
        'narrow.deleted {"v":2}',
      ]),
    );
  });
});
