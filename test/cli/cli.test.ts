import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { hexSignature, signingKey, standardSignature } from '../../src/payload/signature.ts';
import { rowhook, rowhookProcess, startRowhook } from '../support/cli.ts';
import { waitUntil } from '../support/wait.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const ID = 'evt_1';
const BODY = '{"n":12345678901234567890.10}';
const UUID = '00000000-0000-4000-8000-000000000000';

const COMMANDS = [
  ...[
    'migrate',
    'watch',
    'unwatch',
    'sources',
    'adopt',
    'start',
    'serve',
    'demo',
    'api-key',
    'portal-link',
    'webhook',
    'event-types',
    'types',
    'logs',
    'logs show',
    'deliveries',
    'replay',
    'why',
    'status',
    'doctor',
    'inbound',
    'inbound events',
    'inbound retry',
    'inbound source',
    'inbound source create',
    'inbound source delete',
    'inbound source list',
    'inbound source rotate-secret',
    'listen',
    'verify',
    'completion',
  ],
  ...[
    'create',
    'list',
    'show',
    'update',
    'enable',
    'disable',
    'test',
    'explain',
    'preview',
    'rotate-secret',
    'delete',
  ].map((name) => `webhook ${name}`),
  ...['create', 'list', 'rotate', 'revoke'].map((name) => `api-key ${name}`),
];

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

describe('help', () => {
  test('names every command and the exit codes', async () => {
    const { code, stdout, stderr } = await rowhook(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of COMMANDS.filter((name) => !name.includes(' '))) expect(stdout).toMatch(`\n  ${command} `);
    expect(stdout).toContain('Exit codes: 0 done, 1 failed, 2 wrong usage.');
  });

  test('every command is among those that are tested here', async () => {
    const { stdout } = await rowhook(['completion', 'fish']);
    const [, places = ''] = /\n {6}case (.*)\n/.exec(stdout) ?? [];
    expect([...places.matchAll(/' ([^']+)'/g)].map(([, command]) => command).sort()).toEqual([...COMMANDS].sort());
  });

  test.each(COMMANDS)('of %s shows examples and exit codes', async (command) => {
    const { code, stdout } = await rowhook([...command.split(' '), '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(`Usage: rowhook ${command}`);
    expect(stdout).toMatch(/\nExamples:\n {2}\S/);
    expect(stdout).toMatch(/\nExit codes: 0 /);
  });

  test('is there without a database, and without a valid configuration', async () => {
    const { code, stdout } = await rowhook(['start', '--help'], { env: { ROWHOOK_WAKE: 'x' } });
    expect(code).toBe(0);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('ROWHOOK_MAX_IN_FLIGHT, default 256');
  });
});

test('--version prints the version of package.json', async () => {
  expect(await rowhook(['--version'])).toMatchObject({ code: 0, stdout: '0.1.0\n' });
});

test('an older Node ends it with a sentence, which names the version that package.json asks for', async () => {
  const { engines } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
  const [, needed] = /^>=(\d+\.\d+)\.0$/.exec(engines.node) ?? [];
  const under = (node: string) => {
    const pretend = `data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'${node}'}})`;
    return rowhookProcess(['--version'], { env: { NODE_OPTIONS: `--import=${pretend}` } });
  };
  for (const node of ['20.20.2', '22.18.0']) {
    const stderr = `rowhook: Node ${node} is too old. Use Node ${needed} or later.\n`;
    expect(await under(node)).toEqual({ code: 1, stdout: '', stderr });
  }
  for (const node of [`${needed}.0`, '24.0.0']) expect(await under(node)).toMatchObject({ code: 0, stderr: '' });
});

describe('wrong usage exits 2 with one sentence', () => {
  test.each([
    [['logz'], "rowhook: unknown command 'logz'\n(Did you mean logs?)\n"],
    [['webhook', 'rotate', UUID], "rowhook: unknown command 'rotate'\n(Did you mean rotate-secret?)\n"],
    [['webhook', 'rm', UUID], "rowhook: unknown command 'rm'\n(Did you mean delete?)\n"],
    [['webhook', 'pause', UUID], "rowhook: unknown command 'pause'\n(Did you mean disable?)\n"],
    [['api-key', 'delete', UUID], "rowhook: unknown command 'delete'\n(Did you mean revoke?)\n"],
    [['inbound', 'sourcse'], "rowhook: unknown command 'sourcse'\n(Did you mean source?)\n"],
    [['rotate-secret', UUID], "rowhook: unknown command 'rotate-secret'\n(Did you mean webhook rotate-secret?)\n"],
    [['list'], "rowhook: unknown command 'list'\n(Did you mean one of api-key list, webhook list?)\n"],
    [['webhook', 'qqqqq'], "rowhook: unknown command 'qqqqq'\n(add --help to see the usage)\n"],
    [
      ['webhook', 'create', '--tenant', 'acme', '--name', 'x', '--url', 'https://example.com/', '--event=a.*'],
      "rowhook: required option '--events <list>' not specified\n(Did you mean --events instead of --event?)\n",
    ],
    [['logs', '--folow'], "rowhook: unknown option '--folow'\n(Did you mean --follow?)"],
    [['logs', '--limit', 'x'], 'rowhook: --limit: "x" is not a whole number from 0 to 100000.\n'],
    [['logs', '--status', 'late'], 'rowhook: --status: "late" is not one of success, failed, skipped.\n'],
    [['watch'], 'rowhook: watch: give either a table or --preset.\n'],
    [['watch', 'deals', '--preset', 'crm'], 'rowhook: watch: give either a table or --preset.\n'],
    [['webhook', 'show', '7'], 'rowhook: webhook id: "7" is not a UUID. "rowhook webhook list" shows the ids.\n'],
    [
      ['replay', '--delivery', '7'],
      'rowhook: --delivery: "7" is not a UUID. "rowhook deliveries" and "rowhook logs show" show the ids.\n',
    ],
    [
      ['webhook', 'explain', UUID, 'deal.won'],
      'rowhook: event: "deal.won" is not the id of an event. Give an id such as evt_…, which "',
    ],
    [['webhook', 'show'], "rowhook: missing required argument 'id'\n"],
    [['webhook', 'create', '--name', 'x'], "rowhook: required option '--tenant <tenant>' not specified\n"],
    [['replay', UUID], "rowhook: replay: give a webhook's id and --since, or give --delivery.\n"],
    [
      ['replay', '--delivery', UUID, '--dry-run', '--only', 'all'],
      'rowhook: replay: --delivery sends one delivery now, so --only, --dry-run cannot be used with it.\n',
    ],
    [['sources'], 'rowhook: DATABASE_URL is not set. Set it, or give --database-url, such as postgres://'],
    [['listen', '--port', '65536'], 'rowhook: --port: "65536" is not a whole number from 0 to 65535.\n'],
    [['verify', '--secret', 'x', '--signature', 'v1,x'], 'rowhook: the signature is missing: give --id'],
  ])('%j', async (args, sentence) => {
    const { code, stdout, stderr } = await rowhook(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr.startsWith(sentence), stderr).toBe(true);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('and all settings that are wrong', async () => {
    const env = { DATABASE_URL: 'postgres://localhost/app', ROWHOOK_WAKE: 'shout', ROWHOOK_MAX_INFLIGHT: '1' };
    const { code, stderr } = await rowhook(['start', '--http-port', 'x'], { env });
    expect(code).toBe(2);
    expect(stderr).toBe(
      [
        'rowhook: 3 settings are wrong.',
        '  ROWHOOK_MAX_INFLIGHT is not a rowhook setting. Remove it, or use ROWHOOK_MAX_IN_FLIGHT.',
        '  ROWHOOK_WAKE: "shout" is not one of notify, poll.',
        '  --http-port: "x" is not a whole number from 0 to 65535.\n',
      ].join('\n'),
    );
  });
});

describe('a database that does not answer exits 1 with one sentence', () => {
  const commands = [
    ['migrate'],
    ['sources'],
    ['logs'],
    ['deliveries'],
    ['status'],
    ['doctor'],
    ['webhook', 'list'],
    ['watch', 'deals'],
    ['start'],
  ];

  test.each(commands)('%s %s', async (...command) => {
    // that a process ends, too
    const run = ['sources', 'start'].includes(command[0] ?? '') ? rowhookProcess : rowhook;
    const port = await freePort();
    const env = { DATABASE_URL: `postgres://app:hunter2@127.0.0.1:${port}/shop`, ROWHOOK_LOG_LEVEL: 'silent' };
    const { code, stderr } = await run(command.filter(Boolean), { env });
    expect(stderr).toBe(
      `rowhook: database "shop" at 127.0.0.1:${port} refused the connection. Check that PostgreSQL runs there, and check DATABASE_URL.\n`,
    );
    expect(code).toBe(1);
  });

  test('and so does one that cannot be looked up', async () => {
    const { code, stderr } = await rowhook([
      'sources',
      '--database-url',
      'postgres://app:hunter2@nowhere.invalid/shop',
    ]);
    expect(stderr).toMatch(/^rowhook: database "shop" at nowhere.invalid:5432 has a host name that .*\.\n$/);
    expect(stderr).not.toContain('hunter2');
    expect(code).toBe(1);
  });

  test('and something that is no PostgreSQL', async () => {
    const port = await listening(createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    const { code, stderr } = await rowhook(['sources', '--database-url', `postgres://app@127.0.0.1:${port}/shop`]);
    expect(stderr).toMatch(/^rowhook: database "shop" at 127.0.0.1:\d+ closed the connection\. .*\.\n$/);
    expect(code).toBe(1);
  });
});

describe('listen', () => {
  const key = signingKey(SECRET);

  async function started(args: string[]) {
    const running = startRowhook(['listen', '--port', '0', '--secret', SECRET, ...args]);
    const url = await waitUntil('it listens', () => /http:\/\/\S+\//.exec(running.stdout())?.[0]);
    return { ...running, url };
  }

  function signedHeaders(at = Math.floor(Date.now() / 1000)) {
    return {
      'webhook-id': ID,
      'webhook-timestamp': String(at),
      'webhook-signature': standardSignature(key, ID, at, BODY),
      'x-webhook-event': 'deal.updated',
      'x-webhook-signature': hexSignature(key, BODY),
    };
  }

  test('prints whether both signatures verify, and the body as it came', async () => {
    const { url, stdout, process, ended } = await started([]);
    await fetch(url, { method: 'POST', body: BODY, headers: signedHeaders() });
    await fetch(`${url}late`, { method: 'PUT', body: BODY, headers: signedHeaders(1) });
    await fetch(url, { method: 'POST', body: '\u001b[31m', headers: { ...signedHeaders(), 'x-webhook-event': 'x.y' } });
    await waitUntil('all are printed', () => stdout().includes('\\x1b[31m'));

    expect(stdout()).toContain(
      'deal.updated  evt_1  POST /  29 bytes  standard signature valid  hex signature valid\n{\n  "n": 12345678901234567890.10\n}\n',
    );
    expect(stdout()).toContain('PUT /late  29 bytes  standard signature too old  hex signature valid');
    expect(stdout()).toContain('x.y  evt_1  POST /  5 bytes  standard signature mismatch  hex signature mismatch');
    process.kill('SIGINT');
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
  });

  test('answers what it is told to, and one line each with --quiet', async () => {
    const { url, stdout, process, ended } = await started(['--status', '503', '--quiet']);
    const response = await fetch(url, { method: 'POST', body: BODY, headers: signedHeaders() });
    expect(response.status).toBe(503);
    await waitUntil('it is printed', () => stdout().includes('hex signature valid'));
    expect(stdout()).not.toContain('{');
    process.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 0 });
  });

  test('prints JSON, one object a line', async () => {
    const port = await freePort();
    const running = startRowhook(['listen', '--port', String(port), '--secret', SECRET, '--json']);
    const send = () => fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: BODY, headers: signedHeaders() });
    await waitUntil('it answers', () => send().catch(() => undefined));
    await waitUntil('it is printed', () => running.stdout().endsWith('\n'));
    const line = JSON.parse(running.stdout().split('\n')[0] ?? '');
    expect(line).toMatchObject({ id: ID, event: 'deal.updated', standard: 'valid', hex: 'valid', body: BODY });
    running.process.kill('SIGINT');
    await running.ended;
  });

  test('says so when the port is in use', async () => {
    const port = await listening(createHttpServer());
    expect(await rowhook(['listen', '--port', String(port)])).toMatchObject({
      code: 1,
      stderr: `rowhook: port ${port} is in use. Stop the program that uses it, or give another --port.\n`,
    });
  });
});

describe('verify', () => {
  const key = signingKey(SECRET);
  const signature = standardSignature(key, ID, 1_614_265_330, BODY);
  const standard = ['verify', '--secret', SECRET, '--id', ID, '--timestamp', '1614265330', '--signature', signature];
  const hex = ['verify', '--secret', 'another', '--secret', SECRET, '--signature', hexSignature(key, BODY)];

  test('accepts a saved request of any age, by either signature', async () => {
    expect(await rowhookProcess(standard, { stdin: BODY })).toMatchObject({ code: 0, stderr: '' });
    expect(await rowhook(hex, { stdin: BODY })).toMatchObject({ code: 0, stdout: 'The signature is valid.\n' });
  });

  test('refuses another body, and an old request when asked to', async () => {
    expect(await rowhook(hex, { stdin: `${BODY} ` })).toMatchObject({ code: 1, stdout: '' });
    expect(await rowhook([...standard, '--tolerance', '300'], { stdin: BODY })).toMatchObject({
      code: 1,
      stderr: 'rowhook: the signature matches, but the timestamp is older than --tolerance allows.\n',
    });
    expect(await rowhook([...hex, '--json'], { stdin: '' })).toMatchObject({
      code: 1,
      stdout: '{"verdict":"mismatch"}\n',
    });
  });

  test('finds the newline that an editor added', async () => {
    const { code, stderr } = await rowhook(standard, { stdin: `${BODY}\n` });
    expect(code).toBe(1);
    expect(stderr).toContain('it matches without the newline at the end of the saved body');
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}
