// The page docs/use/app.md: its SQL as the roles that it names, and its program in Node, which compiles and runs.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { blocksOf } from '../support/pages.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);
const login = `app_login_${randomBytes(4).toString('hex')}`;
const password = randomBytes(12).toString('hex');
const blocks = blocksOf('docs/use/app.md');
const [asOwner = '', asApplication = ''] = blocks.filter(({ kind }) => kind === 'sql').map(({ text }) => text);
const program = blocks.find(({ kind }) => kind === 'ts')?.text ?? '';

/** What the routes of an application would do. */
const CALLER = `
import * as webhooks from './webhooks.ts';

const [url = ''] = process.argv.slice(2);
const [created] = await webhooks.create('globex', 'CRM', url, ['order.*']);
await webhooks.sendTest('globex', created.id);
let attempts: unknown[] = [];
while (attempts.length === 0) attempts = await webhooks.attempts('globex', created.id);
const ofAnother = [
  await webhooks.list('initech'),
  await webhooks.setActive('initech', created.id, false),
  await webhooks.attempts('initech', created.id),
  await webhooks.newSecret('initech', created.id).catch((error) => [error.message.replace(created.id, 'it')]),
].flat();
await webhooks.setActive('globex', created.id, true);
const listed = await webhooks.list('globex');
const replayed = await webhooks.replayMissed('globex', created.id);
const [{ secret }] = await webhooks.newSecret('globex', created.id);
await webhooks.remove('globex', created.id);
const left = await webhooks.list('globex');
const types = (await webhooks.eventTypes('globex')).map(({ event_type }) => event_type);
console.log(JSON.stringify({ created, attempts, ofAnother, listed, replayed, secret, left, types }));
await webhooks.end();
`;

let database: TestDatabase;
let daemon: Daemon;
let receiver: Receiver;
let folder: string;

beforeAll(async () => {
  database = await createDatabase();
  receiver = await startReceiver();
  folder = await mkdtemp(join(tmpdir(), 'rowhook-app-'));
  await database.query(`
    create table orders (id int primary key, account_id text);
    select rowhook.watch('orders', prefix => 'order', tenant_column => 'account_id');
    ${asOwner.replaceAll('app_login', login).replace('change me', password)}`);
  daemon = await startTestDaemon(database);
});

afterAll(async () => {
  await daemon?.stop();
  await receiver?.close();
  await database?.query(`drop owned by ${login}; drop role ${login}`);
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

test('the application creates a webhook with its own login, and gets the secret', async () => {
  const client = new pg.Client(databaseUrl(database.url, database.name, login, password));
  await client.connect();
  const results = (await client.query(asApplication)) as unknown as pg.QueryResult[];
  expect(results.flatMap(({ rows }) => rows)).toEqual([
    { id: expect.any(String), secret: expect.stringMatching(/^whsec_/) },
  ]);
  expect((await client.query('select * from rowhook.webhooks')).rows).toEqual([]);
  await client.end();
});

test('the functions in Node compile, and a tenant reaches its own webhooks only', async () => {
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'webhooks.ts'), program);
  await writeFile(join(folder, 'caller.ts'), CALLER);
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  const compilerOptions = { typeRoots: [join(root, 'node_modules/@types')], noEmit: true };
  const settings = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]);

  const env = { DATABASE_URL: databaseUrl(database.url, database.name, login, password) };
  const { stdout } = await run(process.execPath, [join(folder, 'caller.ts'), receiver.url('/')], { env });
  expect(JSON.parse(stdout)).toEqual({
    created: { id: expect.any(String), secret: expect.stringMatching(/^whsec_/) },
    attempts: expect.arrayContaining([expect.objectContaining({ status: 'success', code: 'delivered' })]),
    ofAnother: ['rotate_secret: there is no webhook it'],
    listed: [expect.objectContaining({ name: 'CRM', is_active: true, disabled_reason: null })],
    replayed: [{ n: '0' }],
    secret: expect.stringMatching(/^whsec_/),
    left: [],
    types: expect.arrayContaining(['order.created', 'order.deleted', 'order.updated']),
  });
}, 60_000);
