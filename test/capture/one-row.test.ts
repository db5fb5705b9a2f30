// A statement that changes one row takes a path of its own. Each statement here runs on two equal tables: the capture
// function of `many` has lost that path, the one of `one` tells when it leaves it. Both must write the same bytes.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
const schemas = ['one', 'many'] as const;

beforeAll(async () => {
  database = await createDatabase();
  await database.query("create type mood as enum ('fine', 'so \"so\"'); create domain email as text");
  await database.query(`insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values
    ('acme', 'w', 'https://example.com/', '{*}'), ('picky', 'w', 'https://example.com/', '{t.v.is.z}')`);
});

afterAll(() => database.drop());

interface Table {
  columns: string;
  /** More statements that make the table. */
  more?: string;
  /** Of watch(). */
  options?: string;
}

/** Numbers below `below`, the same in each run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

class Twins {
  readonly client = new pg.Client(database.url);
  #notices: string[] = [];

  static async of({ columns, more = '', options = '' }: Table): Promise<Twins> {
    for (const schema of schemas) {
      await database.query(`
        drop schema if exists ${schema} cascade; select rowhook.reconcile(); create schema ${schema};
        set search_path = ${schema}, public; create table t (${columns}); ${more};
        select rowhook.watch('t', prefix => 't'${options ? `, ${options}` : ''}); reset search_path`);
    }
    const twins = new Twins();
    twins.client.on('notice', ({ message }) => twins.#notices.push(message ?? ''));
    await twins.client.connect();
    await twins.tell();
    return twins;
  }

  /** Takes the path from the functions of `many`. */
  async tell(mayHaveNone = false): Promise<void> {
    await database.query(`
      do $do$
      declare
        v_source record;
        v_before text;
        v_after  text;
      begin
        for v_source in select s.id, n.nspname from rowhook.webhook_sources s join pg_class c on c.oid = s.relation
                          join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('one', 'many') loop
          v_before := pg_get_functiondef(to_regproc('rowhook._capture_' || v_source.id));
          v_after := case v_source.nspname
            when 'one' then replace(v_before, 'if v_data is not null then', 'if v_data is null then raise notice ''all paths''; end if; if v_data is not null then')
            else regexp_replace(v_before, '(into strict v_(new|old) from rowhook_(new|old) where )', '\\1false and ', 'g')
          end;
          if v_after = v_before and not ${mayHaveNone} then
            raise 'the capture function of % has no path for one row', v_source.nspname;
          end if;
          execute v_after;
        end loop;
      end $do$`);
  }

  async run(sql: string): Promise<{ changes: unknown[]; leftPath: boolean }> {
    const written: unknown[][] = [];
    this.#notices = [];
    for (const schema of schemas) {
      await this.client.query(`set search_path = ${schema}, public`);
      await this.client.query(sql);
      const { rows } = await database.pool.query({
        text: `select lane, tenant_id, event_types, row_key, data::text, previous::text, truncated
                 from rowhook.webhook_outbox where event_types <> '{}' order by id`,
        rowMode: 'array',
      });
      await database.query('delete from rowhook.webhook_outbox');
      written.push(rows);
    }
    expect(written[0], sql).toEqual(written[1]);
    return { changes: written[0] as unknown[], leftPath: this.#notices.includes('all paths') };
  }

  /** Takes the path; `changes` are the rows in the outbox. */
  async takes(sql: string, changes: number): Promise<void> {
    const seen = await this.run(sql);
    expect({ sql, changes: seen.changes.length, leftPath: seen.leftPath }).toEqual({ sql, changes, leftPath: false });
  }

  async leaves(sql: string, changes: number): Promise<void> {
    const seen = await this.run(sql);
    expect({ sql, changes: seen.changes.length, leftPath: seen.leftPath }).toEqual({ sql, changes, leftPath: true });
  }
}

const simple = `id int primary key, tenant_id text, v text, n numeric, at timestamptz default '2030-01-01 12:00+00'`;
const derived = `derived => '{"n":"n.changed","v":{"z":"v.is.z"},"at":"moved"}'`;

const values: Record<string, string[]> = {
  tenant_id: ["'acme'", "'picky'", "'nobody'", "'acme'"],
  v: ["'z'", "'y'", '\'a "quoted" \\ one\'', 'null'],
  '"Odd ""Name"': ["'x'", "''", 'null'],
  n: ['1.0', '1.00', '-7e20', 'null'],
  f: ['0.1', "'-0'", '0', "'nan'"],
  at: ["'2030-01-01 12:00+02'", "'infinity'", 'null'],
  day: ["'2030-01-01'", 'null'],
  span: ["'1 day'", "'24 hours'"],
  bytes: ["'\\x00ff'", 'null'],
  cash: ["'12.5'", 'null'],
  doc: [`'{"a":1,"a":2}'`, `'{"a": 1}'`, 'null'],
  docb: [`'{"a":1.0}'`, `'{"a":1.00}'`],
  tags: ["'{a,NULL}'", "'{}'"],
  times: ["'{2030-01-01 12:00+02}'", 'null'],
  feeling: ["'fine'", `'so "so"'`],
  mail: ["'a@b'", 'null'],
};
const wide = `id int, tenant_id text, v text, "Odd ""Name" varchar(20), n numeric, f float8, at timestamptz, day date,
  span interval, bytes bytea, cash money, doc json, docb jsonb, tags text[], times timestamptz[], feeling mood, mail email`;

const tables: [string, Table][] = [
  ['a key', { columns: `${wide}, primary key (id)`, options: derived }],
  ['no key', { columns: wide, options: derived }],
  ['everything captured', { columns: `${wide}, primary key (id)`, options: `${derived}, capture => 'all'` }],
  ['ignored columns', { columns: `${wide}, primary key (id)`, options: `ignore_columns => '{v,n,at}'` }],
  [
    'excluded columns',
    { columns: `${wide}, primary key (id)`, options: `${derived}, exclude_columns => '{day,docb}', capture => 'all'` },
  ],
  ['a fixed tenant', { columns: `${wide}, primary key (id)`, options: "tenant_id => 'acme'" }],
  ['small payloads', { columns: `${wide}, primary key (id)`, options: 'max_payload_bytes => 1024' }],
  [
    'derived events alone',
    { columns: `${wide}, primary key (id)`, options: `${derived}, events => '{}', capture => 'all'` },
  ],
  [
    'a key with a time',
    { columns: `id int, stamp timestamptz default '2030-01-01 12:00+02', ${wide.slice(8)}, primary key (id, stamp)` },
  ],
];

const settings = [
  'reset all',
  "set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY'",
  "set intervalstyle = iso_8601; set bytea_output = escape; set extra_float_digits = -9; set lc_monetary = 'C.UTF-8'",
  'set row_security = off; set quote_all_identifiers = on; set standard_conforming_strings = off; set escape_string_warning = off',
];

test.each(tables)('random statements of one row write the same on both paths: %s', async (_, table) => {
  const twins = await Twins.of(table);
  const next = random(7);
  const names = Object.keys(values);
  const value = (name: string): string => (values[name] as string[])[next((values[name] as string[]).length)] as string;
  let changes = 0;
  let took = 0;
  try {
    for (let n = 0; n < 48; n++) {
      if (n % 12 === 0) await twins.client.query(settings[(n / 12) % settings.length] as string);
      const id = next(4);
      const some = names.filter(() => next(5) === 0).concat(next(2) ? ['v'] : []);
      const set = [...new Set(some)].map((name) => `${quoted(name)} = ${value(name)}`);
      const kind = next(5);
      const row = names.map(value).join(', ');
      const insert = `insert into t (id, ${names.map(quoted).join(', ')}) select ${id}, ${row}`;
      const sql =
        kind < 2
          ? `${insert} where not exists (select from t where id = ${id})`
          : kind < 4
            ? `update t set ${set.length ? set.join(', ') : 'v = v'} where id = ${id}`
            : `delete from t where id = ${id}`;
      const before = await twins.client.query("select current_setting('timezone'), current_setting('datestyle')");
      const seen = await twins.run(sql.replaceAll('\\', n >= 36 ? '\\\\' : '\\'));
      expect(
        (await twins.client.query("select current_setting('timezone'), current_setting('datestyle')")).rows,
      ).toEqual(before.rows);
      changes += seen.changes.length;
      if (seen.changes.length > 0 && !seen.leftPath) took++;
    }
  } finally {
    await twins.client.end();
  }
  expect(changes).toBeGreaterThan(4);
  expect(took).toBeGreaterThan(2);
});

const quoted = (name: string) => (name.startsWith('"') ? name : `"${name}"`);

test('a table looks the same in every session: it is not taken for an altered one', async () => {
  const twins = await Twins.of({ columns: `${wide}, primary key (id)`, options: derived });
  const look = async () =>
    (await twins.client.query('select id, rowhook._layout(id) from rowhook.webhook_sources')).rows;
  try {
    const before = await look();
    for (const setting of settings) {
      await twins.client.query(setting);
      expect([setting, await look()]).toEqual([setting, before]);
    }
  } finally {
    await twins.client.end();
  }
});

test('which statements take the path', async () => {
  const twins = await Twins.of({ columns: simple, options: derived });
  try {
    await twins.takes("insert into t values (1, 'acme', 'a', 1)", 1);
    await twins.takes("insert into t values (2, 'nobody', 'a', 1)", 0);
    await twins.takes("insert into t values (3, null, 'a', 1)", 0);
    await twins.takes("insert into t values (4, 'picky', 'z', 1)", 1);
    await twins.takes("insert into t values (5, 'picky', 'y', 1)", 0);
    await twins.leaves("insert into t select n, 'acme', 'a', 1 from generate_series(6, 9) as n", 4);
    await twins.leaves('insert into t select * from t where false', 0);
    await twins.takes("update t set v = 'b' where id = 1", 1);
    await twins.takes('update t set v = v where id = 1', 0);
    await twins.leaves("update t set v = 'b' where id > 5", 4);
    await twins.leaves("update t set v = 'c' where id = 0", 0);
    // it moved to another key or tenant: two events, or one
    await twins.leaves('update t set id = 10 where id = 1', 2);
    await twins.leaves("update t set tenant_id = 'nobody' where id = 10", 1);
    await twins.leaves("update t set tenant_id = 'acme' where id = 3", 1);
    // no row for the trigger of INSERT, one for that of UPDATE
    await twins.leaves("insert into t values (6, 'acme', 'a', 1) on conflict (id) do update set v = 'up'", 1);
    await twins.takes("insert into t values (30, 'acme', 'a', 1) on conflict (id) do nothing", 1);
    await twins.leaves("insert into t values (30, 'acme', 'a', 1) on conflict (id) do nothing", 0);
    const merge = (id: number, v: string) =>
      `merge into t using (values (${id})) as s (id) on t.id = s.id when matched and t.v = 'gone' then delete
         when matched then update set v = '${v}' when not matched then insert values (s.id, 'acme', '${v}')`;
    await twins.leaves(merge(31, 'new'), 1);
    await twins.leaves(merge(31, 'gone'), 1);
    await twins.leaves(merge(31, ''), 1);
    await twins.takes('delete from t where id = 7', 1);
    await twins.leaves('delete from t where id > 7', 3);
    await twins.takes("with w as (insert into t values (20, 'acme') returning 1) update t set v = 'w' where id = 6", 2);
  } finally {
    await twins.client.end();
  }
});

test('a trigger of the app changes the row again, or others', async () => {
  const twins = await Twins.of({
    columns: simple,
    more: `
      create function again() returns trigger language plpgsql as $f$
      begin
        if pg_trigger_depth() = 1 then
          if new.v = 'row' then update t set v = 'again', n = 2 where id = new.id;
          elsif new.v = 'others' then update t set n = n + 1;
          elsif new.v = 'gone' then delete from t where id = new.id;
          elsif new.v = 'copy' then insert into t values (new.id + 100, new.tenant_id, 'copied');
          end if;
        end if;
        return new;
      end $f$;
      create function before() returns trigger language plpgsql as
        $f$ begin new.n := 42; if new.v = 'cancel' then return null; end if; return new; end $f$;
      create function statement() returns trigger language plpgsql as
        $f$ begin if pg_trigger_depth() = 1 then update t set n = 7 where v = 'statement'; end if; return null; end $f$;
      create trigger a before insert or update on t for each row execute function before();
      create trigger b after insert or update on t for each row execute function again();
      create trigger c after insert or update on t for each statement execute function statement();
      create trigger z after insert or update on t for each statement execute function statement()`,
    options: derived,
  });
  try {
    for (const [sql, changes] of [
      ["insert into t values (1, 'acme', 'a')", 1],
      ["insert into t values (2, 'acme', 'row')", 2],
      ["update t set v = 'row' where id = 1", 2],
      ["update t set v = 'copy' where id = 1", 2],
    ] as const)
      expect((await twins.run(sql)).changes, sql).toHaveLength(changes);
    await twins.run("update t set v = 'others' where id = 1");
    await twins.run("update t set v = 'gone' where id = 1");
    await twins.run("insert into t values (3, 'acme', 'gone')");
    await twins.run("insert into t values (4, 'acme', 'cancel')");
    await twins.run("insert into t values (5, 'acme', 'statement')");
    await twins.run("update t set v = 'statement' where id = 2");
  } finally {
    await twins.client.end();
  }
});

test('foreign keys change one row, or delete it', async () => {
  const twins = await Twins.of({
    columns: `${simple}, parent int references t on delete set null on update cascade, owner int references t on delete cascade`,
  });
  try {
    await twins.takes("insert into t values (1, 'acme', 'parent')", 1);
    await twins.takes("insert into t values (2, 'acme', 'child', 1, now(), 1)".replace('now()', "'2030-01-01'"), 1);
    await twins.takes("insert into t values (3, 'acme', 'owned', 1, '2030-01-01', null, 2)", 1);
    const keys = await twins.run('update t set id = 10 where id = 1');
    expect(keys.changes).toHaveLength(3);
    await twins.run('delete from t where id = 10');
    expect((await twins.run('delete from t where id = 2')).changes).toHaveLength(2);
  } finally {
    await twins.client.end();
  }
});

test('partitions of one row each, through the root and by name, and rows that move between them', async () => {
  const twins = await Twins.of({
    columns: simple
      .replace(' primary key', '')
      .concat(', region text, primary key (id, region)) partition by list (region'),
    more: `create table t_de partition of t for values in ('de');
      create table t_fr (region text not null, gone int, at timestamptz, n numeric, v text, tenant_id text, id int not null);
      alter table t_fr drop column gone; alter table t attach partition t_fr for values in ('fr')`,
    options: derived,
  });
  const row = (id: number, region: string) => `(${id}, 'acme', 'a', 1, '2030-01-01', '${region}')`;
  try {
    await twins.takes(`insert into t values ${row(1, 'de')}`, 1);
    await twins.takes(`insert into t values ${row(2, 'fr')}`, 1);
    await twins.takes("insert into t_fr (id, tenant_id, region, v) values (3, 'acme', 'fr', 'b')", 1);
    await twins.takes("update t set v = 'z' where id = 2", 1);
    await twins.takes("update t_fr set v = 'y' where id = 2", 1);
    await twins.leaves("update t set v = 'x'", 3);
    expect((await twins.run("update t set region = 'fr' where id = 1")).changes).toHaveLength(2);
    await twins.takes('delete from t_fr where id = 3', 1);
    await twins.takes('delete from t where id = 2', 1);

    // it keeps its triggers until reconcile(), and is altered by itself
    for (const alteration of [
      'alter table t detach partition t_fr',
      'alter table t_fr rename v to x; alter table t_fr rename n to v; alter table t_fr rename x to n',
      "alter table t_fr alter v type json using '1', alter n type json using '2'",
      'alter table t_fr drop column at',
      'alter table t_fr rename tenant_id to tenant',
    ]) {
      await Promise.all(
        schemas.map((schema) => database.query(`set search_path = ${schema}; ${alteration}; reset search_path`)),
      );
      await twins.run("insert into t_fr (id, region) values (7, 'fr')");
      await twins.run(`update t_fr set region = 'fr', id = id where id = 1`);
      await twins.run('delete from t_fr where id = 7');
    }
  } finally {
    await twins.client.end();
  }
});

describe('a session that took the path goes on after', () => {
  test.each([
    ['alter table t drop column v', 'n = 5'],
    ['alter table t drop column at, drop column n, drop column v; alter table t add column v int', 'v = 3'],
    ['alter table t rename column v to w', "w = 'z'"],
    [
      'alter table t rename column v to x; alter table t rename column at to v; alter table t rename column x to at',
      "at = 'z'",
    ],
    ['alter table t rename column tenant_id to owner', "v = 'z'"],
    ['alter table t drop column tenant_id', "v = 'z'"],
    ['alter table t alter column n type text', "n = 'z'"],
    ["alter table t alter column v type mood using 'fine'", `v = 'so "so"'`],
    ["alter table t alter column at drop default, alter column at type point using '(1,2)'", "at = '(3,4)'"],
    ['alter table t alter column id type bigint', 'id = 1, n = 3'],
    ['alter table t add column added int default 4', 'added = 5'],
    ['alter table t drop constraint t_pkey', 'n = 3'],
    ['alter table t alter column n type text; alter table t alter column n type numeric using n::numeric', 'n = 3'],
  ])('%s', async (alteration, set) => {
    const twins = await Twins.of({ columns: simple, options: derived });
    const statements = (set: string) => [
      `update t set ${set}`,
      'delete from t',
      'insert into t select * from t where false',
    ];
    try {
      await twins.takes("insert into t values (1, 'acme', 'a', 1)", 1);
      for (let n = 0; n < 2; n++) {
        await twins.takes(`update t set v = 'b${n}', n = ${n + 2}`, 1);
        await twins.takes('delete from t', 1);
        await twins.takes("insert into t values (1, 'acme', 'a', 1)", 1);
      }
      for (const schema of schemas)
        await database.query(`set search_path = ${schema}, public; ${alteration}; reset search_path`);
      for (const sql of statements(set)) await twins.run(sql);
      const columns = await twins.client.query(
        `select string_agg(quote_ident(attname), ', ') as names from pg_attribute
          where attrelid = 'one.t'::regclass and attnum > 0 and not attisdropped and attname in ('id', 'tenant_id', 'owner')`,
      );
      const names = columns.rows[0].names as string;
      const insert = `insert into t (${names}) select ${names.replace(/\bid\b/, '1').replace(/tenant_id|owner/, "'acme'")}`;
      await twins.run(insert);
      await database.query('select rowhook.reconcile()');
      await twins.tell(true);
      for (const sql of [`update t set ${set}`, 'delete from t', insert]) await twins.run(sql);
    } finally {
      await twins.client.end();
    }
  });
});
