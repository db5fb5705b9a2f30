// The newcomer's path: README's chapter "Attach it to your own database", every command and statement of it, in its order.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliResult, type RunningCli, rowhookProcess, startRowhook } from '../support/cli.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { waitUntil } from '../support/wait.ts';

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
const [, chapter = ''] = /\n## Attach it to your own database\n([\s\S]*?)\n## /.exec(readme) ?? [];

/** Commands (`npx rowhook …`, without their comments) and SQL blocks, in order. */
const steps = [...chapter.matchAll(/^ {4}((?:\w+=\S+ )*npx rowhook .*)$|```sql\n([\s\S]*?)```/gm)].map(
  ([, command, sql]) => (command === undefined ? { sql: sql ?? '' } : { command: command.replace(/ +#.*$/, '') }),
);

const LOGIN = 'rowhook_login';
const APP_LOGIN = 'app_login';
let database: TestDatabase;
let port: number;
const running: RunningCli[] = [];

beforeAll(async () => {
  database = await createDatabase({ bare: true });
  await database.query(
    "create table orders (id int generated always as identity primary key, account_id text not null, status text not null default 'new')",
  );
  port = await freePort();
});

afterAll(async () => {
  for (const { process } of running) process.kill('SIGKILL');
  await Promise.all(running.map(({ ended }) => ended));
  for (const login of [LOGIN, APP_LOGIN])
    await database.query(`drop owned by ${login}; drop role ${login}`).catch(() => {});
  await database.drop();
});

/** What the commands before have printed. */
const found: Record<string, string> = {};

function argumentsOf(command: string): string[] {
  const filled = command
    .replace(/^.*npx rowhook /, '')
    .replaceAll(/<(\w+)>/g, (_, name: string) => found[name] ?? `<${name}>`)
    .replace('127.0.0.1:3000', `127.0.0.1:${port}`);
  const words = [...filled.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  return words[0] === 'listen' ? [...words, '--port', String(port)] : words;
}

async function run(command: string, env: Record<string, string> = {}): Promise<CliResult> {
  const result = await rowhookProcess(argumentsOf(command), { env: { DATABASE_URL: database.url, ...env } });
  expect(result, command).toMatchObject({ code: 0, stderr: '' });
  return result;
}

async function start(command: string, isReady: RegExp, env: Record<string, string> = {}): Promise<RunningCli> {
  const started = startRowhook(argumentsOf(command), {
    env: { DATABASE_URL: database.url, ROWHOOK_HTTP_PORT: '0', ...env },
  });
  running.push(started);
  await waitUntil(`${command} is ready`, () => isReady.test(started.stdout()));
  return started;
}

async function end({ process, ended }: RunningCli): Promise<void> {
  process.kill('SIGINT');
  await ended;
}

/** The next step, which must be what the test is about to do. */
function next(pattern: RegExp): string {
  const step = steps.shift();
  const text = step?.command ?? step?.sql ?? 'nothing more';
  expect(text).toMatch(pattern);
  return text;
}

test('install, watch, first webhook, see it arrive, see it fail, see why, replay, run for good', async () => {
  await run(next(/ migrate$/));
  expect((await run(next(/ watch --preset crm$/))).stdout).toContain(
    'No table of this preset exists. Name your own table',
  );
  await run(next(/ watch orders /));
  expect((await run(next(/ sources$/))).stdout).toContain('order.paid');
  await database.query(next(/watch_preset[\s\S]*rowhook\.watch\(/));

  const { stdout: created } = await run(next(/ webhook create .*127\.0\.0\.1:3000/));
  expect(created).toMatch(/\nNote: a daemon with default settings .*ROWHOOK_ALLOW_HTTP/);
  expect(created).toMatch(/\nNote: a daemon with default settings .*ROWHOOK_ALLOW_CIDRS/);
  found.id = /^webhook +(\S+)/m.exec(created)?.[1] ?? '';
  found.secret = /^secret +(\S+)/m.exec(created)?.[1] ?? '';
  const listenCommand = next(/ listen /);
  const listening = await start(listenCommand, /Listening/);
  const daemon = await start(next(/ start --allow-http /), /"now delivering lanes /);
  const following = startRowhook(argumentsOf(next(/ logs --follow$/)), { env: { DATABASE_URL: database.url } });
  running.push(following);

  expect((await run(next(/ webhook test /))).stdout).toMatch(/order\.paid +success/);
  const insert = next(/insert into orders/);
  await database.query(insert);
  await waitUntil('the row arrives', () => /order\.created .*standard signature valid/.test(listening.stdout()));
  await waitUntil('and is in the log', () => /success +200 .*order\.created/.test(following.stdout()));

  await end(listening);
  await database.query(insert);
  const failed = await waitUntil('it fails', () => /^ *(\d+) .*failed .*connection_refused/m.exec(following.stdout()));
  const { stdout: failures } = await run(next(/ logs --status failed$/));
  expect(failures).toMatch(/it refused the connection/);
  found.log = failed[1] ?? '';
  const { stdout: shown } = await run(next(/ logs show /));
  expect(shown).toMatch(/^result +failed: connection_refused$/m);
  found.event = /^event +\S+ (evt_\S+)$/m.exec(shown)?.[1] ?? '';
  found.delivery = /of delivery (\S+)$/m.exec(shown)?.[1] ?? '';
  expect((await run(next(/ deliveries$/))).stdout).toMatch(/ waiting .*connection_refused/);
  expect((await run(next(/ webhook explain /))).stdout).toMatch(/ wanted: yes\n/);

  const again = await start(listenCommand, /Listening/);
  await run(next(/ replay --delivery /));
  await waitUntil('it arrives', () => again.stdout().includes(found.event ?? ''));
  expect((await run(next(/ replay .* --only all --wait$/))).stdout).toMatch(/All of them were delivered\.\n$/);
  await end(daemon);

  await database.query(next(/create role app_login/).replace('…', 'secret'));
  const app = new pg.Client(databaseUrl(database.url, database.name, APP_LOGIN, 'secret'));
  await app.connect();
  const results = (await app.query(next(/insert into rowhook\.webhooks/))) as unknown as pg.QueryResult[];
  expect(results.flatMap(({ rows }) => rows)).toEqual([
    { id: expect.any(String), secret: expect.stringMatching(/^whsec_/) },
  ]);
  await app.end();
  await database.query(next(/create role rowhook_login/).replace('…', 'secret'));
  const forGood = next(/^DATABASE_URL=.*ROWHOOK_ENVIRONMENT=production npx rowhook start$/);
  const login = databaseUrl(database.url, database.name, LOGIN, 'secret');
  await start(forGood, /"now delivering lanes /, { DATABASE_URL: login, ROWHOOK_ENVIRONMENT: 'production' });
  const { stdout: status } = await run(next(/ status$/));
  expect(status).toMatch(/^webhooks +2 active/m);
  expect(status).toMatch(/^environment +production$/m);
  const doctor = next(/^ROWHOOK_ENVIRONMENT=production npx rowhook doctor$/);
  expect((await run(doctor, { ROWHOOK_ENVIRONMENT: 'production' })).stdout).not.toMatch(/^✗/m);
  expect(steps).toEqual([]);
}, 120_000);
