// The view rowhook.webhooks: what docs/use/app.md and docs/dba/tenants.md show, and what ORMs send, as the role that app.md grants.

import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { blocksOf } from '../support/pages.ts';
import { waitUntil } from '../support/wait.ts';

const LOGIN = 'app_login_of_view';
let database: TestDatabase;
/** A session of the application, as the tenant acme; and one as the tenant other. */
let acme: pg.Client;
let other: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`create role ${LOGIN} login password 'x' in role rowhook_app`);
  [acme, other] = await Promise.all([connect('acme'), connect('other')]);
});

beforeEach(() => database.query('delete from rowhook.webhook_configurations'));

afterAll(async () => {
  await acme?.end();
  await other?.end();
  await database?.query(`drop role if exists ${LOGIN}`);
  await database?.drop();
});

async function connect(tenant: string): Promise<pg.Client> {
  const client = new pg.Client(databaseUrl(database.url, database.name, LOGIN, 'x'));
  await client.connect();
  await client.query("select set_config('rowhook.tenant_id', $1, false)", [tenant]);
  return client;
}

async function rowsOf(client: pg.Client, sql: string, params: unknown[] = []): Promise<Record<string, unknown>[]> {
  return (await client.query(sql, params)).rows;
}

async function rowOf(client: pg.Client, sql: string, params: unknown[] = []): Promise<Record<string, unknown>> {
  const rows = await rowsOf(client, sql, params);
  expect(rows, sql).toHaveLength(1);
  return rows[0] as Record<string, unknown>;
}

const stored = async (id: unknown) => {
  const [row] = await database.query('select * from rowhook.webhook_configurations where id = $1', [id]);
  return row as Record<string, unknown>;
};

const insert = `insert into rowhook.webhooks (name, url, event_types) values ('a', 'https://example.com/', '{*}')`;

describe('the SQL of the pages, as rowhook_app', () => {
  // blocks for the owner of the database: they make roles, or replace current_tenant()
  const isForOwner = (text: string) =>
    /create (role|or replace)|rowhook\.watch|insert into (orders|rowhook\.tenant_logins)/.test(text);
  const blocks = ['docs/use/app.md', 'docs/dba/tenants.md'].flatMap((page) =>
    blocksOf(page).filter(({ kind, text }) => kind === 'sql' && !isForOwner(text)),
  );

  test('there is some of it on both pages', () => {
    expect(new Set(blocks.map(({ at }) => at.split(':')[0]))).toEqual(
      new Set(['docs/use/app.md', 'docs/dba/tenants.md']),
    );
    expect(blocks.filter(({ text }) => text.includes('returning id, secret')).length).toBeGreaterThan(0);
  });

  test.each(blocks.map(({ at, text }) => [at, text]))('%s', async (_, text) => {
    // the setting is what the block itself sets
    const client = await connect('');
    const results = await client.query(text).finally(() => client.end());
    const returned = [results].flat().filter(({ command, fields }) => command === 'INSERT' && fields.length > 0);
    expect(returned.every(({ rows }) => /^whsec_/.test(rows[0]?.secret))).toBe(true);
  });
});

describe('a secret', () => {
  test('is shown to the statement that writes it, and never again to anybody', async () => {
    const made = await rowOf(acme, `${insert} returning id, secret`);
    expect(made).toEqual({ id: expect.any(String), secret: expect.stringMatching(/^whsec_.{44}$/) });
    expect((await stored(made.id)).secret).toBe(made.secret);

    const given = await rowOf(
      acme,
      `insert into rowhook.webhooks (name, url, event_types, secret, auth_type, auth_config)
       values ('a', 'https://example.com/', '{*}', 'a secret of my own', 'bearer', '{"token":"t0p"}') returning *`,
    );
    expect(given).toMatchObject({ secret: 'a secret of my own', auth_config: { token: 't0p' }, tenant_id: 'acme' });
    expect(await stored(given.id)).toMatchObject({ secret: given.secret, auth_config: given.auth_config });

    for (const sql of [
      'select secret, auth_config from rowhook.webhooks',
      'select secret, auth_config from rowhook.webhooks where secret is null and auth_config is null',
      "update rowhook.webhooks set description = 'x' returning secret, auth_config",
      'delete from rowhook.webhooks returning secret, auth_config',
    ])
      expect(await rowsOf(acme, sql)).toEqual([
        { secret: null, auth_config: null },
        { secret: null, auth_config: null },
      ]);
  });

  test('is not in the view, so no expression reaches it; the table refuses it as before', async () => {
    const { id } = await rowOf(acme, `${insert} returning id`);
    expect(
      await rowsOf(acme, "select from rowhook.webhooks where secret like 'whsec_%' or secret is not null"),
    ).toEqual([]);
    expect(await rowsOf(acme, 'select to_jsonb(w) ->> $1 as secret from rowhook.webhooks w', ['secret'])).toEqual([
      { secret: null },
    ]);
    for (const sql of [
      'select secret from rowhook.webhook_configurations',
      'select * from rowhook.webhook_configurations',
      "update rowhook.webhook_configurations set name = 'x' returning auth_config",
      'select previous_secret from rowhook.webhook_configurations',
    ])
      await expect(acme.query(sql)).rejects.toThrow('permission denied for table webhook_configurations');
    await expect(acme.query('select previous_secret from rowhook.webhooks')).rejects.toThrow('does not exist');
    await expect(acme.query(`copy rowhook.webhook_configurations to stdout`)).rejects.toThrow('permission denied');
    expect((await stored(id)).secret).toMatch(/^whsec_/);
  });

  test('is taken away with the auth_type that needs it, as the error says', async () => {
    await acme.query(
      `insert into rowhook.webhooks (name, url, event_types, auth_type, auth_config)
       values ('a', 'https://example.com/', '{*}', 'bearer', '{"token":"t0p"}')`,
    );
    await expect(acme.query("update rowhook.webhooks set auth_type = 'none'")).rejects.toThrow(
      /auth_config: must be \{\} when auth_type is 'none'; set both columns in one statement\.$/,
    );
    expect(
      await rowsOf(acme, "update rowhook.webhooks set auth_type = 'none', auth_config = '{}' returning auth_type"),
    ).toEqual([{ auth_type: 'none' }]);
  });

  test('is rotated by an UPDATE, with the old one beside it; null keeps it', async () => {
    const { id, secret } = await rowOf(acme, `${insert} returning id, secret`);
    await acme.query("update rowhook.webhooks set name = 'b', secret = null, auth_config = null where id = $1", [id]);
    expect(await stored(id)).toMatchObject({ secret, name: 'b', auth_config: {} });
    const [rotated] = await rowsOf(
      acme,
      `update rowhook.webhooks set secret = 'a new secret, a new one', previous_secret_expires_at = now() + interval '1 day'
        where id = $1 returning secret`,
      [id],
    );
    expect(rotated).toEqual({ secret: 'a new secret, a new one' });
    expect(await stored(id)).toMatchObject({ secret: 'a new secret, a new one', previous_secret: secret });
  });
});

describe('tenants', () => {
  test('see, change and delete their own rows only', async () => {
    const { id } = await rowOf(acme, `${insert} returning id`);
    expect(await rowsOf(other, 'select * from rowhook.webhooks')).toEqual([]);
    for (const sql of [
      "update rowhook.webhooks set url = 'https://attacker.example/' where id = $1 returning *",
      'delete from rowhook.webhooks where id = $1 returning *',
      'select * from rowhook.webhooks where id = $1 for update',
    ])
      expect(await rowsOf(other, sql, [id])).toEqual([]);
    await expect(
      other.query(
        `insert into rowhook.webhooks (tenant_id, name, url, event_types) values ('acme', 'a', 'https://example.com/', '{*}')`,
      ),
    ).rejects.toMatchObject({
      message: 'webhooks.tenant_id: a webhook of another tenant is refused',
      hint: 'Pass the tenant that rowhook.current_tenant() returns, or leave tenant_id out.',
    });
    await expect(acme.query("update rowhook.webhooks set tenant_id = 'other' where id = $1", [id])).rejects.toThrow(
      'webhooks.tenant_id: a webhook stays with its tenant and keeps its id. Create another webhook instead.',
    );
    expect(await stored(id)).toMatchObject({ url: 'https://example.com/', tenant_id: 'acme' });
    expect(await rowsOf(acme, 'select id from rowhook.webhooks')).toEqual([{ id }]);
  });

  test('without a tenant nothing is seen, and nothing can be written', async () => {
    await acme.query(insert);
    const nobody = await connect('');
    expect(await rowsOf(nobody, 'select * from rowhook.webhooks')).toEqual([]);
    const refused: pg.DatabaseError = await nobody.query(insert).catch((error) => error);
    expect(refused).toMatchObject({ code: '42501', message: 'webhooks.tenant_id: this session has no tenant' });
    const remedy = /set local .*(?=\.$)/.exec(refused.hint ?? '')?.[0].replace('<tenant>', 'acme');
    await nobody.query(`begin; ${remedy}; ${insert}; commit`);
    await nobody.end();
  });

  test('choose no ids, and may not lock the view or the table', async () => {
    const { id } = await rowOf(acme, `${insert} returning id`);
    await expect(
      other.query(
        `insert into rowhook.webhooks (id, name, url, event_types) values ($1, 'a', 'https://example.com/', '{*}')`,
        [id],
      ),
    ).rejects.toThrow('webhooks.id: rowhook generates the id. Leave the column out, and read it with RETURNING.');
    for (const mode of ['access exclusive', 'share row exclusive', 'exclusive', 'share']) {
      await other.query('begin');
      await expect(other.query(`lock table rowhook.webhooks in ${mode} mode`)).rejects.toThrow('permission denied');
      await other.query('rollback');
    }
  });

  test('what the table refuses, the view refuses with the same sentence', async () => {
    await expect(
      acme.query(`insert into rowhook.webhooks (name, url, event_types) values ('a', 'https://example.com/', '{a b}')`),
    ).rejects.toThrow("webhook_configurations.event_types: 'a b' is not an event type");
    await expect(
      acme.query(`insert into rowhook.webhooks (url, event_types) values ('https://example.com/', '{*}')`),
    ).rejects.toThrow(/null value in column "name"/);
  });
});

describe('an UPDATE', () => {
  const blocked = (count: number) =>
    waitUntil('it waits for the row', async () => {
      const rows = await database.query(
        "select from pg_stat_activity where usename = $1 and datname = current_database() and wait_event_type = 'Lock'",
        [LOGIN],
      );
      return rows.length === count;
    });

  test('of a whole row, as it was read, changes nothing but what differs', async () => {
    const { id } = await rowOf(acme, `${insert} returning id`);
    const before = await stored(id);
    const read = await rowOf(acme, 'select * from rowhook.webhooks where id = $1', [id]);
    const names = Object.keys(read);
    const json = ['filter', 'headers', 'auth_config'];
    const values = names.map((name) =>
      json.includes(name) && read[name] !== null ? JSON.stringify(read[name]) : read[name],
    );
    const save = `update rowhook.webhooks set ${names.map((name, i) => `${name} = $${i + 1}`).join()} where id = $${names.length + 1}`;
    expect((await acme.query(save, [...values, id])).rowCount).toBe(1);
    // a session of JavaScript has read milliseconds, and written them back
    expect(await stored(id)).toEqual(before);

    values[names.indexOf('url')] = 'https://example.com/new';
    await acme.query(save, [...values, id]);
    expect(await stored(id)).toEqual({ ...before, url: 'https://example.com/new', updated_at: expect.any(Date) });
  });

  test('leaves what somebody else changes meanwhile', async () => {
    const { id } = await rowOf(acme, `${insert} returning id`);
    const second = await connect('acme');
    await second.query('begin');
    await second.query("update rowhook.webhooks set name = 'second', is_active = false where id = $1", [id]);
    const waits = acme.query("update rowhook.webhooks set url = 'https://example.com/first' where id = $1", [id]);
    await blocked(1);
    await second.query('commit');
    expect((await waits).rowCount).toBe(1);
    expect(await stored(id)).toMatchObject({ name: 'second', is_active: false, url: 'https://example.com/first' });

    const third = await connect('acme');
    await second.query('begin');
    await second.query('delete from rowhook.webhooks where id = $1', [id]);
    const late = [
      acme.query("update rowhook.webhooks set url = 'https://example.com/' where id = $1", [id]),
      third.query('delete from rowhook.webhooks where id = $1', [id]),
    ];
    await blocked(2);
    await second.query('commit');
    expect((await Promise.all(late)).map(({ rowCount }) => rowCount)).toEqual([0, 0]);
    await Promise.all([second.end(), third.end()]);
  });
});

test('the view has every column of the table except the previous secret, with its default', async () => {
  const columns = await database.query<{ relation: string; name: string; type: string; value: string | null }>(
    `select table_name as relation, column_name as name, data_type as type, column_default as value
       from information_schema.columns where table_schema = 'rowhook' and table_name in ('webhooks', 'webhook_configurations')`,
  );
  const of = (relation: string, without: string[] = []) =>
    columns
      .filter((c) => c.relation === relation && !without.includes(c.name))
      .map(({ name, type }) => `${name} ${type}`)
      .sort();
  expect(of('webhooks')).toEqual(of('webhook_configurations', ['previous_secret']));
  const made = ['id', 'secret', 'auth_config', 'created_at', 'updated_at', 'previous_secret'];
  const defaults = (relation: string) =>
    columns
      .filter((c) => c.relation === relation && !made.includes(c.name))
      .map(({ name, value }) => `${name} ${value}`)
      .sort();
  expect(defaults('webhooks')).toEqual(defaults('webhook_configurations'));
});

// as Drizzle 0.45, TypeORM 1.1 and Sequelize 6 sent it when they were tried, and as the others log it
describe('what ORMs send', () => {
  const columns = `id tenant_id name description url http_method event_types filter headers auth_type auth_config secret
    previous_secret_expires_at is_active retry_enabled retry_attempts retry_strategy retry_delay_seconds timeout_ms max_in_flight
    rate_limit_per_second ordering payload_format payload_template content_type batch_max_events batch_max_wait_ms allowed_ips disabled_reason disabled_at
    created_at updated_at`.split(/\s+/);
  const quoted = columns.map((name) => `"${name}"`);
  const full = quoted.map((name) => `"rowhook"."webhooks".${name}`);
  const made = {
    id: expect.any(String),
    tenant_id: 'acme',
    secret: expect.stringMatching(/^whsec_/),
    retry_attempts: 7,
  };
  const values = ['CRM', 'https://example.com/', ['deal.*']];

  async function roundTrip(sql: { create: string; update: string; read: string; delete: string }): Promise<void> {
    const created = await rowOf(acme, sql.create, values);
    expect(created.id).toEqual(expect.any(String));
    if ('secret' in created) expect(created).toMatchObject(made);
    const secret = (await stored(created.id)).secret;
    expect((await acme.query(sql.update, ['https://example.com/2', created.id])).rowCount).toBe(1);
    expect(await rowOf(acme, sql.read, [created.id])).toMatchObject({
      id: created.id,
      url: 'https://example.com/2',
      event_types: ['deal.*'],
      secret: null,
    });
    expect(await stored(created.id)).toMatchObject({ secret, is_active: true, retry_attempts: 7 });
    expect((await acme.query(sql.delete, [created.id])).rowCount).toBe(1);
    expect(await stored(created.id)).toBeUndefined();
  }

  test('Prisma', () =>
    roundTrip({
      create: `INSERT INTO "rowhook"."webhooks" ("name","url","event_types") VALUES ($1,$2,$3) RETURNING ${full.join(', ')}`,
      update: `UPDATE "rowhook"."webhooks" SET "url" = $1 WHERE ("rowhook"."webhooks"."id" = $2 AND 1=1) RETURNING ${full.join(', ')}`,
      read: `SELECT ${full.join(', ')} FROM "rowhook"."webhooks" WHERE ("rowhook"."webhooks"."id" = $1 AND 1=1) LIMIT 1 OFFSET 0`,
      delete: `DELETE FROM "rowhook"."webhooks" WHERE ("rowhook"."webhooks"."id" = $1 AND 1=1) RETURNING ${full.join(', ')}`,
    }));

  const defaults = columns.map((name) => ({ name: '$1', url: '$2', event_types: '$3' })[name] ?? 'default').join(', ');

  test('Drizzle', () =>
    roundTrip({
      create: `insert into "rowhook"."webhooks" (${quoted.join(', ')}) values (${defaults}) returning ${quoted.join(', ')}`,
      update: `update "rowhook"."webhooks" set "url" = $1 where "rowhook"."webhooks"."id" = $2 returning ${quoted.join(', ')}`,
      read: `select ${quoted.join(', ')} from "rowhook"."webhooks" where "rowhook"."webhooks"."id" = $1 limit 1`,
      delete: `delete from "rowhook"."webhooks" where "rowhook"."webhooks"."id" = $1 returning ${quoted.join(', ')}`,
    }));

  test('TypeORM', () =>
    roundTrip({
      create: `INSERT INTO "rowhook"."webhooks"(${quoted.join(', ')}) VALUES (${defaults.toUpperCase()}) RETURNING ${quoted.join(', ')}`,
      update: `UPDATE "rowhook"."webhooks" SET "url" = $1, "updated_at" = CURRENT_TIMESTAMP WHERE "id" = $2 RETURNING "updated_at"`,
      read: `SELECT ${quoted.map((name, i) => `"Webhook".${name} AS ${quoted[i]}`).join(', ')} FROM "rowhook"."webhooks" "Webhook" WHERE (("Webhook"."id" = $1)) LIMIT 1`,
      delete: `DELETE FROM "rowhook"."webhooks" WHERE "id" = $1`,
    }));

  test('ActiveRecord', () =>
    roundTrip({
      create: `INSERT INTO "rowhook"."webhooks" ("name", "url", "event_types", "created_at", "updated_at") VALUES ($1, $2, $3, '2026-01-01 00:00:00.123456', '2026-01-01 00:00:00.123456') RETURNING "id"`,
      update: `UPDATE "rowhook"."webhooks" SET "url" = $1, "updated_at" = '2026-01-01 00:00:01' WHERE "rowhook"."webhooks"."id" = $2`,
      read: `SELECT "rowhook"."webhooks".* FROM "rowhook"."webhooks" WHERE "rowhook"."webhooks"."id" = $1 LIMIT 1`,
      delete: `DELETE FROM "rowhook"."webhooks" WHERE "rowhook"."webhooks"."id" = $1`,
    }));

  test('Django, whose save() writes every field', () => {
    const fields = columns.filter((name) => name !== 'id');
    const all = fields.map(
      (name) =>
        `"${name}" = ${name === 'url' ? '$1' : `(SELECT "${name}" FROM "rowhook"."webhooks" W WHERE W."id" = $2)`}`,
    );
    return roundTrip({
      create: `INSERT INTO "rowhook"."webhooks" ("tenant_id", "name", "description", "url", "event_types", "filter", "secret", "auth_config", "allowed_ips") VALUES ('acme', $1, NULL, $2, $3, NULL, NULL, NULL, NULL) RETURNING "rowhook"."webhooks"."id"`,
      update: `UPDATE "rowhook"."webhooks" SET ${all.join(', ')} WHERE "rowhook"."webhooks"."id" = ($2)::uuid`,
      read: `SELECT ${full.join(', ')} FROM "rowhook"."webhooks" WHERE "rowhook"."webhooks"."id" = ($1)::uuid LIMIT 21`,
      delete: `DELETE FROM "rowhook"."webhooks" WHERE "rowhook"."webhooks"."id" IN (($1)::uuid)`,
    });
  });

  test('several rows at once', async () => {
    const rows = await rowsOf(
      acme,
      `insert into rowhook.webhooks (name, url, event_types, timeout_ms) values
         ('a', 'https://example.com/', '{*}', default), ('b', 'https://example.com/', '{*}', 5000) returning *`,
    );
    expect(rows.map(({ name, timeout_ms }) => [name, timeout_ms])).toEqual([
      ['a', 10_000],
      ['b', 5000],
    ]);
    expect(new Set(rows.map(({ secret }) => secret)).size).toBe(2);
    expect((await acme.query("update rowhook.webhooks set description = 'both'")).rowCount).toBe(2);
    expect((await acme.query('delete from rowhook.webhooks')).rowCount).toBe(2);
  });
});
