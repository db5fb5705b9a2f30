// What docs/operate/runbook.md says to run for an alert finds the culprit in the state of that alert, and what it says to do mends it.

import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rowhook } from '../support/cli.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { blocksOf, mentionsOf, wordsOf } from '../support/pages.ts';
import { paste } from '../support/paste.ts';
import { readPage } from '../support/reference.ts';
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

const blocks = blocksOf(PAGE);
const queriesOf = (alert: string) =>
  blocks.filter(({ chapter, kind }) => chapter === alert && kind === 'sql').map(({ text }) => text);

/** What the queries of an alert return. */
async function look(alert: string): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  for (const query of queriesOf(alert)) rows.push(...(await operator.query(query)).rows);
  return rows;
}

/** What the commands of an alert print: those of rowhook, with the login that the page asks for. */
async function run(alert: string): Promise<string> {
  let printed = '';
  for (const { chapter, kind, text } of blocks) {
    if (chapter !== alert || kind !== 'shell' || !text.startsWith('rowhook ')) continue;
    const { code, stdout, stderr } = await rowhook(wordsOf(text).slice(1), { env: { DATABASE_URL: url } });
    expect({ text, code, stderr }).toEqual({
      text,
      code: text === 'rowhook doctor' ? expect.any(Number) : 0,
      stderr: '',
    });
    printed += stdout;
  }
  return printed;
}

/** A command of the running text, with the webhook's id in it. */
const command = (words: string) => {
  const [found = ''] = mentionsOf(PAGE).filter((mention) => mention.startsWith(words) && mention.includes('<'));
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
   values (rowhook._new_inbound_id(now()), 'acme', 'lead.captured', '{}', '${status}', 3, 'no mail address')`;
const outboxRow = "select rowhook.emit('a.b', '{}', 'acme')";
const breaker = `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
  select id, rowhook._lane(tenant_id), 12, now(), now() + interval '1 minute', 1 from rowhook.webhook_configurations`;

test('every alert with a query is tried below', () => {
  const alerts = new Set(blocks.flatMap(({ chapter, kind }) => (kind === 'sql' ? [chapter] : [])));
  const others = ['Which login a command needs', 'RowhookDatabaseSlow'];
  expect([...alerts].sort()).toEqual([...Object.keys(STATES).filter((alert) => queriesOf(alert)[0]), ...others].sort());
});

/** What makes the state of an alert, and what its commands print and its queries return then. */
const STATES: Readonly<Record<string, { make: string; prints?: RegExp; returns?: object }>> = {
  RowhookLanesUnowned: { make: '', prints: /0-15 +nobody/ },
  RowhookAttemptsFailing: { make: log, prints: /failed +timeout .* acme +/ },
  RowhookLatencyHigh: { make: log, returns: { p50_ms: 9000 } },
  RowhookBreakersOpen: { make: breaker, prints: /has an open breaker: 12 attempts have failed since/ },
  RowhookParkedGrowing: { make: '', prints: /acme +under test +active +1 / },
  RowhookDeliveriesGaveUp: { make: '', prints: /under test +acme +a\.b +given up/ },
  RowhookInFlightSaturated: { make: log, returns: { p95_ms: 9000 } },
  RowhookMemoryHigh: { make: outboxRow, returns: { tenant_id: 'acme' } },
  RowhookInboundWaiting: { make: inbound('received'), prints: /#3 +lead\.captured .*no mail address/ },
  RowhookInboundFailing: {
    make: inbound('failed'),
    prints: /failed +#3 +lead\.captured .*no mail address/,
    returns: { id: expect.any(String) },
  },
  RowhookTenantLags: { make: lags, prints: /tenants that lag +1/, returns: { tenant_id: 'acme', max_in_flight: 8 } },
};

test.each(Object.entries(STATES))('%s', async (alert, { make, prints = /^/, returns }) => {
  if (make) await database.query(make);
  if (alert === 'RowhookParkedGrowing') await delivery('waiting', '1 hour');
  // the default retries of exponential are over 31 hours after the event
  if (alert === 'RowhookDeliveriesGaveUp') await delivery('given_up', '32 hours');
  expect(await run(alert)).toMatch(prints);
  if (returns) expect(await look(alert)).toContainEqual(expect.objectContaining(returns));
});

test('a breaker is closed, and what was given up is sent, by the commands that the page gives', async () => {
  const target = { url, query: (statement: string) => operator.query(statement) };
  await paste(command('webhook enable'), target);
  expect(await run('RowhookBreakersOpen')).not.toContain('open breaker');
  expect((await paste(command('replay'), target)).stdout).toContain('Queued 1 event');
  expect(await run('RowhookDeliveriesGaveUp')).toContain('No unfinished deliveries');
});

test('the limit of a webhook is changed as the page says', async () => {
  const target = { url, query: (statement: string) => operator.query(statement) };
  await paste(command('webhook update'), target);
  const webhooks = await database.query('select max_in_flight from rowhook.webhook_configurations');
  expect(webhooks).toEqual([{ max_in_flight: 32 }]);
});

test("the daemon's login is enough for the commands that the page says, and not for others", async () => {
  const rows = readPage(PAGE)
    .split('\n')
    .filter((line) => line.startsWith('| `rowhook '));
  const commandsOf = (needs: RegExp) =>
    rows.flatMap((row) =>
      needs.test(row) ? [...row.matchAll(/`rowhook ([a-z -]+)`/g)].map(([, words = '']) => words) : [],
    );
  const env = { DATABASE_URL: database.daemonUrl };
  const enough = commandsOf(/rowhook_daemon/);
  expect(enough).toContain('status');
  for (const words of enough) {
    const { code, stderr } = await rowhook(words.split(' '), { env });
    expect({ words, code, stderr }).toEqual({ words, code: words === 'doctor' ? expect.any(Number) : 0, stderr: '' });
  }
  const { code, stderr } = await rowhook(['inbound', 'events'], { env });
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('permission denied') });
  expect(await rowhook(['webhook', 'enable', webhook], { env })).toMatchObject({ code: 1 });
});

test('who blocks the daemon is named by the doctor, and ended as it prints', async () => {
  const [blocker, blocked] = [new pg.Client(database.url), new pg.Client(database.daemonUrl)];
  blocker.on('error', () => {});
  await Promise.all([blocker.connect(), blocked.connect()]);
  try {
    const { rows } = await blocker.query<{ pid: number }>('select pg_backend_pid() as pid');
    await blocker.query("set application_name = 'a report'; begin; lock table rowhook.webhook_health");
    await blocked.query("set application_name = 'rowhook recorder'");
    const done = blocked.query('select from rowhook.webhook_health');
    // The daemon's login sees it, too.
    const fix = await waitUntil('it is named', async () => {
      const { stdout } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: database.daemonUrl } });
      const results = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, string>);
      return results.find(({ check, what }) => check === 'locks' && what?.includes('rowhook recorder'))?.fix;
    });
    expect(fix).toMatch(new RegExp(`^select pg_terminate_backend\\(${rows[0]?.pid}\\);.* it needs a superuser$`));
    expect(await run('RowhookEventsStuck')).toContain('(a report) holds a lock that rowhook recorder');
    expect(await look('RowhookDatabaseSlow')).toContainEqual(expect.objectContaining({ wait_event_type: 'Lock' }));
    await database.query(fix as string);
    await done;
  } finally {
    await Promise.allSettled([blocker.end(), blocked.end()]);
  }
});
