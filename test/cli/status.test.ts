import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readLag } from '../../src/observe/lane-lag.ts';
import { ageText, ranges } from '../../src/shared/text.ts';
import { rowhook, startRowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const TENANT = '11111111-1111-4111-8111-111111111111';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
});

afterAll(() => database.drop());

afterEach(async () => {
  await database.query('delete from rowhook.webhook_configurations');
  await database.query(
    'update rowhook.webhook_lanes set from_snapshot = pg_current_snapshot(), to_snapshot = null, done_id = null',
  );
});

async function status(url = database.url) {
  const { code, stdout, stderr } = await rowhook(['status', '--json'], { env: { DATABASE_URL: url } });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** By the daemon's role, whose plans and policies count. */
async function lag() {
  const client = new pg.Client(database.daemonUrl);
  await client.connect();
  try {
    return await readLag(client);
  } finally {
    await client.end();
  }
}

const write = (lane: number, ago = '0 s', events = '{a.b}') =>
  `insert into rowhook.webhook_outbox (lane, tenant_id, event_types, occurred_at)
   values (${lane}, 't', '${events}', now() - interval '${ago}') returning id`;

describe('lag', () => {
  test('counts the events of each lane that no position covers, not changes of the configuration', async () => {
    await database.query(write(2, '3 minutes', '{a.b,a.c}'));
    await database.query(write(2, '1 minute'));
    await database.query(write(7, '2 hours'));
    await database.query(write(9, '1 day', '{}'));
    const lanes = await lag();
    expect(lanes).toHaveLength(16);
    expect(lanes.filter(({ events }) => events > 0)).toMatchObject([
      { lane: 2, events: 3, more: false },
      { lane: 7, events: 1, more: false },
    ]);
    expect(lanes[2]?.oldestSeconds).toBeGreaterThanOrEqual(180);
    expect(lanes[7]?.oldestSeconds).toBeGreaterThanOrEqual(7_200);
    expect(lanes[9]?.oldestSeconds).toBeNull();
  });

  test('counts what committed late, and what is left of a window that is read in pages', async () => {
    const late = new pg.Client(database.url);
    await late.connect();
    await late.query(`begin; ${write(3)}`);
    await database.query(write(4));
    await database.query('update rowhook.webhook_lanes set from_snapshot = pg_current_snapshot()');
    await late.query('commit');
    await late.end();
    expect((await lag()).filter(({ events }) => events > 0)).toMatchObject([{ lane: 3, events: 1 }]);

    await database.query('update rowhook.webhook_lanes set from_snapshot = pg_current_snapshot()');
    const [first] = await database.query<{ id: string }>(write(5));
    await database.query(write(5));
    await database.query('update rowhook.webhook_lanes set to_snapshot = pg_current_snapshot(), done_id = $1', [
      first?.id,
    ]);
    expect((await lag()).filter(({ events }) => events > 0)).toMatchObject([{ lane: 5, events: 1 }]);
  });
});

test.each(['owner', 'daemon'] as const)('a daemon at work, as seen by the %s', async (who) => {
  const receiver = await startReceiver();
  await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/') });
  const daemon = await startTestDaemon(database);
  try {
    await database.query(`insert into notes (organization_id, body) values ('${TENANT}', 'hello')`);
    const seen = await waitUntil('it has delivered', async () => {
      const now = await status(who === 'owner' ? database.url : database.daemonUrl);
      return now.lanes.every(({ owner, events }: { owner: unknown; events: number }) => owner && events === 0) && now;
    });
    expect(seen).toMatchObject({
      database: database.name,
      waiting: 0,
      given_up: 0,
      breakers_open: 0,
      oldest_undelivered_seconds: null,
      webhooks: { active: 1, off: 0, disabled: 0 },
      troubled: [],
      unseen: [],
    });
    expect(seen.daemons).toMatchObject([{ name: seen.lanes[0].owner, lanes: 16 }]);
    expect(seen.lanes).toHaveLength(16);
    expect(seen.lanes[0].owner).toMatch(`:${process.pid}`);
    expect(seen.slots).toHaveLength(8);
    expect(seen.slots.find(({ turn }: { turn: string }) => turn === 'current').oldest_seconds).not.toBeNull();
  } finally {
    await daemon.stop();
    await receiver.close();
  }
});

describe('webhooks that fail', () => {
  test('are listed with what waits, what was given up, their breaker and why they are disabled', async () => {
    const make = async (name: string) =>
      (await createWebhook(database, { tenant_id: 'acme', name, url: 'https://x.example' })).id;
    const [broken, disabled, off, failing] = [
      await make('broken'),
      await make('gone'),
      await make('off'),
      await make('shaky'),
    ];
    await make('healthy');
    await database.query(
      `insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, lane, ordinal, state, tenant_id, event_id, event_type, organization, webhook_name)
       select gen_random_uuid(), $1, n, now() - n * interval '1 hour', case when n <= 3 then now() + interval '1 hour' end, 3, 0,
              case when n <= 3 then 'waiting' else 'given_up' end, 'acme', 'evt_x_' || n || '_0', 'a.b', '{}', 'broken' from generate_series(1, 5) as n`,
      [broken],
    );
    await database.query(
      `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
       values ($1, 3, 12, now() - interval '1 hour', now() + interval '5 minutes', 3), ($2, 3, 2, now(), null, 0)`,
      [broken, failing],
    );
    await database.query('select rowhook._disable_webhook($1, $2)', [disabled, '410 Gone']);
    await database.query('update rowhook.webhook_configurations set is_active = false where id = $1', [off]);

    const now = await status();
    expect(now).toMatchObject({
      waiting: 3,
      given_up: 2,
      breakers_open: 1,
      webhooks: { active: 3, off: 1, disabled: 1 },
      troubled: [
        {
          id: broken,
          tenant_id: 'acme',
          name: 'broken',
          state: 'circuit_open',
          waiting: 3,
          given_up: 2,
          breaker: 'open',
          failures: 12,
        },
        ...[
          { id: disabled, state: 'disabled', disabled_reason: '410 Gone', breaker: null, waiting: 0 },
          { id: failing, state: 'failing', breaker: 'closed', failures: 2 },
        ].sort((a, b) => (a.id < b.id ? -1 : 1)),
      ],
    });
    expect(now.oldest_waiting_seconds).toBeGreaterThanOrEqual(3 * 3_600);
    // what waits for its next attempt is parked, and counts there as little as in the metric of this name
    expect(now.oldest_undelivered_seconds).toBeLessThan(3_600);

    const { stdout } = await rowhook(['status', '--limit', '1'], { env: { DATABASE_URL: database.url } });
    expect(stdout).toMatch(/\ndaemons +none\n/);
    expect(stdout).toMatch(/\ndeliveries +3 waiting \(oldest: 3 h\), 2 given up\n/);
    expect(stdout).toMatch(/\noldest undelivered +\d+ s\n/);
    expect(stdout).toMatch(
      / acme +broken +active +3 +2 +3 h +open, next attempt in \d+ (s|min), 12 failed in a row\nThere are more than 1\. Raise --limit to see them\.\n/,
    );
    // that it is disabled is an event itself, which nobody has read
    expect(stdout).toMatch(/\nbehind +1 event, \d+ s\n/);
    expect(stdout).toMatch(/\n0-\d+, .* +nobody +/);
    expect(stdout).not.toContain('\u001b');
  });
});

test('what a role may not see is told, and the rest is shown', async () => {
  const role = `${database.name}_app`;
  await database.query(`create role ${role} login password 'secret'; grant rowhook_app to ${role}`);
  try {
    const url = databaseUrl(database.url, database.name, role, 'secret');
    const { code, stdout, stderr } = await rowhook(['status'], { env: { DATABASE_URL: url } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^database /);
    expect(stdout).toMatch(/\nnot shown: daemons, lanes: permission denied for view webhook_lane_owners; connect as /);
    // One reason for all parts is printed once.
    await database.query(`revoke rowhook_app from ${role}`);
    const nothing = await rowhook(['status'], { env: { DATABASE_URL: url } });
    expect(nothing.stdout.match(/\nnot shown: .*/g)).toEqual([
      expect.stringMatching(
        /^\nnot shown: version, environment, .*watched tables: permission denied for schema rowhook; /,
      ),
    ]);
  } finally {
    await database.query(`drop role ${role}`);
  }
});

test('--watch shows it again and again', async () => {
  const watching = startRowhook(['status', '--watch', '--json'], { env: { DATABASE_URL: database.url } });
  const times = () =>
    watching
      .stdout()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).at);
  await waitUntil('it was shown twice', () => times().length >= 2);
  expect(new Set(times()).size).toBe(times().length);
  watching.process.kill();
  await watching.ended;
});

test('a database without rowhook is told in one sentence', async () => {
  const bare = await createDatabase({ bare: true });
  const { code, stderr } = await rowhook(['status'], { env: { DATABASE_URL: bare.url } });
  expect(stderr).toMatch(/^rowhook: database "\S+" at \S+ has no rowhook schema, .*\. Run "rowhook migrate"\.\n$/);
  expect(code).toBe(1);
  await bare.drop();
});

test('ages and ranges are short', () => {
  expect([0, 119.9, 120, 7_199, 7_200, 172_800].map(ageText)).toEqual([
    '0 s',
    '119 s',
    '2 min',
    '119 min',
    '2 h',
    '2 d',
  ]);
  expect([ranges([]), ranges([3]), ranges([0, 1, 2, 5, 7, 8])]).toEqual(['', '3', '0-2, 5, 7-8']);
});
