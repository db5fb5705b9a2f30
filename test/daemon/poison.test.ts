// A value that makes a statement fail, or that nobody can use, stops what it belongs to. Everybody else goes on.

import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import { type Daemon, startDaemon } from '../../src/daemon/daemon.ts';
import { rowhook } from '../support/cli.ts';
import { daemonSettings, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

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
    ['secret', null, /no request can be made from this delivery/, 'secret', 'a secret of 16 bytes and more'],
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

describe('a database of encoding', () => {
  type Finished = Parameters<Parameters<typeof test>[2] & object>[0]['onTestFinished'];
  const open = async (
    encoding: string,
    onTestFinished: Finished,
    more: Partial<Settings> = {},
    prepare: (database: TestDatabase) => Promise<unknown> = async () => {},
  ) => {
    const database = await createDatabase({ encoding });
    await database.query(`
      create table things (id int primary key, tenant_id text not null, name text);
      select rowhook.watch('things', 'thing')`);
    await prepare(database);
    const daemon = await startTestDaemon(database, more);
    onTestFinished(async () => {
      await daemon.stop();
      await database.drop();
    });
    return database;
  };

  test.for([
    ['LATIN1', /^thanks \? \?\? éx+\.\.\.$/],
    ['EUC_JP', /^thanks \? 日本 éx+…$/],
    ['SQL_ASCII', /^thanks 🎉 日本 éx+…$/],
  ] as const)(
    '%s records what it cannot hold with something in its place',
    async ([encoding, body], { onTestFinished }) => {
      const database = await open(encoding, onTestFinished);
      const path = `/${encoding}`;
      // what masks a secret is no ASCII either
      const headers = JSON.stringify({ 'X-Token': 'a secret' });
      const url = `${receiver.url(path)}?key=secret`;
      const { id } = await createWebhook(database, { tenant_id: 'odd', url, headers });
      receiver.respond(path, { body: `thanks 🎉 日本 é${'x'.repeat(6_000)}`, headers: { 'x-odd': 'caf\u00e9' } });
      await database.query("insert into things values (1, 'odd', 'a')");
      await logsOf(database, id);
      const [log] = await database.query<{ body: string; token: string; url: string; error: string | null }>(
        "select response_body as body, request_headers ->> 'X-Token' as token, request_url as url, error from rowhook.webhook_logs",
      );
      const masked = expect.stringMatching(/(^|[?]key=)(•+|\*+)$/);
      expect(log).toEqual({ body: expect.stringMatching(body), token: masked, url: masked, error: null });
      expect(receiver.requestsTo(path)).toHaveLength(1);
    },
  );

  test.for([
    [
      'SQL_ASCII',
      'notify',
      /^the event cannot be sent: data cannot be read: invalid byte sequence for encoding "UTF8": 0x81 .*22021/,
    ],
    [
      'WIN1252',
      'poll',
      /^the event cannot be sent: data cannot be read: character with byte sequence 0x81 .* no equivalent .*22P05/,
    ],
  ] as const)(
    '%s skips the row that no UTF-8 client can read, and reads on',
    async ([encoding, wake, reason], { onTestFinished }) => {
      const [odd, plain] = [`/odd-${wake}`, `/plain-${wake}`];
      const id = randomUUID();
      const database = await open(encoding, onTestFinished, { wake }, async (empty) => {
        await createWebhook(empty, { id, tenant_id: 'odd', url: receiver.url(odd) });
        await createWebhook(empty, { tenant_id: 'plain', url: receiver.url(plain) });
        // what an earlier version left: whoever takes the lanes reads the keys of rows that block others
        await empty.query(`
          insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, ordered, lane, ordinal,
            tenant_id, event_id, event_type, row_key, organization, webhook_name)
          select gen_random_uuid(), '${id}', 0, now(), 'infinity', true, rowhook._lane('odd'), 0, 'odd', 'evt_x_0_0', 'a.b', key, '{}', 'n'
            from unnest(array[E'\\x81', 'fine']) as key`);
      });
      await database.query(`
      insert into things select n, 'plain', 'fine' from generate_series(1, 700) as n;
      insert into things values (1001, 'odd', E'\\x81'), (1002, 'odd', 'fine'), (1003, 'odd', E'a\\x81b');
      insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data) values
        (rowhook._lane(E'\\x81'), E'\\x81', '{a.b}', '{}'), (rowhook._lane('odd'), 'odd', array[E'\\x81'], '{}');
      insert into things select n, 'plain', 'fine' from generate_series(2001, 2100) as n`);
      await requestsAre(plain, 800);
      await requestsAre(odd, 1);
      const logs = await logsOf(database, id, 3);
      expect(logs.map(({ status, code }) => `${status} ${code}`).sort()).toEqual([
        'skipped unreadable',
        'skipped unreadable',
        'success delivered',
      ]);
      expect(logs.find(({ code }) => code === 'unreadable')?.error).toMatch(reason);
      expect(receiver.requestsTo(plain)).toHaveLength(800);

      // A replay takes what the lanes have passed, or what is in the log. The event whose type is no text is not logged.
      await waitUntil('the lanes have passed everything, and so have the tenants that lag', async () => {
        const [row] = await database.query<{ ahead: number }>(`
          select (select count(*) from rowhook.webhook_lagging_tenants)::int + count(*)::int as ahead
            from rowhook.webhook_outbox o join rowhook.webhook_lanes l using (lane)
           where not pg_visible_in_snapshot(o.xid, l.from_snapshot)`);
        return row?.ahead === 0;
      });
      // all of it once more, by one statement that reads what waits for both
      const webhooks = await database.query(
        'select rowhook.replay(id, $1, null, $2) as count from rowhook.webhook_configurations order by count',
        ['-infinity', 'all'],
      );
      expect(webhooks).toEqual([{ count: '4' }, { count: '800' }]);
      await requestsAre(plain, 1_600);
      const again = await logsOf(database, id, 7);
      expect(
        again
          .slice(3)
          .map(({ code }) => code)
          .sort(),
      ).toEqual(['delivered', 'unreadable', 'unreadable', 'unreadable']);
      expect(again.find(({ code }) => code === 'unreadable')?.error).toMatch(reason);
      // commands show what is no text with something in its place, where the server hands it out
      const [first] = await database.query<{ id: string }>(
        "select min(id)::text as id from rowhook.webhook_outbox where tenant_id = 'odd' and source_id is not null",
      );
      const explained = await rowhook(['webhook', 'explain', id, first?.id as string], {
        env: { DATABASE_URL: database.url },
      });
      if (encoding === 'SQL_ASCII') expect(explained).toMatchObject({ code: 0, stderr: '' });
      else expect(explained.stderr).toContain('0x81');
      for (const insert of [
        "insert into rowhook.webhook_tenants (id) values (E'\\x81')",
        "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('t', E'\\x81', 'https://a.example', '{*}')",
      ])
        await expect(database.query(insert)).rejects.toThrow(
          /the row contains bytes that cannot be converted to UTF-8/,
        );
    },
  );
});

test('a webhook that cannot be disabled, and times without an end, end no session', async ({ onTestFinished }) => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(line) });
  const [gone, fine] = ['/gone', '/goes-on'];
  const { id } = await createWebhook(database, { tenant_id: 'odd', url: receiver.url(gone) });
  await createWebhook(database, { tenant_id: 'fine', url: receiver.url(fine) });
  receiver.respond(gone, { status: 410 });
  // the daemon can use it, but no UPDATE of the row is accepted any more
  await sneakIn(database, 'update rowhook.webhook_configurations set retry_attempts = 21 where id = $1', [id]);
  await database.query(`
    insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since) select '${id}', rowhook._lane('odd'), 1, '-infinity';
    insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data, occurred_at)
    select rowhook._lane('odd'), 'odd', '{a.b}', '{}', 'infinity'`);
  const daemon = await startDaemon(daemonSettings(database.daemonUrl), log);
  onTestFinished(() => daemon.stop());
  expect(await logsOf(database, id)).toMatchObject([
    { code: 'unreadable', error: expect.stringContaining('occurred_at') },
  ]);
  await database.query("select rowhook.emit('a.b', '{}', 'odd'), rowhook.emit('a.b', '{}', 'fine')");
  await waitUntil('it is said', () => lines.some((line) => line.includes('cannot be disabled')));
  await requestsAre(fine, 1);
  // what an operator writes to have it sent at once
  await database.query(`
    insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, lane, ordinal, tenant_id,
      event_id, event_type, organization, webhook_name, data, has_payload)
    select gen_random_uuid(), id, 0, now(), '-infinity', rowhook._lane('fine'), 0, 'fine', 'evt_x_0_0', 'a.b', '{}', 'n', '{}', true
      from rowhook.webhook_configurations where tenant_id = 'fine';
    update rowhook.webhook_configurations set name = 'changed' where tenant_id = 'fine'`);
  await requestsAre(fine, 2);
  expect(lines.filter((line) => line.includes('the session ended'))).toEqual([]);
});

describe('what the log refuses', () => {
  let database: TestDatabase;
  let daemon: Daemon;
  beforeAll(async () => {
    database = await createDatabase();
    daemon = await startTestDaemon(database, { maxInFlight: 16 });
  });
  afterAll(async () => {
    await daemon.stop();
    await database.drop();
  });
  const emit = (tenant: string, count: number) =>
    database.query("select rowhook.emit('a.b', '{}', $1) from generate_series(1, $2)", [tenant, count]);

  test.each([
    ['answer', "response_body is distinct from 'poison'", ''],
    ['URL', "request_url not like '%?odd=%'", '?odd=x'],
  ])('of one %s is logged without it, and with the reason', async (tenant, rule, query) => {
    await database.query(`alter table rowhook.webhook_logs add constraint no_poison check (${rule})`);
    onTestFinished(async () => {
      await database.query('alter table rowhook.webhook_logs drop constraint no_poison');
    });
    const { id } = await createWebhook(database, { tenant_id: tenant, url: receiver.url(`/${tenant}${query}`) });
    const fine = await createWebhook(database, { tenant_id: tenant, url: receiver.url('/fine') });
    receiver.respond(`/${tenant}`, { body: 'poison' });
    await emit(tenant, 6);
    expect(await logsOf(database, fine.id, 6)).toHaveLength(6);
    const logs = await logsOf(database, id, 6);
    for (const log of logs)
      expect(log).toEqual({
        status: 'success',
        code: 'delivered',
        error: expect.stringMatching(/^the database refused to log this attempt: .*"no_poison" \(SQLSTATE 23514\)$/),
      });
    expect(receiver.requestsTo(`/${tenant}`)).toHaveLength(6);
  });

  test('of one tenant, whatever it says, stops that webhook alone, and nothing comes twice', async () => {
    await database.query("alter table rowhook.webhook_logs add constraint nobody check (tenant_id <> 'refused')");
    const { id } = await createWebhook(database, { tenant_id: 'refused', url: receiver.url('/refused') });
    const fine = await createWebhook(database, { tenant_id: 'welcome', url: receiver.url('/welcome') });
    await emit('refused', 1);
    await requestsAre('/refused', 1);
    for (let n = 1; n <= 2; n++) {
      await emit('refused', 20);
      await emit('welcome', 20);
      expect(await logsOf(database, fine.id, n * 20)).toHaveLength(n * 20);
    }
    // no more than what had started when the first was refused; it may have been in every slot
    expect(receiver.requestsTo('/refused').length).toBeLessThanOrEqual(16);
    await database.query('alter table rowhook.webhook_logs drop constraint nobody');
    expect(await logsOf(database, id, 41)).toHaveLength(41);
    expect(receiver.requestsTo('/refused')).toHaveLength(41);
    expect(receiver.requestsTo('/welcome')).toHaveLength(40);
  });
});
