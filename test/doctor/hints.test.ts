// The remedies that SQL's own errors print: each is taken from the error, run, and mends the state. The hints that other tests run,
// and those that are words, are in error-remedies.unit.test.ts.

import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RULES } from '../../src/database/constraint-texts.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { wantedMajor } from '../support/server.ts';

let database: TestDatabase;
let session: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  await database.query('create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere');
});
afterAll(() => database.drop());

beforeEach(async () => {
  session = new pg.Client(database.url);
  await session.connect();
  await session.query('begin');
});
afterEach(async () => {
  await session.query('rollback');
  await session.end();
});

/** What a statement is refused with; the transaction goes on as before it. */
async function refusal(statement: string): Promise<{ message: string; hint: string }> {
  await session.query('savepoint before');
  const error = await session.query(statement).then(
    () => undefined,
    (thrown: pg.DatabaseError) => thrown,
  );
  await session.query('rollback to before');
  if (!error) throw new Error(`not refused: ${statement}`);
  return { message: error.message, hint: error.hint ?? '' };
}

const table = (columns = 'tenant_id text, stage text, status text') =>
  `create table deals (id int primary key, ${columns})`;
/** What stands between single quotes. */
const quoted = (hint: string) => [...hint.matchAll(/'([^']*)'/g)].map(([, value = '']) => value);

const ANOTHER_WEBHOOK =
  "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com', '{*}')";

/** Each of these works where the first statement was refused: `remedies` makes them of the error's text. */
const STATES: readonly (readonly [
  says: string,
  make: string,
  refused: string,
  remedies: (said: { message: string; hint: string }) => readonly string[],
])[] = [
  [
    'Write the table with its schema',
    table(),
    'select rowhook.watch(null::text)',
    ({ hint }) => [`select rowhook.watch('${/for example (.*)\.$/.exec(hint)?.[1]}')`],
  ],
  [
    'Write the table with its schema',
    table(),
    'select rowhook.watch(null::regclass)',
    ({ hint }) => [`select rowhook.watch('${/for example (.*)\.$/.exec(hint)?.[1]}'::regclass)`],
  ],
  [
    'Watch the partitioned table',
    'create table top (id int, tenant_id text) partition by list (id); create table leaf partition of top for values in (1)',
    "select rowhook.watch('leaf')",
    ({ hint }) => [`select rowhook.watch('${/table (\S+);/.exec(hint)?.[1]}')`],
  ],
  [
    'A prefix has',
    table(),
    "select rowhook.watch('deals', prefix => 'a b')",
    ({ hint }) => [`select rowhook.watch('deals', prefix => '${/example (\w+)\.$/.exec(hint)?.[1]}')`],
  ],
  [
    "Pass 'subscribed'",
    table(),
    "select rowhook.watch('deals', capture => 'some')",
    ({ hint }) => quoted(hint).map((value) => `select rowhook.watch('deals', capture => '${value}')`),
  ],
  [
    'Pass any of',
    table(),
    "select rowhook.watch('deals', events => '{made}')",
    ({ hint }) =>
      (/any of (.*?)\./.exec(hint)?.[1]?.split(/, | and /) ?? []).map(
        (value) => `select rowhook.watch('deals', events => '{${value}}')`,
      ),
  ],
  [
    'Pass 1024 to',
    table(),
    "select rowhook.watch('deals', max_payload_bytes => 1)",
    ({ hint }) =>
      (/Pass (\d+) to (\d+)/.exec(hint)?.slice(1) ?? []).map(
        (bytes) => `select rowhook.watch('deals', max_payload_bytes => ${bytes})`,
      ),
  ],
  [
    'Pass an object',
    table(),
    "select rowhook.watch('deals', derived => '[]')",
    ({ hint }) => [`select rowhook.watch('deals', derived => '${/such as (.*)\.$/.exec(hint)?.[1]}')`],
  ],
  [
    'Choose a shorter prefix or suffix',
    table(),
    `select rowhook.watch('deals', derived => '{"stage":"${'s'.repeat(130)}"}')`,
    () => [`select rowhook.watch('deals', derived => '{"stage":"s"}')`],
  ],
  [
    'if a column holds the tenant',
    table(),
    "select rowhook.watch('deals', tenant_column => 'tenant_id', tenant_id => 'acme')",
    () => [
      "select rowhook.watch('deals', tenant_column => 'tenant_id')",
      "select rowhook.watch('deals', tenant_id => 'acme')",
    ],
  ],
  [
    'Name the column with tenant_column',
    table('owner text'),
    "select rowhook.watch('deals')",
    ({ hint }) => {
      const [column, fixed] = [/with (\w+)/.exec(hint)?.[1], /pass (\w+)/.exec(hint)?.[1]];
      return [
        `select rowhook.watch('deals', ${column} => 'owner')`,
        `select rowhook.watch('deals', ${fixed} => 'acme')`,
      ];
    },
  ],
  [
    'Pass 1 to 512 bytes',
    table(),
    "select rowhook.watch('deals', tenant_id => '')",
    ({ hint }) =>
      (/(\d+) to (\d+)/.exec(hint)?.slice(1) ?? []).map(
        (bytes) => `select rowhook.watch('deals', tenant_id => repeat('x', ${bytes}))`,
      ),
  ],
  [
    'Its columns are',
    table('owner text, "Kunde Nr" text'),
    "select rowhook.watch('deals', tenant_column => 'nope')",
    ({ hint }) =>
      (/are (.*)\.$/.exec(hint)?.[1]?.split(', ') ?? []).map(
        (column) => `select rowhook.watch('deals', tenant_column => '${column.replaceAll('"', '')}')`,
      ),
  ],
  [
    'Name the column in exclude_columns or in include_columns',
    table('tenant_id text, note text'),
    "select rowhook.watch('deals', exclude_columns => '{note}', include_columns => '{note}')",
    ({ hint }) =>
      [...hint.matchAll(/(\w+_columns)/g)].map(
        ([parameter]) => `select rowhook.watch('deals', ${parameter} => '{note}')`,
      ),
  ],
  [
    'name another tenant_column',
    table('owner text'),
    "select rowhook.watch('deals', tenant_column => 'owner', exclude_columns => '{owner}')",
    () => [
      "select rowhook.watch('deals', tenant_column => 'owner')",
      "select rowhook.watch('deals', tenant_id => 'acme', exclude_columns => '{owner}')",
    ],
  ],
  [
    'Leave the column out of exclude_columns',
    table(),
    "select rowhook.watch('deals', tenant_id => 'acme', exclude_columns => '{id}')",
    () => ["select rowhook.watch('deals', tenant_id => 'acme')"],
  ],
  [
    'Leave the column out of derived',
    table('otp text'),
    `select rowhook.watch('deals', tenant_id => 'acme', derived => '{"otp":"otp.changed"}')`,
    ({ hint }) => [
      "select rowhook.watch('deals', tenant_id => 'acme')",
      `select rowhook.watch('deals', tenant_id => 'acme', derived => '{"otp":"otp.changed"}', ${/sent: (.*)$/.exec(hint)?.[1]})`,
    ],
  ],
  [
    'The presets are',
    table(),
    "select rowhook.watch_preset('nope')",
    ({ hint }) =>
      (/are (.*)\.$/.exec(hint)?.[1]?.split(/, | and /) ?? []).map(
        (preset) => `select * from rowhook.watch_preset('${preset}')`,
      ),
  ],
  [
    'Unwatch the parent table',
    `create table animals (id int primary key, tenant_id text); create table cats () inherits (animals); select rowhook.watch('animals')`,
    "select rowhook.unwatch('cats')",
    ({ message }) => [
      `select rowhook.unwatch('${/from (\S+)$/.exec(message)?.[1]}')`,
      `select rowhook.watch('cats', prefix => 'cat'); select rowhook.unwatch('cats')`,
    ],
  ],
  [
    'Event types look like',
    '',
    "select rowhook.emit('a b', '{}', tenant_id => 'acme')",
    ({ hint }) => [`select rowhook.emit('${/like (\S+):/.exec(hint)?.[1]}', '{}', tenant_id => 'acme')`],
  ],
  [
    'Pass an event type such as',
    '',
    "select rowhook.define_event_type('a b', 'x')",
    ({ hint }) => [`select rowhook.define_event_type('${/such as (\S+):/.exec(hint)?.[1]}', 'x')`],
  ],
  [
    'Pass a JSON Schema such as',
    '',
    "select rowhook.define_event_type('a.b', schema => '[]')",
    ({ hint }) => [
      `select rowhook.define_event_type('a.b', schema => '${/such as (\S+),/.exec(hint)?.[1]}')`,
      "select rowhook.define_event_type('a.b', schema => null)",
    ],
  ],
  [
    'Pass tenant_id',
    '',
    "select rowhook.emit('a.b', '{}')",
    ({ hint }) => {
      const [argument, setting] = [/Pass (\w+)/.exec(hint)?.[1], /set (\S+)/.exec(hint)?.[1]];
      return [
        `select rowhook.emit('a.b', '{}', ${argument} => 'acme')`,
        `set local ${setting} = 'acme'; select rowhook.emit('a.b', '{}')`,
      ];
    },
  ],
  [
    'Pass the tenant that',
    "grant rowhook_app to current_user; set local role rowhook_app; set local rowhook.tenant_id = 'acme'",
    "select rowhook.emit('a.b', '{}', tenant_id => 'other')",
    ({ hint }) => [`select rowhook.emit('a.b', '{}', tenant_id => ${/that (\S+) returns/.exec(hint)?.[1]})`],
  ],
  [
    "Pass 'given_up'",
    '',
    "select rowhook.replay((select id from webhook), now() - interval '1 hour', \"only\" => 'some')",
    ({ hint }) =>
      quoted(hint).map(
        (only) => `select rowhook.replay((select id from webhook), now() - interval '1 hour', "only" => '${only}')`,
      ),
  ],
  [
    'cannot be changed, because',
    "insert into rowhook.webhook_tenants (id) values ('it''s')",
    "update rowhook.webhook_tenants set id = 'b''c'",
    ({ message }) => {
      const [before, after] = [/of tenant ('.*') cannot/.exec(message)?.[1], /one for ('.*')\.$/.exec(message)?.[1]];
      return [
        `delete from rowhook.webhook_tenants where id = ${before}; insert into rowhook.webhook_tenants (id) values (${after})`,
      ];
    },
  ],
  [
    'may have at most 1 webhooks',
    "update rowhook.webhook_installation set max_webhooks = 1; insert into rowhook.webhook_tenants (id) values ('acme')",
    ANOTHER_WEBHOOK,
    ({ message }) => {
      const column = /column (\w+)\.$/.exec(message)?.[1];
      const raised = message
        .match(/webhook_(tenants|installation)/g)
        ?.map((at) => `update rowhook.${at} set ${column} = 2`);
      return [...(raised ?? []), 'select rowhook.delete_webhook((select id from webhook))'].map(
        (remedy) => `${remedy}; ${ANOTHER_WEBHOOK}`,
      );
    },
  ],
  [
    'Remove it from headers',
    '',
    `update rowhook.webhook_configurations set headers = '{"authorization":"x"}', auth_type = 'bearer', auth_config = '{"token":"t"}'`,
    ({ message }) => [
      `update rowhook.webhook_configurations set headers = '{"authorization":"x"}'::jsonb - ${/headers: ('[^']*')/.exec(message)?.[1]}, auth_type = 'bearer', auth_config = '{"token":"t"}'`,
    ],
  ],
  [
    'Leave the column out, and rowhook generates a secret',
    '',
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, secret) values ('acme', 'w', 'https://example.com', '{*}', 'whsec_not-in-base64')`,
    () => [
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com', '{*}')`,
    ],
  ],
  [
    'Create another webhook instead',
    '',
    "update rowhook.webhook_configurations set tenant_id = 'other'",
    () => [
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('other', 'w', 'https://example.com', '{*}')`,
    ],
  ],
  [
    'Create another webhook instead',
    '',
    "update rowhook.webhooks set tenant_id = 'other'",
    () => [
      `insert into rowhook.webhooks (tenant_id, name, url, event_types) values ('other', 'w', 'https://example.com', '{*}')`,
    ],
  ],
  [
    'read it with RETURNING',
    '',
    `insert into rowhook.webhooks (id, tenant_id, name, url, event_types) values (gen_random_uuid(), 'acme', 'w', 'https://example.com', '{*}')`,
    () => [
      `insert into rowhook.webhooks (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com', '{*}') returning id`,
    ],
  ],
  [
    'may sign for at most 7 more days',
    '',
    `update rowhook.webhook_configurations set secret = 'another-secret-16', previous_secret_expires_at = now() + interval '8 days'`,
    ({ message }) => [
      `update rowhook.webhook_configurations set secret = 'another-secret-16', previous_secret_expires_at = now() + interval '${/most (\d+) more days/.exec(message)?.[1]} days'`,
    ],
  ],
  [
    'Pass an interval of 0 to 7 days',
    '',
    "select rowhook.rotate_secret((select id from webhook), interval '8 days')",
    ({ hint }) =>
      (/of (\d+) to (\d+ days)\.$/.exec(hint)?.slice(1) ?? []).map(
        (overlap) => `select rowhook.rotate_secret((select id from webhook), interval '${overlap}')`,
      ),
  ],
  [
    'must list 1 to 100 event types',
    '',
    "update rowhook.webhook_configurations set event_types = '{}'",
    ({ message }) =>
      [...message.matchAll(/\{[^}]*\}/g)].map(
        ([types]) => `update rowhook.webhook_configurations set event_types = '${types}'`,
      ),
  ],
  [
    'is not an event type; write',
    '',
    "update rowhook.webhook_configurations set event_types = '{a b}'",
    ({ message }) =>
      (/write (.*)\.$/.exec(message)?.[1]?.split(/, | or /) ?? []).map(
        (type) => `update rowhook.webhook_configurations set event_types = '{${type}}'`,
      ),
  ],
  [
    'must be an object of strings',
    '',
    "update rowhook.webhook_configurations set headers = '[]'",
    ({ message }) => [`update rowhook.webhook_configurations set headers = '${/example (.*)\.$/.exec(message)?.[1]}'`],
  ],
  [
    "must be {} when auth_type is 'none'",
    '',
    `update rowhook.webhook_configurations set auth_config = '{"token":"t"}'`,
    ({ message }) => [
      `update rowhook.webhook_configurations set auth_type = 'none', auth_config = '${/be (\S+) when/.exec(message)?.[1]}'`,
    ],
  ],
  ...['bearer', 'basic', 'api_key'].map(
    (type) =>
      [
        'must have exactly the keys',
        '',
        `update rowhook.webhook_configurations set auth_type = '${type}', auth_config = '{}'`,
        ({ message }: { message: string }) => {
          const keys = /keys \((.*)\)/.exec(message)?.[1]?.split(', ') ?? [];
          const config = JSON.stringify(Object.fromEntries(keys.map((key) => [key, 'x'])));
          return [`update rowhook.webhook_configurations set auth_type = '${type}', auth_config = '${config}'`];
        },
      ] as const,
  ),
];

test.each(STATES)('%s', async (says, make, refused, remedies) => {
  await session.query(`
    insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com', '{*}');
    create view webhook as select id from rowhook.webhook_configurations limit 1;
    ${make}`);
  const said = await refusal(refused);
  expect(`${said.message} ${said.hint}`).toContain(says);
  const statements = remedies(said);
  expect(statements.length).toBeGreaterThan(0);
  for (const statement of statements) {
    expect(statement).not.toContain('undefined');
    await session.query('savepoint before');
    await session.query(statement);
    await session.query('rollback to before');
  }
});

describe('a table that has a foreign table under it', () => {
  test.each([
    [
      'partition',
      'create table top (id int, tenant_id text) partition by list (id)',
      'partition of top for values in (1)',
    ],
    ['child', 'create table top (id int, tenant_id text)', '() inherits (top)'],
    [
      'partition of a partition',
      'create table top (id int, tenant_id text) partition by list (id); create table middle partition of top for values in (1, 2) partition by list (id)',
      'partition of middle for values in (2)',
    ],
  ])('as a %s', async (_, make, far) => {
    await session.query(`${make}; create foreign table "It's far" ${far} server nowhere`);
    const { hint } = await refusal("select rowhook.watch('top')");
    await session.query(/: (alter .*)$/.exec(hint)?.[1] ?? hint);
    await session.query("select rowhook.watch('top')");
  });
});

test.runIf(wantedMajor >= 18)(
  'a tenant in a virtual generated column: stored, or what it is computed from',
  async () => {
    await session.query(table('org text, tenant_id text generated always as (org) virtual'));
    const { hint } = await refusal("select rowhook.watch('deals')");
    expect(hint).toMatch(/^Make it a stored column, or pass the column that it is computed from as tenant_column\.$/);
    await session.query("savepoint before; select rowhook.watch('deals', tenant_column => 'org'); rollback to before");
    await session.query(`
    alter table deals drop column tenant_id, add column tenant_id text generated always as (org) stored;
    select rowhook.watch('deals', capture => 'all'); insert into deals values (1, 'acme')`);
    const { rows } = await session.query("select tenant_id from rowhook.webhook_outbox where event_types <> '{}'");
    expect(rows).toEqual([{ tenant_id: 'acme' }]);
  },
);

test('bytes that UTF-8 has no text for: a client of UTF8 may write them', async () => {
  const ascii = await createDatabase({ encoding: 'SQL_ASCII' });
  const client = new pg.Client(ascii.url);
  await client.connect();
  const insert = (name: string) =>
    client.query(
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', ${name}, 'https://example.com', '{*}')`,
    );
  try {
    const { message } = await insert("e'caf\\xe9'").then(
      () => new Error('not refused'),
      (error: Error) => error,
    );
    await client.query(`set ${/whose (\w+) is \w+\.$/.exec(message)?.[1]} = ${/is (\w+)\.$/.exec(message)?.[1]}`);
    await insert("'café'");
  } finally {
    await client.end();
    await ascii.drop();
  }
});

test('each value that a rule names is taken', async () => {
  await session.query(`
    ${table()}; select rowhook.watch('deals', tenant_id => 'acme');
    insert into rowhook.webhook_tenants (id) values ('acme');
    insert into rowhook.inbound_sources (tenant_id, name, verification, secret) values ('acme', 's', 'hmac', 'a secret');
    insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com', '{*}');
    select rowhook.create_api_key('k', '{read}', 'acme')`);
  let tried = 0;
  for (const [constraint, sentence] of Object.entries(RULES)) {
    const [of = ''] =
      /^(?:webhook_(?:configurations|tenants|sources|installation)|api_keys|inbound_sources)/.exec(constraint) ?? [];
    const [, column = '', values = ''] = /^(\w+) must (?:be|have) (.*)$/.exec(sentence) ?? [];
    // Their columns belong together with others, are written by no UPDATE, or have an example of their own above.
    if (
      /^(auth_type|events|payload_\w+|content_type|url|prefix|tenant_id|id|expires_at|)$|^batch_max_events$/.test(
        column,
      )
    )
      continue;
    const [, from, to, unit = ''] = /^([\d.]+)(?: \([^)]*\))? to (\d+)(.*)$/.exec(values) ?? [];
    const literals =
      from === undefined
        ? values.split(/, | or | /).map((value) => `'${value}'`)
        : [from, to].map((n) =>
            /^ (characters|bytes)/.test(unit) && column !== 'max_payload_bytes' ? `repeat('x', ${n})` : n,
          );
    for (const literal of /or null$/.test(unit) ? [...literals, 'null'] : literals) {
      await session.query('savepoint before');
      const { rowCount } = await session.query(`update rowhook.${of} set ${column} = ${literal}`);
      expect({ of, column, literal, rowCount }).toMatchObject({ rowCount: 1 });
      await session.query('rollback to before');
      tried += 1;
    }
  }
  expect(tried).toBeGreaterThan(30);
});
