// A value that makes a statement fail, or that nobody can use, stops what it belongs to. Everybody else goes on.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../src/daemon.ts';
import { startTestDaemon } from './support/daemon.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { type Receiver, startReceiver } from './support/receiver.ts';
import { waitUntil } from './support/wait.ts';
import { createWebhook } from './support/webhook.ts';

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.close());

/** The log rows of a webhook, once there are so many. */
function logsOf(database: TestDatabase, webhookId: string, count = 1) {
  return waitUntil(`${count} log rows`, async () => {
    const rows = await database.query<{ status: string; code: string; error: string | null }>(
      'select status, code, error from rowhook.webhook_logs where webhook_id = $1 order by id',
      [webhookId],
    );
    return rows.length >= count ? rows : undefined;
  });
}

const requestsAre = (path: string, count: number) =>
  waitUntil(`${count} requests to ${path}`, () => receiver.requestsTo(path).length >= count);

describe('what a configuration holds', () => {
  let database: TestDatabase;
  let daemon: Daemon;
  const emit = (tenant: string) => database.query("select rowhook.emit('a.b', '{}', $1)", [tenant]);

  beforeAll(async () => {
    database = await createDatabase();
    daemon = await startTestDaemon(database);
  });
  afterAll(async () => {
    await daemon.stop();
    await database.drop();
  });

  test.each(['1e-400', '0.000009', 'NaN', 'Infinity', '100001', '-1'])(
    'is refused by the constraints: rate_limit_per_second %s',
    async (rate) => {
      for (const insert of [
        "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, rate_limit_per_second) values ('t', 'n', 'https://a.example', '{*}', $1)",
        "insert into rowhook.webhook_tenants (id, rate_limit_per_second) values ('t', $1)",
      ])
        await expect(database.query(insert, [rate])).rejects.toMatchObject({ code: '23514' });
    },
  );

  // each got in while a constraint was dropped, or was not valid yet
  const values: [string, string | null, RegExp, string, unknown][] = [
    ['rate_limit_per_second', '1e-400', /rate_limit_per_second is not a number/, 'rate_limit_per_second', null],
    ['rate_limit_per_second', '1e400', /rate_limit_per_second is not a number/, 'rate_limit_per_second', 5],
    ['rate_limit_per_second', 'NaN', /rate_limit_per_second is not a number/, 'rate_limit_per_second', null],
    ['rate_limit_per_second', 'Infinity', /rate_limit_per_second is not a number/, 'rate_limit_per_second', null],
    ['max_in_flight', '0', /max_in_flight is not a number/, 'max_in_flight', 1],
    ['timeout_ms', '-1', /timeout_ms is not a number/, 'timeout_ms', 5_000],
    ['batch_max_events', '-7', /batch_max_events is not a number/, 'batch_max_events', 1],
    ['http_method', 'GET /', /http_method is not one of/, 'http_method', 'PUT'],
    ['headers', '{"X-A": 1}', /headers is not an object of texts/, 'headers', '{}'],
    ['auth_config', '"bearer"', /auth_config is not an object/, 'auth_config', '{}'],
    ['event_types', '{*,NULL}', /event_types is not a list/, 'event_types', ['*']],
    ['secret', null, /no request can be made of it/, 'secret', 'a secret of 16 bytes and more'],
  ];

  test.each(values)('stops its webhook alone: %s %s', async (column, value, reason, mended, good) => {
    const [tenant, path] = [randomUUID(), `/${randomUUID()}`];
    const neighbour = `/${randomUUID()}`;
    const { id } = await createWebhook(database, { tenant_id: tenant, url: receiver.url(path) });
    await createWebhook(database, { tenant_id: tenant, url: receiver.url(neighbour) });
    await sneakIn(database, `update rowhook.webhook_configurations set ${column} = $1 where id = $2`, [value, id]);
    await emit(tenant);
    await requestsAre(neighbour, 1);
    const [log] = await logsOf(database, id);
    expect(log).toMatchObject({ status: 'skipped', error: expect.stringMatching(reason) });
    expect(log?.code).toMatch(/^(webhook_unusable|unreadable)$/);

    await database.query(`update rowhook.webhook_configurations set ${mended} = $1 where id = $2`, [good, id]);
    await emit(tenant);
    await requestsAre(path, 1);
    expect(receiver.requestsTo(path)).toHaveLength(1);
  });

  test('stops its tenant alone where it is the tenant that has it', async () => {
    const [tenant, other] = [randomUUID(), randomUUID()];
    const { id } = await createWebhook(database, { tenant_id: tenant, url: receiver.url(`/${tenant}`) });
    await createWebhook(database, { tenant_id: other, url: receiver.url(`/${other}`) });
    await sneakIn(
      database,
      "insert into rowhook.webhook_tenants (id, rate_limit_per_second) values ($1, 'NaN'), ($2, 5)",
      [tenant, other],
    );
    await emit(tenant);
    await emit(other);
    await requestsAre(`/${other}`, 1);
    expect(await logsOf(database, id)).toMatchObject([
      { code: 'webhook_unusable', error: expect.stringContaining('webhook_tenants: rate_limit_per_second') },
    ]);
  });
});

/** Past constraints and the trigger that checks, as a restore, or somebody who dropped them, can. */
async function sneakIn(database: TestDatabase, statement: string, values: unknown[]): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ drop: string; add: string }>(
      `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
              format('alter table %s add constraint %I %s not valid', conrelid::regclass, conname, replace(pg_get_constraintdef(oid), ' NOT VALID', '')) as add
         from pg_constraint where contype = 'c' and conrelid in ('rowhook.webhook_configurations'::regclass, 'rowhook.webhook_tenants'::regclass)`,
    );
    for (const { drop } of rows) await client.query(drop);
    await client.query(`alter table rowhook.webhook_configurations disable trigger check_configuration,
                        alter column secret drop not null`);
    await client.query(statement, values);
    await client.query('alter table rowhook.webhook_configurations enable trigger check_configuration');
    for (const { add } of rows) await client.query(add);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}
