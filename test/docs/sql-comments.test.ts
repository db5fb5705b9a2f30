// A DBA who looks at the schema with \d+ and \df+ is told what everything is.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  const logins = readFileSync(join(import.meta.dirname, '../../sql/tenants/session-user.sql'), 'utf8');
  await database.query(logins);
});

afterAll(() => database.drop());

/** What the parent of a partition says of columns and constraints goes for the partition too. */
const UNCOMMENTED = `
  with relation as (select oid, relkind from pg_class where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S'))
  select pg_describe_object('pg_class'::regclass, oid, 0) as what from relation where obj_description(oid, 'pg_class') is null
  union all
  select pg_describe_object('pg_class'::regclass, oid, attnum)
    from relation join pg_attribute on attrelid = oid
   where relkind <> 'S' and attnum > 0 and not attisdropped and attinhcount = 0 and col_description(oid, attnum) is null
  union all
  select pg_describe_object('pg_constraint'::regclass, oid, 0) from pg_constraint
   where connamespace = 'rowhook'::regnamespace and contype <> 'n' and coninhcount = 0 and conparentid = 0
     and obj_description(oid, 'pg_constraint') is null
  union all
  select pg_describe_object('pg_proc'::regclass, oid, 0) from pg_proc
   where pronamespace = 'rowhook'::regnamespace and obj_description(oid, 'pg_proc') is null
  order by 1`;

const uncommented = async () => (await database.query<{ what: string }>(UNCOMMENTED)).map(({ what }) => what);

test('every table, view, sequence, column, constraint and function has a comment', async () => {
  expect(await uncommented()).toEqual([]);
  // the catalog does find one that has none
  await database.query('comment on column rowhook.webhook_logs.code is null');
  expect(await uncommented()).toEqual(['column code of table rowhook.webhook_logs']);
});

test('so has what is made later: capture functions and partitions of the log', async () => {
  await database.query("create table later (id int, tenant_id text); select rowhook.watch('later')");
  await database.query('select rowhook._make_log_partitions(9)');
  const later = await database.query<{ comment: string }>(`
    select obj_description(to_regproc('rowhook._capture_' || id), 'pg_proc') as comment
      from rowhook.webhook_sources where relation = 'later'::regclass
    union all
    select obj_description(to_regclass(to_char(now() at time zone 'utc' + '9 days', '"rowhook.webhook_logs_"YYYYMMDD')), 'pg_class')`);
  expect(later.map(({ comment }) => comment)).toEqual([
    expect.stringMatching(/^Capture of .*later, written by rowhook\.watch\(\)\.$/),
    expect.stringMatching(/^Attempts of \d{4}-\d\d-\d\d \(UTC\)\.$/),
  ]);
});

test('comments are one or two sentences, in ASCII', async () => {
  const comments = await database.query<{ what: string; description: string }>(`
    select pg_describe_object(classoid, objoid, objsubid) as what, description from pg_description
     where objoid >= 16384 and pg_describe_object(classoid, objoid, objsubid) ~ 'rowhook\\.'`);
  expect(comments.length).toBeGreaterThan(250);
  const wrong = comments.filter(
    ({ description }) => !/^[ -~]{8,420}[.)]$/.test(description) && !description.endsWith(' ...'),
  );
  expect(wrong).toEqual([]);
});
