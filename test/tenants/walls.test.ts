// Tenant 1 attacks tenant 2, with SQL of its own. Every attack must fail or show nothing, and whatever the server says on the
// way, results, errors, details, notices, must not hold a value of tenant 2.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Attacker, createAttacker, type Loot } from '../support/attacker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createWebhook } from '../support/webhook.ts';

const T1 = 'aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa';
const T2 = 'bbbbbbbb-2222-4222-8222-bbbbbbbbbbbb';
/** Every value of tenant 2 holds this. */
const ZEBRA = 'zebra';

let database: TestDatabase;
let attacker: Attacker;
let own: string;
let foreign: string;
let foreignDelivery: string;
let foreignEvent: string;
let before: string;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  attacker = await createAttacker(database);
  const { query } = database;
  await query('select rowhook._make_log_partitions()');
  await query('insert into rowhook.webhook_tenants (id, name, slug) values ($1, $2, $2)', [T2, `${ZEBRA} inc`]);
  const webhookOf = (tenant_id: string, word: string) =>
    createWebhook(database, {
      tenant_id,
      name: `${word} webhook`,
      description: `${word} description`,
      url: `https://${word}.example/${word}`,
      secret: `${word}-secret-0123456789`,
      headers: { 'X-Team': word },
      auth_type: 'bearer',
      auth_config: { token: `${word}-token` },
      filter: { 'data.name': { $ne: word } },
      event_types: ['*'],
    });
  own = (await webhookOf(T1, 'donkey')).id;
  foreign = (await webhookOf(T2, ZEBRA)).id;
  await query('select rowhook.rotate_secret($1)', [foreign]);
  await query('update rowhook.webhook_configurations set secret = $2 where id = $1', [
    foreign,
    `${ZEBRA}-newer-secret-012345`,
  ]);
  await query(
    `insert into rowhook.api_keys (tenant_id, name, prefix, hash)
     select t, case t when '${T2}' then '${ZEBRA}' else 'mine' end, 'rhk_', convert_to(t, 'UTF8')
       from unnest('{${T1},${T2}}'::text[]) as t`,
  );
  await query(
    `insert into rowhook.api_sessions (tenant_id, key_id, name, hash, scopes, expires_at)
     select tenant_id, id, name, hash, scopes, now() + interval '1 h' from rowhook.api_keys`,
  );
  await query(
    `insert into rowhook.webhook_polls (tenant_id, event_type, wanted_until)
     values ('${T1}', 'donkey.created', now() + interval '1 d'), ('${T2}', '${ZEBRA}.created', now() + interval '1 d')`,
  );
  await query(
    `insert into rowhook.inbound_sources (tenant_id, name, verification, secret, event_path)
     select tenant_id, case tenant_id when '${T2}' then '${ZEBRA}' else 'mine' end, 'github', 'a secret of ' || tenant_id, 'data'
       from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.integration_events (id, tenant_id, event_name, payload, remote_ip)
     select gen_random_uuid(), tenant_id, case tenant_id when '${T2}' then '${ZEBRA}' else 'mine' end, to_json(name),
            case tenant_id when '${T2}' then inet '192.0.2.77' end
       from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.test_urls (id, tenant_id)
     select 'tst_' || left(md5(tenant_id) || 'x', 24), tenant_id from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.test_requests (test_url_id, tenant_id, method, headers, body, body_bytes)
     select id, tenant_id, 'POST', '{}', case tenant_id when '${T2}' then '${ZEBRA}' else 'mine' end, 1
       from rowhook.test_urls`,
  );
  for (const [tenant, word] of [
    [T1, 'donkey'],
    [T2, ZEBRA],
  ] as const) {
    await query('insert into public.clients (organization_id, name) values ($1, $2)', [tenant, `${word} client`]);
  }
  await query(
    `insert into rowhook.webhook_deliveries
       (delivery_id, webhook_id, outbox_id, occurred_at, attempt, attempted, lane, ordinal, state, tenant_id, event_id, event_type,
        row_key, last_code, organization, webhook_name, data, has_payload)
     select rowhook._delivery_id(rowhook._event_id(o.id, 0), w.id), w.id, o.id, o.occurred_at, 8, true, o.lane, 0, 'given_up', o.tenant_id,
            rowhook._event_id(o.id, 0), o.event_types[1], o.row_key, 'http_error', json_build_object('id', o.tenant_id, 'name', w.name), w.name, o.data, true
       from rowhook.webhook_outbox o join rowhook.webhook_configurations w using (tenant_id) where o.event_types <> '{}'`,
  );
  await query(
    `insert into rowhook.webhook_logs
       (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, response_status, response_body,
        response_headers, request_url, request_headers, remote_ip, error, lane)
     select now(), d.tenant_id, d.webhook_id, d.delivery_id, d.event_id, d.event_type, 8, 'failed', 'http_error', 500, d.webhook_name || ' answered',
            jsonb_build_object('x-by', d.webhook_name), 'https://' || d.webhook_name, jsonb_build_object('x-team', d.webhook_name), case d.tenant_id when '${T2}' then inet '192.0.2.77' end, d.webhook_name, d.lane
       from rowhook.webhook_deliveries d`,
  );
  await query(
    `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since)
     select id, 0, case tenant_id when '${T2}' then 7777 else 1 end, now() from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.webhook_minutes (webhook_id, minute, tenant_id, success, failed, skipped, durations)
     select id, now(), tenant_id, case tenant_id when '${T2}' then 7777 else 1 end, 0, 0, array_fill(0, array[28])
       from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.webhook_replays (webhook_id, tenant_id, since, until, "only", total)
     select id, tenant_id, now(), now(), 'all', case tenant_id when '${T2}' then 7777 else 1 end
       from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.webhook_templates (tenant_id, hash, template, content_type)
     select tenant_id, 'h', case tenant_id when '${T2}' then '${ZEBRA}' else 'mine' end, 'text/plain'
       from rowhook.webhook_configurations`,
  );
  await query(
    `insert into rowhook.idempotency_keys (tenant_id, scope, key, hash, answer)
     select tenant_id, 'events', case tenant_id when '${T2}' then '${ZEBRA}' else 'mine' end, 'x', 'evt'
       from rowhook.webhook_configurations`,
  );
  for (const [tenant, word] of [
    [T1, 'donkey'],
    [T2, ZEBRA],
  ] as const) {
    await query(`create table public.${word}_orders (id int primary key)`);
    await query('select rowhook.watch($1::regclass, prefix => $2, tenant_id => $3)', [
      `public.${word}_orders`,
      word,
      tenant,
    ]);
  }
  await query('analyze');
  [{ delivery_id: foreignDelivery, event_id: foreignEvent }] = (await query(
    'select delivery_id, event_id from rowhook.webhook_deliveries where tenant_id = $1',
    [T2],
  )) as [{ delivery_id: string; event_id: string }];
  // what the application's own role may do with the application's own tables is not in question here
  await query(`grant select, insert, update, delete on all tables in schema public to ${attacker.role}`);
  before = await everythingOfTenant2();
});

afterAll(async () => {
  await attacker.drop();
  await database.drop();
});

async function everythingOfTenant2(): Promise<string> {
  const tables = [
    ...['webhook_configurations', 'webhook_tenants', 'webhook_logs', 'webhook_deliveries', 'webhook_outbox'],
    ...[
      'webhook_minutes',
      'webhook_changes',
      'webhook_replays',
      'webhook_templates',
      'idempotency_keys',
      'webhook_polls',
      'api_keys',
      'api_sessions',
    ],
    ...['webhook_minutes', 'webhook_changes', 'webhook_replays', 'idempotency_keys'],
    ...['integration_events', 'inbound_sources', 'test_urls', 'test_requests'],
  ];
  const texts = tables.map(
    (table) =>
      `select '${table}' as t, x::text as row from rowhook.${table} x where ${table === 'webhook_tenants' ? 'id' : 'tenant_id'} = '${T2}'`,
  );
  const health = `select 'health', h::text from rowhook.webhook_health h where webhook_id = '${foreign}'`;
  const rows = await database.query(`${[...texts, health].join(' union all ')} order by 1, 2`);
  expect(rows.length).toBeGreaterThan(6);
  return JSON.stringify(rows);
}

/** What belongs to tenant 2, but for what the attacker wrote itself. */
function leaks({ everything }: Loot, ...statements: string[]): string[] {
  const typed = statements.join('\n');
  const secrets = [ZEBRA, T2, foreign, foreignDelivery, foreignEvent, '192.0.2.77', '7777'];
  return secrets.filter((secret) => everything.includes(secret) && !typed.includes(secret));
}

async function attack(...statements: string[]): Promise<Loot> {
  const loot = await attacker.attempt(T1, ...statements);
  expect(leaks(loot, ...statements)).toEqual([]);
  return loot;
}

/** The last statement must be refused. */
async function expectRefused(codes: readonly string[], ...statements: string[]): Promise<void> {
  const { errors } = await attack(...statements);
  expect(errors).toHaveLength(1);
  expect([statements.at(-1), errors[0]?.code]).toEqual([
    statements.at(-1),
    expect.toSatisfy((code: string) => codes.includes(code)),
  ]);
}

const DENIED = ['42501'];
/** Also where an older server does not know the syntax. */
const DENIED_OR_UNKNOWN = ['42501', '42601', '42P01', '42703'];

const readable = [
  [
    'rowhook.webhook_configurations',
    'id, tenant_id, name, description, url, filter, headers, payload_template, previous_secret_expires_at',
  ],
  ['rowhook.webhook_logs', '*'],
  ['rowhook.webhook_deliveries', '*'],
  ['rowhook.webhook_health', '*'],
  ['rowhook.webhook_minutes', '*'],
  ['rowhook.webhook_changes', '*'],
  ['rowhook.webhook_replays', '*'],
  ['rowhook.webhook_templates', '*'],
  ['rowhook.webhook_tenants', '*'],
  ['rowhook.integration_events', '*'],
  ['rowhook.inbound_sources', 'id, tenant_id, name, verification, event_path, created_at'],
  ['rowhook.webhook_stats', '*'],
  ['rowhook.webhook_sources', '*'],
  ['rowhook.webhook_event_types', '*'],
  ['rowhook.event_types', '*'],
  ['rowhook.event_definitions', '*'],
  ['rowhook.webhooks', '*'],
] as const;

describe('reading', () => {
  test('the tables hold rows of both tenants, so that there is something to be hidden', async () => {
    for (const [table] of readable.slice(0, 3)) {
      const [row] = await database.query(`select count(distinct tenant_id)::int as tenants from ${table}`);
      expect([table, row]).toEqual([table, { tenants: 2 }]);
      const { rows } = await attack(`select tenant_id from ${table}`);
      expect(rows.map(({ tenant_id }) => tenant_id)).toEqual([T1]);
    }
  });

  test.each(readable)('%s shows its own rows only, however it is read', async (table, columns) => {
    const fromTable = !/(_stats|event_types|\.webhooks)$/.test(table);
    await attack(
      `select ${columns} from ${table}`,
      `select ${columns} from ${table} as x where x::text like '%${ZEBRA.slice(0, 3)}%'`,
      ...(fromTable
        ? [
            `select ${columns} from ${table} tablesample system (100)`,
            `select ${columns} from ${table} tablesample bernoulli (100)`,
            `select ctid, tableoid, xmin, ${columns} from ${table}`,
            `select ${columns} from ${table} where ctid = any (array(select format('(%s,%s)', p, i)::tid from generate_series(0, 3) p, generate_series(0, 60) i))`,
            `copy ${table} to stdout`,
          ]
        : []),
      `copy (select ${columns} from ${table}) to stdout`,
      `declare c cursor for select ${columns} from ${table}`,
      'fetch all from c',
      `create table lair.stolen as select ${columns} from ${table}`,
      'select * from lair.stolen',
      `create materialized view lair.seen as select ${columns} from ${table}`,
      'select * from lair.seen',
      `select query_to_xml('select ${columns} from ${table}', true, true, '')`,
      `select table_to_xml('${table}', true, true, '')`,
      `explain (analyze, verbose) select ${columns} from ${table}`,
    );
  });

  test('by id: nothing', async () => {
    const { rows, errors } = await attack(
      `select name from rowhook.webhook_configurations where id = '${foreign}'`,
      `select * from rowhook.webhook_logs where webhook_id = '${foreign}'`,
      `select * from rowhook.webhook_deliveries where delivery_id = '${foreignDelivery}'`,
      `select * from rowhook.webhook_health where webhook_id = '${foreign}'`,
      `select * from rowhook.webhook_tenants where id = '${T2}'`,
      `select * from rowhook.webhook_stats where tenant_id = '${T2}'`,
    );
    expect([rows, errors]).toEqual([[], []]);
  });

  test('no partition, no outbox, no lane, no sequence: neither rows nor their number', async () => {
    const relations = await database.query<{ name: string; relkind: string }>(
      `select c.oid::regclass::text as name, c.relkind from pg_class c
        where c.relnamespace = 'rowhook'::regnamespace and c.relkind in ('r', 'p', 'S', 'v', 'm')`,
    );
    const open = readable.map(([table]) => table);
    const closed = relations.filter(({ name }) => !open.includes(name as (typeof open)[number]));
    // 8 slots, 9 days of logs at least, and those without a tenant
    expect(closed.length).toBeGreaterThan(20);
    for (const { name, relkind } of closed) {
      await expectRefused(DENIED, relkind === 'S' ? `select last_value from ${name}` : `select count(*) from ${name}`);
      if (relkind !== 'S') await expectRefused(DENIED, `copy ${name} to stdout`);
    }
  });

  test('functions and casts that talk see their own rows only', async () => {
    const spy = `create function lair.spy(text) returns boolean language plpgsql cost 0.0000001 as $$ begin raise notice 'saw %', $1; return true; end $$`;
    const operator = 'create operator lair.~~~ (leftarg = text, rightarg = text, function = lair.same)';
    const same = `create function lair.same(text, text) returns boolean language plpgsql cost 0.0000001 as $$ begin raise notice 'saw %', $1; return true; end $$`;
    const { everything } = await attack(
      spy,
      same,
      operator,
      'select id from rowhook.webhook_configurations where lair.spy(name) and lair.spy(tenant_id)',
      "select id from rowhook.webhook_configurations where name operator(lair.~~~) 'x'",
      'select id from rowhook.webhook_logs where lair.spy(response_body) order by lair.spy(error)',
      'select event_id from rowhook.webhook_deliveries where lair.spy(data::text) group by event_id having lair.spy(event_id)',
      'create view lair.lens as select name from rowhook.webhook_configurations where lair.spy(url)',
      'select * from lair.lens',
      'select id from rowhook.webhook_configurations where name::int = 1',
      'select id from rowhook.webhook_configurations where url::json is not null',
      'select id from rowhook.webhook_configurations where 1 / (length(name) - 14) > 0',
      'select * from rowhook.webhook_logs where response_body::xml is document or error::uuid is null',
      'select c.id from rowhook.webhook_configurations c join pg_class k on lair.spy(c.name || k.relname) limit 5',
    );
    // it did run, on what the attacker may see
    expect(everything).toContain('saw donkey webhook');
  });

  test('statistics show nothing', async () => {
    const { rows } = await attack(
      "select * from pg_stats where schemaname = 'rowhook'",
      "select * from pg_stats_ext where schemaname = 'rowhook'",
      'select staattnum, stavalues1::text from pg_statistic',
    );
    expect(rows).toEqual([]);
  });
});

describe('secrets are written and never read', () => {
  test.each(['secret', 'previous_secret', 'auth_config'])('%s, in no way', async (column) => {
    for (const statement of [
      `select ${column} from rowhook.webhook_configurations`,
      `select w from rowhook.webhook_configurations w`,
      `select w.*::text from rowhook.webhook_configurations w`,
      `select to_json(w) from rowhook.webhook_configurations w`,
      `select name from rowhook.webhook_configurations order by ${column}`,
      `select count(*) from rowhook.webhook_configurations group by ${column}`,
      `select name from rowhook.webhook_configurations where ${column}::text like 'z%'`,
      `select count(${column}) from rowhook.webhook_configurations`,
      `insert into rowhook.webhook_configurations (name, url, event_types) values ('n', 'https://a.example', '{*}') returning ${column}`,
      `update rowhook.webhook_configurations set name = 'n' returning ${column}`,
      `update rowhook.webhook_configurations set description = ${column}::text`,
      `update rowhook.webhook_configurations set name = 'n' where ${column} is not null`,
      `update rowhook.webhook_configurations set name = 'n' returning old.${column}`,
      `update rowhook.webhook_configurations set name = 'n' returning new.${column}`,
      `insert into rowhook.webhook_configurations (name, url, event_types) values ('n', 'https://a.example', '{*}') on conflict (id) do update set name = excluded.${column}::text`,
      `insert into rowhook.webhook_configurations (name, url, event_types) select ${column}::text, url, event_types from rowhook.webhook_configurations`,
      `merge into rowhook.webhook_configurations w using (select 1) s on true when matched then update set name = w.${column}::text`,
      `merge into rowhook.webhook_configurations w using (select 1) s on w.${column} is null when not matched then do nothing`,
      `create table lair.copy as select ${column} from rowhook.webhook_configurations`,
      `copy rowhook.webhook_configurations (${column}) to stdout`,
      `explain analyze select ${column} from rowhook.webhook_configurations`,
      `with w as (select * from rowhook.webhook_configurations) select 1 from w`,
      `table rowhook.webhook_configurations`,
    ]) {
      await expectRefused(DENIED_OR_UNKNOWN, statement);
    }
    await expectRefused(
      DENIED,
      `create view lair.v as select ${column} from rowhook.webhook_configurations`,
      'select * from lair.v',
    );
  });

  test('a refused row is not repeated in the error', async () => {
    const secret = "'a-secret-that-is-long-enough'";
    const insert = (columns: string, values: string) =>
      `insert into rowhook.webhook_configurations (name, url, event_types, secret, auth_type, auth_config${columns}) values ('n', 'https://a.example', '{*}', ${secret}, 'bearer', '{"token":"hush-token"}'${values})`;
    for (const statement of [
      insert(', retry_attempts', ', 99'),
      insert(', timeout_ms', ', null'),
      insert(', http_method', ", 'GET'"),
      insert(', tenant_id', ", ''"),
      insert(', tenant_id', `, '${T2}'`),
      insert(', filter', ', \'{"x":1}\''),
      insert(', headers', ', \'{"Authorization":"x"}\''),
      insert('', '').replace(secret, "'whsec_hush-token'"),
      insert('', '').replace(secret, "'hush-token'"),
      insert('', '').replace("'bearer'", "'basic'"),
      insert('', '').replace("'bearer'", "'api_key'"),
      insert('', '').replace('"hush-token"', '"hush-token\\u0007"'),
      `update rowhook.webhook_configurations set secret = ${secret}, timeout_ms = 1`,
      `update rowhook.webhook_configurations set auth_type = 'basic', auth_config = '{"username":"a:b","password":"hush-token"}'`,
    ].flatMap((statement) => [statement, statement.replace('webhook_configurations', 'webhooks')])) {
      const { errors, everything } = await attack(statement);
      expect([statement, errors[0]?.code]).toEqual([statement, expect.stringMatching(/^(23514|23502|42501)$/)]);
      expect([statement, everything]).toEqual([statement, expect.not.stringMatching(/hush|long-enough|Failing row/)]);
    }
  });

  test("rotate_secret returns the new one, once, and only for one's own", async () => {
    const { rows } = await attack(`select rowhook.rotate_secret('${own}') as secret`);
    expect(rows).toEqual([{ secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/) }]);
  });
});

describe('writing', () => {
  const values = `('n', 'https://a.example', '{*}')`;

  test.each([
    [
      'a row of the other tenant',
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('${T2}', 'n', 'https://a.example', '{*}')`,
    ],
    [
      'a row of nobody',
      "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values (null, 'n', 'https://a.example', '{*}')",
    ],
    [
      'an id of one\'s own choice: "already exists" would tell of others',
      `insert into rowhook.webhook_configurations (id, name, url, event_types) values ('${crypto.randomUUID()}', 'n', 'https://a.example', '{*}')`,
    ],
    ['another owner of a row', `update rowhook.webhook_configurations set tenant_id = '${T2}'`],
    ['another id', 'update rowhook.webhook_configurations set id = gen_random_uuid()'],
    ['the reason of a disabling', "update rowhook.webhook_configurations set disabled_reason = 'x'"],
    ['a previous secret', "update rowhook.webhook_configurations set previous_secret = 'x'"],
    [
      'a merge that inserts for the other',
      `merge into rowhook.webhook_configurations w using (select 1) s on false when not matched then insert (tenant_id, name, url, event_types) values ('${T2}', 'n', 'https://a.example', '{*}')`,
    ],
    [
      'a merge that deletes',
      'merge into rowhook.webhook_configurations w using (select 1) s on true when matched then delete',
    ],
    [
      'a merge that moves',
      `merge into rowhook.webhook_configurations w using (select 1) s on true when matched then update set tenant_id = '${T2}'`,
    ],
    [
      'an upsert over an id',
      `insert into rowhook.webhook_configurations (id, name, url, event_types) values (gen_random_uuid(), 'n', 'https://a.example', '{*}') on conflict (id) do update set name = 'taken'`,
    ],
    ['DELETE, which would bring LOCK TABLE along', 'delete from rowhook.webhook_configurations'],
    ['TRUNCATE', 'truncate rowhook.webhook_configurations'],
    ['a foreign key to us', 'create table lair.f (id uuid references rowhook.webhook_configurations)'],
    [
      'a foreign key to the log',
      'create table lair.f (a timestamptz, b bigint, foreign key (a, b) references rowhook.webhook_logs)',
    ],
    [
      'a trigger',
      'create trigger t before insert on rowhook.webhook_configurations for each row execute function suppress_redundant_updates_trigger()',
    ],
    ['a rule', 'create rule r as on insert to rowhook.webhook_configurations do also nothing'],
    ['a policy', 'create policy p on rowhook.webhook_configurations using (true)'],
    ['turning row-level security off', 'alter table rowhook.webhook_configurations disable row level security'],
    ['an index', 'create index on rowhook.webhook_configurations (name)'],
    ['a comment', "comment on table rowhook.webhook_configurations is 'x'"],
    ['a heir', 'create table lair.heir () inherits (rowhook.webhook_configurations)'],
    ['a partition', 'create table lair.slot partition of rowhook.webhook_outbox for values in (9)'],
    ['an object in the schema', 'create table rowhook.mine (id int)'],
    [
      'another current_tenant()',
      `create or replace function rowhook.current_tenant() returns text language sql return '${T2}'`,
    ],
    ['a grant', `grant rowhook_daemon to current_user`],
    ['statistics of our columns', 'create statistics lair.s on name, url from rowhook.webhook_configurations'],
    ...[
      'webhook_outbox',
      'webhook_outbox_0',
      'webhook_logs',
      'webhook_deliveries',
      'webhook_health',
      'webhook_minutes',
      'webhook_counted_logs',
      'webhook_changes',
      'webhook_replays',
      'webhook_templates',
      'idempotency_keys',
      'api_keys',
      'api_sessions',
      'webhook_polls',
      'integration_events',
      'inbound_sources',
      'test_urls',
      'test_requests',
      'webhook_lanes',
      'webhook_tenants',
      'webhook_sources',
      'event_definitions',
      'webhook_installation',
      'webhook_incarnations',
    ].flatMap((table) => [
      [`a forged row in ${table}`, `insert into rowhook.${table} default values`],
      [`a row of ${table} gone`, `delete from rowhook.${table}`],
    ]),
    ['a forged log', `update rowhook.webhook_logs set status = 'success'`],
    ['a forged delivery', `update rowhook.webhook_deliveries set webhook_id = '${own0()}'`],
    ['the doorbell', "select setval('rowhook.doorbell', 1)"],
    ['an outbox id', "select nextval('rowhook.webhook_outbox_id_seq')"],
  ])('%s is refused', async (_, statement) => {
    await expectRefused(DENIED, statement as string);
  });

  test('what names the other tenant changes nothing', async () => {
    const { rows, errors } = await attack(
      `update rowhook.webhook_configurations set name = 'taken' where id = '${foreign}' returning name`,
      `update rowhook.webhook_configurations set name = 'taken' where tenant_id = '${T2}' returning name`,
      `update rowhook.webhook_configurations set is_active = false where name like '%webhook' and id <> '${own}' returning name`,
      `select name from rowhook.webhook_configurations where id = '${foreign}' for update`,
      `merge into rowhook.webhook_configurations w using (select 1) s on w.id = '${foreign}' when matched then update set name = 'taken'`,
    );
    expect([rows, errors]).toEqual([[], []]);
  });

  test("one's own rows can be made and changed, with the tenant filled in", async () => {
    const { rows, errors } = await attack(
      `insert into rowhook.webhook_configurations (name, url, event_types) values ${values} returning tenant_id`,
      "update rowhook.webhook_configurations set name = 'new', secret = 'another-secret-of-mine' returning tenant_id",
      `select rowhook.delete_webhook('${own}')`,
      'select id from rowhook.webhook_configurations where name = $$donkey webhook$$',
    );
    expect(errors).toEqual([]);
    expect(rows.filter(({ tenant_id }) => tenant_id).map(({ tenant_id }) => tenant_id)).toEqual([T1, T1, T1]);
  });

  test.each([
    [
      'no mode of LOCK TABLE that keeps anybody from writing',
      [
        'rowhook.webhook_configurations',
        'rowhook.webhooks',
        'rowhook.webhook_logs',
        'rowhook.webhook_deliveries',
        'rowhook.webhook_health',
        'rowhook.webhook_tenants',
        'rowhook.webhook_sources',
        'rowhook.webhook_outbox',
        'rowhook.webhook_lanes',
        'rowhook.webhook_installation',
      ],
    ],
  ])('%s', async (_, tables) => {
    const modes = [
      'row exclusive',
      'share update exclusive',
      'share',
      'share row exclusive',
      'exclusive',
      'access exclusive',
    ];
    for (const table of tables) {
      for (const mode of modes) await expectRefused(DENIED, `lock table ${table} in ${mode} mode`);
    }
  });
});

/** test.each is filled in before beforeAll runs: any id does. */
function own0(): string {
  return '00000000-0000-4000-8000-000000000000';
}

describe('our functions', () => {
  test('with ids of the other tenant: none such, or refused', async () => {
    for (const statement of [
      `select rowhook.emit('a.b', '{}', '${T2}')`,
      `select rowhook.emit('a.b', '{}', null)`,
      `select rowhook.test('${foreign}')`,
      `select rowhook.replay('${foreign}', '-infinity')`,
      `select rowhook.replay('${foreign}', '-infinity', null, 'all')`,
      `select rowhook.replay('${foreign}', '-infinity', null, 'missed', true)`,
      `select rowhook.replay_delivery('${foreignDelivery}')`,
      `select rowhook.rotate_secret('${foreign}')`,
      `select rowhook.delete_webhook('${foreign}')`,
      `select rowhook._emit_own('a.b', '{}', '${foreign}')`,
      `select rowhook._replay_own('${foreign}', '-infinity', null, 'all', false)`,
      `select rowhook._replay_delivery_own('${foreignDelivery}')`,
    ]) {
      await expectRefused(['P0002', '42501', '02000'], statement);
    }
    const { rows } = await attack(`select rowhook._delete_own('${foreign}') as deleted`);
    expect(rows).toEqual([{ deleted: false }]);
  });

  test("an id that is foreign and one that is nobody's get the same answer", async () => {
    const nobody = own0();
    for (const call of [
      'test(ID)',
      "replay(ID, '-infinity')",
      'replay_delivery(ID)',
      'rotate_secret(ID)',
      'delete_webhook(ID)',
      "_emit_own('a.b', '{}', ID)",
    ]) {
      const about = call.startsWith('replay_delivery') ? foreignDelivery : foreign;
      const [his, none] = [
        await attack(`select rowhook.${call.replace('ID', `'${about}'`)}`),
        await attack(`select rowhook.${call.replace('ID', `'${nobody}'`)}`),
      ];
      expect(his.everything.replaceAll(about, 'ID')).toBe(none.everything.replaceAll(nobody, 'ID'));
    }
  });

  test('rowhook_app may call these and no others', async () => {
    const rows = await database.query<{ name: string }>(
      `select p.oid::regprocedure::text as name from pg_proc p
        where p.pronamespace = 'rowhook'::regnamespace and has_function_privilege($1, p.oid, 'execute') order by 1`,
      [attacker.role],
    );
    expect(rows.map(({ name }) => name.replace('rowhook.', '').replace(/\(.*/, ''))).toEqual([
      '_attributes',
      '_auth_problem',
      '_broken_rule',
      '_claim_inbound_own',
      '_columns',
      '_complete_inbound_own',
      '_delete_own',
      '_emit_own',
      '_event_description',
      '_event_types_problem',
      '_excluded',
      '_fail_inbound_own',
      '_filter_problem',
      '_headers_problem',
      '_is_credential',
      '_kept_auth',
      '_key_columns',
      '_new_secret',
      '_own_events',
      '_patterns',
      '_refuse_unreadable',
      '_replay_delivery_own',
      '_replay_own',
      '_retry_inbound_own',
      '_sample',
      '_sees_all_inbound',
      '_shown_columns',
      '_source_event_types',
      '_source_sample',
      '_source_schema',
      '_template_problem',
      '_type_sample',
      '_type_schema',
      'claim_integration_events',
      'complete_integration_event',
      'current_tenant',
      'delete_webhook',
      'emit',
      'fail_integration_event',
      'replay',
      'replay_delivery',
      'retry_integration_event',
      'rotate_secret',
      'schema_version',
      'test',
    ]);
  });

  test('none is open to everybody, and what runs as rowhook_owner cannot be led astray by settings', async () => {
    const rows = await database.query<{ name: string; prosecdef: boolean; config: string }>(
      `select p.oid::regprocedure::text as name, p.prosecdef, coalesce(array_to_string(p.proconfig, '; '), '') as config
         from pg_proc p where p.pronamespace = 'rowhook'::regnamespace`,
    );
    const definers = rows.filter(({ prosecdef }) => prosecdef);
    expect(definers.length).toBeGreaterThan(10);
    expect(definers.filter(({ config }) => !config.includes('search_path=pg_catalog, pg_temp'))).toEqual([]);
    // with row_security = off, as pg_dump and pg_restore set it, a policy makes every statement an error
    const pinned = rows.filter(({ config }) => config.includes('search_path='));
    expect(pinned.filter(({ config }) => !config.includes('row_security=on'))).toEqual([]);
    const [open] = await database.query(
      `select count(*)::int as open from pg_proc p cross join lateral aclexplode(p.proacl) a
        where p.pronamespace = 'rowhook'::regnamespace and a.grantee = 0`,
    );
    expect(open).toEqual({ open: 0 });
    const [defaults] = await database.query(
      "select count(*)::int as open from pg_proc where pronamespace = 'rowhook'::regnamespace and proacl is null",
    );
    expect(defaults).toEqual({ open: 0 });
  });

  test('our trigger functions cannot be attached to a table of the tenant, whatever arguments are forged', async () => {
    const triggers = await database.query<{ name: string }>(
      "select p.oid::regproc::text as name from pg_proc p where p.pronamespace = 'rowhook'::regnamespace and p.prorettype = 'trigger'::regtype",
    );
    expect(triggers.length).toBeGreaterThan(7);
    const table = 'create table lair.forged (id uuid primary key, organization_id uuid, tenant_id text, name text)';
    for (const { name } of triggers) {
      await expectRefused(
        DENIED,
        table,
        `create trigger t after insert on lair.forged referencing new table as rowhook_new for each statement execute function ${name}('${T2}', '${foreign}')`,
      );
    }
  });
});

describe('hijacking what runs as rowhook_owner', () => {
  const trap = (name: string, types: string, returns: string, body: string) =>
    `create function lair.${name}(${types}) returns ${returns} language plpgsql as $$ begin raise notice 'trapped %', current_user; return ${body}; end $$`;
  const traps = [
    trap('current_tenant', '', 'text', `'${T2}'`),
    trap('current_setting', 'text, boolean', 'text', `'${T2}'`),
    trap('nullif', 'text, text', 'text', `'${T2}'`),
    trap('format', 'text, variadic text[]', 'text', "''"),
    trap('pg_notify', 'text, text', 'int', '0'),
    trap('hashtext', 'text', 'int', '0'),
    trap('sha256', 'bytea', 'bytea', "'\\x00'"),
    trap('octet_length', 'text', 'int', '0'),
    trap('pg_has_role', 'name, text, text', 'boolean', 'true'),
    trap('gen_random_uuid', '', 'uuid', "'00000000-0000-4000-8000-000000000000'"),
    trap('now', '', 'timestamptz', "'-infinity'"),
    trap('equal', 'text, text', 'boolean', 'true'),
    trap('same', 'uuid, uuid', 'boolean', 'true'),
    'create operator lair.= (leftarg = text, rightarg = text, function = lair.equal)',
    'create operator lair.= (leftarg = uuid, rightarg = uuid, function = lair.same)',
    'create operator lair.~ (leftarg = text, rightarg = text, function = lair.equal)',
    'create operator lair.!~ (leftarg = text, rightarg = text, function = lair.equal)',
    'create domain lair.text as varchar(1)',
    'create domain lair.uuid as varchar(1)',
  ];
  const decoys = [
    ...[
      'webhook_configurations',
      'webhook_outbox',
      'webhook_deliveries',
      'webhook_logs',
      'webhook_lanes',
      'webhook_installation',
      'webhook_incarnations',
      'webhook_sources',
    ].map((table) => `create temp table ${table} (id uuid, tenant_id text, delivery_id uuid)`),
    ...['changed', 'inserted', 'deleted', 'was', 'is_now', 'rowhook_new', 'rowhook_old'].map(
      (table) =>
        `create temp table ${table} as select '${T2}'::text as tenant_id, '${T2}'::text as id, '${T2}'::uuid as organization_id`,
    ),
    'create temp table pg_class (oid oid)',
    'create temp table pg_attribute (attrelid oid)',
  ];
  const calls = () => [
    "select rowhook.emit('a.b', '{}')",
    `select rowhook.test('${own}')`,
    `select rowhook.replay('${own}', '-infinity', null, 'all')`,
    `select rowhook.rotate_secret('${own}')`,
    `insert into rowhook.webhook_configurations (name, url, event_types) values ('n', 'https://a.example', '{deal.*}')`,
    "update rowhook.webhook_configurations set url = 'https://b.example'",
    `insert into public.clients (organization_id, name) values ('${T1}', 'n')`,
    "update public.clients set name = 'm' where name = 'n'",
    "delete from public.clients where name = 'm'",
    `select rowhook.delete_webhook('${own}')`,
  ];

  test('functions, operators and types of the same names are not called', async () => {
    const { errors, everything } = await attack(...traps, 'set search_path = lair, pg_catalog, public', ...calls());
    expect(errors).toEqual([]);
    expect(everything).not.toContain('trapped rowhook_owner');
  });

  test('temporary tables of the same names are not read', async () => {
    const { errors, everything } = await attack(...decoys, ...calls());
    expect(errors).toEqual([]);
    expect(everything).not.toContain('trapped');
  });

  test.each([
    'set transform_null_equals = on',
    'set standard_conforming_strings = off',
    'set array_nulls = off',
    'set quote_all_identifiers = on',
    "set datestyle = 'SQL, DMY'",
    "set intervalstyle = 'sql_standard'",
    "set timezone = 'Pacific/Apia'",
    'set bytea_output = escape',
    'set check_function_bodies = off',
    "set plan_cache_mode = 'force_generic_plan'",
    'set default_transaction_isolation = serializable',
  ])('%s changes nothing for others', async (setting) => {
    const { errors } = await attack(setting, ...calls());
    expect(errors).toEqual([]);
  });
});

test.each(['a"b', 'a b', 'a\nb', 'a.*', '*', '', 'a..b', 'a,b', 'x'.repeat(129)])(
  'no setting lets the event type %j in, which would be spliced into JSON and headers',
  async (type) => {
    for (const strings of ['on', 'off']) {
      const set = `set standard_conforming_strings = ${strings}`;
      await expectRefused(['22023'], set, `select rowhook.emit(${escaped(type)}, '{}')`);
    }
  },
);

test.each(['a"b', 'a b', 'a\nb', 'a*', '*.a', '', 'a..b', 'a,b', 'x'.repeat(129)])(
  'nor a webhook ask for %j',
  async (type) => {
    for (const strings of ['on', 'off']) {
      const set = `set standard_conforming_strings = ${strings}`;
      const values = `('n', 'https://a.example', array[${escaped(type)}])`;
      await expectRefused(
        ['23514'],
        set,
        `insert into rowhook.webhook_configurations (name, url, event_types) values ${values}`,
      );
    }
  },
);

/** A literal that means the same under every setting. */
function escaped(text: string): string {
  return `convert_from(decode('${Buffer.from(text).toString('hex')}', 'hex'), 'UTF8')`;
}

describe('who one is', () => {
  const look = [
    'select name from rowhook.webhook_configurations',
    'select event_id from rowhook.webhook_logs',
    'select event_id from rowhook.webhook_deliveries',
    'select id from rowhook.webhook_tenants',
    'select webhook_id from rowhook.webhook_health',
  ];

  test.each([
    ['never set', ''],
    ['empty', "set rowhook.tenant_id = ''"],
    ['set and reset', `set rowhook.tenant_id = 'x'; reset rowhook.tenant_id`],
    ['of another setting', `set rowhook.tenant = '${T2}'`],
    ['no uuid', "set rowhook.tenant_id = 'not a uuid'"],
    ['SQL', "set rowhook.tenant_id = ''' or true --'"],
    ['a pattern', "set rowhook.tenant_id = '%'"],
    ['upper case', `set rowhook.tenant_id = '${T2.toUpperCase()}'`],
    ['padded', `set rowhook.tenant_id = '${T2} '`],
    ['1 MB long', "select length(set_config('rowhook.tenant_id', repeat('x', 1000000), false))"],
  ])('a tenant that is %s sees nothing and writes nothing', async (_, set) => {
    const client = await attacker.connect();
    try {
      if (set) await client.query(set);
      for (const statement of look) expect((await client.query(statement)).rows).toEqual([]);
      for (const [statement, code] of [
        [`update rowhook.webhook_configurations set name = 'x'`, undefined],
        [
          `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('${T2}', 'n', 'https://a.example', '{*}')`,
          '42501',
        ],
        [`select rowhook.test('${foreign}')`, 'P0002'],
        [`select rowhook.replay('${foreign}', '-infinity')`, 'P0002'],
        [`select rowhook.emit('a.b', '{}', '${T2}')`, '42501'],
      ] as const) {
        const failed = await client.query(statement).then(
          ({ rowCount }) => (rowCount === 0 ? undefined : `${rowCount} rows`),
          ({ code }) => code,
        );
        expect([statement, failed]).toEqual([
          statement,
          code === 'P0002' ? expect.stringMatching(/^(P0002|02000)$/) : code,
        ]);
      }
    } finally {
      await client.end();
    }
  });

  test('without a tenant nothing can be emitted, and no webhook made', async () => {
    const client = await attacker.connect();
    try {
      await expect(client.query("select rowhook.emit('a.b', '{}')")).rejects.toMatchObject({
        message: 'emit: the event has no tenant',
      });
      await expect(
        client.query(
          `insert into rowhook.webhook_configurations (name, url, event_types) values ('n', 'https://a.example', '{*}')`,
        ),
      ).rejects.toMatchObject({ code: expect.stringMatching(/42501|23502/) });
      await client.query("select set_config('rowhook.tenant_id', repeat('x', 1000000), false)");
      await expect(client.query("select rowhook.emit('a.b', '{}')")).rejects.toMatchObject({
        message: 'emit: a tenant of more than 512 bytes is refused',
      });
    } finally {
      await client.end();
    }
  });

  test.each([
    'set role rowhook_owner',
    'set role rowhook_daemon',
    'set role postgres',
    'set local role rowhook_owner',
    'set session authorization rowhook_owner',
    "select set_config('role', 'rowhook_daemon', false)",
    'alter role current_user bypassrls',
    'alter role current_user superuser',
    'reassign owned by rowhook_owner to current_user',
    'alter function rowhook.current_tenant() owner to current_user',
    "set session_replication_role = 'replica'",
  ])('%s is refused', async (statement) => {
    await expectRefused(['42501', '0LP01', '22023'], statement);
  });

  test('row_security = off is an error and no way around', async () => {
    const { rows, errors } = await attack('set row_security = off', ...look);
    expect(rows).toEqual([]);
    expect(errors.map(({ code }) => code)).toEqual(look.map(() => '42501'));
    // what pg_dump writes at the head of a dump: loading it into watched tables must work
    const through = await attack(
      'set row_security = off',
      "select rowhook.emit('a.b', '{}') is not null as done",
      `insert into public.clients (organization_id, name) values ('${T1}', 'restored') returning true as done`,
    );
    expect([through.rows, through.errors]).toEqual([[{ done: true }, { done: true }], []]);
  });

  test('a prepared statement asks anew who the tenant is, on one pooled connection', async () => {
    for (const mode of ['force_generic_plan', 'force_custom_plan', 'auto']) {
      const client = await attacker.connect();
      try {
        await client.query(`set plan_cache_mode = ${mode}`);
        const text =
          'select tenant_id from rowhook.webhook_configurations union all select tenant_id from rowhook.webhook_logs';
        const insert = `insert into rowhook.webhook_configurations (name, url, event_types) values ('n', 'https://a.example', '{*}') returning tenant_id`;
        for (let round = 0; round < 8; round++) {
          for (const tenant of [T2, T1, '', T1]) {
            await client.query('begin');
            await client.query("select set_config('rowhook.tenant_id', $1, true)", [tenant]);
            const { rows } = await client.query({ name: 'mine', text });
            expect(rows.map(({ tenant_id }) => tenant_id)).toEqual(tenant ? [tenant, tenant] : []);
            if (tenant)
              expect((await client.query({ name: 'make', text: insert })).rows).toEqual([{ tenant_id: tenant }]);
            await client.query('rollback');
          }
        }
      } finally {
        await client.end();
      }
    }
  });
});

test('a row that moves between tenants is deleted for one and created for the other: neither sees what the other had', async () => {
  const moves = async (table: string, columns: string) => {
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      const { rows: last } = await client.query('select coalesce(max(id), 0) as id from rowhook.webhook_outbox');
      await client.query(`insert into ${table} (organization_id, ${columns}) values ('${T1}', 'donkey value')`);
      await client.query(
        `update ${table} set organization_id = '${T2}', ${columns} = 'zebra value' where ${columns} = 'donkey value'`,
      );
      const { rows } = await client.query(
        `select tenant_id, event_types, concat(data, previous, row_key) as text from rowhook.webhook_outbox where id > $1 order by id`,
        [last[0].id],
      );
      return rows;
    } finally {
      await client.query('rollback');
      client.release();
    }
  };
  await database.query('create table public.keyless (organization_id uuid, name text)');
  await database.query("select rowhook.watch('public.keyless', prefix => 'keyless')");
  for (const [table, prefix] of [
    ['public.clients', 'clients'],
    ['public.keyless', 'keyless'],
  ] as const) {
    const rows = await moves(table, 'name');
    expect(rows.map(({ tenant_id, event_types }) => [tenant_id, event_types])).toEqual([
      [T1, [`${prefix}.created`]],
      ...[
        [T1, [`${prefix}.deleted`]],
        [T2, [`${prefix}.created`]],
      ],
    ]);
    for (const { tenant_id, text } of rows) {
      expect(text).not.toContain(tenant_id === T1 ? 'zebra' : 'donkey');
      expect(text).not.toContain(tenant_id === T1 ? T2 : T1);
    }
  }
});

test('every table and partition has row-level security on and forced, those made later too', async () => {
  await database.query('select rowhook._make_log_partitions(30)');
  const bare = await database.query(
    `select c.oid::regclass::text as name from pg_class c
      where c.relnamespace = 'rowhook'::regnamespace and c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)`,
  );
  // the list of applied migrations, which nobody but the installer may read
  expect(bare).toEqual([{ name: 'rowhook.migrations' }]);
  const granted = await database.query(
    `select distinct c.oid::regclass::text as name from pg_class c cross join lateral aclexplode(c.relacl) a
      where c.relnamespace = 'rowhook'::regnamespace and c.relispartition and a.grantee <> c.relowner`,
  );
  expect(granted).toEqual([]);
});

test('after all of this, everything of tenant 2 is as it was', async () => {
  expect(await everythingOfTenant2()).toBe(before);
});
