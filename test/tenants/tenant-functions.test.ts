// The variants of rowhook.current_tenant() that we ship: what binds the tenant, and what cannot change it.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { migrate } from '../../src/database/migrations.ts';
import { type Attacker, createAttacker } from '../support/attacker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createWebhook } from '../support/webhook.ts';

const root = join(import.meta.dirname, '../..');
const variant = (name: string) => readFileSync(join(root, `sql/tenants/${name}.sql`), 'utf8');

let database: TestDatabase;
let app: Attacker;
const ids: Record<string, string> = {};

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  app = await createAttacker(database);
  for (const tenant_id of ['acme', 'zebra']) {
    ids[tenant_id] = (
      await createWebhook(database, { tenant_id, name: tenant_id, url: `https://${tenant_id}.example` })
    ).id;
  }
});

afterAll(async () => {
  await app.drop();
  await database.drop();
});

/** In a transaction that is rolled back. */
async function asApp<T>(claims: Record<string, string>, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await app.connect();
  try {
    await client.query('begin');
    for (const [name, value] of Object.entries(claims))
      await client.query('select set_config($1, $2, true)', [name, value]);
    return await work(client);
  } finally {
    await client.query('rollback');
    await client.end();
  }
}

const namesSeen = async (client: pg.Client) =>
  (await client.query('select name from rowhook.webhook_configurations order by 1')).rows.map(({ name }) => name);

/** Everything that a tenant does works for its own, and nothing for the other. */
async function expectWalls(client: pg.Client, own: string, other: string): Promise<void> {
  expect(await namesSeen(client)).toEqual([own]);
  const { rows } = await client.query(
    "insert into rowhook.webhook_configurations (name, url, event_types) values ('more', 'https://a.example', '{*}') returning id, tenant_id",
  );
  expect(rows[0].tenant_id).toBe(own);
  const calls = (id: string) => [
    `rotate_secret('${id}')`,
    `test('${id}')`,
    `replay('${id}', '-infinity')`,
    `delete_webhook('${id}')`,
  ];
  await client.query("select rowhook.emit('a.b', '{}')");
  for (const call of calls(rows[0].id)) await client.query(`select rowhook.${call}`);
  for (const statement of [
    ...calls(ids[other] as string).map((call) => `select rowhook.${call}`),
    `select rowhook.emit('a.b', '{}', '${other}')`,
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('${other}', 'n', 'https://a.example', '{*}')`,
  ]) {
    await client.query('savepoint s');
    await expect(client.query(statement)).rejects.toMatchObject({
      code: expect.stringMatching(/^(P0002|02000|42501)$/),
    });
    await client.query('rollback to savepoint s');
  }
}

describe('the setting, as installed', () => {
  test('decides, and is what a tenant with SQL of its own can set: this is what it does not protect against', async () => {
    await asApp({ 'rowhook.tenant_id': 'acme' }, (client) => expectWalls(client, 'acme', 'zebra'));
    await asApp({ 'rowhook.tenant_id': 'acme' }, async (client) => {
      await client.query("set local rowhook.tenant_id = 'zebra'");
      expect(await namesSeen(client)).toEqual(['zebra']);
    });
  });

  test('is what no later migration replaces', () => {
    const files = globSync('sql/migrations/*.sql', { cwd: root }).sort();
    const touching = files.filter((file) =>
      /(create|alter|drop)\s[^;]*function\s+rowhook\.current_tenant/i.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(touching).toEqual(['sql/migrations/0001_schema.sql']);
  });
});

describe('the claims of a token', () => {
  beforeEach(() => database.query(variant('jwt-claims')));

  const claims = (value: unknown) => ({
    'request.jwt.claims': typeof value === 'string' ? value : JSON.stringify(value),
  });

  test.each([
    { tenant_id: 'acme' },
    { app_metadata: { tenant_id: 'acme' } },
    { tenant_id: 'acme', app_metadata: { tenant_id: 'zebra' } },
  ])('%j: the tenant is acme, for reading, writing and every function', async (value) => {
    await asApp(claims(value), (client) => expectWalls(client, 'acme', 'zebra'));
  });

  test.each<[string, unknown]>([
    ['no claims', ''],
    ['none of ours', { sub: 'acme', role: 'acme' }],
    ['what users write themselves', { user_metadata: { tenant_id: 'acme' } }],
    ['null', { tenant_id: null }],
    ['an empty one', { tenant_id: '' }],
    ['a list of claims', [{ tenant_id: 'acme' }]],
    ['text', '"acme"'],
    ['JSON null', 'null'],
  ])('%s: there is no tenant', async (_, value) => {
    await asApp(claims(value), async (client) => {
      expect(await namesSeen(client)).toEqual([]);
      await expect(client.query("select rowhook.emit('a.b', '{}')")).rejects.toMatchObject({
        message: expect.stringMatching(/no tenant|refused/),
      });
    });
  });

  test.each([[['acme']], [{ acme: 1 }], ['ACME'], [' acme'], [1]])('%j is another tenant', async (tenant_id) => {
    await asApp(claims({ tenant_id }), async (client) => expect(await namesSeen(client)).toEqual([]));
  });

  test('what is no JSON is an error, and shows nothing', async () => {
    await asApp(claims('{"tenant_id":"acme"'), (client) =>
      expect(namesSeen(client)).rejects.toMatchObject({ code: '22P02' }),
    );
  });

  test('the setting of before has no say any more', async () => {
    await asApp({ 'rowhook.tenant_id': 'zebra' }, async (client) => expect(await namesSeen(client)).toEqual([]));
    await asApp({ 'rowhook.tenant_id': 'zebra', ...claims({ tenant_id: 'acme' }) }, async (client) =>
      expect(await namesSeen(client)).toEqual(['acme']),
    );
  });

  test('each request on one pooled connection has its own', async () => {
    const client = await app.connect();
    try {
      for (const tenant of ['acme', 'zebra', 'nobody', 'acme']) {
        await client.query('begin');
        await client.query("select set_config('request.jwt.claims', $1, true)", [
          JSON.stringify({ tenant_id: tenant }),
        ]);
        const { rows } = await client.query({ name: 'seen', text: 'select name from rowhook.webhook_configurations' });
        expect(rows.map(({ name }) => name)).toEqual(tenant === 'nobody' ? [] : [tenant]);
        await client.query('commit');
      }
      expect(await namesSeen(client)).toEqual([]);
    } finally {
      await client.end();
    }
  });
});

describe('the login', () => {
  beforeEach(async () => {
    await database.query(variant('session-user'));
    await database.query(
      'insert into rowhook.tenant_logins values ($1, $2) on conflict (login) do update set tenant_id = excluded.tenant_id',
      [app.role, 'acme'],
    );
  });

  test('is the tenant, for reading, writing and every function', async () => {
    await asApp({}, (client) => expectWalls(client, 'acme', 'zebra'));
  });

  test.each([
    "set rowhook.tenant_id = 'zebra'",
    `select set_config('request.jwt.claims', '{"tenant_id":"zebra"}', false)`,
    'set role rowhook_app',
    "set search_path = lair, pg_catalog; create function lair.session_user_() returns name language sql return 'x'",
    "create temp table tenant_logins as select session_user as login, 'zebra' as tenant_id",
    "set application_name = 'zebra'",
  ])('%s changes nothing', async (statement) => {
    await asApp({}, async (client) => {
      await client.query(statement);
      expect(await namesSeen(client)).toEqual(['acme']);
    });
  });

  test.each([
    "set session authorization 'postgres'",
    "insert into rowhook.tenant_logins values (session_user, 'zebra')",
    "update rowhook.tenant_logins set tenant_id = 'zebra'",
    'delete from rowhook.tenant_logins',
    'select * from rowhook.tenant_logins',
    "create or replace function rowhook.current_tenant() returns text language sql return 'zebra'",
  ])('%s is refused', async (statement) => {
    await asApp({}, (client) => expect(client.query(statement)).rejects.toMatchObject({ code: '42501' }));
  });

  test('without a row in the table there is no tenant', async () => {
    await database.query('delete from rowhook.tenant_logins');
    await asApp({ 'rowhook.tenant_id': 'acme' }, async (client) => expect(await namesSeen(client)).toEqual([]));
  });

  test('the table stands behind row-level security as all others do', async () => {
    const [table] = await database.query(
      "select relrowsecurity, relforcerowsecurity, relowner::regrole::text as owner, relacl from pg_class where oid = 'rowhook.tenant_logins'::regclass",
    );
    expect(table).toEqual({ relrowsecurity: true, relforcerowsecurity: true, owner: 'rowhook_owner', relacl: null });
  });
});

describe('the files', () => {
  const describeFunction = async () => {
    const [row] = await database.query(
      `select proowner::regrole::text as owner, prosecdef, provolatile, proparallel, proconfig, pg_get_functiondef(oid) as text,
              has_function_privilege('rowhook_app', oid, 'execute') as app, has_function_privilege('public', oid, 'execute') as everybody
         from pg_proc where oid = 'rowhook.current_tenant()'::regprocedure`,
    );
    return row;
  };

  test('run again and again, in any order, by any member of rowhook_owner, and lead back to what was installed', async () => {
    await database.query(variant('setting'));
    const installed = await describeFunction();
    expect(installed).toMatchObject({
      owner: 'rowhook_owner',
      prosecdef: false,
      proconfig: null,
      provolatile: 's',
      app: true,
      everybody: false,
    });
    const dba = `dba_${app.role}`;
    await database.query(`create role ${dba}`);
    await database.query(`grant rowhook_owner to ${dba}`);
    const client = await database.pool.connect();
    try {
      await client.query(`set session authorization ${dba}`);
      for (const name of [
        'session-user',
        'jwt-claims',
        'session-user',
        'session-user',
        'setting',
        'jwt-claims',
        'jwt-claims',
        'setting',
      ]) {
        await client.query(variant(name));
        expect(await describeFunction()).toMatchObject({
          owner: 'rowhook_owner',
          provolatile: 's',
          app: true,
          everybody: false,
        });
      }
    } finally {
      await client.query('reset session authorization');
      client.release();
      await database.query(`drop owned by ${dba}`);
      await database.query(`drop role ${dba}`);
    }
    expect(await describeFunction()).toEqual(installed);
  });

  test('outlive an upgrade', async () => {
    await database.query(variant('jwt-claims'));
    const before = await describeFunction();
    const client = await database.pool.connect();
    try {
      await migrate(client as unknown as pg.Client);
    } finally {
      client.release();
    }
    expect(await describeFunction()).toEqual(before);
  });

  test('are shown in docs/dba/tenants.md as they are', () => {
    const page = readFileSync(join(root, 'docs/dba/tenants.md'), 'utf8');
    for (const name of ['jwt-claims', 'session-user']) {
      const text = variant(name);
      const start = text.indexOf('create or replace function');
      const definition = text.slice(
        start,
        text.indexOf(name === 'jwt-claims' ? ';\n' : 'end;\n', start) + (name === 'jwt-claims' ? 2 : 5),
      );
      expect(definition).toMatch(/^create or replace function rowhook\.current_tenant\(\)\n.+;\n$/s);
      expect(page).toContain(`\`\`\`sql\n${definition}\`\`\``);
    }
    for (const file of globSync('sql/tenants/*.sql', { cwd: root })) expect(page).toContain(file.replaceAll('\\', '/'));
  });
});
