// What becomes an event, for whom, and what the app pays for it.

import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connected } from '../support/connected.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { lines, takeChanges } from '../support/outbox.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

beforeEach(async () => {
  await database.query('drop table if exists t, other cascade; select rowhook.reconcile()');
  await database.query('delete from rowhook.webhook_configurations');
  await database.query('create table t (id int primary key, tenant_id text, v text, n int, updated_at int)');
  await takeChanges(database);
});

afterAll(() => database.drop());

const watch = (options = "capture => 'all'") => database.query(`select rowhook.watch('t'${options && `, ${options}`})`);
const captured = async (sql: string) => {
  await database.query(sql);
  return lines(await takeChanges(database));
};
const events = async (sql: string) => (await captured(sql)).map((line) => line.replace(/ \{.*/, ''));

/** A connection of its own, for settings and transactions. */
const onSession = <T>(work: (session: pg.Client) => Promise<T>) => connected(database.url, work);

describe('no event', () => {
  beforeEach(async () => {
    await watch();
    await captured("insert into t values (1, 'acme', 'a', 1, 1)");
  });

  test('of an UPDATE that changes nothing', async () => {
    expect(await captured('update t set v = v, n = n')).toEqual([]);
  });

  test('of an UPDATE that changes only updated_at, and previous has it when something else changed too', async () => {
    expect(await captured('update t set updated_at = 2')).toEqual([]);
    expect(await captured('update t set updated_at = 3, n = 2')).toEqual([
      't.updated {"id":1,"tenant_id":"acme","v":"a","n":2,"updated_at":3} was {"n":1,"updated_at":2}',
    ]);
  });

  test('of an UPDATE that changes only what ignore_columns lists', async () => {
    await watch("capture => 'all', ignore_columns => '{n,v}'");
    expect(await events("update t set n = 7, v = 'z'")).toEqual([]);
    expect(await events('update t set updated_at = 7')).toEqual(['t.updated']);
    await watch("capture => 'all', ignore_columns => null");
    expect(await events('update t set updated_at = 8')).toEqual(['t.updated']);
  });

  test('of TRUNCATE', async () => {
    expect(await captured('truncate t')).toEqual([]);
  });

  test("while rowhook.mute is 'on', and only then", async () => {
    for (const sql of ["set rowhook.mute = 'on'", 'set rowhook.mute to on']) {
      expect(
        await captured(
          `${sql}; insert into t values (2, 'acme'); update t set n = 9; delete from t where id = 2; reset rowhook.mute`,
        ),
      ).toEqual([]);
    }
    for (const value of ['off', '', '1', 'ON']) {
      expect(await events(`set rowhook.mute = '${value}'; update t set n = n + 1; reset rowhook.mute`)).toEqual([
        't.updated',
      ]);
    }
    expect(
      await events("begin; set local rowhook.mute = 'on'; update t set n = 70; commit; update t set n = 71"),
    ).toEqual(['t.updated']);
  });

  test('while session_replication_role is replica', async () => {
    expect(
      await captured('set session_replication_role = replica; update t set n = 9; reset session_replication_role'),
    ).toEqual([]);
  });

  test('of what was rolled back: a statement, a savepoint, a transaction', async () => {
    await expect(database.query("insert into t values (2, 'acme'), (1, 'acme')")).rejects.toThrow('duplicate key');
    await onSession(async (session) => {
      await session.query("begin; insert into t values (2, 'acme'); rollback");
      await session.query(
        'begin; update t set n = 2; savepoint a; update t set n = 3; savepoint b; delete from t; rollback to a',
      );
      await session.query('update t set n = 4; commit');
    });
    expect(await captured('')).toEqual([
      't.updated {"id":1,"tenant_id":"acme","v":"a","n":2,"updated_at":1} was {"n":1}',
      't.updated {"id":1,"tenant_id":"acme","v":"a","n":4,"updated_at":1} was {"n":2}',
    ]);
  });

  test('of a row without a tenant', async () => {
    expect(await captured("insert into t values (2, null, 'x'), (3, '', 'x')")).toHaveLength(1);
    expect(await captured("update t set v = 'y' where tenant_id is null")).toEqual([]);
    expect(await captured('delete from t where tenant_id is null')).toEqual([]);
  });

  test('of a statement that changes no row, which takes no transaction id either', async () => {
    await onSession(async (session) => {
      for (const sql of [
        "insert into t select 1, 'acme' where false",
        'update t set n = 2 where false',
        'delete from t where false',
        "insert into t values (1, 'acme') on conflict do nothing",
        "merge into t using (select 1 as id where false) as s on t.id = s.id when matched then delete when not matched then insert values (9, 'acme')",
      ]) {
        await session.query('begin');
        await session.query(sql);
        const { rows } = await session.query('select pg_current_xact_id_if_assigned() as xid');
        // the failed insertion of ON CONFLICT takes one by itself in no case
        expect(rows, sql).toEqual([{ xid: null }]);
        await session.query('commit');
      }
    });
    expect(await captured('')).toEqual([]);
  });
});

describe('tenants', () => {
  test('a row that moves is deleted for the old one and created for the new, and neither sees the other', async () => {
    await watch('capture => \'all\', derived => \'{"v":{"b":"became.b"},"n":"n.changed"}\'');
    await captured("insert into t values (1, 'one', 'a', 1)");
    await database.query("update t set tenant_id = 'two', v = 'b', n = 2");
    expect(await takeChanges(database)).toEqual([
      {
        eventTypes: ['t.deleted'],
        tenantId: 'one',
        rowKey: '1',
        data: '{"id":1,"tenant_id":"one","v":"a","n":1,"updated_at":null}',
        previous: null,
        truncated: null,
      },
      {
        eventTypes: ['t.created', 't.became.b'],
        tenantId: 'two',
        rowKey: '1',
        data: '{"id":1,"tenant_id":"two","v":"b","n":2,"updated_at":null}',
        previous: null,
        truncated: null,
      },
    ]);
  });

  test('a row that gets a tenant is created, one that loses it deleted', async () => {
    await watch();
    expect(await events('insert into t values (1, null)')).toEqual([]);
    expect(await events("update t set tenant_id = 'one'")).toEqual(['t.created']);
    expect(await events('update t set tenant_id = null')).toEqual(['t.deleted']);
  });

  test('a changed primary key is a delete and a create', async () => {
    await watch();
    await captured("insert into t values (1, 'one')");
    expect((await captured('update t set id = 2')).sort()).toEqual([
      't.created {"id":2,"tenant_id":"one","v":null,"n":null,"updated_at":null}',
      't.deleted {"id":1,"tenant_id":"one","v":null,"n":null,"updated_at":null}',
    ]);
  });

  test('a tenant column of another type, or one tenant for all rows', async () => {
    await database.query('create table other (id int primary key, org uuid, active bool, flag "char", padded char(6))');
    const tenants = async (options: string) => {
      await database.query(`select rowhook.watch('other', capture => 'all', ${options})`);
      await database.query(
        "insert into other values (1, 'ABCDEF01-0000-4000-8000-000000000000', true, 'x', 'ab'); delete from other",
      );
      return [...new Set((await takeChanges(database)).map(({ tenantId }) => tenantId))];
    };
    expect(await tenants("tenant_column => 'org'")).toEqual(['abcdef01-0000-4000-8000-000000000000']);
    expect(await tenants("tenant_column => 'active'")).toEqual(['true']);
    expect(await tenants("tenant_column => 'flag'")).toEqual(['x']);
    expect(await tenants("tenant_column => 'padded'")).toEqual(['ab']);
    expect(await tenants("tenant_column => 'id'")).toEqual(['1']);
    expect(await tenants("tenant_id => 'it''s \\me'")).toEqual(["it's \\me"]);
  });

  test('the lane is the one of the tenant, whatever the collation or type of its column', async () => {
    await database.query(
      `create collation if not exists nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
    );
    await database.query(
      'create table other (id int primary key, a text, b text collate "C", c text collate nocase, d name, e varchar(9))',
    );
    for (const column of ['a', 'b', 'c', 'd', 'e']) {
      await database.query(`select rowhook.watch('other', capture => 'all', tenant_column => '${column}')`);
      await database.query(
        "insert into other values (1, 'Größe', 'Größe', 'Größe', 'Größe', 'Größe'); delete from other",
      );
    }
    expect(
      await database.query(
        "select distinct lane = rowhook._lane('Größe') as same, count(*)::int from rowhook.webhook_outbox group by 1",
      ),
    ).toEqual([{ same: true, count: 10 }]);
  });
});

describe('derived events', () => {
  test('a column that changes: to anything for a suffix in "changed", to a value for any other', async () => {
    await watch(`capture => 'all', derived => '{"v":"v.changed","n":"assigned"}'`);
    expect(await events("insert into t values (1, 'acme', 'a', 1)")).toEqual(['t.created']);
    expect(await events("update t set v = 'b'")).toEqual(['t.updated t.v.changed']);
    expect(await events('update t set v = null')).toEqual(['t.updated t.v.changed']);
    expect(await events('update t set n = 2')).toEqual(['t.updated t.assigned']);
    expect(await events('update t set n = null')).toEqual(['t.updated']);
    expect(await events("update t set n = 2, v = 'c'")).toEqual(['t.updated t.assigned t.v.changed']);
    expect(await events('update t set updated_at = 7')).toEqual([]);
    expect(await events('delete from t')).toEqual(['t.deleted']);
  });

  test('a column that becomes a value, on INSERT too', async () => {
    await watch(`capture => 'all', derived => '{"v":{"won":"won","lost":"closed","it''s":"its"},"n":{"1":"first"}}'`);
    expect(
      await events("insert into t values (1, 'acme', 'won', 1), (2, 'acme', 'new', 2), (3, 'acme', 'it''s', null)"),
    ).toEqual(['t.created t.first t.won', 't.created', 't.created t.its']);
    expect(await events("update t set v = 'won' where id < 3")).toEqual(['t.updated t.won']);
    expect(await events("update t set v = 'lost', n = 1 where id = 1")).toEqual(['t.updated t.closed']);
    expect(await events('update t set v = null')).toHaveLength(3);
    expect(await events("update t set v = 'won' where id = 1")).toEqual(['t.updated t.won']);
  });

  test('two columns with one suffix, or a suffix like a plain event, yield that event once', async () => {
    await watch(
      `capture => 'all', derived => '{"v":"moved.changed","n":"moved.changed","updated_at":"updated","id":{"5":"created"}}'`,
    );
    expect(await events("insert into t values (5, 'acme')")).toEqual(['t.created']);
    expect(await events("update t set v = 'x', n = 5, updated_at = 9")).toEqual(['t.updated t.moved.changed']);
    expect(await events('update t set n = 6')).toEqual(['t.updated t.moved.changed']);
  });

  test('some of the plain events, or none but derived ones', async () => {
    await watch(`capture => 'all', events => '{deleted}', derived => '{"v":{"x":"x"}}'`);
    expect(await events("insert into t values (1, 'acme', 'a'), (2, 'acme', 'x')")).toEqual(['t.x']);
    expect(await events("update t set n = 5; update t set v = 'x'")).toEqual(['t.x']);
    expect(await events("update t set tenant_id = 'b' where id = 1")).toEqual(['t.deleted', 't.x']);
    expect(await events('delete from t')).toEqual(['t.deleted', 't.deleted']);
    await watch(`capture => 'all', events => '{}'`);
    expect(await events("insert into t values (1, 'acme', 'a'); update t set n = 5; delete from t")).toEqual([]);
  });
});

describe("capture => 'subscribed'", () => {
  beforeEach(() => watch(`derived => '{"v":"v.changed"}'`));
  const all =
    "insert into t values (1, 'acme', 'a', 1), (2, 'else', 'a', 1); update t set v = 'b'; update t set n = 2; delete from t";

  test('writes nothing, and takes no transaction id for it, where no webhook is', async () => {
    await createWebhook(database, { tenant_id: 'third', url: 'https://example.com/' });
    expect(await events(all)).toEqual([]);
    const [plan] = await database.query(
      "select count(*)::int as rows from rowhook.webhook_outbox where event_types <> '{}'",
    );
    expect(plan).toEqual({ rows: 0 });
  });

  test.each([
    ['*', ['t.created', 't.updated t.v.changed', 't.updated', 't.deleted']],
    ['t.*', ['t.created', 't.updated t.v.changed', 't.updated', 't.deleted']],
    ['t.created', ['t.created']],
    ['t.deleted', ['t.deleted']],
    ['t.updated', ['t.updated t.v.changed', 't.updated']],
    ['t.v.changed', ['t.updated t.v.changed']],
    ['u.*', []],
    ['t', []],
  ])('writes what %s wants, of its tenant alone', async (pattern, expected) => {
    await createWebhook(database, { tenant_id: 'acme', url: 'https://example.com/', event_types: [pattern] });
    await createWebhook(database, { tenant_id: 'else', url: 'https://example.com/', event_types: ['unknown.event'] });
    await database.query(all);
    const changes = await takeChanges(database);
    expect(changes.map(({ eventTypes }) => eventTypes.join(' '))).toEqual(expected);
    expect(changes.every(({ tenantId }) => tenantId === 'acme')).toBe(true);
  });

  test('begins with a webhook, in the same transaction, goes on while it is switched off, and ends when it is deleted', async () => {
    await onSession(async (session) => {
      await session.query("insert into t values (1, 'acme', 'before')");
      await session.query('begin');
      await session.query(
        "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com/', '{*}')",
      );
      await session.query("update t set v = 'same transaction'; commit");
      await session.query("update rowhook.webhook_configurations set is_active = false; update t set v = 'off'");
      await session.query("update rowhook.webhook_configurations set is_active = true; update t set v = 'on'");
      await session.query("delete from rowhook.webhook_configurations; update t set v = 'deleted'");
    });
    expect(await captured('')).toEqual([
      't.updated t.v.changed {"id":1,"tenant_id":"acme","v":"same transaction","n":null,"updated_at":null} was {"v":"before"}',
      't.updated t.v.changed {"id":1,"tenant_id":"acme","v":"off","n":null,"updated_at":null} was {"v":"same transaction"}',
      't.updated t.v.changed {"id":1,"tenant_id":"acme","v":"on","n":null,"updated_at":null} was {"v":"off"}',
    ]);
  });

  test.each([
    ["is_active = false, disabled_at = now(), disabled_reason = 'gone'", 'by rowhook'],
    ['is_active = false', 'by hand'],
  ])(
    'goes on for 30 days for a webhook that is switched off (%s), so that what it misses can be replayed',
    async (set) => {
      const { id } = await createWebhook(database, { tenant_id: 'acme', url: 'https://example.com/' });
      const update = (columns: string) =>
        database.query(`update rowhook.webhook_configurations set ${columns} where id = $1 returning disabled_at`, [
          id,
        ]);
      expect(await update(set)).toEqual([{ disabled_at: expect.any(Date) }]);
      expect(await events("insert into t values (1, 'acme')")).toEqual(['t.created']);
      // another change while it is off does not begin the time anew
      await update("disabled_at = now() - interval '29 days'");
      const [off] = (await update("name = 'still off', is_active = false")) as [{ disabled_at: Date }];
      expect(await events("insert into t values (2, 'acme')")).toEqual(['t.created']);
      expect(off.disabled_at.getTime()).toBeLessThan(Date.now() - 28 * 86_400_000);
      await update("disabled_at = now() - interval '30 days'");
      expect(await events("insert into t values (3, 'acme')")).toEqual([]);
      expect(await update('is_active = true')).toEqual([{ disabled_at: null }]);
      expect(await events("insert into t values (4, 'acme')")).toEqual(['t.created']);
    },
  );

  test('what has been off for longer is not even looked at, however much of it a tenant has', async () => {
    await createWebhook(database, { tenant_id: 'acme', url: 'https://example.com/', event_types: ['other'] });
    await database.query(`
      insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, is_active, disabled_at)
      select 'acme', 'off', 'https://example.com/', '{*}', false, now() - interval '31 days' from generate_series(1, 900);
      analyze rowhook.webhook_configurations`);
    const [probe] = await database.query<{ sql: string }>(
      "select rowhook._capture_wanted(s, quote_literal('acme'), '''{t.created,*}''::text[]') as sql from rowhook.webhook_sources s where s.relation = 't'::regclass",
    );
    const lines = await database.query<Record<string, string>>(
      `explain (analyze, costs off, timing off) select ${probe?.sql}`,
    );
    const text = lines.map((line) => line['QUERY PLAN']).join('\n');
    expect(text).toMatch(/Index Cond: .*COALESCE\(disabled_at/);
    expect(text).toContain('Rows Removed by Filter: 1\n');
    expect(await events("insert into t values (1, 'acme')")).toEqual([]);
  });

  test('a statement over many tenants writes those that want it', async () => {
    for (const tenant_id of ['tenant 3', 'tenant 30', 'tenant 77']) {
      await createWebhook(database, { tenant_id, url: 'https://example.com/', event_types: ['t.created'] });
    }
    expect(await captured("insert into t select n, 'tenant ' || n from generate_series(1, 100) as n")).toEqual(
      [3, 30, 77].map((n) => `t.created {"id":${n},"tenant_id":"tenant ${n}","v":null,"n":null,"updated_at":null}`),
    );
    expect(await events('update t set n = 1; delete from t')).toEqual([]);
  });
});

describe('max_payload_bytes', () => {
  const whole = (v: string) => `{"id":1,"tenant_id":"acme","v":${JSON.stringify(v)},"n":null,"updated_at":null}`;
  const room = 2048 - Buffer.byteLength(whole(''));
  beforeEach(() => watch("capture => 'all', max_payload_bytes => 2048"));

  test.each([
    ['ASCII', 'x', 1],
    ['letters of two bytes', 'é', 2],
    ['what JSON escapes', '\u0001', 6],
  ])('counts the bytes of the JSON: %s', async (_, letter, bytes) => {
    const fits = letter.repeat(Math.floor(room / bytes));
    const [insert, more] = ["insert into t values (1, 'acme', $1)", 'update t set v = v || $1'];
    await database.query(insert, [fits]);
    await database.query('delete from t');
    await database.query(insert, [fits + letter]);
    await database.query('delete from t');
    const [created, deleted, ...thin] = await takeChanges(database);
    expect([created?.data, deleted?.data]).toEqual([whole(fits), whole(fits)]);
    expect(thin).toEqual(
      ['t.created', 't.deleted'].map((event) => ({
        eventTypes: [event],
        tenantId: 'acme',
        rowKey: '1',
        data: '{"id" : 1}',
        previous: null,
        truncated: 'too_large',
      })),
    );
    // of an UPDATE, data and previous together
    const half = letter.repeat(Math.floor((room - 20) / bytes / 2));
    await database.query(insert, [half]);
    await database.query(more, ['']);
    await database.query('update t set v = $1', ['']);
    await database.query('update t set v = $1', [half]);
    await database.query('update t set v = $1', [`${half.slice(1)}!`]);
    await database.query('update t set v = $1', [half + half]);
    const updates = (await takeChanges(database)).slice(1);
    expect(updates.map(({ data, previous, truncated }) => [data, previous, truncated])).toEqual([
      [whole(''), `{"v":${JSON.stringify(half)}}`, null],
      [whole(half), '{"v":""}', null],
      [whole(`${half.slice(1)}!`), `{"v":${JSON.stringify(half)}}`, null],
      ['{"id" : 1}', null, 'too_large'],
    ]);
  });

  test('a value that prints shorter than it is stored is not cut', async () => {
    await database.query('create table other (id int primary key, tenant_id text, a bigint[], b numeric[], c jsonb)');
    await database.query("select rowhook.watch('other', capture => 'all', max_payload_bytes => 2048)");
    await database.query(
      "insert into other select 1, 'acme', array_fill(1, '{300}'), array_fill(1, '{300}'), (select jsonb_agg(1) from generate_series(1, 200))",
    );
    const [change] = await takeChanges(database);
    expect(change?.truncated).toBeNull();
    expect(JSON.parse(change?.data as string).a).toHaveLength(300);
  });

  test('what is thin holds the columns of the key, all of them or none', async () => {
    await database.query(
      'create table other ("a""b" int, "$$" text, tenant_id text, v text, primary key ("$$", "a""b"))',
    );
    await database.query("select rowhook.watch('other', capture => 'all', max_payload_bytes => 1024)");
    await database.query(
      "insert into other values (1, 'k', 'acme', repeat('x', 2000)); update other set v = repeat('y', 2000)",
    );
    await database.query('alter table other drop constraint other_pkey; select rowhook.reconcile()');
    await database.query('delete from other');
    const changes = await takeChanges(database);
    expect(changes.map(({ data, previous, truncated, rowKey }) => [data, previous, truncated, rowKey])).toEqual([
      ['{"$$" : "k", "a\\"b" : 1}', null, 'too_large', '(k,1)'],
      ['{"$$" : "k", "a\\"b" : 1}', null, 'too_large', '(k,1)'],
      ['{}', null, 'too_large', null],
    ]);
  });

  test('a row of 60 MB is written, and its event thin', async () => {
    await database.query(
      "insert into t select 1, 'acme', string_agg(md5(n::text), '') from generate_series(1, 2000000) as n; update t set n = 1; delete from t",
    );
    expect(lines(await takeChanges(database))).toEqual([
      't.created {"id" : 1}',
      't.updated {"id" : 1}',
      't.deleted {"id" : 1}',
    ]);
  }, 60_000);
});

describe("the app's own triggers", () => {
  beforeEach(() => watch());

  test('BEFORE triggers: the row is captured as they leave it, and not at all when they refuse it', async () => {
    await database.query(`
      create or replace function before() returns trigger language plpgsql as $$ begin
        if new.v = 'no' then return null; end if; new.v := upper(new.v); new.updated_at := coalesce(new.updated_at, 0) + 1; return new; end $$;
      create trigger zz before insert or update on t for each row execute function before()`);
    expect(
      await captured(
        "insert into t values (1, 'acme', 'a'), (2, 'acme', 'no'); update t set n = 1; update t set n = 1",
      ),
    ).toEqual([
      't.created {"id":1,"tenant_id":"acme","v":"A","n":null,"updated_at":1}',
      't.updated {"id":1,"tenant_id":"acme","v":"A","n":1,"updated_at":2} was {"n":null,"updated_at":1}',
    ]);
  });

  test('INSTEAD OF triggers and automatically updatable views: the table below is what is captured', async () => {
    await database.query(`
      create view simple as select id, tenant_id, v as label from t;
      create view twisted as select id, tenant_id, upper(v) as label from t;
      create or replace function instead() returns trigger language plpgsql as $$ begin
        if tg_op = 'DELETE' then delete from t where id = old.id; return old;
        elsif tg_op = 'UPDATE' then update t set v = lower(new.label) where id = old.id;
        else insert into t (id, tenant_id, v) values (new.id, new.tenant_id, lower(new.label)); end if; return new; end $$;
      create trigger instead instead of insert or update or delete on twisted for each row execute function instead()`);
    for (const [view, value] of [
      ['simple', 'a'],
      ['twisted', 'A'],
    ]) {
      expect(
        await captured(
          `insert into ${view} values (1, 'acme', '${value}'), (2, 'acme', 'B'); update ${view} set label = 'c' where id = 1; delete from ${view}`,
        ),
      ).toEqual([
        't.created {"id":1,"tenant_id":"acme","v":"a","n":null,"updated_at":null}',
        `t.created {"id":2,"tenant_id":"acme","v":"${view === 'simple' ? 'B' : 'b'}","n":null,"updated_at":null}`,
        't.updated {"id":1,"tenant_id":"acme","v":"c","n":null,"updated_at":null} was {"v":"a"}',
        expect.stringMatching(/^t.deleted/),
        expect.stringMatching(/^t.deleted/),
      ]);
    }
  });

  test('an AFTER trigger that changes the row again: each change once, the inner one first', async () => {
    await database.query(`
      create or replace function after_row() returns trigger language plpgsql as $$ begin
        update t set n = 100 where id = new.id and n is null; return null; end $$;
      create trigger aa after insert on t for each row execute function after_row()`);
    expect(await captured("insert into t values (1, 'acme', 'a')")).toEqual([
      't.updated {"id":1,"tenant_id":"acme","v":"a","n":100,"updated_at":null} was {"n":null}',
      't.created {"id":1,"tenant_id":"acme","v":"a","n":null,"updated_at":null}',
    ]);
  });

  test('a table that refers to itself: a cascade through many levels, each row once', async () => {
    await database.query(`
      create table other (id int primary key, parent int references other on delete cascade on update cascade deferrable, tenant_id text);
      select rowhook.watch('other', capture => 'all');
      insert into other select n, nullif(n / 2, 0), 'acme' from generate_series(1, 31) as n`);
    await takeChanges(database);
    expect((await events('update other set id = 100 where id = 1')).sort()).toEqual([
      'other.created',
      'other.deleted',
      'other.updated',
      'other.updated',
    ]);
    expect((await captured('delete from other where id = 100')).sort()).toEqual(
      Array.from({ length: 31 }, (_, i) => {
        const [id, parent] =
          i === 0 ? [100, null] : [i + 1, Math.floor((i + 1) / 2) === 1 ? 100 : Math.floor((i + 1) / 2)];
        return `other.deleted {"id":${id},"parent":${parent},"tenant_id":"acme"}`;
      }).sort(),
    );
  });

  // PostgreSQL keeps all that foreign keys change for one statement in the same transition tables, the row as often as it changed
  describe('foreign keys that change a row more than once: each change once, in its order', () => {
    const deal = (v: string | null, a: number | null, b: number | null) =>
      `{"id":1,"tenant_id":"acme","v":${JSON.stringify(v)},"a":${a},"b":${b}}`;
    const table = async (a: string, b: string, rest = '') => {
      await database.query(`
        drop table if exists users cascade;
        create table users (id int primary key);
        create table other (id int, tenant_id text, v text, a int ${a}, b int ${b}, primary key (id, tenant_id)) ${rest}`);
      await database.query("select rowhook.watch('other', capture => 'all')");
      await database.query("insert into users values (7), (8); insert into other values (1, 'acme', 'v', 7, 7)");
      await takeChanges(database);
    };
    const key = 'references users on delete set null on update cascade';

    test('two of them, on a table with other rows that change once', async () => {
      await table(key, key);
      await database.query("insert into other select n, 'acme', 'v', 7 from generate_series(2, 40) as n");
      await takeChanges(database);
      const changes = await captured('delete from users where id = 7');
      expect(changes.filter((line) => line.includes('"id":1,'))).toEqual([
        `other.updated ${deal('v', null, 7)} was {"a":7}`,
        `other.updated ${deal('v', null, null)} was {"b":7}`,
      ]);
      expect(changes).toHaveLength(41);
    });

    test('the statement itself, and one of them', async () => {
      await table(key, '');
      expect(await captured("with u as (update other set v = 'w') update users set id = 9 where id = 7")).toEqual([
        `other.updated ${deal('w', 7, 7)} was {"v":"v"}`,
        `other.updated ${deal('w', 9, 7)} was {"a":7}`,
      ]);
    });

    test('two of them, on a partitioned table, or on one of its partitions', async () => {
      for (const [ofTable, ofPartition] of [
        [key, ''],
        [
          '',
          'alter table other_0 add foreign key (a) references users on delete set null, add foreign key (b) references users on delete set null',
        ],
      ] as const) {
        await table(
          ofTable,
          ofTable,
          `partition by range (id); create table other_0 partition of other default; ${ofPartition}`,
        );
        await database.query('delete from users where id = 7');
        expect(lines(await takeChanges(database))).toEqual([
          `other.updated ${deal('v', null, 7)} was {"a":7}`,
          `other.updated ${deal('v', null, null)} was {"b":7}`,
        ]);
        await database.query('drop table other');
      }
    });

    test('two of them, on columns of the key: the last event of each key tells whether it is there', async () => {
      await database.query(`
        drop table if exists users cascade;
        create table users (id int primary key);
        create table other (a int references users on update cascade, b int references users on update cascade, tenant_id text, primary key (a, b));
        select rowhook.watch('other', capture => 'all');
        insert into users values (7);
        insert into other values (7, 7, 'acme')`);
      await takeChanges(database);
      expect(await captured('update users set id = 8')).toEqual([
        'other.deleted {"a":7,"b":7,"tenant_id":"acme"}',
        'other.created {"a":8,"b":7,"tenant_id":"acme"}',
        'other.deleted {"a":8,"b":7,"tenant_id":"acme"}',
        'other.created {"a":8,"b":8,"tenant_id":"acme"}',
      ]);
    });

    test('two of them that came after watch(), once reconcile() has seen them', async () => {
      await table('', '');
      const added = 'references users on delete set null';
      await database.query(`alter table other add foreign key (a) ${added}, add foreign key (b) ${added}`);
      expect(await database.query('select change from rowhook.reconcile()')).toEqual([
        { change: 'capture function rewritten: the table changed' },
      ]);
      expect(await captured('delete from users')).toEqual([
        `other.updated ${deal('v', null, 7)} was {"a":7}`,
        `other.updated ${deal('v', null, null)} was {"b":7}`,
      ]);
    });
  });

  // PostgreSQL queues the statement trigger of a kind anew when there is another change of that kind
  test('a row that one foreign key changes and another one deletes may be told as deleted before it is as updated', async () => {
    await database.query(`
      drop table if exists users cascade;
      create table users (id int primary key);
      create table other (id int primary key, tenant_id text, author int references users on delete cascade, mention int references users on delete set null);
      select rowhook.watch('other', capture => 'all');
      insert into users values (1), (2); insert into other values (1, 'acme', 2, 1), (2, 'acme', null, 2)`);
    await takeChanges(database);
    expect(await captured('delete from users')).toEqual([
      'other.deleted {"id":1,"tenant_id":"acme","author":2,"mention":null}',
      'other.updated {"id":1,"tenant_id":"acme","author":2,"mention":null} was {"mention":1}',
      'other.updated {"id":2,"tenant_id":"acme","author":null,"mention":null} was {"mention":2}',
    ]);
  });

  test('a row that a BEFORE trigger swallows on its way to another partition is deleted, and nothing is mixed up', async () => {
    await database.query(`
      create table other (id int, tenant_id text, part int, v text) partition by list (part);
      create table other_1 partition of other for values in (1);
      create table other_2 partition of other for values in (2);
      create or replace function swallow() returns trigger language plpgsql as $$ begin return case when new.id = 2 then null else new end; end $$;
      create trigger swallow before insert on other_2 for each row execute function swallow();
      insert into other select n, 'acme', 1, 'a' from generate_series(1, 3) as n;
      select rowhook.watch('other', capture => 'all');
      update other set part = 2, v = 'b'`);
    expect(lines(await takeChanges(database)).sort()).toEqual([
      'other.created {"id":1,"tenant_id":"acme","part":2,"v":"b"}',
      'other.created {"id":3,"tenant_id":"acme","part":2,"v":"b"}',
      ...[1, 2, 3].map((id) => `other.deleted {"id":${id},"tenant_id":"acme","part":1,"v":"a"}`),
    ]);
  });
});

describe('a capture function', () => {
  test('belongs to rowhook_owner, runs as it with pinned settings, and is for nobody else to call', async () => {
    await watch();
    const [{ id } = { id: 0 }] = await database.query<{ id: number }>('select id from rowhook.webhook_sources');
    const [found] = await database.query(
      `select proowner::regrole::text as owner, prosecdef, provolatile, proconfig,
              array(select a.grantee::regrole::text || '=' || a.privilege_type from aclexplode(proacl) as a) as acl
         from pg_proc where oid = 'rowhook._capture_${id}'::regproc`,
    );
    expect(found).toEqual({
      owner: 'rowhook_owner',
      prosecdef: true,
      provolatile: 'v',
      // The other settings are pinned by rowhook._pin(), and only in a session that has others.
      proconfig: ['search_path=pg_catalog, pg_temp', 'row_security=on', 'jit=off'],
      acl: ['rowhook_owner=EXECUTE'],
    });
  });

  test("works for a writer without any right in rowhook's schema, and shows it nothing", async () => {
    await watch();
    await database.query(
      'drop role if exists rowhook_test_writer; create role rowhook_test_writer; grant insert, update, delete, select on t to rowhook_test_writer',
    );
    await onSession(async (session) => {
      await session.query('set role rowhook_test_writer');
      await session.query("insert into t values (1, 'acme', 'a'); update t set v = 'b'; delete from t");
      await expect(session.query('select * from rowhook.webhook_outbox')).rejects.toThrow('permission denied');
      await expect(session.query('select rowhook._capture_1()')).rejects.toThrow('permission denied');
    });
    expect(await events('')).toEqual(['t.created', 't.updated', 't.deleted']);
    await database.query('drop owned by rowhook_test_writer; drop role rowhook_test_writer');
  });

  test('is not led astray by objects that a writer puts before ours', async () => {
    await watch();
    await onSession(async (session) => {
      await session.query(`
        create temp table rowhook_new (id int); create temp table webhook_outbox (id int);
        create function pg_temp.row_to_json(record) returns json language plpgsql as 'begin return null; end';
        set search_path = pg_temp, pg_catalog`);
      await session.query("insert into public.t values (1, 'acme', 'a')");
    });
    expect(await captured('')).toEqual(['t.created {"id":1,"tenant_id":"acme","v":"a","n":null,"updated_at":null}']);
  });

  test('uses an index for its probe, also in a session that began with a bulk statement', async () => {
    await watch('');
    await database.query(`
      insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
      select 'tenant ' || n, 'w', 'https://example.com/', '{t.created}' from generate_series(1, 3000) as n;
      analyze rowhook.webhook_configurations`);
    await onSession(async (session) => {
      await session.query(
        "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on; set client_min_messages = log",
      );
      await session.query("insert into t select n, 'tenant ' || n from generate_series(1, 20000) as n");
      const plans: string[] = [];
      session.on('notice', ({ message }) => plans.push(message ?? ''));
      await session.query("insert into t values (0, 'tenant 5')");
      const probes = plans.filter((plan) => /Scan .*webhook_configurations/.test(plan));
      expect(probes).toHaveLength(1);
      for (const plan of probes) {
        expect(plan).toMatch(/(Index|Bitmap Index) Scan (using|on) webhook_configurations_\w+/);
        expect(plan).not.toMatch(/Seq Scan on webhook_configurations|JIT/);
      }
    });
  });
});
