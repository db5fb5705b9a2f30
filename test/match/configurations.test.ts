// What is read of the configurations, and what is kept of them: only what changed and what is wanted.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Configurations } from '../../src/match/configurations.ts';
import type { TenantConfiguration, Webhook } from '../../src/model.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
  await database.query('update rowhook.webhook_installation set max_webhooks = 10000');
});
afterEach(() =>
  database.query(`
    delete from rowhook.webhook_configurations;
    delete from rowhook.webhook_tenants;
    update rowhook.webhook_installation set max_configuration_bytes = default`),
);
afterAll(() => database.drop());

/** Configurations, the number of webhooks that they have read, and what they have reported. */
function open(bytesMax?: number) {
  const heard = { loaded: 0, unusable: [] as string[], leftOut: [] as number[] };
  const listener = {
    unusable: ({ name }: Webhook) => void heard.unusable.push(name),
    leftOut: (_: string, count: number) => void heard.leftOut.push(count),
    loaded: (count: number) => {
      heard.loaded += count;
    },
  };
  return { configurations: new Configurations(database.pool, listener, bytesMax ? { bytesMax } : {}), heard };
}

/** `count` webhooks of a tenant, w1, w2 …, with headers of this size. */
const create = (tenant: string, count: number, headerBytes = 0) =>
  database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, headers, created_at)
     select $1, 'w' || n, 'https://a.example', '{*}', json_build_object('X', repeat('x', $3))::jsonb, now() + n * interval '1 ms'
       from generate_series(1, $2) as n`,
    [tenant, count, headerBytes],
  );

/** All of these tenants, however many statements that takes. */
async function all(
  configurations: Configurations,
  tenants: readonly string[],
): Promise<Map<string, TenantConfiguration>> {
  const found = new Map<string, TenantConfiguration>();
  for (let left = tenants; left.length > 0; left = left.filter((tenant) => !found.has(tenant)))
    for (const [tenant, configuration] of await configurations.of(left)) found.set(tenant, configuration);
  return found;
}
const one = async (configurations: Configurations, tenant: string) =>
  (await configurations.of([tenant])).get(tenant) as TenantConfiguration;
const namesOf = ({ webhooks }: TenantConfiguration, which: (webhook: Webhook) => boolean = () => true) =>
  webhooks.filter(which).map(({ name }) => name);

/** The ids that the log has for a statement. */
async function changedBy(statement: string, ...values: unknown[]): Promise<ReadonlySet<string> | null> {
  await database.query(statement, values);
  const [row] = await database.query<{ data: string[] | null }>(
    "select data from rowhook.webhook_outbox where event_types = '{}' order by id desc limit 1",
  );
  return row?.data ? new Set(row.data) : null;
}

test.each([50, 5_000])('a change of one of %d webhooks reads that one', async (count) => {
  await create('acme', count);
  const { configurations, heard } = open();
  await one(configurations, 'acme');
  expect(heard.loaded).toBe(count);
  for (const [change, names] of [
    ["update rowhook.webhook_configurations set name = 'changed' where name = 'w7'", ['changed', 'w8']],
    ["delete from rowhook.webhook_configurations where name = 'w8'", ['changed', 'w9']],
  ] as const) {
    configurations.changed('acme', await changedBy(change));
    expect(namesOf(await one(configurations, 'acme')).slice(6, 8)).toEqual(names);
  }
  const insert = `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'new', 'https://a.example', '{*}')`;
  configurations.changed('acme', await changedBy(insert));
  const names = namesOf(await one(configurations, 'acme'));
  expect([names.length, names.at(-1)]).toEqual([count, 'new']);
  // without a change, nothing is read
  await one(configurations, 'acme');
  expect(heard.loaded).toBe(count + 2);
});

test('a statement that changes many, and a change of the tenant itself, read the whole tenant again', async () => {
  await create('acme', 101);
  const { configurations, heard } = open();
  await one(configurations, 'acme');
  const many = await changedBy("update rowhook.webhook_configurations set name = name || '!' where tenant_id = 'acme'");
  expect(many).toBe(null);
  configurations.changed('acme', many);
  expect(namesOf(await one(configurations, 'acme'))[0]).toBe('w1!');
  const tenant = await changedBy("insert into rowhook.webhook_tenants (id, name) values ('acme', 'Acme')");
  expect(tenant).toBe(null);
  configurations.changed('acme', tenant);
  expect((await one(configurations, 'acme')).organization).toContain('"Acme"');
  expect(heard.loaded).toBe(3 * 101);
});

test('what is in memory comes first, and the rest in statements of bounded size', async () => {
  const tenants = Array.from({ length: 6 }, (_, i) => `tenant ${i}`);
  for (const tenant of tenants) await create(tenant, 200, 15_000);
  const { configurations, heard } = open();
  await one(configurations, 'tenant 3');
  expect([...(await configurations.of(tenants)).keys()]).toEqual(['tenant 3']);
  expect(heard.loaded).toBe(200);
  // 3 MB each: the third does not fit into 8 MiB
  const rest = tenants.filter((tenant) => tenant !== 'tenant 3');
  expect([...(await configurations.of(rest)).keys()]).toEqual(['tenant 0', 'tenant 1']);
  const found = await all(configurations, tenants);
  expect([...found.values()].map(({ webhooks }) => webhooks.length)).toEqual(tenants.map(() => 200));
  expect(heard.loaded).toBe(6 * 200);
});

test('what was used least recently is dropped when memory is full', async () => {
  const tenants = Array.from({ length: 6 }, (_, i) => `tenant ${i}`);
  for (const tenant of tenants) await create(tenant, 10, 10_000);
  const { configurations, heard } = open(350_000);
  await all(configurations, tenants.slice(0, 3));
  await one(configurations, 'tenant 0');
  expect(heard.loaded).toBe(30);
  await one(configurations, 'tenant 3');
  await all(configurations, ['tenant 0', 'tenant 2', 'tenant 3']);
  expect(heard.loaded).toBe(40);
  await one(configurations, 'tenant 1');
  expect(heard.loaded).toBe(50);
  await all(configurations, tenants);
  expect(configurations.bytes).toBeLessThan(350_000);
});

test('webhooks above the bound of their tenant are not used, and reported; others have theirs', async () => {
  await database.query("insert into rowhook.webhook_tenants (id, max_configuration_bytes) values ('acme', 65536)");
  await create('acme', 10, 10_000);
  await create('other', 10, 10_000);
  const { configurations, heard } = open();
  const found = await all(configurations, ['acme', 'other']);
  const isUsed = ({ unusable }: Webhook) => unusable === null;
  const acme = found.get('acme') as TenantConfiguration;
  expect(namesOf(acme, isUsed)).toEqual(['w1', 'w2', 'w3', 'w4', 'w5', 'w6']);
  expect(namesOf(found.get('other') as TenantConfiguration, isUsed)).toHaveLength(10);
  expect(heard.leftOut).toEqual([4]);
  expect(configurations.leftOut).toBe(4);
  expect(acme.webhooks[9]).toMatchObject({
    unusable: expect.stringContaining('more memory than max_configuration_bytes allows'),
    settings: { eventTypes: ['*'], headers: {} },
  });

  // a webhook that was left out is used as soon as it fits
  configurations.changed(
    'acme',
    await changedBy(
      "update rowhook.webhook_configurations set headers = '{}' where (tenant_id, name) = ('acme', 'w10')",
    ),
  );
  expect(namesOf(await one(configurations, 'acme'), isUsed).at(-1)).toBe('w10');
  expect(configurations.leftOut).toBe(3);
  await database.query("update rowhook.webhook_tenants set max_configuration_bytes = null where id = 'acme'");
  configurations.changed('acme', null);
  expect(namesOf(await one(configurations, 'acme'), isUsed)).toHaveLength(10);
  expect(configurations.leftOut).toBe(0);
});

test('a row that is too large, which got in while the rules were off, stops itself alone and is not read', async () => {
  await create('acme', 3);
  const client = await database.pool.connect();
  try {
    await client.query("begin; set local session_replication_role = 'replica'");
    await client.query(
      'alter table rowhook.webhook_configurations drop constraint webhook_configurations_is_small_enough',
    );
    await client.query(
      `update rowhook.webhook_configurations
          set headers = json_build_object('X', repeat('x', 20000000)), auth_type = 'basic' where name = 'w2'`,
    );
    await client.query('commit');
  } finally {
    client.release();
  }
  const { configurations, heard } = open();
  const before = process.memoryUsage().heapUsed + process.memoryUsage().external;
  const { webhooks } = await one(configurations, 'acme');
  expect(webhooks.map(({ unusable }) => unusable)).toEqual([null, 'its texts have more than 64 kB together', null]);
  expect(heard.unusable).toEqual(['w2']);
  expect(process.memoryUsage().heapUsed + process.memoryUsage().external - before).toBeLessThan(20_000_000);
  const [part] = await configurations.webhooks([{ tenantId: 'acme', id: webhooks[1]?.id as string }]);
  expect(part?.webhooks).toEqual([webhooks[1]]);
});

test('a tenant that lags: changes of webhooks that it has are read ahead, new webhooks are not, and none is lost', async () => {
  await create('acme', 2);
  const { configurations } = open();
  await one(configurations, 'acme');
  const off = (name: string) =>
    changedBy(
      "update rowhook.webhook_configurations set is_active = false where tenant_id = 'acme' and name = $1",
      name,
    );
  const active = async () => namesOf(await one(configurations, 'acme'), ({ isActive }) => isActive);
  const created = (await changedBy(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
     values ('acme', 'new', 'https://a.example', '{*}')`,
  )) as ReadonlySet<string>;
  configurations.changedAhead('acme', created);
  configurations.changedAhead('acme', (await off('w1')) as ReadonlySet<string>);
  // while the first one is being read, the other one changes
  const reading = active();
  configurations.changedAhead('acme', (await off('w2')) as ReadonlySet<string>);
  expect(await reading).not.toContain('w1');
  expect(await active()).toEqual([]);
  // at its place in the log
  configurations.changed('acme', created);
  expect(await active()).toEqual(['new']);
});
