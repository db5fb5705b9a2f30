import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPool } from '../../src/database/connections.ts';
import { readDue } from '../../src/retry/parked-deliveries.ts';
import { findWaiting } from '../../src/retry/takeover.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { createWebhook } from '../support/webhook.ts';

const LANES = Array.from({ length: 16 }, (_, lane) => lane);
let database: TestDatabase;
/** One connection, whose statistics can be asked for at once. */
let pool: pg.Pool;
let webhookId: string;

beforeAll(async () => {
  database = await createDatabase();
  pool = new pg.Pool({ connectionString: database.daemonUrl, max: 1 });
  // dropping the database may still meet its connection while that says goodbye
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  webhookId = (await createWebhook(database, { tenant_id: 't', url: 'https://example.com' })).id;
  // Autovacuum also counts rows that it reads, and on a busy machine it comes while the tests count.
  await database.query(`do $$
    declare v_table regclass;
    begin
      for v_table in select oid from pg_class where relkind = 'r' and relname ~ '^webhook_(outbox|deliveries)' loop
        execute format('alter table %s set (autovacuum_enabled = off)', v_table);
      end loop;
    end $$`);
  await database.query("select rowhook.emit('a.b', '{}', 't') from generate_series(1, 20000)");
  await database.query('update rowhook.webhook_lanes set from_snapshot = pg_current_snapshot()');
  await database.query("select rowhook.replay($1, '-infinity', null, 'missed')", [webhookId]);
  await database.query('analyze');
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

async function rowsReadInSequence(): Promise<number> {
  await pool.query('select pg_stat_force_next_flush()');
  const { rows } = await pool.query<{ count: string }>(
    `select sum(seq_tup_read) as count from pg_stat_user_tables where relname ~ '^webhook_(outbox|deliveries)'`,
  );
  return Number(rows[0]?.count);
}

test('what is due is read through indexes alone, however much waits', async () => {
  const before = await rowsReadInSequence();
  const query = { webhookId, tenantId: 't', limit: 32, inMemory: [] };
  const [live] = await readDue(pool, [{ ...query, replays: 0 }]);
  expect(live).toMatchObject({ deliveries: [], moreDue: false, replaysDue: true, nextInMs: null });
  const [some] = await readDue(pool, [{ ...query, replays: 4 }]);
  expect(some?.deliveries.map(({ change }) => change.data)).toEqual(['{}', '{}', '{}', '{}']);
  const waiting = await findWaiting(pool, LANES);
  expect(waiting.get(webhookId)).toEqual({ tenantId: 't', unattempted: false, heads: [] });
  expect(await rowsReadInSequence()).toBe(before);
});

test.runIf(hasPgBouncer)('the plan for what is due is not compiled, also in a session that is lent', async () => {
  // Nobody sees a delivery while jit is on.
  await database.query(`create policy uncompiled on rowhook.webhook_deliveries as restrictive
                          using (current_setting('jit') = 'off')`);
  const pooler = await startPgBouncer(database.daemonUrl, 'transaction');
  const lent = openPool(pooler.url, { applicationName: 'test', max: 1, sessions: 'transaction' });
  try {
    const [some] = await readDue(lent, [{ webhookId, tenantId: 't', limit: 0, replays: 4, inMemory: [] }]);
    expect(some?.deliveries).toHaveLength(4);
    const { rows } = await lent.query('select count(*)::int from rowhook.webhook_deliveries');
    expect(rows).toEqual([{ count: 0 }]);
  } finally {
    await lent.end();
    await pooler.stop();
    await database.query('drop policy uncompiled on rowhook.webhook_deliveries');
  }
});
