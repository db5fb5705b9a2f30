// What a person gets wrong, through the command line: one clear sentence with the remedy, and nothing half done.

import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CliResult, rowhook, rowhookProcess } from '../support/cli.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { startOldServer } from '../support/old-server.ts';
import { startServer, type TestServer } from '../support/server.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  await database.query('create view deal_view as select * from deals; create table plain (id int primary key)');
});
afterAll(() => database.drop());

/** One sentence or two on one line, no stack, no password. */
function expectOneSentence({ code, stdout, stderr }: CliResult, sentence: RegExp, exitCode: number): void {
  expect(stderr).toMatch(/^rowhook: [^\n]+\.\n$/);
  expect(stderr).toMatch(sentence);
  expect(stderr).not.toMatch(/hunter2|at file:|node:internal/);
  expect({ code, stdout }).toEqual({ code: exitCode, stdout: '' });
}

/** Everything that a command could have left behind. */
async function everything(inside: TestDatabase): Promise<unknown> {
  const rows = await inside.query<Record<string, unknown>>(`
    select (select count(*)::int from pg_class) as relations, (select count(*)::int from pg_proc) as functions,
           (select count(*)::int from pg_trigger) as triggers, (select count(*)::int from pg_namespace) as schemas,
           (select count(*)::int from pg_roles where rolname in ('rowhook_owner', 'rowhook_app', 'rowhook_daemon')) as roles`);
  if (!(await inside.query("select to_regnamespace('rowhook') as there"))[0]?.there) return rows;
  return [
    ...rows,
    ...(await inside.query('select * from rowhook.webhook_sources order by id')),
    ...(await inside.query('select * from rowhook.webhook_configurations order by id')),
    ...(await inside.query('select * from rowhook.webhook_installation')),
    ...(await inside.query('select lane, epoch, owner from rowhook.webhook_lanes order by lane')),
    ...(await inside.query('select count(*)::int as outbox from rowhook.webhook_outbox')),
  ];
}

describe.concurrent('a database', () => {
  const commands = [['start'], ['webhook', 'list']];

  test.each(commands)('that accepts the connection and then says nothing: %s %s', async (...command) => {
    const silent = createServer((socket) => socket.on('error', () => {}));
    const sockets = new Set<{ destroy(): void }>();
    silent.on('connection', (socket) => sockets.add(socket));
    await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening));
    const { port } = silent.address() as { port: number };
    try {
      expectOneSentence(
        await rowhook(command, { env: { DATABASE_URL: `postgres://app:hunter2@127.0.0.1:${port}/shop` } }),
        /database "shop" at 127\.0\.0\.1:\d+ does not answer\. Check host, port and firewall\.$/m,
        1,
      );
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });

  test('without rowhook is named, with the command that installs it', async ({ onTestFinished }) => {
    const bare = await createDatabase({ bare: true });
    onTestFinished(() => bare.drop());
    await bare.query('create table deals (id int primary key, tenant_id text)');
    const before = await everything(bare);
    const create = ['webhook', 'create', '--tenant', 't', '--name', 'n', '--url', 'https://x.example', '--events', '*'];
    for (const command of [['start'], ['sources'], ['watch', 'deals'], create, ['logs'], ['deliveries']]) {
      const result = await rowhook(command, { env: { DATABASE_URL: bare.url } });
      expectOneSentence(result, /rowhook migrate/, 1);
    }
    expect(await everything(bare)).toEqual(before);
  });

  test('whose schema is older or newer than the program', async ({ onTestFinished }) => {
    const other = await createDatabase();
    onTestFinished(() => other.drop());
    const version = (n: number) =>
      other.query(
        `create or replace function rowhook.schema_version() returns int language sql stable parallel safe return ${n}`,
      );
    const start = () => rowhook(['start'], { env: { DATABASE_URL: other.daemonUrl } });
    await version(3);
    expectOneSentence(
      await start(),
      /The schema rowhook is at version 3, but this rowhook needs version \d+\. Run "rowhook migrate"\.$/m,
      1,
    );
    await version(99);
    expectOneSentence(
      await start(),
      /at version 99, but this rowhook only knows versions up to \d+\. Use a newer rowhook\./,
      1,
    );
    const migrate = await rowhook(['migrate'], { env: { DATABASE_URL: other.url } });
    expectOneSentence(
      migrate,
      /at version 99, but this rowhook only knows versions up to \d+\. Use a newer rowhook\. Nothing was changed\.$/m,
      1,
    );
    expect(await other.query('select from rowhook.webhook_lanes where owner is not null')).toEqual([]);
  });

  test('that belongs to another environment', async ({ onTestFinished }) => {
    const clone = await createDatabase();
    onTestFinished(() => clone.drop());
    await clone.query("update rowhook.webhook_installation set environment = 'production'");
    const before = await everything(clone);
    for (const environment of ['staging', '']) {
      const result = await rowhook(['start'], {
        env: { DATABASE_URL: clone.daemonUrl, ROWHOOK_ENVIRONMENT: environment },
      });
      expectOneSentence(
        result,
        /"production".*(is "staging"|is not set).*rowhook adopt --environment (staging|production-copy) /,
        1,
      );
    }
    expect(await everything(clone)).toEqual(before);
  });

  test('that the login may not use', async () => {
    const url = new URL(database.daemonUrl);
    url.username = 'postgres_nobody';
    url.password = 'hunter2';
    expectOneSentence(
      await rowhook(['start'], { env: { DATABASE_URL: url.href } }),
      /refused the login .*\. Check user and password in DATABASE_URL/,
      1,
    );
  });
});

describe('a hot standby', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
    await server.database.query('create table deals (id int primary key, tenant_id text)');
    const setup = new pg.Client(server.embedded.url);
    await setup.connect();
    await setup.query('create database bare');
    await setup.end();
    await server.embedded.stop('fast');
    await writeFile(join(server.embedded.dataDir, 'standby.signal'), '');
    await server.embedded.start();
  });
  afterAll(() => server.stop());

  test('is refused by the daemon, which would lose events there', async () => {
    expect(await server.database.query('select pg_is_in_recovery() as standby')).toEqual([{ standby: true }]);
    expectOneSentence(
      await rowhook(['start'], { env: { DATABASE_URL: server.database.daemonUrl } }),
      /hot standby.*Connect to the primary\.$/m,
      1,
    );
  });

  test.each([
    [['watch', 'deals'], 'postgres'],
    [['webhook', 'create', '--tenant', 't', '--name', 'n', '--url', 'https://x.example', '--events', '*'], 'postgres'],
    [['migrate'], 'bare'],
  ])('is refused by %j', async (command, name) => {
    const result = await rowhook(command, { env: { DATABASE_URL: databaseUrl(server.embedded.url, name) } });
    expectOneSentence(result, /standby.*[Cc]onnect to the primary/, 1);
  });
});

describe('PostgreSQL 14', () => {
  test('is refused by the daemon before anything else is asked of it', async () => {
    const old = await startOldServer('14.19', 140_019);
    try {
      const result = await rowhook(['start'], { env: { DATABASE_URL: old.url } });
      expectOneSentence(
        result,
        /This server is PostgreSQL 14\.19, but rowhook needs 15 or later\. Upgrade the server\.$/m,
        1,
      );
      // what every session begins with, and the version
      expect(old.queries).toHaveLength(2);
      expect(old.queries[1]).toContain('server_version_num');
    } finally {
      await old.close();
    }
  });

  // There is no such server here, so the line is moved: the migrations of this copy ask for a version that none has.
  test('is refused by migrate, which leaves nothing behind', async () => {
    const bare = await createDatabase({ bare: true });
    const copy = await mkdtemp(join(tmpdir(), 'rowhook-copy-'));
    try {
      const root = join(import.meta.dirname, '../..');
      for (const part of ['bin', 'src', 'sql', 'package.json'])
        await cp(join(root, part), join(copy, part), { recursive: true });
      await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
      const first = join(copy, 'sql/migrations/0001_schema.sql');
      const text = await readFile(first, 'utf8');
      expect(text).toContain('< 150000');
      await writeFile(first, text.replace('< 150000', '< 990000'));

      const before = await everything(bare);
      const result = await rowhookProcess(['migrate'], {
        env: { DATABASE_URL: bare.url },
        program: join(copy, 'bin/rowhook.ts'),
      });
      expectOneSentence(
        result,
        /rowhook needs PostgreSQL 15 or later, and this server has version \d+\.\d+.*Upgrade the server, then run the migrations again\. Nothing was changed\.$/m,
        1,
      );
      expect(await everything(bare)).toEqual(before);
    } finally {
      await rm(copy, { recursive: true });
      await bare.drop();
    }
  });
});

describe.concurrent('a command', () => {
  let before: unknown;
  beforeAll(async () => {
    before = await everything(database);
  });
  // all of them together
  afterAll(async () => {
    expect(await everything(database)).toEqual(before);
  });

  const create = (...flags: string[]) => [
    ...['webhook', 'create', '--tenant', 't', '--name', 'n', '--url', 'https://example.com', '--events', 'deal.*'],
    ...flags,
  ];

  test.each<[string, string[], number, RegExp]>([
    [
      'an unknown table',
      ['watch', 'nope'],
      1,
      /there is no table nope\. Check the name, and write the table with its schema/,
    ],
    ['a view', ['watch', 'deal_view'], 1, /deal_view is a view: only tables can be watched\. Watch the table/],
    [
      'a table without a tenant',
      ['watch', 'plain'],
      1,
      /plain has no column organization_id.*Name the column with --tenant-column/,
    ],
    [
      'an unknown tenant column',
      ['watch', 'deals', '--tenant-column', 'owner'],
      1,
      /deals has no column owner\. Its columns are id,/,
    ],
    [
      'an unknown column of a rule',
      ['watch', 'deals', '--derived', 'nope=nope.changed'],
      1,
      /deals has no column nope/,
    ],
    ['a system table', ['watch', 'pg_catalog.pg_class'], 1, /cannot be watched/],
    ['our own table', ['watch', 'rowhook.webhook_logs'], 1, /cannot be watched/],
    ['a URL of another scheme', create('--url', 'ftp://example.com'), 2, /url must be http:\/\/ or https:\/\//],
    [
      'a URL that is none',
      create('--url', 'example.com/hook'),
      2,
      /--url: is not a valid URL\. Write it as https:\/\/host\/path/,
    ],
    ['a URL with an impossible port', create('--url', 'https://example.com:99999/'), 2, /--url: is not a valid URL/],
    ['a URL with an impossible host', create('--url', 'https://exa<mple.com/'), 2, /--url: is not a valid URL/],
    [
      'a URL with a password',
      create('--url', 'https://me:hunter2@example.com/'),
      2,
      /without user, password and spaces/,
    ],
    [
      'an unknown event',
      create('--events', 'deal.created,deal.wom'),
      2,
      /no watched table produces "deal\.wom"\. Known are .*deal\.stage\.changed.*--force/,
    ],
    [
      'an unknown prefix',
      create('--events', 'deals.*'),
      2,
      /no watched table produces "deals\.\*"\. Did you mean deal\.\*\? Known are/,
    ],
    [
      'two misspelt events',
      create('--events', 'deal.updatd,deal,payment.received'),
      2,
      /"deal\.updatd", "deal", "payment\.received"\. Did you mean deal\.updated, deal\.\*\? Known are/,
    ],
    [
      'what is no event at all',
      create('--events', 'de al'),
      2,
      /'de al' is not an event type; write deal\.updated, deal\.\* or \*/,
    ],
    ['a filter that is not JSON', create('--filter', '{"data.stage"'), 2, /--filter: is not JSON\. Write it as '/],
    [
      'an unknown operator',
      create('--filter', '{"data.value":{"$more":1}}'),
      2,
      /uses unknown operator "\$more"; known operators are \$eq/,
    ],
    [
      'a filter without a path',
      create('--filter', '{"stage":"won"}'),
      2,
      /"stage" is not a path; write data\. or previous\./,
    ],
    [
      'a range that is none',
      create('--allowed-ips', '10.0.0.0/99'),
      2,
      /--allowed-ips: .* which is not an address range. Write it as/,
    ],
  ])('that is given %s', async (_, args, exitCode, sentence) => {
    expectOneSentence(await rowhook(args, { env: { DATABASE_URL: database.url } }), sentence, exitCode);
  });

  test('is told that nothing is watched yet, where an event can therefore not be known', async ({ onTestFinished }) => {
    const empty = await createDatabase();
    onTestFinished(() => empty.drop());
    const result = await rowhook(create(), { env: { DATABASE_URL: empty.url } });
    expectOneSentence(
      result,
      /no table is watched, so nothing produces "deal\.\*"\. Run "rowhook watch <table>" first/,
      2,
    );
    expect(await empty.query('select from rowhook.webhook_configurations')).toEqual([]);
  });

  test('takes an event of the application with --force, on create and on update', async ({ onTestFinished }) => {
    const other = await createDatabase({ crm: true });
    onTestFinished(() => other.drop());
    const env = { DATABASE_URL: other.url };
    const events = 'payment.received,payment.*,webhook.disabled,*';
    const created = await rowhook(create('--events', events, '--force', '--json'), { env });
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const { id, event_types } = JSON.parse(created.stdout);
    expect(event_types).toEqual(events.split(','));
    const update = ['webhook', 'update', id, '--events', 'refund.made'];
    expectOneSentence(await rowhook(update, { env }), /no watched table produces "refund\.made"/, 2);
    expect(await rowhook([...update, '--force'], { env })).toMatchObject({ code: 0 });
    // what rowhook writes itself, and everything, need no force
    expect(await rowhook(['webhook', 'update', id, '--events', 'webhook.disabled,*'], { env })).toMatchObject({
      code: 0,
    });
  });

  test('is told of all wrong settings at once, before it touches the database', async () => {
    const { code, stdout, stderr } = await rowhook(['start', '--wake', 'shout'], {
      env: {
        DATABASE_URL: database.daemonUrl,
        ROWHOOK_MAXINFLIGHT: '5',
        ROWHOOK_ALLOW_CIDRS: '10.0.0.0/99',
        ROWHOOK_ENVIRONMENT: 'a b',
      },
    });
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr.split('\n')).toEqual([
      'rowhook: 4 settings are wrong.',
      '  ROWHOOK_MAXINFLIGHT is not a rowhook setting. Remove it, or use ROWHOOK_MAX_IN_FLIGHT.',
      expect.stringMatching(/^ {2}ROWHOOK_ENVIRONMENT: "a b" is not a name/),
      expect.stringMatching(/^ {2}--wake: "shout" is not one of notify, poll\.$/),
      expect.stringMatching(/^ {2}ROWHOOK_ALLOW_CIDRS: .*"10\.0\.0\.0\/99"/),
      '',
    ]);
  });
});
