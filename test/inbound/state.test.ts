// What stands with inbound events, as status, doctor and metrics say it.

import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LIMITS } from '../../src/doctor/finding.ts';
import { inbound } from '../../src/doctor/inbound-events.ts';
import { createLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { StuckLaneWatcher } from '../../src/observe/stuck-lanes.ts';
import { rowhook } from '../support/cli.ts';
import { connected } from '../support/connected.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { receiveSql } from '../support/inbound-events.ts';
import { paste } from '../support/paste.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database?.drop());

/** An event of two days ago that nobody has claimed. */
const insertOld = () =>
  database.query(
    `insert into rowhook.integration_events (id, tenant_id, event_name, payload, received_at, available_at)
     select rowhook._new_inbound_id(t), 'acme', 'lead.captured', '1', t, t
       from (select now() - interval '50 hours' as t) as n`,
  );

/** Two that wait, one that is processed, one whose worker has died, one that has failed. */
async function insertNew(): Promise<void> {
  await database.query(`select ${receiveSql("'acme'", "'e' || n")} from generate_series(1, 5) as n`);
  await database.query(`
    select rowhook.claim_integration_events('{e1,e2,e3}');
    select rowhook.fail_integration_event(id, 'no mail address')
      from rowhook.integration_events where event_name = 'e1';
    update rowhook.integration_events set available_at = now() - interval '1 minute' where event_name = 'e2'`);
}

const seen = () =>
  connected(database.daemonUrl, (client) =>
    inbound({
      client,
      databaseUrl: database.daemonUrl,
      wake: 'poll',
      environment: undefined,
      limits: LIMITS,
      now: Date.now,
    }),
  );

/** As a scrape prints it, counted by the daemon's login. */
async function metrics(): Promise<string[]> {
  const watcher = new StuckLaneWatcher(database.daemonUrl, 'session', createLogger('silent'));
  try {
    await watcher.look();
    const vitals = () => ({ lanes: 0, inFlight: 0, pending: 0, breakersOpen: 0, oldestUndeliveredSeconds: 0 });
    const text = await new Metrics({ labels: 'none', maxInFlight: 1, vitals, backlog: watcher }).text();
    return text.split('\n').filter((line) => line.startsWith('rowhook_inbound_'));
  } finally {
    await watcher.close();
  }
}

test('where nothing was received, nothing waits', async () => {
  expect(await seen()).toEqual([{ kind: 'fine', what: '0 inbound events wait for a worker, none for long' }]);
  expect(await metrics()).toEqual([
    'rowhook_inbound_events{state="pending"} 0',
    'rowhook_inbound_events{state="processing"} 0',
    'rowhook_inbound_events{state="lease_ended"} 0',
    'rowhook_inbound_events{state="failed"} 0',
    'rowhook_inbound_oldest_seconds 0',
  ]);
});

test('the doctor warns of what waits for a day, and of what failed', async () => {
  await insertNew();
  // what waits for less than a day is nothing to warn of
  expect((await seen()).map(({ what }) => what)).toEqual(['1 inbound events of the last 24 hours failed']);
  await insertOld();
  const [waits, failed] = await seen();
  expect(waits).toMatchObject({
    kind: 'warning',
    what: 'an inbound event, lead.captured of acme, has waited for 2 d: no worker has claimed it',
    why: '4 events wait, and 1 are being processed. A day of events is dropped after 90 days, processed or not.',
  });
  const pasted = async (result: typeof waits) => (await paste((result as { fix: string }).fix, database)).stdout;
  expect(await pasted(waits)).toMatch(/ received +#0 +lead\.captured +acme /);
  expect(await pasted(failed)).toMatch(/^\S+ +\S+ +failed +#1 +e1 .* no mail address\n$/);
});

test('status and metrics count the same', async () => {
  const { stdout } = await rowhook(['status', '--json'], { env: { DATABASE_URL: database.daemonUrl } });
  const { inbound: state, unseen } = JSON.parse(stdout);
  expect([unseen, state]).toEqual([
    [],
    {
      ...{ pending: 3, processing: 1, lease_ended: 1, failed_24h: 1 },
      oldest_seconds: expect.any(Number),
      ...{ oldest_tenant_id: 'acme', oldest_event_name: 'lead.captured', oldest_attempts: 0 },
    },
  ]);
  expect(state.oldest_seconds).toBeGreaterThanOrEqual(50 * 3_600);
  const { stdout: text } = await rowhook(['status'], { env: { DATABASE_URL: database.url } });
  expect(text).toContain(
    '3 pending, 1 processing, 1 with an ended lease, 1 failed in 24 hours (oldest: 2 d, lead.captured of acme)\n',
  );
  const lines = await metrics();
  expect(lines.slice(0, -1)).toEqual([
    'rowhook_inbound_events{state="pending"} 3',
    'rowhook_inbound_events{state="processing"} 1',
    'rowhook_inbound_events{state="lease_ended"} 1',
    'rowhook_inbound_events{state="failed"} 1',
  ]);
  expect(Number(lines.at(-1)?.split(' ').at(-1))).toBeGreaterThanOrEqual(50 * 3_600);
});

test('the counts and the oldest are read from indexes of the events that are not finished', async () => {
  await database.query(
    `insert into rowhook.integration_events (id, tenant_id, event_name, payload, status, received_at)
     select rowhook._new_inbound_id(t), 'acme', 'done', '1', 'processed', t
       from (select now() - n * interval '1 ms' as t from generate_series(1, 20000) as n) as n`,
  );
  await database.query('analyze rowhook.integration_events');
  const read = await connected(database.url, async (client: pg.Client) => {
    await client.query('begin');
    await client.query('select * from rowhook._inbound_state()');
    const { rows } = await client.query<{ rows: number }>(
      `select coalesce(sum(seq_tup_read), 0)::int as rows from pg_stat_xact_user_tables
        where relname like 'integration_events%'`,
    );
    return rows[0]?.rows ?? 0;
  });
  expect(read).toBeLessThan(1_000);
});
