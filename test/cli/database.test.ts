import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RULES } from '../../src/database/constraint-texts.ts';
import { type CliResult, rowhook, rowhookProcess, startRowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { verifyRequest } from '../support/verify.ts';
import { waitUntil } from '../support/wait.ts';

const NOBODY = '00000000-0000-4000-8000-000000000000';

let database: TestDatabase;
let cli: (...args: string[]) => Promise<CliResult>;
let webhookId: string;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  cli = (...args) => rowhook(args, { env: { DATABASE_URL: database.url } });
  webhookId = await createWebhook('acme', 'https://example.com/hook');
});

afterAll(() => database.drop());

async function createWebhook(tenant: string, url: string): Promise<string> {
  const { stdout } = await cli(
    'webhook',
    'create',
    '--tenant',
    tenant,
    '--name',
    'CRM',
    '--url',
    url,
    '--events',
    'deal.*',
    '--json',
  );
  return JSON.parse(stdout).id;
}

async function linesOf(...args: string[]): Promise<Record<string, unknown>[]> {
  const { stdout, stderr } = await cli(...args, '--json');
  expect(stderr).toBe('');
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

describe('a bare database', () => {
  test('gets the schema from migrate, once', async () => {
    const bare = await createDatabase({ bare: true });
    const env = { DATABASE_URL: bare.url };
    try {
      const before = await rowhook(['sources'], { env });
      expect(before.stderr).toMatch(
        /^rowhook: database \S+ at \S+ has no rowhook schema, or an older one .*\. Run "rowhook migrate"\.\n$/,
      );
      expect(before.code).toBe(1);

      const first = await rowhook(['migrate'], { env });
      expect(first.code).toBe(0);
      expect(first.stdout).toMatch(
        /^applied 0001_schema\.sql\n(applied .*\n)+Done: the schema rowhook is at version \d+\.\n$/,
      );
      expect(await rowhook(['migrate'], { env })).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^Nothing to do: the schema rowhook is at version \d+\.\n$/),
      });
      expect(await rowhook(['sources'], { env })).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^No table/),
      });
    } finally {
      await bare.drop();
    }
  });
});

describe('watch', () => {
  test('lists what a preset watches', async () => {
    const sources = await linesOf('sources');
    expect(sources.map(({ relation }) => relation)).toContain('public.deals');
    expect((await cli('watch', '--preset', 'crm')).stdout).toMatch(/public\.deals +deal +(watched|unchanged)/);
  });

  test('a preset: each table is let go of before the next one is waited for', async () => {
    await database.query(`
      create schema app;
      create table app.contacts (id int primary key, tenant_id text);
      create table app.deals (id int primary key, tenant_id text)`);
    const holder = await database.pool.connect();
    try {
      await holder.query("begin; insert into app.deals values (1, 'acme')");
      const watching = cli('watch', '--preset', 'crm', '--schema', 'app', '--json');
      await waitUntil('contacts is watched', async () => {
        const made = await database.query("select from pg_trigger where tgrelid = 'app.contacts'::regclass");
        return made.length === 3;
      });
      await holder.query("set local statement_timeout = '500ms'; insert into app.contacts values (1, 'acme'); commit");
      expect((await watching).stdout.match(/"watched"/g)).toHaveLength(2);
    } finally {
      await holder.query('rollback');
      holder.release();
      await database.query('drop schema app cascade; select rowhook.reconcile()');
    }
  }, 40_000);

  test('a preset of which one table cannot be watched: says so, and which others are', async () => {
    await database.query(`
      create schema app;
      create table app.contacts (id int primary key, tenant_id text);
      create table app.deals (id int primary key)`);
    try {
      const watched = await cli('watch', '--preset', 'crm', '--schema', 'app');
      expect(watched.code).toBe(1);
      expect(watched.stderr).toContain('app.deals');
      expect(watched.stdout).toMatch(/app\.contacts +contact +watched/);
      expect(watched.stdout).not.toContain('app.deals');
    } finally {
      await database.query('drop schema app cascade; select rowhook.reconcile()');
    }
  });

  test('passes on what it is given, and unwatch takes it back', async () => {
    await database.query('create table "Odd ""table" (id int primary key, account text, stage text, seen_at int)');
    const flags = [
      '--prefix',
      'odd',
      '--tenant-column',
      'account',
      '--derived',
      'stage=stage.changed',
      '--derived',
      'stage:won=won',
    ];
    const refused = await cli('watch', '"Odd ""table"', ...flags);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('column stage has another rule') });

    const watched = await cli(
      'watch',
      '"Odd ""table"',
      ...flags.slice(0, 6),
      '--ignore-columns',
      'seen_at',
      '--events',
      'created,updated',
      '--capture',
      'all',
      '--max-payload-bytes',
      '2048',
    );
    expect(watched.stdout).toBe(
      'Watching public."Odd ""table": odd.created, odd.stage.changed, odd.updated. The tenant is account.\n',
    );
    const [source] = await database.query("select * from rowhook.webhook_sources where prefix = 'odd'");
    expect(source).toMatchObject({ ignore_columns: ['seen_at'], capture: 'all', max_payload_bytes: 2048 });

    expect((await cli('unwatch', '"Odd ""table"')).stdout).toMatch(/^No longer watching/);
    expect((await cli('unwatch', '"Odd ""table"')).stdout).toMatch(/was not watched/);
  });

  test('a table that is watched already: what this changes, and which webhooks get less', async () => {
    await database.query(
      'create table repeats (id int primary key, account_id text, status text, updated_at int, seen_at int)',
    );
    const first = ['watch', 'repeats', '--tenant-column', 'account_id', '--derived', 'status:paid=paid'];
    const watched = 'Watching public.repeats: repeats.created, repeats.deleted, repeats.paid, repeats.updated. ';
    for (const _ of ['new', 'the same']) {
      const { code, stdout } = await cli(...first);
      expect({ code, stdout }).toEqual({ code: 0, stdout: `${watched}The tenant is account_id.\n` });
    }
    const created = await database.query<{ id: string }>(
      `insert into rowhook.webhook_configurations (tenant_id, url, name, event_types, is_active)
       select 'main', 'https://example.com', * from (values
         ('paid', '{repeats.paid,repeats.created}'::text[], true), ('all', '{repeats.*}', true),
         ('off', '{repeats.paid}', false), ('others', '{*}', true)) as w
       returning id`,
    );
    const [paid, all, off] = created.map(({ id }) => id);
    // An event that was received lately may come from emit(), except here.
    await database.query(
      `insert into rowhook.webhook_logs (tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code,
                                         attempted_at, request_url, lane)
       select tenant_id, id, gen_random_uuid(), 'evt_1_1_0', 'repeats.paid', 1, 'success', 'delivered', now(), url, 0
         from rowhook.webhook_configurations where id = $1`,
      [paid],
    );
    const derived = await cli(...first.slice(0, 4), '--derived', 'status:void=void', '--ignore-columns', 'seen_at');
    expect(derived.code).toBe(0);
    expect(derived.stdout.split('\n').slice(1)).toEqual([
      'The table was watched already. This replaced its settings:',
      '  ignored columns: updated_at → seen_at',
      '  the derived event repeats.paid is gone',
      '  the derived event repeats.void is new',
      `Webhook ${paid} (paid, tenant main) wants repeats.paid, which public.repeats no longer produces.`,
      '',
    ]);
    await cli(...first);
    const { stdout } = await cli(
      'watch',
      'repeats',
      '--prefix',
      'repeat',
      '--tenant-id',
      'main',
      '--events',
      'created',
    );
    expect(stdout).toContain(`
  prefix: repeats → repeat
  tenant: column account_id → always main
  events: created, deleted, updated → created
  the derived event repeats.paid is gone
`);
    expect(stdout).toContain(`Webhook ${paid} (paid, tenant main) wants repeats.paid, repeats.created,`);
    expect(stdout).toContain(`Webhook ${all} (all, tenant main) wants repeats.*,`);
    expect(stdout).not.toContain(off);
    const [json] = await linesOf('watch', 'repeats', '--prefix', 'repeat', '--tenant-id', 'main');
    expect(json).toMatchObject({
      relation: 'public.repeats',
      changes: ['events: created → created, deleted, updated'],
    });
    await database.query(
      `delete from rowhook.webhook_logs where event_type = 'repeats.paid';
       delete from rowhook.webhook_configurations where name in ('paid', 'all', 'off', 'others'); drop table repeats`,
    );
  });

  test.each([
    [
      ['watch', 'nope'],
      1,
      'watch: there is no table nope. Check the name, and write the table with its schema, for example public.deals.',
    ],
    [['watch', 'deals', '--tenant-column', 'nope'], 1, 'watch: public.deals has no column nope. Its columns are id,'],
    [
      ['watch', 'without_tenant'],
      1,
      'watch: public.without_tenant has no column organization_id, tenant_id, org_id, account_id or workspace_id, ' +
        'so its tenant is unknown. Name the column with --tenant-column, or pass --tenant-id if all rows belong to one tenant.',
    ],
    [['watch', 'deals', '--prefix', 'a b'], 2, "watch: prefix 'a b' is refused. A prefix has 1 to 80 characters"],
    [['watch', 'deals', '--derived', 'stage'], 2, '--derived: "stage" is not a rule. Write it as stage=stage.changed'],
    [['watch', '--preset', 'nope'], 2, "watch_preset: there is no preset 'nope'. The presets are crm"],
  ])('refuses %j', async (args, code, sentence) => {
    await database.query('create table if not exists without_tenant (id int primary key)');
    const result = await cli(...args);
    expect(result.stderr).toContain(`rowhook: ${sentence}`);
    expect(result.code).toBe(code);
  });
});

describe('webhook', () => {
  test('create shows the secret once, and a curl whose signatures verify', async () => {
    const receiver = await startReceiver();
    try {
      const name = `O'Brien \u001b[31m $(id) "x"`;
      const created = await cli(
        'webhook',
        'create',
        '--tenant',
        'shells',
        '--name',
        name,
        '--url',
        receiver.url("/it's"),
        '--events',
        'deal.*',
      );
      const secret = /secret +(whsec_\S+)/.exec(created.stdout)?.[1] ?? '';
      const curl = /\n(curl[\s\S]*?)\n\n/.exec(created.stdout)?.[1] ?? '';
      await promisify(execFile)('sh', ['-c', curl]);

      const request = receiver.requests[0];
      expect(request).toMatchObject({ method: 'POST', path: "/it's" });
      if (request) verifyRequest(request, secret);
      expect(JSON.parse(request?.body.toString() ?? '')).toMatchObject({
        event: 'deal.updated',
        metadata: { webhook_name: name },
      });

      const shown = await cli('webhook', 'list', '--tenant', 'shells');
      expect(shown.stdout).toContain("O'Brien \\x1b[31m");
      expect(shown.stdout + (await cli('webhook', 'list', '--json')).stdout).not.toContain(secret);
    } finally {
      await receiver.close();
    }
  });

  test('show masks secrets, credentials and headers', async () => {
    const flags = [
      '--tenant',
      'masked',
      '--name',
      'x',
      '--url',
      'https://example.com',
      '--events',
      '*',
      '--secret',
      'a-secret-of-mine',
    ];
    const [created] = await linesOf('webhook', 'create', ...flags, '--basic', 'me:pa:ss', '--header', 'X-Key: hunter2');
    expect(created).toMatchObject({ secret: 'a-secret-of-mine' });

    const { stdout } = await cli('webhook', 'show', String(created?.id));
    expect(stdout).toMatch(/\nsecret +\*\*\*\n/);
    expect(stdout).not.toMatch(/a-secret-of-mine|pa:ss|hunter2/);
    const [row] = await database.query(
      'select auth_config, headers from rowhook.webhook_configurations where id = $1',
      [created?.id],
    );
    expect(row).toEqual({ auth_config: { username: 'me', password: 'pa:ss' }, headers: { 'X-Key': 'hunter2' } });
  });

  test('update changes only what is given, and an empty value takes away', async () => {
    const id = await createWebhook('updated', 'https://example.com/a');
    const changed = await cli(
      'webhook',
      'update',
      id,
      '--url',
      'https://example.com/b',
      '--filter',
      '{"data.stage":"won"}',
      '--no-retry',
      '--method',
      'put',
      '--rate-limit',
      '2.5',
      '--allowed-ips',
      '10.0.0.0/8,::1',
    );
    expect(changed.stdout).toMatch(
      /: updated url, http_method, filter, retry_enabled, rate_limit_per_second, allowed_ips\.\n$/,
    );
    const [webhook] = await linesOf('webhook', 'show', id);
    expect(webhook).toMatchObject({
      name: 'CRM',
      url: 'https://example.com/b',
      http_method: 'PUT',
      filter: { 'data.stage': 'won' },
      retry_enabled: false,
      rate_limit_per_second: '2.5',
      allowed_ips: ['10.0.0.0/8', '::1/128'],
    });
    await cli('webhook', 'update', id, '--filter', '', '--rate-limit', '', '--allowed-ips', '', '--retry');
    expect((await linesOf('webhook', 'show', id))[0]).toMatchObject({
      filter: null,
      rate_limit_per_second: null,
      allowed_ips: null,
      retry_enabled: true,
    });
  });

  test('update to another format takes the template and its content type away', async () => {
    const id = await createWebhook('formatted', 'https://example.com');
    const shown = async () => (await linesOf('webhook', 'show', id))[0];
    await cli('webhook', 'update', id, '--payload-template', '{{ event }}', '--content-type', 'text/plain');
    expect(await shown()).toMatchObject({ payload_format: 'template', content_type: 'text/plain' });
    expect(await cli('webhook', 'update', id, '--payload-format', 'nested')).toMatchObject({ code: 0, stderr: '' });
    expect(await shown()).toMatchObject({ payload_format: 'nested', payload_template: null, content_type: null });
    const both = await cli('webhook', 'update', id, '--payload-format', 'flat', '--payload-template', 'x');
    expect(both).toMatchObject({ code: 2, stderr: expect.stringContaining('--payload-template must be set with') });
  });

  test('disable and enable switch it, and clear what rowhook had disabled', async () => {
    const id = await createWebhook('switched', 'https://example.com');
    await database.query(
      "update rowhook.webhook_configurations set is_active = false, disabled_at = '2025-01-01Z', disabled_reason = 'gone' where id = $1",
      [id],
    );
    expect((await cli('webhook', 'list', '--tenant', 'switched')).stdout).toContain('disabled: gone');
    const enabled = await cli('webhook', 'enable', id);
    expect(enabled.stdout).toContain('While it was switched off or in the hour before, it missed 0 events ');
    expect((await linesOf('webhook', 'show', id))[0]).toMatchObject({ is_active: true, disabled_at: null });
    await cli('webhook', 'disable', id);
    const [off] = await linesOf('webhook', 'show', id);
    expect(off).toMatchObject({ is_active: false, disabled_reason: null, disabled_at: expect.any(String) });
    expect((await cli('webhook', 'list', '--tenant', 'switched')).stdout).toMatch(/off$/m);
  });

  test('rotate-secret prints the new one, and the old one signs on', async () => {
    const id = await createWebhook('rotated', 'https://example.com');
    const [before] = await database.query('select secret from rowhook.webhook_configurations where id = $1', [id]);
    const [rotated] = await linesOf('webhook', 'rotate-secret', id, '--overlap', '2 days');
    const [after] = await database.query(
      'select secret, previous_secret from rowhook.webhook_configurations where id = $1',
      [id],
    );
    expect(after).toEqual({ secret: rotated?.secret, previous_secret: before?.secret });
    const told = async (overlap: string) => (await cli('webhook', 'rotate-secret', id, '--overlap', overlap)).stdout;
    expect(await told('1 hour')).toMatch(/The old secret also signs webhook-signature for 1 hour\.\n$/);
    expect(await told('0')).toMatch(/The old secret no longer signs\.\n$/);
  });

  test('delete deletes it', async () => {
    const id = await createWebhook('deleted', 'https://example.com');
    expect(await cli('webhook', 'delete', id)).toMatchObject({ code: 0, stdout: expect.stringContaining('deleted') });
    expect(await linesOf('webhook', 'list', '--tenant', 'deleted')).toEqual([]);
  });

  test('test queues nothing while no daemon runs, and says so', async () => {
    const result = await cli('webhook', 'test', webhookId);
    expect(result).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^rowhook: no daemon is running .* Run "rowhook start"/),
    });
    expect(await database.query('select from rowhook.webhook_outbox where test_webhook_id is not null')).toEqual([]);
  });

  const given = ['create', '--tenant', 't', '--name', 'n', '--url', 'https://example.com', '--events', '*'];
  test.each([
    [['show', NOBODY], 1, `webhook ${NOBODY} does not exist. "rowhook webhook list"`],
    [['enable', NOBODY], 1, `webhook ${NOBODY} does not exist`],
    [['test', NOBODY], 1, `webhook ${NOBODY} does not exist`],
    [['rotate-secret', NOBODY], 1, 'rotate_secret: there is no webhook'],
    [['update', NOBODY], 2, 'webhook update: nothing to change. Give a flag'],
    [[...given, '--url', 'ftp://example.com'], 2, '--url must be http://'],
    [[...given, '--events', 'de al'], 2, "--events: 'de al' is not an event type"],
    [[...given, '--filter', '{'], 2, '--filter: is not JSON. Write it as '],
    [[...given, '--filter', '{"data.x":{"$no":1}}'], 2, '--filter: "data.x" uses unknown operator "$no"'],
    [[...given, '--header', 'x'], 2, '--header: has no colon. Write it as "Name: value".'],
    [[...given, '--header', 'Host: x'], 2, "--header: 'Host' is set by rowhook"],
    [[...given, '--basic', 'hunter2'], 2, '--basic: has no colon. Write it as "username:password".'],
    [[...given, '--basic', ':hunter2'], 2, '--basic: has nothing before its colon. Write it as "username:password".'],
    [[...given, '--header', ':x'], 2, '--header: has nothing before its colon. Write it as "Name: value".'],
    [[...given, '--bearer', 'x', '--no-auth'], 2, 'give only one of --bearer, --basic, --api-key and --no-auth.'],
    [
      [...given, '--batch-max', '5', '--ordering', 'row'],
      2,
      "--batch-max must be 1 with ordering 'row', because batches cannot keep that order",
    ],
    [[...given, '--secret', 'hunter2'], 2, '--secret must have 16 to 512 bytes'],
  ])('%j is refused', async (args, code, sentence) => {
    const result = await cli('webhook', ...args);
    expect(result.stderr).toContain(`rowhook: ${sentence}`);
    expect(result.stderr).not.toContain('hunter2');
    expect(result.code).toBe(code);
    expect(await linesOf('webhook', 'list', '--tenant', 't')).toEqual([]);
  });
});

describe('what happened', () => {
  const insertLog = (eventType: string, more: { ago?: string; status?: string; id?: string } = {}) =>
    database.query(
      `insert into rowhook.webhook_logs (id, attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, response_status, duration_ms, lane, error)
       values (coalesce($5::bigint, nextval('rowhook.webhook_logs_id_seq')), now() - $3::interval, 'acme', $1, gen_random_uuid(), 'evt_x_1_1', $2, 1, $4, 'delivered', 'https://example.com', 200, 12, 3, null)`,
      [webhookId, eventType, more.ago ?? '0s', more.status ?? 'success', more.id],
    );

  test('logs are filtered, limited and printed oldest first', async () => {
    await insertLog('deal.created', { ago: '3s' });
    await insertLog('deal.updated', { ago: '2s', status: 'failed' });
    await insertLog('note_x.created', { ago: '1s' });
    const events = async (...flags: string[]) => (await linesOf('logs', ...flags)).map((row) => row.event_type);

    expect(await events()).toEqual(['deal.created', 'deal.updated', 'note_x.created']);
    expect(await events('--limit', '1')).toEqual(['note_x.created']);
    expect(await events('--status', 'failed')).toEqual(['deal.updated']);
    expect(await events('--event', 'deal.*', '--webhook', webhookId)).toEqual(['deal.created', 'deal.updated']);
    expect(await events('--event', 'note%')).toEqual([]);
    expect(await events('--tenant', 'other')).toEqual([]);
    expect((await cli('logs')).stdout).toMatch(
      /Z {2}failed +200 {2}delivered +12 ms {2}#1 +deal\.updated +evt_x_1_1 +acme {2}CRM\n/,
    );
  });

  test('--follow prints each later row once, also one that began earlier', async () => {
    const following = startRowhook(['logs', '--follow', '--limit', '1'], { env: { DATABASE_URL: database.url } });
    const seen = () => following.stdout().match(/\S+\.(created|later|late)/g) ?? [];
    await waitUntil('the newest is printed', () => seen().length === 1);
    const [{ id } = {}] = await database.query<{ id: string }>("select nextval('rowhook.webhook_logs_id_seq') as id");
    await insertLog('b.later');
    await waitUntil('the later one is printed', () => seen().length === 2);
    await insertLog('a.late', { ago: '20s', id: id ?? '' });
    await waitUntil('the late one is printed', () => seen().length === 3);
    await insertLog('c.later');
    await waitUntil('the next is printed', () => seen().length === 4);
    expect(seen()).toEqual(['note_x.created', 'b.later', 'a.late', 'c.later']);
    following.process.kill();
    await following.ended;
  });

  test('deliveries lists what is unfinished, and replay takes up what was given up', async () => {
    await database.query(
      `insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, attempt, lane, ordinal, state, tenant_id, event_id, event_type, last_code, organization, webhook_name)
       select gen_random_uuid(), $1, n, now() - '1 hour'::interval, 8, 3, 1, 'given_up', 'acme', 'evt_' || n, 'deal.updated', 'timeout', '{}', 'CRM' from generate_series(1, 2) as n`,
      [webhookId],
    );
    expect(await linesOf('deliveries', '--state', 'given_up', '--webhook', webhookId)).toHaveLength(2);
    expect(await linesOf('deliveries', '--state', 'waiting')).toEqual([]);
    expect((await cli('deliveries', '--limit', '1')).stdout).toMatch(
      /CRM +acme +deal\.updated +given up +8 +timeout\nThere are more than 1\. /,
    );

    expect((await cli('replay', webhookId, '--since', '30m')).stdout).toMatch(/\nNothing to replay/);
    expect((await cli('replay', webhookId, '--since', '3d', '--until', '2h')).stdout).toMatch(/\nNothing to replay/);
    expect(await cli('replay', webhookId, '--since', '1h', '--until', '2h')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--since 1h \(\S+Z\) is not before --until 2h \(\S+Z\)/),
    });
    // what a clock on the wall says, east of UTC
    const ahead = new Date(Date.now() + 20_700_000).toISOString().slice(0, 16);
    expect((await cli('replay', webhookId, '--since', ahead)).stderr).toMatch(
      /--since \S+Z \(\S+Z\) is not before now \(\S+Z\): a time without a zone is UTC\. Add your zone/,
    );
    expect(await linesOf('replay', webhookId, '--since', '2h')).toMatchObject([{ webhook_id: webhookId, replayed: 2 }]);
    expect(await linesOf('deliveries', '--state', 'waiting')).toHaveLength(2);
  });

  test('replay reads a time without a zone as UTC, as the logs print it, in any zone, and says the range first', async () => {
    await database.query(`alter database ${database.name} set timezone = 'Asia/Kathmandu'`);
    try {
      const range = (...flags: string[]) =>
        rowhookProcess(['replay', webhookId, '--dry-run', ...flags], {
          env: { DATABASE_URL: database.url, TZ: 'America/New_York' },
        });
      const said = 'Events from 2025-10-17T19:30:00.000000Z until 2025-10-18T00:00:00.000000Z.\n';
      expect((await range('--since', '2025-10-17T19:30', '--until', '2025-10-18')).stdout.startsWith(said)).toBe(true);
      expect(
        (await range('--since', '2025-10-17 21:30:00+02', '--until', '2025-10-18 05:45 +0545')).stdout.startsWith(said),
      ).toBe(true);
      const [json] = await linesOf(
        'replay',
        webhookId,
        '--dry-run',
        '--since',
        '2025-10-17T19:30:00.5Z',
        '--until',
        '2025-10-18',
      );
      expect(json).toMatchObject({
        since: '2025-10-17T19:30:00.500000Z',
        until: '2025-10-18T00:00:00.000000Z',
        would_replay: 0,
      });
    } finally {
      await database.query(`alter database ${database.name} reset timezone`);
    }
  });

  test('deliveries tells what waits behind an earlier one of its row', async () => {
    await database.query(
      `insert into rowhook.webhook_deliveries (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, lane, ordinal, state, tenant_id, event_id, event_type, organization, webhook_name, ordered)
       values (gen_random_uuid(), $1, 9, now(), 'infinity', 3, 1, 'waiting', 'behind', 'evt_9', 'deal.updated', '{}', 'CRM', true)`,
      [webhookId],
    );
    expect((await cli('deliveries', '--tenant', 'behind')).stdout).toMatch(
      /waiting +0 +after earlier events of its row\n$/,
    );
    expect(await linesOf('deliveries', '--tenant', 'behind')).toMatchObject([{ next_attempt_at: 'infinity' }]);
  });

  test.each([
    [
      ['--since', 'lately'],
      '--since: "lately" is not a time. Write it as 2025-10-17T19:30:00Z (UTC without a zone), or 2h',
    ],
    [['--since', '1h', '--until', '2025-02-30'], '--until: "2025-02-30" is not a time'],
    [['--since', '1h', '--only', 'some'], "replay: only => 'some' is refused"],
  ])('replay refuses %j', async (flags, sentence) => {
    const result = await cli('replay', webhookId, ...flags);
    expect(result.stderr).toContain(`rowhook: ${sentence}`);
    expect(result.code).toBe(2);
  });
});

describe('a database that refuses', () => {
  const sources = (change: (url: URL) => void) => {
    const url = new URL(database.daemonUrl);
    change(url);
    return rowhook(['webhook', 'create', '--tenant', 't', '--name', 'n', '--url', 'https://x', '--events', '*'], {
      env: { DATABASE_URL: url.href },
    });
  };

  test.each([
    [
      'a wrong password',
      (url: URL) => {
        url.password = 'hunter2';
      },
      /refused the login \(password authentication failed/,
    ],
    [
      'an unknown database',
      (url: URL) => {
        url.pathname = '/nope';
      },
      /database "nope" at \S+ does not exist\. Create it/,
    ],
    [
      'too small a role',
      () => {},
      /permission denied for table webhook_configurations\. Connect as a member of rowhook_owner/,
    ],
    [
      'TLS that it does not speak',
      (url: URL) => {
        url.search = '?sslmode=require';
      },
      /does not support TLS\. Write sslmode=disable/,
    ],
  ])('%s is told in one sentence', async (_, change, sentence) => {
    const { code, stderr } = await sources(change);
    expect(stderr).toMatch(/^rowhook: [^\n]*\.\n$/);
    expect(stderr).toMatch(sentence);
    expect(stderr).not.toContain('hunter2');
    expect(code).toBe(1);
  });
});

test('every check constraint of the tables that people write says what it asks for', async () => {
  const constraints = await database.query<{ conname: string }>(
    `select conname from pg_constraint
      where contype = 'c'
        and conrelid::regclass::text ~ '^rowhook.(webhook_(configurations|tenants|sources|installation)|api_keys|inbound_sources)$'
        and conname not in ('webhook_installation_is_one_row', 'inbound_sources_id_is_random')`,
  );
  expect(constraints.map(({ conname }) => conname).sort()).toEqual(Object.keys(RULES).sort());
});
