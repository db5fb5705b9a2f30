// watch, unwatch, watch_preset and reconcile as people call them, also wrongly.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Maintenance } from '../../src/capture/maintenance.ts';
import { createLogger } from '../../src/observe/log.ts';
import { catalogOf } from '../support/catalog.ts';
import { connected } from '../support/connected.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { lines, takeChanges } from '../support/outbox.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

/** A table that nothing watches, and nothing else that is watched. */
async function freshTable(): Promise<void> {
  await database.query(
    'select rowhook.unwatch(relation) from rowhook.webhook_sources where parent_id is null; drop table if exists t cascade',
  );
  await database.query('create table t (id int primary key, tenant_id text, v text, updated_at int)');
}

afterAll(() => database.drop());

/** A connection of its own, for settings and transactions. */
const onSession = <T>(work: (session: pg.Client) => Promise<T>) => connected(database.url, work);

describe('watch', () => {
  beforeEach(freshTable);

  test('called again changes nothing but the time', async () => {
    const [first] = await database.query("select * from rowhook.watch('t')");
    const before = await catalogOf(database);
    const [again] = await database.query("select * from rowhook.watch('t')");
    expect({ ...again, updated_at: null }).toEqual({ ...first, updated_at: null });
    expect(await catalogOf(database)).toEqual(before);
    expect(await database.query('select * from rowhook.reconcile()')).toEqual([]);
  });

  test('called again with other settings replaces all of them', async () => {
    await database.query(
      "select rowhook.watch('t', prefix => 'one', capture => 'all', derived => '{\"v\":\"v.changed\"}', ignore_columns => '{}')",
    );
    await database.query("insert into t values (1, 'acme', 'a')");
    await database.query("select rowhook.watch('t', prefix => 'two', capture => 'all')");
    await database.query("update t set v = 'b'; update t set updated_at = 1");
    expect(lines(await takeChanges(database)).map((line) => line.split(' {')[0])).toEqual([
      'one.created',
      'two.updated',
    ]);
  });

  test('warns when a call gives settings of a watched table their defaults again', async () => {
    const warnings = (sql: string) =>
      onSession(async (session) => {
        const found: string[] = [];
        session.on('notice', ({ severity, message, hint }) => found.push(`${severity} ${message} | ${hint}`));
        await session.query(sql);
        return found;
      });
    await database.query("select rowhook.watch('t', prefix => 'one', tenant_id => 'main', events => '{created}')");
    const all =
      "select rowhook.watch('public.t', prefix => 'one', tenant_id => 'main', events => '{created}', exclude_columns => '{v}');";
    expect(await warnings("select rowhook.watch('t', exclude_columns => '{v}')")).toEqual([
      'WARNING watch: settings of public.t have their defaults again: prefix (was one), tenant_id (was main), ' +
        `events (was {created}) | A call sets all settings. To keep them: ${all}`,
    ]);
    // The statement of the hint brings them back, and a call that names what it changes is not warned of.
    expect(await warnings(all)).toEqual([]);
    expect(
      await database.query('select prefix, tenant_id, tenant_column, events from rowhook.webhook_sources'),
    ).toEqual([{ prefix: 'one', tenant_id: 'main', tenant_column: null, events: ['created'] }]);
    expect(
      await warnings(
        "select rowhook.watch('t', prefix => 'two', tenant_column => 'tenant_id', events => '{updated}', derived => " +
          '\'{"v":"v.changed"}\', ignore_columns => \'{}\', max_payload_bytes => 2048, describe => false, ' +
          "capture => 'all', include_columns => '{v}')",
      ),
    ).toEqual([]);
    const [line] = await warnings("select rowhook.watch('t', prefix => 'two')");
    expect(line).toContain(
      'events (was {updated}), derived (was {"v": "v.changed"}), ignore_columns (was {}), capture (was all), ' +
        'max_payload_bytes (was 2048), describe (was false) | ',
    );
    expect(line).not.toMatch(/: prefix|tenant_column \(/);
  });

  test('finds the tenant by these names, in this order', async () => {
    await database.query('alter table t rename tenant_id to workspace_id');
    for (const name of ['workspace_id', 'account_id', 'org_id', 'tenant_id', 'organization_id']) {
      await database.query(`alter table t add column if not exists ${name} text`);
      const [source] = await database.query("select tenant_column from rowhook.watch('t')");
      expect(source).toEqual({ tenant_column: name });
    }
  });

  test('by many sessions at once is one source, and nobody fails', async () => {
    await Promise.all(
      Array.from({ length: 8 }, () =>
        onSession((session) => session.query("select rowhook.watch('t', capture => 'all')")),
      ),
    );
    expect(await database.query('select count(*)::int as sources from rowhook.webhook_sources')).toEqual([
      { sources: 1 },
    ]);
    await database.query("insert into t values (1, 'acme')");
    expect(await takeChanges(database)).toHaveLength(1);
  });

  test('by many sessions at once, against unwatch and writers: every write is captured whole or not at all', async () => {
    const written: number[] = [];
    let stop = false;
    const writers = Array.from({ length: 3 }, (_, writer) =>
      onSession(async (session) => {
        for (let n = 0; !stop; n++) {
          const id = n * 3 + writer;
          await session.query(
            `begin; insert into t values (${id}, 'acme', 'a'); update t set v = 'b' where id = ${id}; commit`,
          );
          written.push(id);
        }
      }),
    );
    for (let n = 0; n < 10; n++) {
      await database.query("select rowhook.watch('t', capture => 'all')");
      const before = written.length;
      await waitUntil('some rows are written', () => written.length > before + 5, { everyMs: 1 });
      if (n < 9) await database.query("select rowhook.unwatch('t')");
    }
    const watchedFrom = Math.max(...written) + 10;
    await waitUntil('each writer has come that far', () => written.filter((id) => id > watchedFrom + 30).length > 30, {
      everyMs: 1,
    });
    stop = true;
    await Promise.all(writers);
    const changes = await takeChanges(database);
    const eventsOf = new Map<string | null, string[]>();
    for (const { rowKey, eventTypes } of changes)
      eventsOf.set(rowKey, [...(eventsOf.get(rowKey) ?? []), ...eventTypes]);
    expect(new Set([...eventsOf.values()].map(String))).toEqual(new Set(['t.created,t.updated']));
    for (const id of written.filter((one) => one >= watchedFrom)) expect(eventsOf.has(String(id)), `${id}`).toBe(true);
  });

  test('while a long transaction holds the table: a sentence after eight tries, and nothing half done', async () => {
    const before = await catalogOf(database);
    await onSession(async (holder) => {
      await holder.query("begin; insert into t values (1, 'acme')");
      const refused = expect(database.query("select rowhook.watch('t')")).rejects.toMatchObject({
        code: '55P03',
        message: 'table public.t is locked by a long transaction: no lock within 8 tries of 0.8 s',
        hint: 'End that transaction (see pg_stat_activity and pg_locks), then try again. The table is as it was.',
      });
      // the app's own statements get in between the tries
      await onSession(async (session) => {
        await session.query("set statement_timeout = '10s'");
        await session.query("insert into t values (2, 'acme')");
      });
      await refused;
      await holder.query('commit');
    });
    expect(await catalogOf(database)).toEqual(before);
    expect(await database.query('select * from rowhook.webhook_sources')).toEqual([]);
    await database.query("select rowhook.watch('t')");
  }, 40_000);

  test('gets in as soon as the transaction that held the table ends', async () => {
    await onSession(async (holder) => {
      await holder.query("begin; insert into t values (1, 'acme')");
      const watching = database.query("select rowhook.watch('t', capture => 'all')");
      await waitUntil('it waits for its lock', async () => {
        const waiting = await holder.query("select from pg_locks where relation = 't'::regclass and not granted");
        return waiting.rowCount === 1;
      });
      await holder.query('commit');
      await watching;
    });
    await database.query("insert into t values (2, 'acme')");
    expect(await takeChanges(database)).toHaveLength(1);
  });

  test('in a transaction that is rolled back leaves no trace', async () => {
    const before = await catalogOf(database);
    await onSession(async (session) => {
      await session.query(
        "begin; select rowhook.watch('t', capture => 'all'); insert into t values (1, 'acme'); rollback",
      );
    });
    expect(await catalogOf(database)).toEqual(before);
    expect(await takeChanges(database)).toEqual([]);
  });
});

/** A transaction of the app that holds one table, while rowhook waits for it, and goes on to another one meets no deadlock. */
describe('while a transaction of the app goes from one table to another', () => {
  beforeEach(freshTable);

  const meet = async (first: string, statement: string, second: string) =>
    onSession(async (app) => {
      await app.query(`begin; ${first}`);
      const changed = database.query(statement);
      await waitUntil(
        'it waits for its lock',
        async () => {
          const waiting = await app.query(
            'select from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and l.relation is not null and not l.granted',
          );
          return waiting.rowCount === 1;
        },
        { everyMs: 5 },
      );
      await app.query(second);
      await app.query('commit');
      await changed;
    });

  test('neither of watch() nor of unwatch(), on a partition and the table above it', async () => {
    await database.query(`
      create table parts (id int primary key, tenant_id text) partition by list (id);
      create table parts_1 partition of parts for values in (1, 2, 3, 4);
      create table parts_5 partition of parts for values in (5)`);
    await meet(
      "insert into parts_1 values (1, 'acme')",
      "select rowhook.watch('parts', capture => 'all')",
      "insert into parts values (2, 'acme')",
    );
    await database.query("insert into parts values (5, 'acme')");
    expect(lines(await takeChanges(database))).toEqual(['parts.created {"id":5,"tenant_id":"acme"}']);
    await meet("insert into parts_1 values (3, 'acme')", "select rowhook.unwatch('parts')", 'delete from parts');
    const root = "insert into parts values (4, 'acme')";
    await meet(root, "select rowhook.watch('parts')", 'delete from parts_5; delete from parts');
    await meet(root, "select rowhook.unwatch('parts')", 'delete from parts_5; delete from parts');
    await database.query('drop table parts');
    await takeChanges(database);
  }, 40_000);

  test('of unwatch(), on a table and one that inherits from it', async () => {
    await database.query(`
      create table animals (id int primary key, tenant_id text);
      create table cats () inherits (animals);
      select rowhook.watch('animals')`);
    await meet("insert into animals values (1, 'acme')", "select rowhook.unwatch('animals')", 'delete from animals');
    await database.query("select rowhook.watch('animals')");
    await meet("insert into cats values (1, 'acme')", "select rowhook.unwatch('animals')", 'delete from animals');
    await database.query('drop table animals cascade');
    await takeChanges(database);
  }, 40_000);

  test('of the daemon, which takes one source at a time', async () => {
    await database.query(`
      create table first (id int primary key, tenant_id text) partition by list (id);
      create table second (id int primary key, tenant_id text) partition by list (id);
      select rowhook.watch('first'); select rowhook.watch('second');
      create table first_1 partition of first for values in (1);
      create table second_1 partition of second for values in (1)`);
    const maintenance = new Maintenance(database.pool, 30, createLogger('silent'));
    await onSession(async (app) => {
      // the later source comes first
      await app.query("begin; insert into first_1 values (1, 'acme')");
      const running = maintenance.run();
      await waitUntil('the second has its triggers, and the first is waited for', async () => {
        const made = await app.query("select from pg_trigger where tgrelid = 'second_1'::regclass");
        return made.rowCount === 3;
      });
      await app.query("set local statement_timeout = '500ms'; insert into second_1 values (1, 'acme'); commit");
      await running;
    });
    expect(await database.query("select from pg_trigger where tgrelid = 'first_1'::regclass")).toHaveLength(3);
    await database.query("select rowhook.unwatch('first'); select rowhook.unwatch('second'); drop table first, second");
    await takeChanges(database);
  }, 40_000);

  test('of the daemon, which does not ask while no catalog has changed', async () => {
    await database.query("create table u (id int primary key, tenant_id text); select rowhook.watch('u')");
    const maintenance = new Maintenance(database.pool, 30, createLogger('silent'));
    /** Whether it was asked, as far as a function tells that it called. */
    const asks = async () => {
      const calls = async () => (await database.query<{ n: number }>('select n from asked'))[0]?.n ?? 0;
      const before = await calls();
      await maintenance.run();
      return (await calls()) > before;
    };
    await database.query(`
      create table asked (n int); insert into asked values (0); grant select, update on asked to rowhook_owner;
      alter function rowhook.reconcile(int) rename to reconcile_in_truth;
      create function rowhook.reconcile(only_source int default null) returns table (relation text, change text) language plpgsql as
        'begin update public.asked set n = n + 1; return query select * from rowhook.reconcile_in_truth(only_source); end'`);
    try {
      // a session tells its counts up to 10 s late
      await waitUntil('it asks no more', async () => !(await asks()));
      await database.query('alter table u add more int; select pg_stat_force_next_flush()');
      await waitUntil('it asks again', asks);
      await waitUntil('it asks no more', async () => !(await asks()));
    } finally {
      await database.query(`
        drop function rowhook.reconcile(int); drop table asked;
        alter function rowhook.reconcile_in_truth(int) rename to reconcile;
        select rowhook.unwatch('u'); drop table u`);
    }
    await takeChanges(database);
  });
});

describe('unwatch', () => {
  beforeEach(freshTable);

  test('says whether the table was watched', async () => {
    await database.query("select rowhook.watch('t')");
    expect(await database.query("select rowhook.unwatch('t'), rowhook.unwatch('t') as again")).toEqual([
      { unwatch: true, again: false },
    ]);
  });

  test('leaves what was captured to be delivered', async () => {
    await database.query(
      "select rowhook.watch('t', capture => 'all'); insert into t values (1, 'acme'); select rowhook.unwatch('t'); insert into t values (2, 'acme')",
    );
    expect(await takeChanges(database)).toHaveLength(1);
  });

  test('works where somebody dropped the triggers', async () => {
    const before = await catalogOf(database);
    await database.query(
      "select rowhook.watch('t'); drop trigger rowhook_insert on t; drop trigger rowhook_update on t",
    );
    await database.query("select rowhook.unwatch('t')");
    expect(await catalogOf(database)).toEqual(before);
  });
});

describe('bad input is a sentence with its remedy, and leaves nothing', () => {
  // A catalog is 5,000 lines, so all of these calls together are compared.
  let before: string[];

  beforeAll(async () => {
    await freshTable();
    await database.query(`
      create table parted (id int primary key, tenant_id text) partition by list (id);
      create table branch partition of parted for values in (1) partition by list (id);
      create table leaf partition of branch for values in (1);
      create table untenanted (id int primary key, owner text, "Odd ""Name" int);
      create view a_view as select 1 as tenant_id;
      create materialized view a_matview as select 1 as tenant_id;
      create sequence a_sequence;
      create type a_type as (tenant_id text);
      create extension if not exists file_fdw;
      create server files foreign data wrapper file_fdw;
      create foreign table a_foreign (tenant_id text) server files options (filename '/dev/null')`);
    before = await catalogOf(database);
  });

  afterAll(async () => {
    expect(await catalogOf(database)).toEqual(before);
  });

  const longName = 'x'.repeat(81);
  test.each<[call: string, message: string, hint: string | undefined]>([
    [
      "watch('nope')",
      'watch: there is no table nope',
      'Check the name, and write the table with its schema, for example public.deals.',
    ],
    ['watch(null)', 'watch: there is no such table', 'Write the table with its schema, for example public.deals.'],
    [
      'watch(4294967295::oid::regclass)',
      'watch: there is no such table',
      'Write the table with its schema, for example public.deals.',
    ],
    [
      "watch('a_view')",
      'watch: public.a_view is a view: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('a_matview')",
      'watch: public.a_matview is a materialized view: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('a_foreign')",
      'watch: public.a_foreign is a foreign table: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('a_sequence')",
      'watch: public.a_sequence is a sequence: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('t_pkey')",
      'watch: public.t_pkey is an index: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('parted_pkey')",
      'watch: public.parted_pkey is an index: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('a_type')",
      'watch: public.a_type is a composite type: only tables can be watched',
      'Watch the table that holds the rows.',
    ],
    [
      "watch('pg_class')",
      'watch: pg_class cannot be watched: it belongs to PostgreSQL or to rowhook itself',
      'Watch a table of the application.',
    ],
    [
      "watch('rowhook.webhook_tenants')",
      'watch: rowhook.webhook_tenants cannot be watched: it belongs to PostgreSQL or to rowhook itself',
      'Watch a table of the application.',
    ],
    [
      "watch('information_schema.sql_features')",
      'watch: information_schema.sql_features cannot be watched: it belongs to PostgreSQL or to rowhook itself',
      'Watch a table of the application.',
    ],
    [
      "watch('leaf')",
      'watch: public.leaf is a partition',
      'Watch the partitioned table public.parted; this includes its partitions, also future ones.',
    ],
    [
      "watch('branch')",
      'watch: public.branch is a partition',
      'Watch the partitioned table public.parted; this includes its partitions, also future ones.',
    ],
    [
      "watch('untenanted')",
      'watch: public.untenanted has no column organization_id, tenant_id, org_id, account_id or workspace_id, so its tenant is unknown',
      'Name the column with tenant_column, or pass tenant_id if all rows belong to one tenant.',
    ],
    [
      "watch('untenanted', tenant_column => 'odd \"name')",
      'watch: public.untenanted has no column "odd ""name"',
      'Its columns are id, owner, "Odd ""Name".',
    ],
    [
      "watch('t', tenant_column => 'nope')",
      'watch: public.t has no column nope',
      'Its columns are id, tenant_id, v, updated_at.',
    ],
    [
      "watch('t', tenant_column => 'ctid')",
      'watch: public.t has no column ctid',
      'Its columns are id, tenant_id, v, updated_at.',
    ],
    [
      "watch('t', tenant_column => '')",
      'watch: public.t has no column ""',
      'Its columns are id, tenant_id, v, updated_at.',
    ],
    [
      "watch('t', tenant_column => 'v', tenant_id => 'acme')",
      'watch: tenant_column and tenant_id are both given',
      'Pass tenant_column if a column holds the tenant, or tenant_id if all rows belong to one tenant.',
    ],
    ["watch('t', tenant_id => '')", "watch: tenant_id '' is refused", 'Pass 1 to 512 bytes.'],
    [
      'watch(\'t\', derived => \'{"nope":"x","more":"y"}\')',
      'watch: public.t has no column more, nope',
      'Its columns are id, tenant_id, v, updated_at.',
    ],
    [
      "watch('t', ignore_columns => '{nope,updated_at}')",
      'watch: public.t has no column nope',
      'Its columns are id, tenant_id, v, updated_at.',
    ],
    ...[
      'null',
      "'[]'",
      '\'"x"\'',
      `'{"v":1}'`,
      `'{"v":["x"]}'`,
      `'{"v":"a b"}'`,
      `'{"v":""}'`,
      `'{"v":"x."}'`,
      `'{"v":{"a":1}}'`,
      `'{"v":{"a":"b c"}}'`,
      `'{"v":null}'`,
    ].map((derived): [string, string, string] => [
      `watch('t', derived => ${derived})`,
      'watch: derived must be an object of column -> suffix, or column -> {value: suffix}',
      'Pass an object such as {"stage":"stage.changed","status":{"won":"won"}}.',
    ]),
    ...['a b', 'a..b', '.', '', 'ü', "it's", '*', longName].map((prefix): [string, string, string] => [
      `watch('t', prefix => ${pg.escapeLiteral(prefix)})`,
      `watch: prefix ${pg.escapeLiteral(prefix)} is refused`,
      'A prefix has 1 to 80 characters: ASCII letters, digits, "_", "-" and ".", for example deal.',
    ]),
    [
      `watch('t', prefix => '${'x'.repeat(80)}', derived => '{"v":"${'y'.repeat(48)}"}')`,
      `watch: the event type ${'x'.repeat(40)}... is longer than 128 characters`,
      'Choose a shorter prefix or suffix.',
    ],
    [
      "watch('t', capture => 'some')",
      "watch: capture 'some' is refused",
      "Pass 'subscribed' (only events that a webhook wants) or 'all'.",
    ],
    [
      "watch('t', capture => null)",
      'watch: capture NULL is refused',
      "Pass 'subscribed' (only events that a webhook wants) or 'all'.",
    ],
    [
      "watch('t', events => '{created,truncated}')",
      "watch: events '{created,truncated}' is refused",
      'Pass any of created, updated and deleted. The parameter derived makes further events from columns.',
    ],
    [
      "watch('t', events => null)",
      'watch: events NULL is refused',
      'Pass any of created, updated and deleted. The parameter derived makes further events from columns.',
    ],
    [
      "watch('t', max_payload_bytes => 1023)",
      "watch: max_payload_bytes '1023' is refused",
      'Pass 1024 to 134217728 bytes (128 MiB).',
    ],
    [
      "watch('t', max_payload_bytes => 134217729)",
      "watch: max_payload_bytes '134217729' is refused",
      'Pass 1024 to 134217728 bytes (128 MiB).',
    ],
    [
      "watch('t', max_payload_bytes => null)",
      'watch: max_payload_bytes NULL is refused',
      'Pass 1024 to 134217728 bytes (128 MiB).',
    ],
    [
      "unwatch('nope')",
      'unwatch: there is no table nope',
      'Check the name, and write the table with its schema, for example public.deals.',
    ],
    [
      "watch_preset('nope')",
      "watch_preset: there is no preset 'nope'",
      'The presets are crm, sales, inbox, users and all.',
    ],
    [
      'watch_preset(null)',
      'watch_preset: there is no preset NULL',
      'The presets are crm, sales, inbox, users and all.',
    ],
  ])('%s', async (call, message, hint) => {
    const failed = await database.query(`select rowhook.${call}`).then(
      () => undefined,
      (error: pg.DatabaseError) => ({ message: error.message, hint: error.hint }),
    );
    expect(failed).toEqual({ message, hint });
    expect(await database.query('select * from rowhook.webhook_sources')).toEqual([]);
  });

  test('a temporary table', async () => {
    await onSession(async (session) => {
      await session.query('create temp table fleeting (tenant_id text)');
      await expect(session.query("select rowhook.watch('fleeting')")).rejects.toMatchObject({
        message: 'watch: fleeting is a temporary table: it cannot be watched',
        hint: 'Watch a permanent table of the application.',
      });
    });
  });
});

test('settings that are wrong leave a watched table as it was', async () => {
  await freshTable();
  await database.query("select rowhook.watch('t', prefix => 'good', capture => 'all')");
  const before = await catalogOf(database);
  const [source] = await database.query('select * from rowhook.webhook_sources');
  await expect(database.query("select rowhook.watch('t', prefix => 'b a d')")).rejects.toThrow('is refused');
  expect(await catalogOf(database)).toEqual(before);
  expect(await database.query('select * from rowhook.webhook_sources')).toEqual([source]);
});

describe('watch_preset', () => {
  beforeEach(freshTable);

  test('watches what is there, says what is missing, and is idempotent', async () => {
    await database.query(`
      create schema app;
      create table app.deals (id int primary key, organization_id text, stage text);
      create table app.contacts (id int primary key, account_id text, assigned_to text)`);
    const preset = () => database.query("select * from rowhook.watch_preset('crm', 'app')");
    const expected = (status: string) => [
      {
        relation: 'app.contacts',
        prefix: 'contact',
        status,
        detail: 'contact.assigned, contact.created, contact.deleted, contact.updated',
      },
      // a column that the table lacks has no event
      {
        relation: 'app.deals',
        prefix: 'deal',
        status,
        detail: 'deal.created, deal.deleted, deal.stage.changed, deal.updated',
      },
      ...['clients', 'projects', 'notes'].map((name) => ({
        relation: `app.${name}`,
        prefix: name,
        status: 'missing',
        detail: 'there is no such table',
      })),
    ];
    expect(await preset()).toEqual(expected('watched'));
    expect(await preset()).toEqual(expected('unchanged'));
    await database.query('drop schema app cascade; select rowhook.reconcile()');
  });
});

describe("reconcile() as the daemon's role, which owns no table", () => {
  beforeEach(freshTable);

  test('rewrites functions, forgets dropped tables, and says which triggers the owner has to make', async () => {
    await database.query(`
      create table parted_too (id int primary key, tenant_id text) partition by list (id);
      create table parted_too_1 partition of parted_too for values in (1);
      create table animals (id int primary key, tenant_id text);
      create table doomed (id int primary key, tenant_id text);
      select rowhook.watch('parted_too', capture => 'all');
      select rowhook.watch('animals', capture => 'all');
      select rowhook.watch('doomed', capture => 'all');
      alter table parted_too add column added int;
      create table parted_too_2 partition of parted_too for values in (2);
      create table cats () inherits (animals);
      drop table doomed`);
    const daemon = new pg.Client(database.daemonUrl);
    await daemon.connect();
    try {
      const { rows } = await daemon.query("select relation || ': ' || change as line from rowhook.reconcile()");
      const owner =
        'and rowhook_test_daemon may not create them: let the owner of the table run select rowhook.reconcile()';
      expect(rows.map(({ line }) => line)).toEqual([
        expect.stringMatching(/^public[.]doomed: its table was dropped; the source is kept for 7 days/),
        'public.animals: capture function rewritten: the table changed',
        `public.animals: triggers missing, ${owner}`,
        'public.parted_too: capture function rewritten: the table changed',
        `public.parted_too: triggers missing, ${owner}`,
      ]);
    } finally {
      await daemon.end();
    }
    await database.query("insert into parted_too values (2, 'acme', 5); update parted_too set added = 6");
    expect(lines(await takeChanges(database))).toEqual([
      'parted_too.created {"id":2,"tenant_id":"acme","added":5}',
      'parted_too.updated {"id":2,"tenant_id":"acme","added":6} was {"added":5}',
    ]);
    expect(
      (await database.query('select relation from rowhook.reconcile() order by 1')).map(({ relation }) => relation),
    ).toEqual(['public.cats', 'public.parted_too_2']);
  });

  test('asks for no lock on a table where it may make no triggers, so nobody waits behind it', async () => {
    await database.query(`
      create table a_parted (id int primary key, tenant_id text) partition by list (id);
      select rowhook.watch('a_parted');
      create table a_parted_1 partition of a_parted for values in (1)`);
    const daemon = new pg.Client(database.daemonUrl);
    await daemon.connect();
    try {
      await onSession(async (holder) => {
        await holder.query("begin; insert into a_parted_1 values (1, 'acme')");
        const { rows } = await daemon.query('select * from rowhook.reconcile()');
        expect(rows).toEqual([
          {
            relation: 'public.a_parted',
            change:
              'triggers missing, and rowhook_test_daemon may not create them: let the owner of the table run select rowhook.reconcile()',
          },
        ]);
        await holder.query('rollback');
      });
    } finally {
      await daemon.end();
      await database.query("select rowhook.unwatch('a_parted'); drop table a_parted");
    }
  }, 40_000);

  test('what it finds in order stays so, whatever the settings of the session', async () => {
    await database.query(`
      create table "Quoted" (id int, "It's \\ %" text, d date default '2030-01-31', tenant_id text, total int generated always as (id * 2) stored, primary key (id, d));
      select rowhook.watch('"Quoted"', derived => '{"It''s \\\\ %":{"a\\\\b":"x"}}'); select rowhook.reconcile()`);
    for (const settings of [
      'set quote_all_identifiers = on',
      'set standard_conforming_strings = off; set escape_string_warning = off',
      "set search_path = ''; set datestyle = 'SQL, DMY'; set row_security = off",
      'set plan_cache_mode = force_generic_plan; set jit_above_cost = 0',
    ]) {
      const lines = await onSession(async (session) => {
        await session.query(settings);
        return (await session.query('select * from rowhook.reconcile()')).rows;
      });
      expect(lines, settings).toEqual([]);
    }
    await database.query('drop table "Quoted"');
  });

  test('a table that is locked is told, and holds up no other', async () => {
    await database.query(`
      create table a_parted (id int primary key, tenant_id text) partition by list (id);
      select rowhook.watch('a_parted');
      select rowhook.watch('t');
      create table a_parted_1 partition of a_parted for values in (1);
      alter table t add column added int`);
    await onSession(async (holder) => {
      await holder.query('begin; lock table a_parted_1 in row exclusive mode');
      expect(
        await database.query("select * from rowhook.reconcile() where relation ~ 'a_parted|[.]t$' order by 1"),
      ).toEqual([
        {
          relation: 'public.a_parted',
          change:
            'triggers missing: table public.a_parted_1 is locked by a long transaction: no lock within 8 tries of 0.8 s',
        },
        { relation: 'public.t', change: 'capture function rewritten: the table changed' },
      ]);
      await holder.query('rollback');
    });
  }, 40_000);
});
