// What docs/operate/runbook.md says to run for an alert finds the culprit in the state of that alert, and what it says to do mends it.

import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { blocksOf, mentionsOf, wordsOf } from '../support/pages.ts';
import { paste } from '../support/paste.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const PAGE = 'docs/operate/runbook.md';

let database: TestDatabase;
/** As the page asks for it. */
let operator: pg.Client;
let role: string;
let url: string;
let webhook: string;

beforeAll(async () => {
  database = await createDatabase();
  role = `operator_${database.name}`;
  await database.query(
    `create role ${role} login password 'secret'; grant rowhook_owner, pg_read_all_stats to ${role}`,
  );
  url = databaseUrl(database.url, database.name, role, 'secret');
  operator = new pg.Client(url);
  await operator.connect();
  webhook = (await createWebhook(database, { tenant_id: 'acme', url: 'https://example.com/' })).id;
});

afterAll(async () => {
  await operator.end();
  await database.query(`drop owned by ${role}; drop role ${role}`);
  await database.drop();
});

const statementsOf = (alert: string) =>
  blocksOf(PAGE)
    .filter(({ chapter, text }) => chapter === alert && text.startsWith('psql '))
    .map(({ text }) => wordsOf(text).at(-1) ?? '');

/** What the statements of an alert print. */
async function look(alert: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for (const statement of statementsOf(alert)) rows.push(...(await operator.query(statement)).rows);
  return rows;
}

/** A command of the page, with the webhook's id in it. */
const command = (words: string) => {
  const [found = ''] = mentionsOf(PAGE).filter((mention) => mention.startsWith(words));
  return `rowhook ${found.replace(/<(webhook )?id>/, webhook)}`;
};

const delivery = (state: string, age: string) =>
  database.query(
    `insert into rowhook.webhook_deliveries
       (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, lane, ordinal, state, tenant_id, event_id, event_type, organization, webhook_name)
     values (gen_random_uuid(), $1, 1, now() - $3::interval, case $2 when 'waiting' then now() end, rowhook._lane('acme'), 0, $2, 'acme', 'evt_1', 'a.b', '{}', 'under test')`,
    [webhook, state, age],
  );

const log = `insert into rowhook.webhook_logs
    (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, lane, duration_ms)
  select now(), 'acme', id, gen_random_uuid(), 'evt_1', 'a.b', 1, 'failed', 'timeout', url, 3, 9000 from rowhook.webhook_configurations`;
const lags = `insert into rowhook.webhook_lagging_tenants
    (lane, tenant_id, from_snapshot, to_snapshot, done_id, position_at, sequence_value)
  select lane, 'acme', from_snapshot, null, null, now() - interval '1 hour', 1
    from rowhook.webhook_lanes where lane = rowhook._lane('acme')`;
const inbound = (status: string) =>
  `insert into rowhook.integration_events (id, tenant_id, event_name, payload, status, attempts, error_message)
   values (gen_random_uuid(), 'acme', 'lead.captured', '{}', '${status}', 3, 'no mail address')`;
const outboxRow = "select rowhook.emit('a.b', '{}', 'acme')";
const breaker = `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
  select id, rowhook._lane(tenant_id), 12, now(), now() + interval '1 minute', 1 from rowhook.webhook_configurations`;

test('every alert with a statement is tried below', () => {
  const alerts = new Set(blocksOf(PAGE).flatMap(({ chapter, text }) => (text.startsWith('psql ') ? [chapter] : [])));
  const others = ['', 'RowhookEventsStuck', 'RowhookDatabaseSlow', 'RowhookNotifyQueueFilling'];
  expect([...alerts].sort()).toEqual([...Object.keys(STATES), ...others].sort());
});

/** What makes the state of an alert, and what its statements print then. */
const STATES: Readonly<Record<string, readonly [sql: string, shown: object]>> = {
  RowhookLanesUnowned: ['select', { lane: 15 }],
  RowhookAttemptsFailing: [log, { code: 'timeout' }],
  RowhookLatencyHigh: [log, { p50_ms: 9000 }],
  RowhookBreakersOpen: [breaker, { failures: 12 }],
  RowhookParkedGrowing: ['', { count: '1' }],
  RowhookDeliveriesGaveUp: ['', { count: '1' }],
  RowhookInFlightSaturated: [log, { p95_ms: 9000 }],
  RowhookMemoryHigh: [outboxRow, { tenant_id: 'acme' }],
  RowhookInboundWaiting: [inbound('received'), { event_name: 'lead.captured', attempts: 3 }],
  RowhookInboundFailing: [inbound('failed'), { tenant_id: 'acme', error: 'no mail address' }],
  RowhookTenantLags: [lags, { tenant_id: 'acme', max_in_flight: 8 }],
};

test.each(Object.entries(STATES))('%s', async (alert, [sql, shown]) => {
  if (sql) await database.query(sql);
  if (alert === 'RowhookParkedGrowing') await delivery('waiting', '1 hour');
  // the default retries of exponential are over 31 hours after the event
  if (alert === 'RowhookDeliveriesGaveUp') await delivery('given_up', '32 hours');
  expect(await look(alert)).toContainEqual(expect.objectContaining(shown));
});

test('a breaker is closed, and what was given up is sent, by the commands that the page gives', async () => {
  const target = { url, query: (statement: string) => operator.query(statement) };
  await paste(command('webhook enable'), target);
  expect(await look('RowhookBreakersOpen')).toEqual([]);
  expect((await paste(command('replay'), target)).stdout).toContain('Queued 1 event');
  expect(await look('RowhookDeliveriesGaveUp')).toEqual([]);
});

test('who blocks the daemon is shown, and ended as the page says', async () => {
  const [blocker, blocked] = [new pg.Client(database.url), new pg.Client(database.url)];
  blocker.on('error', () => {});
  await Promise.all([blocker.connect(), blocked.connect()]);
  try {
    const { rows } = await blocker.query<{ pid: number }>('select pg_backend_pid() as pid');
    await blocker.query('begin; lock table rowhook.webhook_health');
    await blocked.query("set application_name = 'rowhook recorder'");
    const done = blocked.query('select from rowhook.webhook_health');
    const pid = await waitUntil('it is shown', async () => {
      const stuck = (await look('RowhookEventsStuck')).flatMap(({ blocked_by }) => blocked_by as number[]);
      return stuck[0];
    });
    expect(pid).toBe(rows[0]?.pid);
    expect(await look('RowhookDatabaseSlow')).toContainEqual(expect.objectContaining({ wait_event_type: 'Lock' }));
    await database.query(`select pg_terminate_backend(${pid})`);
    await done;
  } finally {
    await Promise.allSettled([blocker.end(), blocked.end()]);
  }
});

// It shows transactions of more than a minute, which no test waits for.
test('the sessions that may hold the queue of notifications: the statement runs, and shows no short transaction', async () => {
  const listener = new pg.Client(database.url);
  await listener.connect();
  try {
    await listener.query("set application_name = 'short'; begin; listen anything");
    const shown = await look('RowhookNotifyQueueFilling');
    expect(shown.map(({ application_name }) => application_name)).not.toContain('short');
  } finally {
    await listener.end();
  }
});
