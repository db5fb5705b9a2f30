// What a command's error says to run, run as it is printed in the state that it is meant for. Errors whose remedies other tests run,
// and those that are words, are in test/doctor/error-remedies.unit.test.ts.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CliOptions, type CliResult, rowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { paste, startPasted } from '../support/paste.ts';
import { freePort } from '../support/port.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const NOBODY = '00000000-0000-4000-8000-000000000000';
const DELIVERY = '00000000-0000-4000-8000-000000000001';
const TENANT = '11111111-1111-4111-8111-111111111111';
const DAEMON = { ROWHOOK_HTTP_PORT: '0', ROWHOOK_ALLOW_HTTP: 'true', ROWHOOK_ALLOW_CIDRS: '127.0.0.0/8' };

let database: TestDatabase;
let receiver: Receiver;
let webhook: string;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  ({ id: webhook } = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/') }));
  await database.query(`
    create table pairs (a int, b int, tenant_id text, primary key (a, b));
    create table things (id int primary key, tenant_id text, stage text, status text);
    create table "It's keyless" (id int, tenant_id text);
    create table keyless (id int, tenant_id text);
    select rowhook.watch('keyless', prefix => 'key-less', capture => 'all')`);
  await database.query(
    `insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, attempt, lane, ordinal, state, tenant_id, event_id, event_type, last_code, organization, webhook_name)
     values ($1, $2, 1, now() - interval '1 hour', 8, 3, 0, 'given_up', '${TENANT}', 'evt_x_1_0', 'deal.updated', 'timeout', '{}', 'CRM')`,
    [DELIVERY, webhook],
  );
  await database.query(
    `insert into rowhook.webhook_logs (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, duration_ms, lane)
     select now(), '${TENANT}', $1, $2, 'evt_x_1_0', type, 1, 'failed', 'timeout', 'https://example.com', 12, 3
       from unnest('{key-less.created,deal.updated}'::text[]) as type`,
    [webhook, DELIVERY],
  );
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const cli = (args: readonly string[], options: CliOptions = {}, url = database.url): Promise<CliResult> =>
  rowhook([...args], { ...options, env: { DATABASE_URL: url, ...options.env } });

async function refusal(args: readonly string[], url = database.url): Promise<string> {
  const { code, stderr } = await cli(args, {}, url);
  expect(code, stderr).not.toBe(0);
  return stderr;
}

/** The command between double quotes. */
const commandIn = (text: string) => /"(rowhook .*?)"(?=[ ,.])/.exec(text)?.[1] ?? '';
/** What stands behind these words, up to the end of the sentence. */
const behind = (words: string, text: string) => new RegExp(`${words} (.*?)\\.\\n`, 'i').exec(text)?.[1] ?? '';

const create = (...flags: string[]) => [
  ...['webhook', 'create', '--tenant', 't', '--name', 'n', '--url', 'https://example.com', '--events', 'deal.*'],
  ...flags,
];

describe('a command that shows what there is', () => {
  test.each<[args: readonly string[], shown: () => string]>([
    [['webhook', 'show', NOBODY], () => webhook],
    [['webhook', 'show', 'nope'], () => webhook],
    [['replay', '--delivery', 'nope'], () => DELIVERY],
    [['why', 'nothing like it', '1'], () => 'keyless'],
    [['why', 'keyless', '1'], () => 'key-less.created'],
    [['why', `"It's keyless"`, '1'], () => 'Watching'],
  ])('%j', async (args, shown) => {
    const { stdout } = await paste(commandIn(await refusal(args)), database);
    expect(stdout).toContain(shown());
  });
});

test('a log that does not exist: the first column of what its error shows is the number of one that does', async () => {
  const { stdout } = await paste(commandIn(await refusal(['logs', 'show', '999'])), database);
  const [, number = ''] = /^ *(\d+) /m.exec(stdout) ?? [];
  expect(await cli(['logs', 'show', number])).toMatchObject({ code: 0 });
});

describe('what to write instead', () => {
  test.each<[refused: readonly string[], instead: (said: string) => readonly (readonly string[])[]]>([
    [
      ['replay'],
      (said) => [
        ['replay', webhook, /(--since),/.exec(said)?.[1] ?? '', '1m'],
        ['replay', /(--delivery)\./.exec(said)?.[1] ?? '', DELIVERY],
      ],
    ],
    [
      ['replay', '--delivery', DELIVERY, '--only', 'all', '--dry-run'],
      (said) => {
        expect(said).toContain('so --only, --dry-run cannot be used with it');
        return [['replay', '--delivery', DELIVERY]];
      },
    ],
    [
      ['replay', NOBODY, '--since', '1h', '--until', '2h'],
      (said) => {
        expect(said).toContain('so --since must be the longer time');
        return [['replay', webhook, '--since', '2h', '--until', '1h', '--dry-run']];
      },
    ],
    [
      ['replay', NOBODY, '--since', `${new Date(Date.now() + 20_700_000).toISOString().slice(0, 19)}`],
      (said) => {
        const zone = /as in \S+(\+\d\d:\d\d)\.\n/.exec(said)?.[1] ?? '';
        const since = /--since (\S+)Z/.exec(said)?.[1] ?? '';
        return [['replay', webhook, '--since', `${since.slice(0, 19)}${zone}`, '--dry-run']];
      },
    ],
    [
      ['watch'],
      (said) => [
        ['watch', 'pairs'],
        ['watch', /(--preset)\./.exec(said)?.[1] ?? '', 'crm'],
      ],
    ],
    [
      ['watch', 'things', '--derived', 'stage'],
      (said) =>
        behind('write it as', said)
          .split(' or ')
          .map((rule) => ['watch', 'things', '--derived', rule]),
    ],
    [
      ['watch', 'things', '--derived', 'status=a', '--derived', 'status:x=b'],
      (said) => {
        expect(said).toContain('Give one rule for any change, or rules for values');
        return [
          ['watch', 'things', '--derived', 'status=a'],
          ['watch', 'things', '--derived', 'status:x=b', '--derived', 'status:y=c'],
        ];
      },
    ],
    [create('--url', 'example.com'), (said) => [create('--url', behind('write it as', said))]],
    [create('--filter', '{'), (said) => [create('--filter', /Write it as '(.*)', in/.exec(said)?.[1] ?? '')]],
    [
      create('--header', 'x'),
      (said) => [create('--header', JSON.parse(behind('write it as', said)).replace('Name', 'X'))],
    ],
    [create('--basic', 'x'), (said) => [create('--basic', JSON.parse(behind('write it as', said)))]],
    [create('--api-key', 'x'), (said) => [create('--api-key', JSON.parse(behind('write it as', said)))]],
    [
      create('--bearer', 't', '--basic', 'a:b', '--no-auth'),
      (said) => {
        const [bearer = '', basic = '', key = '', none = ''] = said.match(/--[\w-]+/g) ?? [];
        return [create(bearer, 't'), create(basic, 'a:b'), create(key, 'X-Key: k'), create(none)];
      },
    ],
    [
      ['webhook', 'update', NOBODY],
      (said) => [
        ['webhook', 'update', webhook, /such as (--\w+)/.exec(said)?.[1] ?? '', receiver.url('/')],
        commandIn(said).split(' ').slice(1),
      ],
    ],
    [
      ['webhook', 'rotate-secret', NOBODY, '--overlap', 'soon'],
      (said) => [['webhook', 'rotate-secret', webhook, '--overlap', behind('write it as', said)]],
    ],
    [
      create('--events', 'deal.wom'),
      (said) => [
        create('--events', /Known are (.*)\. Choose/.exec(said)?.[1]?.split(' and ')[0]?.replaceAll(', ', ',') ?? ''),
        create('--events', 'deal.wom', /give (--\w+)/.exec(said)?.[1] ?? ''),
      ],
    ],
    [
      ['why', 'pairs', '1'],
      (said) => {
        const [, command = ''] = /has 2 columns\. Use: rowhook (.*)$/m.exec(said) ?? [];
        expect(command).toBe('why public.pairs <a> <b>');
        return [command.replace(/<\w>/g, '1').replace(/\.$/, '').split(' ')];
      },
    ],
    [
      ['why', 'pairs', '1', 'one'],
      (said) => {
        expect(said).toContain('this is not a key of the table: invalid input syntax for type integer');
        return [['why', 'pairs', '1', '1']];
      },
    ],
  ])('than %j', async (refused, instead) => {
    const commands = instead(await refusal(refused));
    expect(commands.length).toBeGreaterThan(0);
    for (const command of commands) {
      expect(command).not.toContain('');
      const { code, stderr } = await cli(command);
      // Of a table that is not watched, why says that an event is stopped.
      expect({ command, code, stderr }).toMatchObject({ command, code: command[0] === 'why' ? 1 : 0 });
    }
  });
});

test('an event that nothing watched produces: a table is watched, or --force', async () => {
  const empty = await createDatabase();
  try {
    await empty.query('create table deal (id int primary key, tenant_id text)');
    const said = await refusal(create(), empty.url);
    expect(await cli(create(/give (--\w+)/.exec(said)?.[1] ?? ''), {}, empty.url)).toMatchObject({ code: 0 });
    await paste(commandIn(said).replace('<table>', 'deal'), empty);
    expect(await cli(create(), {}, empty.url)).toMatchObject({ code: 0 });
  } finally {
    await empty.drop();
  }
});

test('a database without rowhook: for commands and for the daemon', async () => {
  for (const args of [['sources'], ['start']]) {
    const bare = await createDatabase({ bare: true });
    try {
      await paste(commandIn(await refusal(args, bare.url)), bare);
      expect(await cli(['sources'], {}, bare.url)).toMatchObject({ code: 0 });
    } finally {
      await bare.drop();
    }
  }
});

test('no daemon runs to send a test; then it takes longer than one waits', async () => {
  const said = await refusal(['webhook', 'test', webhook]);
  expect(said).toContain('then test again');
  const daemon = await startPasted(commandIn(said), { DATABASE_URL: database.daemonUrl, ...DAEMON });
  let answer = () => {};
  const held = new Promise<object>((resolve) => {
    answer = () => resolve({});
  });
  try {
    await waitUntil('it owns lanes', async () => {
      return (await database.query('select from rowhook.webhook_lane_owners limit 1')).length > 0;
    });
    expect(await cli(['webhook', 'test', webhook])).toMatchObject({ code: 0 });
    const sent = await database.query("select from rowhook.webhook_logs where status = 'success'");
    receiver.respond('/', () => held);
    const slow = await refusal(['webhook', 'test', webhook, '--wait', '1']);
    answer();
    const following = await startPasted(commandIn(slow), { DATABASE_URL: database.url });
    await waitUntil('it shows more', () => (following.stdout().match(/success/g)?.length ?? 0) > sent.length);
    following.process.kill();
    await following.ended;
  } finally {
    answer();
    daemon.process.kill('SIGTERM');
    await daemon.ended;
  }
});

describe('a port or an address that cannot be had', () => {
  /** Starts it, waits until it listens, and ends it. */
  async function starts(command: string, listens: RegExp, env: Record<string, string> = {}): Promise<void> {
    const running = await startPasted(command, { DATABASE_URL: database.daemonUrl, ...env });
    await waitUntil('it listens', () => listens.test(running.stdout()));
    running.process.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
  }

  test('of the daemon', async () => {
    const taken = new URL(receiver.url('/')).port;
    const env = { ...DAEMON, ROWHOOK_HTTP_PORT: taken };
    const { stderr } = await cli(['start'], { env }, database.daemonUrl);
    const [variable = '', none = ''] = /(ROWHOOK_\w+): .* or set (0) for no port\.$/m.exec(stderr)?.slice(1) ?? [];
    for (const port of [none, String(await freePort())])
      await starts('rowhook start', /now delivering lanes/, { ...DAEMON, [variable]: port });
    const away = await cli(
      ['start'],
      { env: { ...DAEMON, ROWHOOK_HTTP_PORT: String(await freePort()), ROWHOOK_HTTP_HOST: '192.0.2.1' } },
      database.daemonUrl,
    );
    const [host = '', own = '', all = ''] =
      /(ROWHOOK_\w+): .*addresses, (\S+), or (\S+) for all\.$/m.exec(away.stderr)?.slice(1) ?? [];
    for (const address of [own, all])
      await starts('rowhook start', /now delivering lanes/, {
        ...DAEMON,
        ROWHOOK_HTTP_PORT: String(await freePort()),
        [host]: address,
      });
  });

  test('of listen', async () => {
    const taken = await refusal(['listen', '--port', new URL(receiver.url('/')).port]);
    const flag = /another (--\w+)\.$/m.exec(taken)?.[1];
    await starts(`rowhook listen ${flag} ${await freePort()}`, /Listening on/);
    const away = await refusal(['listen', '--port', '0', '--host', '192.0.2.1']);
    const [host = '', ...addresses] = /Use (--\w+) (\S+) or (\S+)\.$/m.exec(away)?.slice(1) ?? [];
    for (const address of addresses) await starts(`rowhook listen --port 0 ${host} ${address}`, /Listening on/);
  });
});

describe('what a role lacks', () => {
  test.each([
    ['a role without rights', 'noinherit', ''],
    ['one that does not inherit', 'noinherit', 'grant rowhook_daemon to ROLE'],
    ...(wantedMajor >= 16
      ? [['a grant without inherit', 'inherit', 'grant rowhook_daemon to ROLE with inherit false']]
      : []),
  ])('%s', async (_, inherit = '', grant = '') => {
    const role = `lacks_${database.name}`;
    await database.query(`create role ${role} login ${inherit} password 'secret'; ${grant.replace('ROLE', role)}`);
    const url = new URL(database.url);
    [url.username, url.password] = [role, 'secret'];
    try {
      const said = await refusal(['sources'], url.href);
      const [, granted] = /as a member of (rowhook_\w+)\.$/m.exec(said) ?? [];
      await database.query(
        granted ? `alter role ${role} inherit; grant ${granted} to ${role}` : behind('a DBA run:', said),
      );
      expect(await cli(['sources'], {}, url.href)).toMatchObject({ code: 0 });
    } finally {
      await database.query(`drop owned by ${role}; drop role ${role}`);
    }
  });

  test.each(['role', 'database'])('connections, which a limit of its %s allows it', async (whose) => {
    const role = `limited_${database.name}`;
    await database.query(`create role ${role} login password 'secret' in role rowhook_daemon`);
    const url = new URL(database.url);
    [url.username, url.password] = [role, 'secret'];
    await database.query(`alter ${whose} ${whose === 'role' ? role : database.name} connection limit 0`);
    try {
      await database.query(behind('or let a DBA run:', await refusal(['sources'], url.href)));
      expect(await cli(['sources'], {}, url.href)).toMatchObject({ code: 0 });
    } finally {
      await database.query(`alter database ${database.name} connection limit -1; drop role ${role}`);
    }
  });
});
