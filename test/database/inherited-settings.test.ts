// What a database or a role sets for its sessions changes nothing for rowhook: neither for its commands and daemons, nor for the
// triggers and functions of it that run in sessions of others.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, connectDaemon, openPool } from '../../src/database/connections.ts';
import { COSTLY } from '../../src/database/lent-session.ts';
import { rowhook } from '../support/cli.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

/** As odd as each may be where PostgreSQL itself still works. */
const ODD: Readonly<Record<string, string>> = {
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  row_security: 'off',
  array_nulls: 'off',
  DateStyle: 'SQL, DMY',
  IntervalStyle: 'sql_standard',
  TimeZone: 'Pacific/Apia',
  bytea_output: 'escape',
  standard_conforming_strings: 'off',
  escape_string_warning: 'off',
  backslash_quote: 'off',
  transform_null_equals: 'on',
  quote_all_identifiers: 'on',
  extra_float_digits: '-15',
  xmloption: 'document',
  search_path: 'lair, public, pg_catalog',
  statement_timeout: '1s',
  lock_timeout: '1s',
  idle_in_transaction_session_timeout: '1s',
  idle_session_timeout: '7s',
  check_function_bodies: 'off',
  default_table_access_method: 'nothing',
  default_tablespace: 'nowhere',
  default_toast_compression: 'pglz',
  synchronous_commit: 'off',
  plan_cache_mode: 'force_custom_plan',
  enable_indexscan: 'off',
  enable_indexonlyscan: 'off',
  enable_bitmapscan: 'off',
  enable_nestloop: 'off',
  enable_partition_pruning: 'off',
  jit_above_cost: '0',
  client_min_messages: 'error',
  'plpgsql.extra_errors': 'all',
  'plpgsql.extra_warnings': 'all',
  'plpgsql.variable_conflict': 'use_variable',
  ...(wantedMajor >= 18 ? { transaction_timeout: '1s', restrict_nonsystem_relation_kind: 'view,foreign-table' } : {}),
  ...(wantedMajor >= 16
    ? { createrole_self_grant: 'inherit', debug_parallel_query: 'on' }
    : { force_parallel_mode: 'on' }),
};

let database: TestDatabase;
let receiver: Receiver;
const daemons: DaemonProcess[] = [];

beforeAll(async () => {
  [database, receiver] = [await createDatabase({ bare: true }), await startReceiver()];
  await database.query('create schema lair');
  await database.query('create table public.items (id int primary key, tenant_id text, tags text[], at timestamptz)');
  for (const [name, value] of Object.entries(ODD)) {
    const written = name === 'search_path' ? value : `'${value}'`;
    await database.query(`alter database ${database.name} set ${name} = ${written}`);
  }
});
afterAll(async () => {
  for (const daemon of daemons) await daemon.kill('SIGKILL');
  await receiver.close();
  await database.drop();
});

async function command(args: string[], url = database.url): Promise<string> {
  const { code, stdout, stderr } = await rowhook(args, { env: { DATABASE_URL: url } });
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' });
  return stdout;
}

/** A session as an application has it, with everything that it inherits. */
async function application(): Promise<pg.Client> {
  const client = new pg.Client(database.url);
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Writes rows by `writers` sessions at a time; PostgreSQL may ask a serializable one to try again. */
async function write(writers: number, from: number, count: number): Promise<void> {
  const one = async (n: number) => {
    const app = await application();
    for (let id = from + n; id < from + count; id += writers) {
      await retried(() => app.query("insert into public.items values ($1, 'acme', '{a}', now())", [id]));
      await retried(() => app.query("update public.items set tags = '{b}' where id = $1", [id]));
    }
    await app.end();
  };
  await Promise.all(Array.from({ length: writers }, (_, n) => one(n)));
}

async function retried(statement: () => Promise<unknown>): Promise<void> {
  try {
    await statement();
  } catch (error) {
    if ((error as { code?: string }).code !== '40001') throw error;
    await retried(statement);
  }
}

/** How often each event came after it had been answered with 200: never, if nothing is repeated. */
function repeated(succeeded: ReadonlyMap<string, number>): number {
  return [...succeeded.values()].reduce((sum, times) => sum + times - 1, 0);
}

describe('in a database that sets all of them', () => {
  /** By webhook-id: how often it was answered with 200. */
  const succeeded = new Map<string, number>();

  async function deliveredAll(events: number): Promise<void> {
    await waitUntil('all events have arrived', () => succeeded.size >= events, { timeoutMs: 60_000 });
    await caughtUp(database);
    await waitUntil('everything is recorded', async () => {
      const [row] = await database.query<{ waiting: number; logged: number }>(
        `select (select count(*)::int from rowhook.webhook_deliveries where state = 'waiting') as waiting,
                (select count(distinct event_id)::int from rowhook.webhook_logs where status = 'success') as logged`,
      );
      return row?.waiting === 0 && row.logged >= events;
    });
    expect(repeated(succeeded)).toBe(0);
  }

  beforeAll(() => {
    let requests = 0;
    receiver.respond('*', ({ headers }) => {
      if (requests++ % 10 === 3) return { status: 503 };
      const id = headers['webhook-id'] as string;
      succeeded.set(id, (succeeded.get(id) ?? 0) + 1);
      return { status: 200 };
    });
  });

  test('commands do what they do, and six writers lose nothing and get nothing twice', {
    timeout: 120_000,
  }, async () => {
    expect(await command(['migrate'])).toContain('Done: the schema rowhook is at version');
    await command(['watch', 'items']);
    await command([
      'webhook',
      'create',
      '--events',
      '*',
      '--name',
      'under test',
      '--tenant',
      'acme',
      '--url',
      receiver.url(),
      '--retry-strategy',
      'linear',
      '--retry-delay',
      '1',
    ]);
    const daemon = startDaemonProcess(database.daemonUrl);
    daemons.push(daemon);
    await daemon.tookLanes();
    await write(6, 0, 30);
    await deliveredAll(60);
    expect(daemon.stdout()).not.toContain('the session ended');
  });

  test('functions that an application or a DBA calls do what they do', { timeout: 60_000 }, async () => {
    const app = await application();
    const [webhook] = await database.query<{ id: string }>('select id from rowhook.webhook_configurations');
    await app.query("set rowhook.tenant_id = 'acme'");
    // a session that may read no view may not read those of rowhook
    if (wantedMajor >= 18) await app.query("set restrict_nonsystem_relation_kind = ''");
    for (const role of ['rowhook_app', 'rowhook_owner']) {
      await app.query(`set role ${role}`);
      await app.query("select rowhook.emit('a.b', '{}', 'acme')");
      await app.query('select rowhook.test($1)', [webhook?.id]);
      const { rows } = await app.query(
        "select rowhook.replay($1, now() - interval '1 hour', \"only\" => 'all') as count",
        [webhook?.id],
      );
      // what waits already is left out
      expect(Number(rows[0].count)).toBeGreaterThanOrEqual(role === 'rowhook_app' ? 60 : 0);
    }
    // A second is not enough for these on a busy machine.
    await app.query('reset role; set statement_timeout = 0');
    if (wantedMajor >= 17) await app.query('set transaction_timeout = 0');
    await app.query('delete from public.items where id = 1');
    await app.query('select rowhook.reconcile()');
    await retried(() => app.query('select rowhook.rotate_secret($1)', [webhook?.id]));
    await app.end();
  });

  test('what people look at is there', { timeout: 60_000 }, async () => {
    expect(await command(['status'])).toContain('1 active');
    expect(await command(['logs', '--limit', '5'])).toContain('success');
    expect(await command(['sources'])).toContain('items');
    const { stdout } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: database.url } });
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { check: string; kind: string });
    expect(results.map(({ check }) => check)).toContain('capture cost');
    // 'muted' looks at roles too, which other tests of this server may have set
    expect(results.filter(({ check, kind }) => kind === 'error' && check !== 'muted')).toEqual([]);
  });

  test.runIf(hasPgBouncer)('a daemon behind PgBouncer in transaction mode', { timeout: 120_000 }, async () => {
    for (const daemon of daemons.splice(0)) await daemon.kill('SIGTERM');
    const pooler = await startPgBouncer(database.daemonUrl, 'transaction', 4);
    try {
      const daemon = startDaemonProcess(pooler.url, { ROWHOOK_WAKE: 'poll' });
      daemons.push(daemon);
      await daemon.tookLanes();
      const before = succeeded.size;
      await write(6, 1_000, 30);
      await waitUntil('all have arrived', () => succeeded.size >= before + 60, { timeoutMs: 60_000 });
      await caughtUp(database);
      expect(daemon.stdout()).not.toContain('the session ended');
      expect(await command(['status'], pooler.url)).toContain('1 active');
      await daemon.kill('SIGTERM');
    } finally {
      await pooler.stop();
    }
  });
});

describe('no plan is compiled, because that takes a hundred times as long as the plan', () => {
  const JIT = 'select current_setting(\'jit\') as "set"';
  const setIn = async (session: Pick<pg.ClientBase, 'query'>, statement: string | pg.QueryConfig = JIT) =>
    (await session.query<{ set: string }>(statement as string)).rows[0]?.set;
  let plain: TestDatabase;

  beforeAll(async () => {
    plain = await createDatabase();
  });
  afterAll(() => plain.drop());

  test('in the sessions of commands, of looks and of a daemon', async () => {
    const pool = openPool(plain.daemonUrl, { applicationName: 'test', max: 1, sessions: 'session' });
    const clients = [
      await connect(plain.url, 'test'),
      await connect(plain.url, 'test', 'look'),
      await connectDaemon(plain.daemonUrl, 'test', 'session'),
    ];
    try {
      for (const session of [pool, ...clients]) expect(await setIn(session)).toBe('off');
    } finally {
      for (const client of clients) await client.end();
      await pool.end();
    }
  });

  test.runIf(hasPgBouncer)('in a session that is lent: in a transaction, and by a COSTLY statement', async () => {
    const pooler = await startPgBouncer(plain.daemonUrl, 'transaction', 1);
    const pool = openPool(pooler.url, { applicationName: 'test', max: 1, sessions: 'transaction' });
    try {
      const client = await pool.connect();
      expect(await setIn(client, { ...COSTLY, text: JIT } as pg.QueryConfig)).toBe('off');
      await client.query('begin');
      expect(await setIn(client)).toBe('off');
      await client.query('commit');
      // Two round trips less, and nothing is left for others.
      expect(await setIn(client)).toBe('on');
      client.release();
    } finally {
      await pool.end();
      await pooler.stop();
    }
  });
});
