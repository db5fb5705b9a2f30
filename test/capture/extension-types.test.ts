// Types of real extensions: those that come with PostgreSQL, and PostGIS where the server has it. The server of npm has none;
// ROWHOOK_TEST_DATABASE_URL names one that has (Debian: apt-get install postgresql-15-postgis-3).

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Examination } from '../../src/doctor/finding.ts';
import { printing } from '../../src/doctor/printing.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { takeChanges } from '../support/outbox.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  // as Supabase has it
  await database.query('create schema extensions; revoke all on schema extensions from public');
  for (const extension of ['hstore', 'citext', 'ltree', 'cube', 'isn', 'seg']) {
    await database.query(`create extension ${extension} schema extensions`);
  }
  await database.query(`
    set local search_path = public, extensions;
    create type words as range (subtype = citext);
    create domain email as citext check (value ~ '@'::citext);
    create type pair as (h hstore, c citext[], r words)`);
});

afterAll(() => database.drop());

const told = async () =>
  (await takeChanges(database)).map(({ eventTypes, rowKey, data, truncated }) =>
    [eventTypes.join(' '), rowKey, data, truncated && `(${truncated})`].filter(Boolean).join(' '),
  );

async function watched(type: string, values: string): Promise<string[]> {
  await database.query(`
    set local search_path = public, extensions; set local client_min_messages = error;
    create table t (x ${type} primary key, tenant_id text default 'acme', v int);
    select rowhook.watch('t', capture => 'all'); insert into t (x) values ${values}; update t set v = 1; delete from t`);
  const lines = await told();
  await database.query("select rowhook.unwatch('t'); drop table t");
  return lines;
}

describe('as a column and as the key, in a schema that rowhook_owner may not use', () => {
  test.each([
    ['hstore', `('a=>1, "q\\"t"=>NULL')`, '"a"=>"1", "q\\"t"=>NULL', '{"a": "1", "q\\"t": null}'],
    ['citext', "('Ab')", 'Ab', '"Ab"'],
    ['ltree', "('a.b')", 'a.b', '"a.b"'],
    ['cube', "('(1,2),(3,4)')", '(1, 2),(3, 4)', '"(1, 2),(3, 4)"'],
    ['isbn13', "('978-0-393-04002-9')", '978-0-393-04002-9', '"978-0-393-04002-9"'],
    ['seg', "('~1.5')", '~1.5', '"~1.5"'],
    ['words', "('[A,b)')", '[A,b)', '"[A,b)"'],
    ['email', "('A@b')", 'A@b', '"A@b"'],
    ['pair', "(row('a=>1','{C}','[A,b)'))", '("""a""=>""1""",{C},"[A,b)")', '{"h":{"a": "1"},"c":["C"],"r":"[A,b)"}'],
  ])('%s', async (type, values, key, printed) => {
    const row = (v: string) => `${key} {"x":${printed},"tenant_id":"acme","v":${v}}`;
    expect(await watched(type, values)).toEqual([
      `t.created ${row('null')}`,
      `t.updated ${row('1')}`,
      `t.deleted ${row('1')}`,
    ]);
  });
});

test('PostGIS: no value fails a statement, and what the doctor grants makes the events whole', async ({ skip }) => {
  const there = await database.query("select from pg_available_extensions where name = 'postgis'");
  if (there.length === 0) skip('this server has no PostGIS');
  await database.query('create extension postgis schema extensions');
  await database.query('revoke all on extensions.spatial_ref_sys from public');
  await database.query(`
    set local search_path = public, extensions;
    create table places (id int primary key, tenant_id text default 'acme', g geometry);
    select rowhook.watch('places', capture => 'all');
    insert into places (id, g) values (1, 'POINT(1 2)'), (2, 'CIRCULARSTRING(0 0,1 1,2 0)'), (3, 'SRID=4326;POINT(1 2)');
    insert into places (id, g) values (4, st_makepoint('NaN', 1));
    update places set g = 'POINT(3 4)' where id in (2, 4)`);
  expect(await told()).toEqual([
    'places.created 1 {"id":1,"tenant_id":"acme","g":{"type":"Point","coordinates":[1,2]}}',
    'places.created 2 {"id" : 2} (XX000: lwgeom_to_geojson: \'CircularString\' geometry type not supported)',
    'places.created 3 {"id" : 3} (42501: permission denied for schema extensions)',
    'places.created 4 {"id" : 4} (22P02: invalid input syntax for type json)',
    'places.updated 2 {"id" : 2} (XX000: lwgeom_to_geojson: \'CircularString\' geometry type not supported)',
    'places.updated 4 {"id" : 4} (22P02: invalid input syntax for type json)',
  ]);
  const client = new pg.Client(database.url);
  await client.connect();
  try {
    const [cast] = (await printing({ client } as unknown as Examination)) as { fix?: string }[];
    expect(cast?.fix).toBe(
      'grant usage on schema extensions to rowhook_owner; grant select on extensions.spatial_ref_sys to rowhook_owner;',
    );
    await database.query(cast?.fix as string);
  } finally {
    await client.end();
  }
  await database.query('delete from places where id = 3');
  expect(await told()).toEqual([expect.stringMatching(/^places.deleted 3 {"id":3,.*EPSG:4326.*}$/)]);
});
