/**
 * Every block of the README and of docs/ runs here, from the top of its page to the bottom, on a PostgreSQL of its own. Each page
 * has its own database `app`, with rowhook, a table `orders` (id, account_id, status, total), a webhook of the tenant `acme` that
 * works (with the quickstart's name, `here`, unless the page creates that one), one that fails, and a daemon that has tried both once.
 *
 * What a page may hold:
 *
 *   ```sh       runs in a real bash (test/support/page-shell.ts) and must end with 0. Variables last to the end of the page, so
 *               `WEBHOOK=$(…)` works in the next block. `rowhook start`, `listen`, `serve`, `… --follow` and `--watch` go on in the
 *               background. docker, helm, kubectl, systemctl, sudo, npm, cp and their like are taken as run, and print nothing.
 *   ```sql      runs as the owner.
 *   ```text     is what a program prints, or a picture. ini is not run either; json and yaml must be valid.
 *
 *   <!-- as: app_login -->       above a block: it runs as this role. For `sh`, the role must be a login.
 *   <!-- stop: listen -->        ends a command that goes on, as Ctrl-C does.
 *   <!-- tested by: test/… -->   above a block of another language: this test runs it.
 *   <!-- not run: because … -->  above a block that cannot run here.
 *
 * `postgres://owner:…@db.example.com/app` is the database of the page, as the owner; with another login, as that login.
 * `127.0.0.1:3000`, `:8080`, `:9464` and `:9465` become free ports. `<id>`, `<log>`, `<delivery>` and `<event>` stand for those of the
 * webhook that fails; a variable is better. A page that has `rowhook start` gets no other daemon; one that makes the role
 * `rowhook_owner` begins without rowhook.
 */

import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { rowhook } from '../support/cli.ts';
import { caughtUp, type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { databaseUrl } from '../support/database.ts';
import { loginsIn, NEEDED, PASSWORD, PageShell } from '../support/page-shell.ts';
import { type Block, mentionsOf, piecesOf, wordsOf } from '../support/pages.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';
import { canDump, hasTool } from '../support/tool.ts';
import { waitUntil } from '../support/wait.ts';

const root = join(import.meta.dirname, '../..');
const pages = ['README.md', ...globSync(['docs/*.md', 'docs/*/*.md'], { cwd: root }).sort()];

const RUN = ['sh', 'sql'];
const NOT_RUN = ['text', 'ini'];
/** Run by other tests: the API's guide, the programs of its client, and templates. */
const RUN_ELSEWHERE: Readonly<Record<string, string>> = {
  bash: 'test/api/docs.test.ts',
  ts: 'test/client/docs.test.ts',
  liquid: 'test/docs/recipes.unit.test.ts',
};
const COMMENTS = /^(as|stop|tested by|not run|receiver|worker): /;
/** They remove rowhook, or restore another database. */
const WITHOUT_DAEMON = ['approve', 'backup', 'tables', 'upgrade'].map((page) => `docs/dba/${page}.md`);
/** What a page says to do in words. */
const BEFORE: Record<string, string> = {
  'docs/dba/upgrade.md': "select rowhook.watch('orders', tenant_column => 'account_id')",
  'docs/dba/tenants.md': readFileSync(join(root, 'sql/tenants/session-user.sql'), 'utf8'),
};
const ORDERS = `create table orders (id int generated always as identity primary key, account_id text not null default 'acme',
  status text not null default 'new', total numeric not null default 0)`;

let server: Embedded;
let receiver: Receiver;

beforeAll(async () => {
  server = await startEmbedded({ major: wantedMajor, settings: { fsync: 'off' } });
  receiver = await startReceiver();
  receiver.respond('/fails', { status: 500 });
});

afterAll(async () => {
  await receiver?.close();
  await server?.stop('immediate');
});

interface Page {
  url: string;
  client: pg.Client;
  shell: PageShell;
  daemon: DaemonProcess | undefined;
  /** What stands for `<id>` and its like. */
  names: Record<string, string>;
}

async function open(name: string, pieces: readonly Block[]): Promise<Page> {
  const text = pieces.map((piece) => piece.text).join('\n');
  await onServer('create database app');
  const url = databaseUrl(server.url, 'app');
  const client = new pg.Client(url);
  await client.connect();
  const shell = await PageShell.open({ url, canDump: canDump(server.major) });
  const page: Page = { url, client, shell, daemon: undefined, names: {} };
  if (!/create table (if not exists )?(public\.)?orders\b/i.test(text)) await client.query(ORDERS);
  if (/create role rowhook_owner/i.test(text)) return page;
  await migrate(client);
  await client.query(BEFORE[name] ?? '');
  const { rows } = await client.query<{ id: string }>(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
     values ('acme', 'fails', $1, '{*}'), ('acme', $3, $2, '{*}') returning id`,
    [receiver.url('/fails'), receiver.url('/'), text.includes('--name here') ? 'works' : 'here'],
  );
  page.names = { id: rows[0]?.id ?? '', 'webhook id': rows[0]?.id ?? '' };
  if (!WITHOUT_DAEMON.includes(name) && !/^ *(\w+=\S+ )*(npx )?rowhook start/m.test(text)) await deliver(page);
  return page;
}

/** A daemon has delivered an event, and failed to. */
async function deliver(page: Page): Promise<void> {
  page.daemon = startDaemonProcess(page.url, { ROWHOOK_HTTP_PORT: String(page.shell.httpPort) });
  await page.daemon.tookLanes();
  await page.client.query(`select rowhook.emit('order.paid', '{"amount":10}', 'acme')`);
  const logs = await waitUntil('both webhooks were tried', async () => {
    const { rows } = await page.client.query('select * from rowhook.webhook_logs order by status');
    return rows.length === 2 && rows;
  });
  const [failed] = logs;
  Object.assign(page.names, { log: String(failed.id), delivery: failed.delivery_id, event: failed.event_id });
}

async function close({ client, daemon, shell }: Page): Promise<void> {
  await shell.close();
  await daemon?.kill('SIGKILL');
  await client.end();
  const databases =
    "select format('drop database %I with (force)', datname) as drop from pg_database where datname not in ('postgres', 'template0', 'template1')";
  const roles =
    "select format('drop role %I', rolname) as drop from pg_roles where rolname not like 'pg\\_%' and rolname <> current_user";
  for (const { drop } of [...(await onServer(databases)), ...(await onServer(roles))]) await onServer(drop);
}

async function onServer(statement: string): Promise<{ drop: string }[]> {
  const client = new pg.Client(server.url);
  await client.connect();
  return client
    .query(statement)
    .then(({ rows }) => rows)
    .finally(() => client.end());
}

async function runSql({ url, client }: Page, text: string, role: string | undefined): Promise<void> {
  if (role === undefined) return void (await client.query(text));
  const session = new pg.Client(url);
  await session.connect();
  try {
    await session.query(`set session authorization ${role}`);
    await session.query(text);
  } finally {
    await session.end();
  }
}

async function runShell(page: Page, text: string, role: string | undefined): Promise<void> {
  const { client, url, shell, names } = page;
  for (const login of new Set([...loginsIn(text), ...(role === undefined ? [] : [role])])) {
    const { rows } = await client.query('select from pg_roles where rolname = $1 and rolcanlogin and not rolsuper', [
      login,
    ]);
    if (rows.length > 0) await client.query(`alter role ${login} password '${PASSWORD}'`);
  }
  const filled = text.replaceAll(/<([a-z ]+)>/g, (whole, name: string) => names[name] ?? whole);
  await shell.run(filled, role && databaseUrl(url, 'app', role, PASSWORD));
}

/** Somebody who types sees each event arrive before the next block. */
async function settle({ client, daemon, shell }: Page): Promise<void> {
  if (daemon === undefined && !(await shell.isRunning('start'))) return;
  await caughtUp({ query: async <Row extends pg.QueryResultRow>(sql: string) => (await client.query<Row>(sql)).rows });
}

/** `above`: the comment above the block, such as `as: app_login`. */
async function run(page: Page | undefined, name: string, { kind, text }: Block, above: string): Promise<void> {
  const role = /^as: (\w+)$/.exec(above)?.[1];
  if (/^not run: .{10}/.test(above) || /^(receiver|worker): /.test(above) || NOT_RUN.includes(kind)) return;
  if (page && RUN.includes(kind)) {
    await (kind === 'sh' ? runShell(page, text, role) : runSql(page, text, role));
    return settle(page);
  }
  if (kind === 'json') return void JSON.parse(text);
  if (kind === 'yaml') return void parse(text);
  const other = /^tested by: (\S+)$/.exec(above)?.[1] ?? RUN_ELSEWHERE[kind];
  if (other && existsSync(join(root, other)) && readFileSync(join(root, other), 'utf8').includes(name)) return;
  if (above.startsWith('tested by: ')) throw new Error(`${other} is not there, or does not name ${name}.`);
  throw new Error(`A block of "${kind}" is of no known kind. The head of this test lists what a page may hold.`);
}

test.skipIf(!NEEDED.every((tool) => hasTool(tool, '--version'))).each(pages)(
  '%s',
  async (name) => {
    const pieces = piecesOf(name);
    // A database and a daemon take 3 s of CPU, and a page may have nothing to run.
    const page = pieces.some(({ kind }) => RUN.includes(kind)) ? await open(name, pieces) : undefined;
    try {
      let above = '';
      for (const piece of pieces) {
        if (piece.kind === 'comment') {
          const command = /^stop: (\w+)$/.exec(piece.text)?.[1];
          if (command !== undefined) await page?.shell.stop(command);
          above = COMMENTS.test(piece.text) ? piece.text : '';
          continue;
        }
        await run(page, name, piece, piece.before.startsWith('<!-- ') ? above : '').catch((error) => {
          throw new Error(`${piece.at}: ${error instanceof Error ? error.message : error}`, { cause: error });
        });
      }
      if (name === 'README.md') await arrives(page as Page);
    } finally {
      if (page) await close(page);
    }
  },
  300_000,
);

/** Somebody who has done all of it changes a row. */
async function arrives({ client }: Page): Promise<void> {
  await client.query("insert into orders (status) values ('paid')");
  await waitUntil('the change is delivered', async () => {
    const { rows } = await client.query(
      "select from rowhook.webhook_logs l join rowhook.webhook_configurations c on c.id = l.webhook_id where c.name = 'here'",
    );
    return rows.length > 0;
  });
}

test.each([
  ['toml', 'a: 1'],
  ['js', 'console.log(1)'],
])('a block of an unknown kind is refused: %s', async (kind, text) => {
  const block = { at: 'page:1', kind, text, before: '', chapter: '' };
  await expect(run(undefined, 'page', block, '')).rejects.toThrow('is of no known kind');
});

test('what the pages say is run: the shell', async () => {
  const shell = await PageShell.open({ url: 'postgres://owner:x@127.0.0.1/app', canDump: false });
  try {
    await shell.run('export A=$(printf one)\nB="$A two"\nkubectl get pods | grep none && cd elsewhere');
    await shell.run('[ "$B" = "one two" ] && [ "$(npx rowhook --version)" != "" ]');
    await expect(shell.run('make coffee')).rejects.toThrow('make: command not found');
    await expect(shell.run('npx rowhook logs --never')).rejects.toThrow("unknown option '--never'");
    await expect(shell.run('echo $NEVER_SET')).rejects.toThrow('unbound variable');
    await expect(shell.run('echo a > /etc/never')).rejects.toThrow('outside of its folder');
  } finally {
    await shell.close();
  }
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
