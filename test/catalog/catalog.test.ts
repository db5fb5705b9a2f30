// The catalog of the database: schemas and samples of watched tables as they are now, and who sees which.

import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connected } from '../support/connected.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { takeChanges } from '../support/outbox.ts';

interface Entry {
  event_type: string;
  description: string | null;
  schema: { properties?: Record<string, Record<string, unknown>>; required?: string[]; description?: string };
  sample: Record<string, unknown>;
}

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

beforeEach(() =>
  database.query(`
    select rowhook.unwatch(relation::text) from rowhook.webhook_sources where parent_id is null;
    delete from rowhook.event_definitions;
    drop table if exists things, other cascade;
    create table things (id int primary key, tenant_id text not null, email text)`),
);

const catalog = () => database.query<Entry & Record<string, unknown>>('select * from rowhook.event_types order by 1');
const entry = async (eventType = 'things.created') =>
  (await catalog()).find(({ event_type }) => event_type === eventType) as Entry;
const watch = (settings = '') => database.query(`select rowhook.watch('things', capture => 'all'${settings})`);
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
(formats as unknown as (to: Ajv2020) => void)(ajv);

/** What is wrong with a value, by a schema. */
function wrong(schema: object, value: unknown): unknown {
  const { $schema: _, ...rest } = schema as { $schema?: string };
  const validate = ajv.compile(rest);
  return validate(value) ? null : validate.errors;
}

/** As a tenant's application sees it. */
async function typesOf(tenant: string, role = 'rowhook_app'): Promise<string[]> {
  return await connected(database.url, async (client) => {
    await client.query(`set role ${role}`);
    await client.query("select set_config('rowhook.tenant_id', $1, false)", [tenant]);
    const { rows } = await client.query<{ event_type: string }>(
      'select event_type from rowhook.event_types order by 1',
    );
    return rows.map(({ event_type }) => event_type);
  });
}

describe('a watched table', () => {
  test('has a schema in the order of its columns, and a sample', async () => {
    await watch();
    const { description, schema, sample } = await entry();
    expect(description).toBe('A row of things was created.');
    expect(JSON.stringify(schema)).toBe(
      JSON.stringify({
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: {
          id: { type: 'integer' },
          tenant_id: { type: 'string' },
          email: { type: ['string', 'null'] },
        },
        required: ['id', 'tenant_id', 'email'],
      }),
    );
    expect(sample).toEqual({ id: 42, tenant_id: 'tenant_1', email: 'ada@example.com' });
  });

  test('of all kinds of types: what capture prints, and the sample, fit the schema', async () => {
    await database.query(`
      drop table things;
      drop type if exists mood, pair; drop domain if exists amount, tags;
      create type mood as enum ('sad', 'fine');
      create type pair as (x int, y text);
      create domain amount as numeric(9, 2) not null check (value >= 0);
      create domain tags as text[];
      create table things (
        id bigint primary key, tenant_id uuid not null default gen_random_uuid(), b boolean, i2 int2, f8 float8,
        n numeric(3, 2), a amount default 1.5, t text, v varchar(3), c char(4), u uuid, m mood, mm mood[] not null default '{fine}',
        p pair, pp pair[], j json, jb jsonb, d date, ts timestamp, tz timestamptz, tm time, iv interval, by bytea,
        ip inet, r int4range, tg tags, grid int[][], x xml, pt point, "odd name" text, g int generated always as (i2 * 2) stored)`);
    await watch();
    const { schema, sample } = await entry();
    expect(wrong(schema, sample)).toBeNull();
    expect(schema.properties).toMatchObject({
      id: { type: 'integer' },
      a: { anyOf: [{ type: 'number' }, { enum: ['NaN'] }] },
      f8: { anyOf: [{ type: 'number' }, { enum: ['NaN', 'Infinity', '-Infinity'] }, { type: 'null' }] },
      v: { type: ['string', 'null'], maxLength: 3 },
      m: { type: ['string', 'null'], enum: ['sad', 'fine', null] },
      mm: { type: 'array', items: { type: ['string', 'null'], enum: ['sad', 'fine', null] } },
      p: { type: ['object', 'null'], properties: { x: { type: ['integer', 'null'] } } },
      j: {},
      tz: { type: ['string', 'null'], format: 'date-time' },
      'odd name': { type: ['string', 'null'] },
    });
    await database.query(`
      insert into things (id) values (1);
      insert into things values (2, gen_random_uuid(), true, 2, 1.5, 1.25, 9, 'text', 'abc', 'ab', gen_random_uuid(), 'sad',
        '{sad,null}', row(1, 'y'), array[row(1, null)::pair], '{"a":1}', '[1]', '2026-01-15', now(), now(), '09:30', '1 day',
        'abc', '192.0.2.1', '[1,2)', '{a,b}', '{{1,2},{3,4}}', '<a/>', '(1,2)', 'odd');
      insert into things (id, f8, n, a) values (3, '-Infinity', 'NaN', 'NaN'), (4, 'NaN', null, default)`);
    for (const { data } of await takeChanges(database)) expect(wrong(schema, JSON.parse(data))).toBeNull();
    expect(wrong(schema, { ...sample, m: 'unknown' })).not.toBeNull();
    expect(wrong(schema, { ...sample, f8: '1.5' })).not.toBeNull();
    expect(wrong(schema, { ...sample, tenant_id: null })).not.toBeNull();
  });

  test('shows comments as descriptions, unless describe is false', async () => {
    await database.query(`
      comment on table things is 'What we sell.'; comment on column things.email is 'Whom to ask.'`);
    await watch();
    const { schema } = await entry();
    expect([schema.description, schema.properties?.email?.description]).toEqual(['What we sell.', 'Whom to ask.']);
    await watch(', describe => false');
    expect(JSON.stringify(await entry())).not.toMatch(/What we sell|Whom to ask/);
  });

  test('shows no excluded column, under no name, before and after reconcile()', async () => {
    await database.query("alter table things add ssn text, add otp text; comment on column things.ssn is 'ssn'");
    await watch(", exclude_columns => '{ssn}'");
    const hidden = async () => expect(JSON.stringify(await catalog())).not.toMatch(/ssn|otp|note|token/);
    await hidden();
    await database.query('alter table things rename ssn to note; alter table things add token text');
    await hidden();
    await database.query('select rowhook.reconcile()');
    await hidden();
    expect(JSON.stringify(await database.query("select rowhook._sample('things.created', 'acme') as s"))).not.toMatch(
      /note|otp/,
    );
  });

  test('is shown as it is now: columns that are added, renamed, retyped and dropped', async () => {
    await watch();
    const columns = async () =>
      Object.entries((await entry()).schema.properties ?? {}).map(([name, { type }]) => [name, type]);
    await database.query('alter table things add city text; alter table things rename email to mail');
    expect(await columns()).toContainEqual(['city', ['string', 'null']]);
    expect(await columns()).toContainEqual(['mail', ['string', 'null']]);
    await database.query('alter table things alter city type int using 1; alter table things drop mail');
    expect(await columns()).toEqual([
      ['id', 'integer'],
      ['tenant_id', 'string'],
      ['city', ['integer', 'null']],
    ]);
  });

  test('describes derived events', async () => {
    await database.query('alter table things add status text');
    await watch(`, derived => '{"email":"moved","status":{"won":"won"}}'`);
    expect((await entry('things.moved')).description).toBe('email of a row of things changed.');
    expect((await entry('things.won')).description).toBe('status of a row of things became won.');
  });
});

describe('who sees what', () => {
  test('a source of one tenant is shown to that tenant only', async () => {
    await watch(", tenant_id => 'acme', events => '{created}'");
    await database.query(`create table other (id int primary key, tenant_id text);
      select rowhook.watch('other', events => '{created}')`);
    for (const role of ['rowhook_app', 'rowhook_api']) {
      expect(await typesOf('acme', role)).toEqual(expect.arrayContaining(['other.created', 'things.created']));
      expect(await typesOf('zoo', role)).not.toContain('things.created');
      expect(await typesOf('zoo', role)).toContain('other.created');
    }
  });

  test('a definition describes an event of emit(), for all or for one tenant, and can be removed', async () => {
    await database.query(`
      select rowhook.define_event_type('payment.received', 'Paid.', '{"type":"object"}', '{"amount":10}');
      select rowhook.define_event_type('payment.refused', 'Not paid.', tenant_id => 'acme')`);
    expect(await entry('payment.received')).toEqual({
      event_type: 'payment.received',
      description: 'Paid.',
      schema: { type: 'object' },
      sample: { amount: 10 },
    });
    expect(await typesOf('acme')).toEqual(expect.arrayContaining(['payment.received', 'payment.refused']));
    expect(await typesOf('zoo')).not.toContain('payment.refused');
    await database.query("select rowhook.define_event_type('payment.received')");
    expect(await entry('payment.received')).toBeUndefined();
  });

  test('a definition of an event of a table replaces what is derived from its columns', async () => {
    await watch();
    await database.query("select rowhook.define_event_type('things.created', 'A thing is there.')");
    expect(await entry()).toMatchObject({ description: 'A thing is there.', sample: { id: 42 } });
  });

  test('only members of rowhook_owner define event types', async () => {
    for (const role of ['rowhook_app', 'rowhook_api', 'rowhook_daemon']) {
      await connected(database.url, async (client) => {
        await client.query(`set role ${role}`);
        await expect(client.query("select rowhook.define_event_type('a.b', 'x')")).rejects.toMatchObject({
          code: '42501',
        });
      });
    }
  });

  test('events of rowhook itself are there, with samples that fit', async () => {
    for (const type of ['webhook.disabled', 'webhook.failing', 'webhook.test']) {
      const { schema, sample } = await entry(type);
      expect(wrong(schema, sample)).toBeNull();
    }
  });
});
