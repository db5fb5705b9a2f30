// What a tenant may have: the bytes of a webhook's row, and the number of its webhooks.

import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { explainDatabaseError } from '../../src/database/explain-error.ts';
import { type Attacker, createAttacker } from '../support/attacker.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { findDumpTools } from '../support/dump.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let app: Attacker;

beforeAll(async () => {
  database = await createDatabase();
  app = await createAttacker(database);
});

afterEach(() =>
  database.query(`
    delete from rowhook.webhook_configurations;
    delete from rowhook.webhook_tenants;
    update rowhook.webhook_installation set max_webhooks = default`),
);

afterAll(async () => {
  await app.drop();
  await database.drop();
});

const url = 'https://a.example';
const insertMany = (tenant: string, count: number) =>
  `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
   select '${tenant}', 'w', '${url}', array['*'] from generate_series(1, ${count})`;
const countOf = async (tenant: string) =>
  (
    await database.query<{ count: number }>(
      'select count(*)::int as count from rowhook.webhook_configurations where tenant_id = $1',
      [tenant],
    )
  )[0]?.count;
const sentenceOf = (work: Promise<unknown>) =>
  work.then(
    () => 'accepted',
    (error) => explainDatabaseError(error, database.url).message,
  );

describe('the row of a webhook', () => {
  test('has at most 64 kB of texts together', async () => {
    // name w, url, event types {*}, headers and auth_config {}
    const others = 1 + url.length + 3 + 2 + 2;
    const description = 'é'.repeat((65_536 - others) / 2);
    const columns = { tenant_id: 'acme', name: 'w', url };
    await createWebhook(database, { ...columns, description: description + 'x'.repeat((65_536 - others) % 2) });
    expect(await sentenceOf(createWebhook(database, { ...columns, description: `${description}xx` }))).toBe(
      'webhook_configurations refuses the row: description must be so short that it and the other texts of ' +
        'the webhook have at most 64 kB together.',
    );
    expect(
      await sentenceOf(database.query('update rowhook.webhook_configurations set url = $1', [`${url}/xx`])),
    ).toContain('have at most 64 kB together');
  });

  test.each(['username', 'password'])('has a %s of at most 4096 characters for basic auth', async (key) => {
    const basic = (length: number) =>
      createWebhook(database, {
        tenant_id: 'acme',
        url,
        auth_type: 'basic',
        auth_config: { username: 'u', password: 'p', [key]: 'ü'.repeat(length) },
      });
    await basic(4_096);
    expect(await sentenceOf(basic(4_097))).toBe(
      'webhook_configurations.auth_config: must have a username and a password of at most 4096 characters each.',
    );
  });
});

describe('a tenant', () => {
  test('has at most 1,000 webhooks, and others have theirs', async () => {
    await database.query(insertMany('acme', 999));
    await database.query(insertMany('acme', 1));
    expect(await sentenceOf(database.query(insertMany('acme', 1)))).toBe(
      "webhook_configurations: tenant 'acme' may have at most 1000 webhooks. Delete webhooks that it does not use. " +
        'An operator can allow more: for this tenant in webhook_tenants, for every tenant in webhook_installation, ' +
        'column max_webhooks.',
    );
    await database.query(insertMany('other', 1_000));
    await database.query(
      "delete from rowhook.webhook_configurations where id = any (array(select id from rowhook.webhook_configurations where tenant_id = 'acme' limit 1))",
    );
    await database.query(insertMany('acme', 1));
    expect([await countOf('acme'), await countOf('other')]).toEqual([1_000, 1_000]);
  });

  test('has the bound of its own row, or that of the installation', async () => {
    await database.query('update rowhook.webhook_installation set max_webhooks = 2');
    await database.query(
      "insert into rowhook.webhook_tenants (id, max_webhooks) values ('large', 30), ('none', 0), ('plain', null)",
    );
    for (const [tenant, bound] of [
      ['large', 30],
      ['plain', 2],
      ['unnamed', 2],
    ] as const) {
      await database.query(insertMany(tenant, bound));
      expect(await sentenceOf(database.query(insertMany(tenant, 1)))).toContain(`at most ${bound} webhooks`);
    }
    expect(await sentenceOf(database.query(insertMany('none', 1)))).toContain('at most 0 webhooks');
    // one statement for several tenants
    expect(
      await sentenceOf(database.query(`${insertMany('fine', 1)} union all select 'plain', 'w', '${url}', array['*']`)),
    ).toContain("tenant 'plain' may have");
    // what is there already can be changed, also above a bound that was lowered
    await database.query("update rowhook.webhook_tenants set max_webhooks = 3 where id = 'large'");
    await database.query("update rowhook.webhook_configurations set name = 'changed' where tenant_id = 'large'");
    expect(await sentenceOf(database.query(insertMany('large', 1)))).toContain('at most 3 webhooks');
  });

  test('has the same bound in transactions at the same time', async () => {
    await database.query('update rowhook.webhook_installation set max_webhooks = 100');
    await database.query(insertMany('acme', 98));
    const [first, second] = [await database.pool.connect(), await database.pool.connect()];
    try {
      await first.query('begin');
      await first.query(insertMany('acme', 2));
      const { rows } = await second.query('select pg_backend_pid() as pid');
      const refused = sentenceOf(second.query(insertMany('acme', 1)));
      await waitUntil('the second to wait for the first', async () => {
        const blocked = await database.query('select from unnest(pg_blocking_pids($1))', [rows[0].pid]);
        return blocked.length > 0;
      });
      // a webhook of another tenant does not wait
      await database.query(insertMany('other', 50));
      await first.query('commit');
      expect(await refused).toContain('at most 100 webhooks');
    } finally {
      first.release();
      second.release();
    }
    expect(await countOf('acme')).toBe(100);
  });

  test('cannot lift it by muting, by isolation or by its settings', async () => {
    await database.query('update rowhook.webhook_installation set max_webhooks = 3');
    for (const setting of [
      "set rowhook.mute = 'on'",
      "set default_transaction_isolation = 'serializable'",
      "set rowhook.max_webhooks = '9'",
      'create temp table inserted (tenant_id text)',
    ]) {
      const client = new pg.Client(app.url);
      await client.connect();
      try {
        await client.query("set rowhook.tenant_id = 'acme'");
        await client.query(setting);
        expect(await sentenceOf(client.query(insertMany('acme', 4)))).toContain('at most 3 webhooks');
      } finally {
        await client.end();
      }
    }
  });
});

describe('a restore of more than the bound', () => {
  test('is accepted from an operator who mutes it', async () => {
    await database.query('update rowhook.webhook_installation set max_webhooks = 3');
    const client = await database.pool.connect();
    try {
      await client.query("set rowhook.mute = 'on'");
      await client.query(insertMany('acme', 5));
      await client.query('reset rowhook.mute');
    } finally {
      client.release();
    }
    expect(await countOf('acme')).toBe(5);
  });

  test('is accepted from a dump', async ({ skip, onTestFinished }) => {
    const [{ major }] = (await database.query(
      "select current_setting('server_version_num')::int / 10000 as major",
    )) as [{ major: 15 | 18 }];
    const tools = findDumpTools([major]);
    if (!tools) return skip();
    await database.query(insertMany('acme', 30));
    await database.query('update rowhook.webhook_installation set max_webhooks = 3');
    const file = join(tmpdir(), `${database.name}.dump`);
    const copy = await createDatabase({ bare: true });
    onTestFinished(async () => {
      await copy.drop();
      await rm(file, { force: true });
    });
    await tools.dump(database.url, file);
    await tools.restore(copy.url, file);
    expect(await copy.query('select from rowhook.webhook_configurations')).toHaveLength(30);
    expect(await sentenceOf(copy.query(insertMany('acme', 1)))).toContain('at most 3 webhooks');
  });
});
