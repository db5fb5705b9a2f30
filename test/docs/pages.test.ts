// Every SQL block and every command of the README and of docs/ is run here, in its order, on a PostgreSQL of its own: one database for
// each page, with a webhook that works, one that fails, a receiver and, where the page needs it, a daemon. README's chapter "Attach it
// to your own database" is run by cli-newcomer.test.ts, the receivers by receivers.test.ts.

import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { rowhook } from '../support/cli.ts';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { databaseUrl } from '../support/database.ts';
import { type Block, blocksOf, mentionsOf, wordsOf } from '../support/pages.ts';
import { freePort } from '../support/port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';
import { canDump } from '../support/tool.ts';
import { waitUntil } from '../support/wait.ts';

const root = join(import.meta.dirname, '../..');
const pages = ['README.md', ...globSync(['docs/*.md', 'docs/*/*.md'], { cwd: root }).sort()];

/** What needs more than a database: another machine, or minutes. */
const NOT_HERE = [
  ...['npm', 'systemctl', 'journalctl', 'kubectl', 'helm', 'docker', 'top', 'grep'],
  ...['git', 'cd', 'export', 'sudo', '/usr/bin/node'],
];
/** Pictures, and what programs print. */
const NO_CODE = ['text'];
/** Run by test/api/docs.test.ts, with a server. */
const OF_THE_API = 'bash';
/** Rendered by test/docs/recipes.unit.test.ts. */
const TEMPLATES = 'liquid';
/** Compiled and run by test/client/docs.test.ts. */
const OF_THE_CLIENT = 'ts';
const RECEIVERS = ['js', 'python', 'php', 'go', 'ruby'];
const RUN_ELSEWHERE = 'Attach it to your own database';
/** Begin without rowhook and without its roles, or take it away: no daemon runs meanwhile. */
const WITHOUT_DAEMON = [
  'README.md',
  ...['approve', 'backup', 'tables', 'upgrade'].map((page) => `docs/dba/${page}.md`),
];
const BARE = ['docs/dba/approve.md'];
/** What a page says to do in words. */
const BEFORE: Record<string, string> = {
  'docs/dba/upgrade.md': `create table orders (id bigint primary key, account_id text);
    select rowhook.watch('orders', tenant_column => 'account_id')`,
  'docs/dba/tenants.md': readFileSync(join(root, 'sql/tenants/session-user.sql'), 'utf8'),
};
/** Roles of the pages, and those that they make rowhook leave behind. */
const ROLES = [
  'acme_login',
  'app_login',
  'app_owner',
  'lead_worker',
  'rowhook_operator',
  'rowhook_api_login',
  'rowhook_login',
  'rowhook_api',
  'rowhook_app',
  'rowhook_daemon',
  'rowhook_owner',
  'rowhook_worker',
];

let server: Embedded;
let receiver: Receiver;
let folder: string;

beforeAll(async () => {
  server = await startEmbedded({ major: wantedMajor, settings: { fsync: 'off' } });
  receiver = await startReceiver();
  receiver.respond('/fails', { status: 500 });
  folder = await mkdtemp(join(tmpdir(), 'rowhook-docs-'));
});

afterAll(async () => {
  await receiver?.close();
  await server?.stop('immediate');
  if (folder) await rm(folder, { recursive: true });
});

interface Page {
  url: string;
  client: pg.Client;
  daemon: DaemonProcess | undefined;
  port: number;
  /** What stands for `<id>` and its like. */
  names: Record<string, string>;
}

async function open(page: string): Promise<Page> {
  await onServer('create database app');
  const url = databaseUrl(server.url, 'app');
  const client = new pg.Client(url);
  await client.connect();
  const port = await freePort();
  const opened: Page = { url, client, daemon: undefined, port, names: {} };
  if (BARE.includes(page)) return opened;
  await migrate(client);
  await client.query(BEFORE[page] ?? '');
  const { rows } = await client.query<{ id: string }>(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
     values ('acme', 'fails', $1, '{*}'), ('acme', 'works', $2, '{*}') returning id`,
    [receiver.url('/fails'), receiver.url('/')],
  );
  opened.names = { id: rows[0]?.id ?? '', 'webhook id': rows[0]?.id ?? '' };
  if (!WITHOUT_DAEMON.includes(page)) await deliver(opened);
  return opened;
}

/** A daemon has delivered an event, and failed to. */
async function deliver(page: Page): Promise<void> {
  page.daemon = startDaemonProcess(page.url, { ROWHOOK_HTTP_PORT: String(page.port) });
  await page.daemon.tookLanes();
  await page.client.query(`select rowhook.emit('order.paid', '{"amount":10}', 'acme')`);
  const logs = await waitUntil('both webhooks were tried', async () => {
    const { rows } = await page.client.query('select * from rowhook.webhook_logs order by status');
    return rows.length === 2 && rows;
  });
  const [failed] = logs;
  Object.assign(page.names, { log: String(failed.id), delivery: failed.delivery_id, event: failed.event_id });
}

async function close({ client, daemon }: Page): Promise<void> {
  await daemon?.kill('SIGKILL');
  await client.end();
  await onServer('drop database app with (force)');
  for (const role of ROLES) await onServer(`drop role if exists ${role}`);
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client(server.url);
  await client.connect();
  await client.query(statement).finally(() => client.end());
}

/** One line of a shell, as far as it is one of ours. */
async function shell(page: Page, line: string): Promise<void> {
  const commands = line.split(/ && | \| (?=[a-z])/).map(wordsOf);
  if (commands.some(([first = '']) => NOT_HERE.includes(first))) return;
  const [first = []] = commands;
  const assigned = first.findIndex((word) => !/^[A-Z_]+=/.test(word));
  const words = first.slice(assigned);
  const env = Object.fromEntries(first.slice(0, assigned).map((word) => word.split('=', 2)));
  const [path = '', ...args] = words[0] === 'npx' ? words.slice(1) : words;
  const program = path.replace(/^.*\/\.bin\//, '');
  if (program === 'rowhook' && commands.length === 1) return command(page, args, env);
  if (program === 'psql' && commands.length === 1) return psql(page, args);
  if (program === 'curl' && commands.length === 1) return curl(page, args);
  if (program === 'pg_dump' && commands.length === 1) return pgDump(page, line);
  throw new Error(`"${program}" is of no known kind: name it in NOT_HERE, or teach the test to run it.`);
}

async function command({ url, names }: Page, args: string[], env: Record<string, string>): Promise<void> {
  const filled = args.map((word) => word.replace(/^<(.+)>$/, (whole, name: string) => names[name] ?? whole));
  // "rowhook doctor" ends with 1 when it has found something
  const result = await rowhook(filled, { env: { ...env, DATABASE_URL: url } });
  expect({ ...result, stdout: '' }).toEqual({
    code: args[0] === 'doctor' ? expect.any(Number) : 0,
    stdout: '',
    stderr: '',
  });
}

/** What psql would send; the package has none. */
async function psql({ client }: Page, args: string[]): Promise<void> {
  const [option = '', value = ''] = args.slice(args.findIndex((word) => word === '-c' || word === '-f'));
  if (option === '-c') return void (await client.query(value));
  expect(option).toBe('-f');
  const text = readFileSync(join(root, value.replace('node_modules/rowhook/', '')), 'utf8');
  await client.query(args.includes('-1') ? `begin; ${text}; commit` : text);
}

async function curl({ port }: Page, args: string[]): Promise<void> {
  const url = args.find((word) => word.startsWith('http')) ?? '';
  const response = await fetch(url.replace('localhost:9464', `127.0.0.1:${port}`));
  expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
}

/** With the machine's own, if it is not too old for the server. */
function pgDump({ url }: Page, line: string): void {
  if (!canDump(server.major)) return;
  execFileSync('sh', ['-c', line], { cwd: folder, env: { PATH: process.env.PATH, DATABASE_URL: url } });
}

async function run(page: Page, { kind, text, before }: Block): Promise<void> {
  if (kind === 'shell') return shell(page, text);
  if (kind === 'sql') return void (await page.client.query(text));
  if (NO_CODE.includes(kind) || [OF_THE_API, OF_THE_CLIENT, TEMPLATES].includes(kind)) return;
  if (RECEIVERS.includes(kind) && before.startsWith('<!-- receiver: ')) return;
  // Run by test/inbound/workers.test.ts.
  if (before.startsWith('<!-- worker: ')) return;
  throw new Error(`A block of "${kind}" is of no known kind.`);
}

test.each(pages)(
  '%s',
  async (name) => {
    const blocks = blocksOf(name).filter(({ chapter }) => name !== 'README.md' || chapter !== RUN_ELSEWHERE);
    const page = await open(name);
    try {
      for (const block of blocks) {
        await run(page, block).catch((error) => {
          throw new Error(`${block.at}: ${error instanceof Error ? error.message : error}`, { cause: error });
        });
      }
    } finally {
      await close(page);
    }
  },
  120_000,
);

test.each([
  ['yaml', 'a: 1', 'A block of "yaml" is of no known kind.'],
  ['js', 'console.log(1)', 'A block of "js" is of no known kind.'],
  ['shell', 'make coffee', '"make" is of no known kind: name it in NOT_HERE, or teach the test to run it.'],
])('a block of an unknown kind is refused: %s, %s', async (kind, text, message) => {
  const block = { at: 'page:1', kind, text, before: '', chapter: '' };
  await expect(run({} as Page, block)).rejects.toThrow(message);
});

test('every command and flag that a page mentions is one', async () => {
  const helps = new Map<string, Promise<string>>();
  const wrong: string[] = [];
  for (const mention of new Set(pages.flatMap(mentionsOf))) {
    const words = wordsOf(mention);
    const end = words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word));
    const path = words.slice(0, end < 0 ? words.length : end);
    const key = path.slice(0, 2).join(' ');
    if (path.length === 0) continue; // rowhook --help and its like
    if (!helps.has(key))
      helps.set(
        key,
        rowhook([...path.slice(0, 2), '--help']).then(({ stdout }) => stdout),
      );
    const help = (await helps.get(key)) ?? '';
    const flags = words.filter((word) => word.startsWith('--')).map((word) => word.split('=')[0] as string);
    if (!help.startsWith(`Usage: rowhook ${path[0]}`) || !flags.every((flag) => help.includes(flag)))
      wrong.push(mention);
  }
  expect(helps.size).toBeGreaterThan(8);
  expect(wrong).toEqual([]);
}, 60_000);
