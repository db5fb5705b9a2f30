// Installing, on a server of its own: roles belong to the whole cluster, and here it begins without ours.

import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { builtForVersion, migrate, schemaVersion } from '../../src/database/migrations.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { catalogOf } from '../support/catalog.ts';
import { wantedMajor } from '../support/server.ts';

const folder = join(import.meta.dirname, '../../sql/migrations');
const files = globSync('*.sql', { cwd: folder }).sort();
const uninstall = readFileSync(join(import.meta.dirname, '../../sql/uninstall.sql'), 'utf8');

let server: Embedded;
let postgres: pg.Client;
let admin: pg.Client;

beforeAll(async () => {
  server = await startEmbedded({ major: wantedMajor, settings: { fsync: 'off' } });
  postgres = await connect('postgres');
  for (const [role, attributes] of [
    ['plain', 'nocreaterole'],
    ['cloud_admin', 'createrole'],
    ['other_admin', 'createrole'],
  ]) {
    await postgres.query(`create role ${role} login password 'secret' ${attributes}`);
  }
});

/** The database app, empty, and no role of ours. */
async function empty(): Promise<void> {
  await admin?.end();
  await postgres.query('drop database if exists app with (force)');
  await dropRoles();
  await postgres.query('create database app template template0');
  await postgres.query('grant create on database app to plain, cloud_admin, other_admin');
  admin = await connect('app');
}

afterAll(async () => {
  await Promise.all([admin, postgres].map((client) => client?.end()));
  await server?.stop('immediate');
});

async function connect(database: string, user?: string): Promise<pg.Client> {
  const client = new pg.Client(
    user ? server.urlOf(database, user, 'secret') : server.url.replace(/\/postgres$/, `/${database}`),
  );
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function as<T>(user: string | undefined, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect('app', user);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function dropRoles(): Promise<void> {
  for (const role of [...ours, 'worker']) {
    await postgres.query(`drop role if exists ${role}`);
  }
}

const roles = async () =>
  (await postgres.query("select rolname from pg_roles where rolname ~ '^rowhook' order by 1")).rows.map(
    ({ rolname }) => rolname,
  );
const ours = ['rowhook_api', 'rowhook_app', 'rowhook_daemon', 'rowhook_owner', 'rowhook_worker'];

/** As `psql -1 -f` runs a file: all of it as one transaction. */
const psql = (client: pg.Client, file: string) =>
  client.query(`begin; ${readFileSync(join(folder, file), 'utf8')}; commit`);

const catalog = (client: pg.Client = admin) =>
  catalogOf({ query: async (sql: string) => (await client.query(sql)).rows });
/** Without the numbers that differ from one installation to the next. */
const shape = async () =>
  (await catalog())
    .filter((line) => !line.startsWith('depends on role'))
    .map((line) => line.replace(/\d{5,}/g, 'N').replace(/'20\d\d-[^']*'/g, 'DAY'))
    .sort();
const recorded = async () => (await admin.query('select id, name, hash from rowhook.migrations order by id')).rows;

describe('migrate', () => {
  beforeEach(empty);

  test('from empty, then nothing to do', async () => {
    const told: string[] = [];
    expect(await migrate(admin, (line) => told.push(line))).toEqual({
      repaired: 0,
      applied: files,
      version: files.length,
    });
    expect(told).toEqual(files.map((file) => `applied ${file}`));
    expect(await schemaVersion(admin)).toBe(await builtForVersion());
    const before = await catalog();
    expect(await migrate(admin)).toEqual({ repaired: 0, applied: [], version: files.length });
    expect(await catalog()).toEqual(before);
    expect((await admin.query('show search_path')).rows).toEqual([{ search_path: '"$user", public' }]);
    expect(await roles()).toEqual(ours);
    expect(
      (
        await admin.query(
          "select rolname from pg_roles where rolname ~ '^rowhook' and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole)",
        )
      ).rows,
    ).toEqual([]);
  });

  test.each([
    [
      "an app's own table",
      'create table public.migrations (version text primary key, at timestamptz); insert into public.migrations values (1)',
    ],
    [
      "another package's, of the same shape",
      `create schema graphile_worker;
       create table graphile_worker.migrations (id int primary key, ts timestamptz not null default now(), breaking bool);
       insert into graphile_worker.migrations values (1), (18)`,
    ],
    [
      "postgres-migrations' own for the app",
      `create table public.migrations (id integer primary key, name varchar(100) unique not null, hash varchar(40) not null, executed_at timestamp default current_timestamp);
       insert into public.migrations values (0, 'create-migrations-table', 'e18db593bcde2aca2a408c4d1100f6abba2195df'), (1, 'app', 'abc')`,
    ],
    ['a view', 'create view public.migrations as select 1 as id'],
  ])('beside a relation "migrations" that is %s', async (_, sql) => {
    await admin.query(sql);
    const before = await catalog();
    const rows = async () =>
      (
        await admin
          .query(
            "select xmlserialize(content query_to_xml(format('select * from %s order by 1', c.oid::regclass), true, false, '') as text) as x from pg_class c where relname = 'migrations' and relnamespace <> coalesce(to_regnamespace('rowhook'), 0::oid)",
          )
          .catch(() => ({ rows: [] }))
      ).rows;
    const content = await rows();
    expect((await migrate(admin)).applied).toEqual(files);
    expect((await recorded()).map(({ name }) => name)).toContain('capture_functions');
    expect((await catalog()).filter((line) => !/rowhook/.test(line))).toEqual(before);
    expect(await rows()).toEqual(content);
  });

  test('after a DBA applied the files with psql: they are recorded, and the result is the same', async () => {
    await migrate(admin);
    const [byMigrate, list] = [await shape(), await recorded()];
    await admin.query(uninstall);

    for (const file of files) {
      const results = [await psql(admin, file)].flat();
      // psql would print them
      expect(
        results.filter(({ fields }) => fields.length > 0).map(({ rows }) => rows),
        file,
      ).toEqual([]);
    }
    expect(await schemaVersion(admin)).toBe(files.length);
    expect(await migrate(admin)).toEqual({ repaired: 0, applied: [], version: files.length });
    expect(await recorded()).toEqual(list);
    expect(await shape()).toEqual(byMigrate);
  });

  test('by several at once, as replicas that start together do', async () => {
    const reports = await Promise.all(Array.from({ length: 4 }, () => as(undefined, (client) => migrate(client))));
    expect(reports.map(({ version }) => version)).toEqual(Array(4).fill(files.length));
    expect(reports.flatMap(({ applied }) => applied).sort()).toEqual(files);
  });

  test.each([
    'rowhook.webhook_configurations',
    'rowhook.doorbell',
    'rowhook.reconcile(integer)',
    'rowhook.current_tenant()',
  ])('that fails at %s leaves nothing, not even roles, and can be repeated', async (identity) => {
    await admin.query(`
        create function public.refuse() returns event_trigger language plpgsql as $$ begin
          if exists (select from pg_event_trigger_ddl_commands() where object_identity = '${identity}') then raise 'refused'; end if; end $$;
        create event trigger refuse on ddl_command_end execute function public.refuse()`);
    const before = await catalog();
    await expect(migrate(admin)).rejects.toThrow('refused');
    expect(await catalog()).toEqual(before);
    expect(await roles()).toEqual([]);
    expect(
      (
        await admin.query('select count(*)::int as held from pg_locks where locktype = $1 and pid = pg_backend_pid()', [
          'advisory',
        ])
      ).rows,
    ).toEqual([{ held: 0 }]);

    await admin.query('drop event trigger refuse');
    expect((await migrate(admin)).applied).toEqual(files);
  });

  test('of a schema that is newer is refused', async () => {
    await migrate(admin);
    await admin.query(
      'create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 99',
    );
    const before = await catalog();
    await expect(migrate(admin)).rejects.toThrow(
      `The schema rowhook is at version 99, but this rowhook only knows versions up to ${files.length}. Use a newer rowhook. Nothing was changed.`,
    );
    expect(await catalog()).toEqual(before);
  });

  test('by another member of rowhook_owner than the one who installed it', async () => {
    for (const file of files.slice(0, 4)) await psql(admin, file);
    await postgres.query('grant rowhook_owner to cloud_admin, plain');
    expect((await as('cloud_admin', (client) => migrate(client))).applied).toEqual(files.slice(4));
    expect((await as('plain', (client) => migrate(client))).applied).toEqual([]);
  });
});

describe('migrate from version', () => {
  let [list, fresh]: [unknown[], string[]] = [[], []];
  let walked = 0;

  // A database goes from version to version as with psql, and each version is a copy of it. One that was begun anew for
  // each would apply 480 files instead of 275.
  beforeAll(async () => {
    await empty();
    await migrate(admin);
    [list, fresh] = [await recorded(), await shape()];
    await empty();
    await postgres.query('drop database if exists walk');
    await postgres.query('create database walk template template0');
  });
  afterAll(() => postgres.query('drop database walk'));

  test.each(files.slice(0, -1).map((file, i) => [i + 1, file] as const))(
    '%i on, as an earlier release or a DBA with psql left it: it goes on from there, to the same catalog',
    async (version) => {
      const walk = await connect('walk');
      while (walked < version) await psql(walk, files[walked++] as string);
      await walk.end();
      await admin.end();
      await postgres.query('drop database app');
      await postgres.query('create database app template walk');
      admin = await connect('app');
      expect(await schemaVersion(admin)).toBe(version);
      expect(await migrate(admin)).toEqual({ repaired: 0, applied: files.slice(version), version: files.length });
      expect(await recorded()).toEqual(list);
      expect(await shape()).toEqual(fresh);
    },
  );
});

describe('without a superuser', () => {
  beforeEach(empty);

  test('a role that may not create roles is told what a DBA has to run, and after that it works', async () => {
    await admin.query('revoke create on database app from plain');
    const before = await catalog();
    const refusal = await as('plain', (client) => migrate(client)).then(
      () => undefined,
      (error: pg.DatabaseError) => error,
    );
    expect(refusal?.message).toBe('role rowhook_owner does not exist, and plain may not create roles');
    expect(refusal?.hint).toMatch(/^Let a DBA run: .*; then run the migrations again\.$/);
    expect(await catalog()).toEqual(before);
    expect(await roles()).toEqual([]);

    // in its very words
    await admin.query(
      (refusal?.hint ?? '').replace(/^Let a DBA run: /, '').replace('; then run the migrations again.', ''),
    );
    expect((await as('plain', (client) => migrate(client))).applied).toEqual(files);
  });

  test('a role that is no member of rowhook_owner is told so', async () => {
    await admin.query(
      'create role rowhook_owner nologin; create role rowhook_app nologin; create role rowhook_daemon nologin; create role rowhook_api nologin; create role rowhook_worker nologin',
    );
    const refusal = await as('plain', (client) => migrate(client)).then(
      () => undefined,
      (error: pg.DatabaseError) => error,
    );
    expect(refusal?.message).toBe('plain is not a member of rowhook_owner, and may not become one');
    await admin.query(
      (refusal?.hint ?? '').replace(/^Let a DBA run: /, '').replace('; then run the migrations again.', ''),
    );
    expect((await as('plain', (client) => migrate(client))).applied).toEqual(files);
  });

  test.each(['rowhook_daemon', 'rowhook_app', 'rowhook_api'])(
    'a login of %s is not to become an owner',
    async (role) => {
      await admin.query(
        `create role rowhook_owner nologin; create role rowhook_app nologin; create role rowhook_daemon nologin; create role rowhook_api nologin; create role rowhook_worker nologin; grant rowhook_app to rowhook_api; grant ${role} to plain`,
      );
      await expect(as('plain', (client) => migrate(client))).rejects.toMatchObject({
        message: 'plain is not a member of rowhook_owner, and may not become one',
        hint: 'This login delivers, serves or writes. Run the migrations as a member of rowhook_owner.',
      });
    },
  );

  // Each gives plain less than migrations need.
  const lesser: [state: string, statements: string][] = [
    ['NOINHERIT and a member', 'alter role plain noinherit; grant rowhook_owner to plain'],
    ['NOINHERIT and no member', 'alter role plain noinherit'],
    ['NOINHERIT, and a role is missing', 'alter role plain noinherit; drop role rowhook_app'],
  ];
  if (wantedMajor >= 16) {
    lesser.push(
      ['granted it WITH INHERIT FALSE', 'grant rowhook_owner to plain with inherit false'],
      ['granted it WITH SET FALSE', 'grant rowhook_owner to plain with set false'],
      ['its administrator only', 'grant rowhook_owner to plain with admin true, inherit false, set false'],
    );
  }
  test.each(lesser)('a role that is %s installs after what it is told', async (_, statements) => {
    await admin.query(ours.map((role) => `create role ${role} nologin`).join('; '));
    await admin.query(statements);
    try {
      const refusal = await as('plain', (client) => migrate(client)).catch((error: pg.DatabaseError) => error);
      // An administrator may grant itself what lacks.
      if (!('applied' in refusal)) {
        expect(refusal.hint).toMatch(/^Let a DBA run: .*; then run the migrations again\.$/);
        await admin.query(
          (refusal.hint ?? '').replace(/^Let a DBA run: /, '').replace('; then run the migrations again.', ''),
        );
        expect((await as('plain', (client) => migrate(client))).applied).toEqual(files);
      }
      expect((await as('plain', (client) => migrate(client))).applied).toEqual([]);
    } finally {
      await admin.query('alter role plain inherit');
    }
  });

  test.runIf(wantedMajor >= 16).each(['', 'set', 'inherit', 'set, inherit'])(
    'a role with CREATEROLE and createrole_self_grant = %j installs',
    async (granted) => {
      await postgres.query(`alter role cloud_admin set createrole_self_grant = '${granted}'`);
      try {
        expect((await as('cloud_admin', (client) => migrate(client))).applied).toEqual(files);
        expect((await as('cloud_admin', (client) => migrate(client))).applied).toEqual([]);
      } finally {
        await postgres.query('alter role cloud_admin reset createrole_self_grant');
      }
    },
  );

  test('a role that may not create schemas in this database is told what a DBA has to run', async () => {
    await admin.query('revoke create on database app from cloud_admin');
    const refusal = await as('cloud_admin', (client) => migrate(client)).then(
      () => undefined,
      (error: pg.DatabaseError) => error,
    );
    expect(refusal?.message).toBe('cloud_admin may not create schemas in the database app');
    expect(refusal?.hint).toBe(
      'Let a DBA run: grant create on database app to cloud_admin; then run the migrations again.',
    );
    expect(await roles()).toEqual([]);
    await admin.query(
      (refusal?.hint ?? '').replace(/^Let a DBA run: /, '').replace('; then run the migrations again.', ''),
    );
    expect((await as('cloud_admin', (client) => migrate(client))).applied).toEqual(files);
  });

  test('a role with CREATEROLE, as managed services give, installs, watches its own tables, serves a daemon, and uninstalls', async () => {
    await admin.query('grant create on schema public to cloud_admin');
    const before = await catalog();
    const members = async () =>
      (await postgres.query('select roleid::regrole::text, member::regrole::text from pg_auth_members order by 1, 2'))
        .rows;
    const membersBefore = await members();
    await as('cloud_admin', async (client) => {
      const printed: string[] = [];
      expect((await migrate(client, (line) => printed.push(line))).applied).toEqual(files);
      expect(printed.filter((line) => !line.startsWith('applied '))).toEqual([
        'cloud_admin is a member of rowhook_owner from now on. To end that: revoke rowhook_owner from cloud_admin;',
      ]);
      await client.query(`
        create table orders (id int primary key, tenant_id text, v text) partition by list (id);
        create table orders_1 partition of orders for values in (1, 2);
        select rowhook.watch('orders');
        insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com/', '{*}');
        insert into orders values (1, 'acme', 'a'); update orders set v = 'b'; insert into orders_1 values (2, 'acme', 'c');
        create role worker login password 'secret';
        grant rowhook_daemon to worker`);
      const { rows } = await client.query(
        "select event_types::text from rowhook.webhook_outbox where event_types <> '{}' order by id",
      );
      expect(rows.map(({ event_types }) => event_types)).toEqual([
        '{orders.created}',
        '{orders.updated}',
        '{orders.created}',
      ]);
      await client.query('create table orders_2 partition of orders for values in (3)');
      expect((await client.query('select * from rowhook.reconcile()')).rows).toEqual([
        { relation: 'public.orders_2', change: 'triggers attached' },
      ]);
      expect((await migrate(client)).applied).toEqual([]);
    });
    await as('worker', async (client) => {
      expect((await client.query('select count(*)::int as sources from rowhook.webhook_sources')).rows).toEqual([
        { sources: 1 },
      ]);
      expect((await client.query('select * from rowhook.reconcile()')).rows).toEqual([]);
      expect((await client.query('select rowhook._make_log_partitions()')).rowCount).toBe(1);
    });
    await as('cloud_admin', async (client) => {
      await client.query("select rowhook.unwatch('orders'); drop table orders");
      await client.query(`begin; ${uninstall}; commit`);
      await client.query('drop role worker');
    });
    expect(await catalog()).toEqual(before);
    expect(await roles()).toEqual([]);
    expect(await members()).toEqual(membersBefore);
  });
});

test('the files are plain ASCII, and each ends with its own version', () => {
  for (const file of files) {
    const text = readFileSync(join(folder, file), 'utf8');
    expect(text, file).toMatch(/^[\n\x20-\x7e]*$/);
    const versions = [...text.matchAll(/function rowhook\.schema_version\(\)[^;]*\breturn (\d+);/g)].map(
      ([, version]) => Number(version),
    );
    expect(versions, file).toEqual([Number.parseInt(basename(file), 10)]);
  }
});
