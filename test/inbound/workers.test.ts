// The workers of docs/use/inbound.md, as they stand there: each in a process of its own, with a login that may claim and no more.

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { receiveSql } from '../support/inbound-events.ts';
import { waitUntil } from '../support/wait.ts';

const root = join(import.meta.dirname, '../..');
const password = randomBytes(12).toString('hex');
const role = `lead_worker_${randomBytes(4).toString('hex')}`;

/** The first python3 that has psycopg 3: the one of the system may have it where another one comes first. */
const python = ['python3', '/usr/bin/python3'].find(
  (each) => spawnSync(each, ['-c', 'import psycopg; assert psycopg.__version__ > "3"']).status === 0,
);

let database: TestDatabase;
let page: string;
/** The worker in SQL, and its table. */
let [table, work] = ['', ''];

beforeAll(async () => {
  database = await createDatabase();
  page = await readFile(join(root, 'docs/use/inbound.md'), 'utf8');
  [table, work] = [sqlWith('create table leads'), sqlWith('do $$')];
  await database.query(`
    create role ${role} login password '${password}';
    grant rowhook_worker to ${role}`);
  await database.query(table.replace('lead_worker', role));
  await database.query('alter table leads alter email set not null');
});

afterAll(async () => {
  await database?.query(`drop owned by ${role}; drop role ${role}`);
  await database?.drop();
});

/** The code block behind `<!-- worker: name -->`. */
function workerOf(name: string): string {
  const code = new RegExp(`<!-- worker: ${name} -->\n\`\`\`\\w+\n([\\s\\S]*?)\`\`\``).exec(page)?.[1];
  if (code === undefined) throw new Error(`docs/use/inbound.md has no worker in ${name}`);
  return code;
}

function sqlWith(text: string): string {
  const blocks = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql = '']) => sql);
  return blocks.find((sql) => sql.includes(text)) ?? '';
}

const put = async (payload: object) =>
  (
    await database.query<{ id: string }>(`select id from ${receiveSql("'acme'", "'lead.captured'", '$1')}`, [
      JSON.stringify(payload),
    ])
  )[0]?.id as string;
/** As `rowhook serve` does. */
const ring = () => database.query("select pg_notify('rowhook_inbound', '')");
const emails = async () =>
  (await database.query<{ email: string }>('select email from leads order by id')).map(({ email }) => email);
const state = async (id: string) =>
  (
    await database.query('select status, attempts, error_message from rowhook.integration_events where id = $1', [id])
  )[0];

test('the worker in SQL processes what waits, and gives back what it cannot process', async () => {
  const [good, broken] = [await put({ email: 'a@example.com' }), await put({ name: 'nobody' })];
  await database.query(work);
  expect(await emails()).toEqual(['a@example.com']);
  expect(await state(good)).toEqual({ status: 'processed', attempts: 1, error_message: null });
  expect(await state(broken)).toEqual({
    status: 'received',
    attempts: 1,
    error_message: expect.stringMatching(/email/),
  });
  await database.query('delete from rowhook.integration_events');
});

async function works(command: string, args: string[]): Promise<void> {
  await database.query('truncate leads');
  const [first, broken] = [await put({ email: 'a@example.com' }), await put({ name: 'nobody' })];
  const env = { PATH: process.env.PATH, DATABASE_URL: databaseUrl(database.url, database.name, role, password) };
  const worker = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  worker.stderr.on('data', (text) => {
    said += text;
  });
  try {
    const until = (what: string, is: () => Promise<boolean>) =>
      waitUntil(what, async () => {
        if (worker.exitCode !== null) throw new Error(`the worker has ended: ${said}`);
        return is();
      });
    await until('what waits is processed', async () => (await emails()).includes('a@example.com'));
    await until('what it refuses is given back', async () => (await state(broken))?.status === 'received');
    expect(await state(first)).toEqual({ status: 'processed', attempts: 1, error_message: null });
    expect(await state(broken)).toEqual({
      status: 'received',
      attempts: 1,
      error_message: expect.stringMatching(/email/),
    });
    await put({ email: 'b@example.com' });
    await ring();
    await until('it hears of more', async () => (await emails()).length === 2);
    expect(await emails()).toEqual(['a@example.com', 'b@example.com']);
  } finally {
    const ended = worker.exitCode === null ? once(worker, 'exit') : undefined;
    worker.kill('SIGKILL');
    await ended;
    await database.query('delete from rowhook.integration_events');
  }
}

test('the worker in Node processes what comes, and gives back what it cannot process', () =>
  works(process.execPath, ['--input-type=module', '--eval', workerOf('node')]));

test.skipIf(python === undefined)(
  'the worker in Python does (skipped where python3 has no psycopg: apt install python3-psycopg)',
  () => works(python as string, ['-c', workerOf('python')]),
);
