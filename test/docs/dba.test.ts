// What the pages of docs/dba/ say of migrations, locks, dumps and publications.

import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { blocksOf } from '../support/pages.ts';
import { startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';
import { canDump, runTool } from '../support/tool.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const sql = join(import.meta.dirname, '../../sql');
const page = (name: string) => readFileSync(join(import.meta.dirname, '../../docs/dba', name), 'utf8');
const read = (file: string) => readFileSync(join(sql, file), 'utf8');

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client(database.url);
  await client.connect();
});

beforeEach(() => database.query('create table if not exists app (id int primary key, tenant_id text)'));

afterAll(async () => {
  await client.end();
  await database.drop();
});

/** Locks that a statement keeps on relations outside of rowhook until its transaction ends. */
async function locksOf(statement: string, session = client): Promise<string[]> {
  await session.query('begin');
  await session.query(statement);
  const { rows } = await session.query(`
    select c.relname || ' ' || l.mode as lock
      from pg_locks l join pg_class c on c.oid = l.relation
     where l.pid = pg_backend_pid() and l.database = (select oid from pg_database where datname = current_database())
       and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and l.mode <> 'AccessShareLock'
     order by 1`);
  await session.query('commit');
  return rows.map(({ lock }) => lock);
}

test('the page names every migration', () => {
  const files = globSync('migrations/*.sql', { cwd: sql }).sort();
  const named = [...page('approve.md').matchAll(/^\| `(\d{4}_\w+)` \|/gm)].map(([, name]) => `migrations/${name}.sql`);
  expect(named).toEqual(files);
});

describe('locks on tables of the application', () => {
  test('migrations take none, and uninstalling takes those of the watched tables', async () => {
    const other = await createDatabase({ bare: true });
    const session = new pg.Client(other.url);
    try {
      await session.connect();
      await session.query('create table app (id int primary key, tenant_id text)');
      const files = globSync('migrations/*.sql', { cwd: sql }).sort();
      for (const file of files) expect(await locksOf(read(file), session), file).toEqual([]);
      await session.query("create table other (id int); select rowhook.watch('app')");
      expect(await locksOf(read('uninstall.sql'), session)).toEqual(['app AccessExclusiveLock']);
    } finally {
      await session.end();
      await other.drop();
    }
  });

  test('watch() locks out writers the first time, and nobody when it changes settings; unwatch() locks out all', async () => {
    expect(await locksOf("select rowhook.watch('app')")).toEqual(['app ShareRowExclusiveLock']);
    expect(await locksOf("select rowhook.watch('app', capture => 'all')")).toEqual([]);
    expect(
      await locksOf(
        "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ('acme', 'w', 'https://example.com/', '{*}')",
      ),
    ).toEqual([]);
    await database.query('alter table app add column added int');
    expect(await locksOf('select rowhook.reconcile()')).toEqual([]);
    expect(await locksOf("select rowhook.unwatch('app')")).toEqual(['app AccessExclusiveLock']);
  });

  test('a partitioned table is locked with all its partitions, later only the new one', async () => {
    await database.query(
      'create table p (id int, tenant_id text) partition by list (id); create table p1 partition of p for values in (1)',
    );
    expect(await locksOf("select rowhook.watch('p')")).toEqual(['p ShareRowExclusiveLock', 'p1 ShareRowExclusiveLock']);
    await database.query('create table p2 partition of p for values in (2)');
    expect(await locksOf('select rowhook.reconcile()')).toEqual(['p2 ShareRowExclusiveLock']);
  });
});

test('every table can be published: each has a primary key, also the partitions', async () => {
  const without = await database.query(`
    select relname from pg_class c where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p')
       and not exists (select from pg_index where indrelid = c.oid and indisprimary)`);
  expect(without).toEqual([]);
});

test('FOR ALL TABLES publishes partitions of the log one by one, and TABLES IN SCHEMA public none of rowhook', async () => {
  const published = async (of: string) => {
    await database.query(`create publication p for ${of}`);
    const rows = await database.query<{ tablename: string }>(
      "select tablename from pg_publication_tables where pubname = 'p' and schemaname = 'rowhook'",
    );
    await database.query('drop publication p');
    return rows.map(({ tablename }) => tablename);
  };
  expect((await published('all tables')).filter((name) => /^webhook_logs_\d{8}$/.test(name)).length).toBeGreaterThan(7);
  expect(await published('all tables with (publish_via_partition_root = true)')).toContain('webhook_logs');
  expect(await published('tables in schema public')).toEqual([]);
});

describe.skipIf(!canDump(wantedMajor))('pg_dump', () => {
  const dump = (url: string, ...args: string[]) => runTool('pg_dump', [...args, '--schema=rowhook', url]);

  test('leaves out the rows of outbox and log, and keeps the sequence, as a wider pattern would not', async () => {
    const patterns = [...page('backup.md').matchAll(/--exclude-table-data='([^']+)'/g)].map(([, pattern]) => pattern);
    expect(new Set(patterns).size).toBe(1);
    const { code, output } = await dump(database.url, `--exclude-table-data=${patterns[0]}`);
    expect(code, output).toBe(0);
    expect(output).not.toMatch(/^COPY rowhook\.(webhook_outbox|webhook_logs|integration_events)/m);
    expect(output).toMatch(/^COPY rowhook\.webhook_deliveries /m);
    expect(output).toMatch(/^SELECT pg_catalog\.setval\('rowhook\.webhook_outbox_id_seq'/m);
    const wider = await dump(database.url, '--exclude-table-data=rowhook.webhook_outbox*');
    expect(wider.output).not.toMatch(/^SELECT pg_catalog\.setval\('rowhook\.webhook_outbox_id_seq'/m);
  });

  test('by a member of rowhook_owner is refused, and works with --enable-row-security', async () => {
    const role = `dumper_${database.name}`;
    await database.query(`create role ${role} login password 'secret'; grant rowhook_owner to ${role}`);
    const url = databaseUrl(database.url, database.name, role, 'secret');
    try {
      expect(await dump(url)).toMatchObject({ code: 1, output: expect.stringContaining('row-level security') });
      await createWebhook(database, { tenant_id: 'dumped', url: 'https://example.com/dumped' });
      const { code, output } = await dump(url, '--enable-row-security');
      expect([code, output]).toEqual([0, expect.stringContaining('https://example.com/dumped')]);
    } finally {
      await database.query(`drop role ${role}`);
    }
  });

  test('with --enable-row-security by another login has no rows and no error, also with pg_read_all_data', async () => {
    const role = `reader_${database.name}`;
    await database.query(`create role ${role} login password 'secret'; grant pg_read_all_data to ${role}`);
    const url = databaseUrl(database.url, database.name, role, 'secret');
    try {
      await createWebhook(database, { tenant_id: 'hidden', url: 'https://example.com/hidden' });
      const { code, output } = await dump(url, '--enable-row-security');
      expect([code, output]).toEqual([0, expect.stringContaining('COPY rowhook.webhook_configurations')]);
      expect(output).not.toContain('https://example.com/hidden');
      await database.query(`grant rowhook_owner to ${role}`);
      expect((await dump(url, '--enable-row-security')).output).toContain('https://example.com/hidden');
    } finally {
      await database.query(`drop role ${role}`);
    }
  });

  test('a data-only restore works for the tables of the application, muted, and not for those of rowhook', async () => {
    const [source, other] = [await createDatabase(), await createDatabase()];
    const role = `restorer_${database.name}`;
    const folder = mkdtempSync(join(tmpdir(), 'rowhook-dump-'));
    const file = join(folder, 'app.dump');
    await database.query(`create role ${role} login password 'secret'; grant rowhook_owner to ${role}`);
    try {
      await source.query(
        "create table app (id int primary key, tenant_id text); select rowhook.watch('app'); insert into app values (1, 'acme')",
      );
      await other.query(`create table app (id int primary key, tenant_id text); alter table app owner to ${role};
        select rowhook.watch('app'); insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
        values ('acme', 'w', 'https://example.com/', '{*}')`);
      expect(await runTool('pg_dump', ['-Fc', `--file=${file}`, source.url])).toMatchObject({ code: 0 });
      const [, args = ''] =
        /^PGOPTIONS='-c rowhook\.mute=on' pg_restore (--.*) \\\n +--dbname="\$DATABASE_URL" app\.dump$/m.exec(
          page('backup.md'),
        ) ?? [];
      const url = new URL(databaseUrl(other.url, other.name, role, 'secret'));
      url.search = `?options=${encodeURIComponent('-c rowhook.mute=on')}`;
      const restore = (...more: string[]) => runTool('pg_restore', [...more, `--dbname=${url}`, file]);
      expect(args).toContain('--schema=public');
      expect(await restore(...args.split(' '))).toEqual({ code: 0, output: '' });
      expect(await other.query('select * from app')).toEqual([{ id: 1, tenant_id: 'acme' }]);
      expect(await other.query("select from rowhook.webhook_outbox where event_types <> '{}'")).toEqual([]);
      expect(await restore('--data-only', '--schema=rowhook')).toMatchObject({
        code: 1,
        output: expect.stringContaining('row-level security'),
      });
    } finally {
      rmSync(folder, { recursive: true });
      await source.drop();
      await other.drop();
      await database.query(`drop role ${role}`);
    }
  });
});

test('UPDATE of webhooks by a role that may write all data, and is no member of rowhook_owner, changes none', async () => {
  await createWebhook(database, { tenant_id: 'copied', url: 'https://example.com/copied' });
  const role = `admin_${database.name}`;
  await database.query(`create role ${role}; grant pg_read_all_data, pg_write_all_data to ${role}`);
  const [off] = blocksOf('docs/dba/backup.md').filter(({ text }) => text.startsWith('update rowhook.webhook_conf'));
  const active = async () =>
    (await database.query('select from rowhook.webhook_configurations where is_active')).length;
  try {
    const before = await active();
    await client.query(`set role ${role}`);
    await client.query(off?.text ?? '');
    expect(await active()).toBe(before);
    await database.query(`grant rowhook_owner to ${role}`);
    await client.query(off?.text ?? '');
    expect(await active()).toBe(0);
  } finally {
    await client.query('reset role');
    await database.query(`drop role ${role}`);
  }
});

test('the check for running daemons shows a daemon until it has stopped', async () => {
  const [check] = blocksOf('docs/dba/backup.md').filter(({ text }) => text.includes('pg_stat_activity'));
  const running = async () => {
    const rows = await database.query<{ application_name: string }>(check?.text ?? '');
    return [...new Set(rows.map(({ application_name }) => application_name))].sort();
  };
  const daemon = await startTestDaemon(database);
  try {
    await waitUntil('it has all its connections', async () => (await running()).length === 4);
    expect(await running()).toEqual(['rowhook', 'rowhook listen', 'rowhook reader', 'rowhook watcher']);
    for (const word of ['reader', 'listen', 'watcher']) expect(page('backup.md')).toContain(`*${word}*`);
  } finally {
    await daemon.stop();
  }
  await waitUntil('no session is left', async () => (await running()).length === 0);
});

test('after a restore without the rows of the outbox, what waited is skipped as payload_lost, and not sent', async () => {
  const receiver = await startReceiver();
  receiver.respond('/', { status: 503 });
  const { id } = await createWebhook(database, { tenant_id: 'lost', url: receiver.url('/') });
  let daemon = await startTestDaemon(database);
  try {
    await database.query(`select rowhook.emit('order.paid', '{"amount":10}', 'lost')`);
    await waitUntil('it has failed', async () => {
      const waiting = await database.query('select from rowhook.webhook_deliveries where last_code is not null');
      return waiting.length === 1;
    });
    await daemon.stop();
    await database.query(
      'truncate rowhook.webhook_outbox; update rowhook.webhook_deliveries set next_attempt_at = now()',
    );
    receiver.clear();
    daemon = await startTestDaemon(database);
    const log = await waitUntil('it is skipped', async () => {
      const [row] = await database.query(
        "select status, code, error, attempt from rowhook.webhook_logs where webhook_id = $1 and status = 'skipped'",
        [id],
      );
      return row;
    });
    expect(log).toEqual({
      status: 'skipped',
      code: 'payload_lost',
      error: 'its payload is lost, because the outbox was emptied by hand or restored without its data',
      attempt: 1,
    });
    expect(await database.query('select from rowhook.webhook_deliveries')).toEqual([]);
    expect(receiver.requests).toEqual([]);
  } finally {
    await daemon.stop();
    await receiver.close();
  }
});
