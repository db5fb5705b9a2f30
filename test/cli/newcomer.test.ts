// The newcomer's path, from an empty database to production. test/docs/pages.test.ts runs the same commands as the pages have them;
// here is what each of them prints and does.

import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliResult, type RunningCli, rowhookProcess, startRowhook } from '../support/cli.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/port.ts';
import { waitUntil } from '../support/wait.ts';

const LOGIN = 'rowhook_login';
const APP_LOGIN = 'app_login';
const APP_WEBHOOK = `begin;
  set local rowhook.tenant_id = 'acme';
  insert into rowhook.webhooks (name, url, event_types)
  values ('CRM', 'https://hooks.customer.example/crm', '{order.paid,order.deleted}') returning id, secret;
  commit`;
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

test('install, watch, first webhook, see it arrive, see it fail, see why, replay, run for good', async () => {
  await run('migrate');
  expect((await run('watch --preset crm')).stdout).toContain('No table of this preset exists. Name your own table');
  await run('watch orders --prefix order --tenant-column account_id --derived status:paid=paid');
  expect((await run('sources')).stdout).toContain('order.paid');

  const { stdout: created } = await run(
    "webhook create --tenant acme --name here --url http://127.0.0.1:3000/ --events 'order.*'",
  );
  expect(created).toMatch(/\nNote: a daemon with default settings .*ROWHOOK_ALLOW_HTTP/);
  expect(created).toMatch(/\nNote: a daemon with default settings .*ROWHOOK_ALLOW_CIDRS/);
  found.id = /^webhook +(\S+)/m.exec(created)?.[1] ?? '';
  found.secret = /^secret +(\S+)/m.exec(created)?.[1] ?? '';
  const listenCommand = 'listen --secret <secret>';
  const listening = await start(listenCommand, /Listening/);
  const daemon = await start('start --allow-http --allow-cidrs 127.0.0.0/8', /"now delivering lanes /);
  const following = startRowhook(argumentsOf('logs --follow'), { env: { DATABASE_URL: database.url } });
  running.push(following);

  expect((await run('webhook test <id>')).stdout).toMatch(/order\.paid +success/);
  const insert = "insert into orders (account_id, status) values ('acme', 'paid')";
  await database.query(insert);
  await waitUntil('the row arrives', () => /order\.created .*standard signature valid/.test(listening.stdout()));
  await waitUntil('and is in the log', () => /success +200 .*order\.created/.test(following.stdout()));

  await end(listening);
  await database.query(insert);
  const failed = await waitUntil('it fails', () => /^ *(\d+) .*failed .*connection_refused/m.exec(following.stdout()));
  const { stdout: failures } = await run('logs --status failed');
  expect(failures).toMatch(/it refused the connection/);
  found.log = failed[1] ?? '';
  const { stdout: shown } = await run('logs show <log>');
  expect(shown).toMatch(/^result +failed: connection_refused$/m);
  found.event = /^event +\S+ (evt_\S+)$/m.exec(shown)?.[1] ?? '';
  found.delivery = /of delivery (\S+)$/m.exec(shown)?.[1] ?? '';
  expect((await run('deliveries')).stdout).toMatch(/ waiting .*connection_refused/);
  expect((await run('webhook explain <id> <event>')).stdout).toMatch(/ wanted: yes\n/);

  const again = await start(listenCommand, /Listening/);
  await run('replay --delivery <delivery>');
  await waitUntil('it arrives', () => again.stdout().includes(found.event ?? ''));
  expect((await run('replay <id> --since 1h --only all --wait')).stdout).toMatch(/All of them were delivered\.\n$/);
  await end(daemon);

  await database.query(`create role ${APP_LOGIN} login password 'secret'; grant rowhook_app to ${APP_LOGIN}`);
  const app = new pg.Client(databaseUrl(database.url, database.name, APP_LOGIN, 'secret'));
  await app.connect();
  const results = (await app.query(APP_WEBHOOK)) as unknown as pg.QueryResult[];
  expect(results.flatMap(({ rows }) => rows)).toEqual([
    { id: expect.any(String), secret: expect.stringMatching(/^whsec_/) },
  ]);
  await app.end();
  await database.query(`create role ${LOGIN} login password 'secret'; grant rowhook_daemon to ${LOGIN}`);
  const login = databaseUrl(database.url, database.name, LOGIN, 'secret');
  await start('start', /"now delivering lanes /, { DATABASE_URL: login, ROWHOOK_ENVIRONMENT: 'production' });
  const { stdout: status } = await run('status');
  expect(status).toMatch(/^webhooks +2 active/m);
  expect(status).toMatch(/^environment +production$/m);
  expect((await run('doctor', { ROWHOOK_ENVIRONMENT: 'production' })).stdout).not.toMatch(/^✗/m);
}, 120_000);
