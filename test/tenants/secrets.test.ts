// Secrets: how they are made, rotated and written, and that they show up nowhere else.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import type { Outcome } from '../../src/outcome.ts';
import { headersOf } from '../../src/payload/headers.ts';
import { withoutEcho } from '../../src/payload/mask-echo.ts';
import { signingKey } from '../../src/payload/signature.ts';
import { type Attacker, createAttacker } from '../support/attacker.ts';
import { rowhook } from '../support/cli.ts';
import { startDaemonProcess, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { verifyRequest } from '../support/verify.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const TENANT = 'aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa';
const MADE = /^whsec_[A-Za-z0-9+/]{43}=$/;

let database: TestDatabase;
let receiver: Receiver;
let app: Attacker;
let daemon: Daemon | undefined;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  app = await createAttacker(database);
});

afterEach(async () => {
  await daemon?.stop();
  daemon = undefined;
  await database.query('delete from rowhook.webhook_configurations');
  receiver.clear();
});

afterAll(async () => {
  await receiver.close();
  await app.drop();
  await database.drop();
});

const write = (name: string) =>
  database.query('insert into public.clients (organization_id, name) values ($1, $2)', [TENANT, name]);

/** Writes a row and returns the request that it became. */
async function eventAt(path: string, name: string): Promise<ReceivedRequest> {
  await write(name);
  const [request] = await receiver.waitFor((each) => each.path === path && each.body.includes(`"${name}"`));
  return request as ReceivedRequest;
}

const base64 = (bytes: number) => Buffer.alloc(bytes, 'k').toString('base64');

describe('a secret', () => {
  test('is made by rowhook of 32 random bytes, for everybody who leaves it out', async () => {
    const client = await app.connect(TENANT);
    try {
      for (let i = 0; i < 50; i++)
        await client.query(
          "insert into rowhook.webhook_configurations (name, url, event_types) values ('n', 'https://a.example', '{*}')",
        );
    } finally {
      await client.end();
    }
    await createWebhook(database, { tenant_id: TENANT, url: 'https://a.example' });
    const secrets = (await database.query<{ secret: string }>('select secret from rowhook.webhook_configurations')).map(
      ({ secret }) => secret,
    );
    expect(secrets).toHaveLength(51);
    for (const secret of secrets) expect(secret).toMatch(MADE);
    expect(new Set(secrets.map((secret) => secret.slice(0, 20))).size).toBe(51);
    // 51 × 256 bits, half of them set but for chance
    const bits = secrets.flatMap((secret) =>
      [...Buffer.from(secret.slice(6), 'base64')].map((byte) => byte.toString(2).replaceAll('0', '').length),
    );
    const share = bits.reduce((sum, count) => sum + count, 0) / (51 * 256);
    expect(share).toBeGreaterThan(0.48);
    expect(share).toBeLessThan(0.52);
  });

  test.each<[string, string, boolean]>([
    ['whsec_ and 24 bytes', `whsec_${base64(24)}`, true],
    ['whsec_ and 64 bytes', `whsec_${base64(64)}`, true],
    ['whsec_ and 23 bytes', `whsec_${base64(23)}`, false],
    ['whsec_ and 65 bytes', `whsec_${base64(65)}`, false],
    ['whsec_ and base64 without its padding', `whsec_${base64(25).replaceAll('=', '')}`, false],
    ['whsec_ and base64url', `whsec_${Buffer.alloc(32, 0xff).toString('base64url')}`, false],
    ['whsec_ and words', 'whsec_this is not base64 at all, is it?', false],
    ['whsec_ alone', 'whsec_', false],
    ['any 16 characters', 'x'.repeat(16), true],
    ['any 512 characters', 'x'.repeat(512), true],
    ['15 characters', 'x'.repeat(15), false],
    ['513 characters', 'x'.repeat(513), false],
    ['nothing', '', false],
  ])('of %s', async (_, secret, good) => {
    const made = createWebhook(database, { tenant_id: TENANT, url: 'https://a.example', secret });
    if (good) await expect(made).resolves.toMatchObject({ secret });
    else await expect(made).rejects.toMatchObject({ code: '23514', table: 'webhook_configurations' });
  });
});

describe('rotation', () => {
  const signaturesOf = ({ headers }: ReceivedRequest) => (headers['webhook-signature'] ?? '').split(' ');

  function signs(request: ReceivedRequest, secret: string): number {
    return signaturesOf(request).findIndex((signature) => {
      try {
        new Webhook(secret).verify(
          request.body,
          { ...request.headers, 'webhook-signature': signature },
          { jsonParse: false },
        );
        return true;
      } catch {
        return false;
      }
    });
  }

  const expiry = async (id: string) => {
    const [row] = await database.query<{ seconds: number | null; previous: string | null }>(
      `select extract(epoch from previous_secret_expires_at - now())::float8 as seconds, previous_secret as previous
         from rowhook.webhook_configurations where id = $1`,
      [id],
    );
    return row;
  };

  const rotate = async (id: string, ...overlap: string[]) => {
    const [row] = await database.query<{ secret: string }>(
      overlap.length > 0
        ? 'select rowhook.rotate_secret($1, $2::interval) as secret'
        : 'select rowhook.rotate_secret($1) as secret',
      [id, ...overlap],
    );
    return row?.secret as string;
  };

  test('sends both signatures for 24 hours, the newest first, and the plain one of the newest', async () => {
    const { id, secret: old } = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/both') });
    daemon = await startTestDaemon(database);
    const before = await eventAt('/both', 'before');
    expect([signaturesOf(before).length, signs(before, old)]).toEqual([1, 0]);

    const secret = await rotate(id);
    expect(secret).toMatch(MADE);
    expect(secret).not.toBe(old);
    expect((await expiry(id))?.seconds).toBeCloseTo(86_400, -2);
    const during = await eventAt('/both', 'during');
    expect([signaturesOf(during).length, signs(during, secret), signs(during, old)]).toEqual([2, 0, 1]);
    verifyRequest(during, secret);
    // what a careful receiver does with the old one still works
    new Webhook(old).verify(during.body, during.headers, { jsonParse: false });

    // a second rotation lets the oldest go
    const newest = await rotate(id);
    const twice = await eventAt('/both', 'twice');
    expect([signs(twice, newest), signs(twice, secret), signs(twice, old)]).toEqual([0, 1, -1]);

    await database.query('update rowhook.webhook_configurations set previous_secret_expires_at = null where id = $1', [
      id,
    ]);
    const ended = await eventAt('/both', 'ended');
    expect([signaturesOf(ended).length, signs(ended, newest)]).toEqual([1, 0]);
    expect((await expiry(id))?.previous).toBeNull();
  });

  test('ends by itself: nobody has to touch the configuration', async () => {
    const { id, secret: old } = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/ends') });
    daemon = await startTestDaemon(database);
    const secret = await rotate(id, '1 hour');
    const during = await eventAt('/ends', 'during');
    expect([signs(during, secret), signs(during, old)]).toEqual([0, 1]);
    // The hour is nearly over. A shorter overlap from the start could end before 'during' is sent.
    await database.query(
      "update rowhook.webhook_configurations set previous_secret_expires_at = now() + interval '2 seconds' where id = $1",
      [id],
    );
    const changes = () =>
      database.query("select count(*)::int as count from rowhook.webhook_outbox where event_types = '{}'");
    const before = await changes();
    let count = 0;
    await waitUntil(
      'only the new one signs',
      async () => signs(await eventAt('/ends', `after ${count++}`), old) === -1,
    );
    const after = await eventAt('/ends', 'at last');
    expect([signaturesOf(after).length, signs(after, secret)]).toEqual([1, 0]);
    expect(await changes()).toEqual(before);
  });

  test('without an overlap the old one is gone at once', async () => {
    const { id, secret: old } = await createWebhook(database, { tenant_id: TENANT, url: receiver.url('/once') });
    const secret = await rotate(id, '0');
    expect(await expiry(id)).toEqual({ seconds: null, previous: null });
    daemon = await startTestDaemon(database);
    const request = await eventAt('/once', 'at once');
    expect([signaturesOf(request).length, signs(request, secret), signs(request, old)]).toEqual([1, 0, -1]);
  });

  test('takes 0 to 7 days, from functions and from columns alike', async () => {
    const { id } = await createWebhook(database, { tenant_id: TENANT, url: 'https://a.example' });
    await rotate(id, '7 days');
    expect((await expiry(id))?.seconds).toBeGreaterThan(6.9 * 86_400);
    for (const overlap of ['7 days 1 second', '-1 second', '1 month', '8 days'])
      await expect(rotate(id, overlap)).rejects.toMatchObject({
        code: '22023',
        hint: 'Pass an interval of 0 to 7 days.',
      });
    await expect(database.query('select rowhook.rotate_secret($1, null)', [id])).rejects.toMatchObject({
      code: '22023',
    });
    for (const until of ["'infinity'", "now() + interval '7 days 1 second'"])
      await expect(
        database.query(
          `update rowhook.webhook_configurations set previous_secret_expires_at = ${until} where id = $1`,
          [id],
        ),
      ).rejects.toMatchObject({ constraint: 'webhook_configurations_overlap_in_range' });
    const client = await app.connect(TENANT);
    try {
      const set = "update rowhook.webhook_configurations set previous_secret_expires_at = 'infinity'";
      await expect(client.query(set)).rejects.toMatchObject({ constraint: 'webhook_configurations_overlap_in_range' });
    } finally {
      await client.end();
    }
  });

  test('a new secret in the column is a rotation only as long as an overlap says so', async () => {
    const { id, secret } = await createWebhook(database, { tenant_id: TENANT, url: 'https://a.example' });
    await database.query("update rowhook.webhook_configurations set secret = 'the-second-secret' where id = $1", [id]);
    expect(await expiry(id)).toEqual({ seconds: null, previous: null });
    await database.query(
      "update rowhook.webhook_configurations set secret = $2, previous_secret_expires_at = now() + interval '1 hour' where id = $1",
      [id, secret],
    );
    expect(await expiry(id)).toMatchObject({ previous: 'the-second-secret' });
  });
});

describe('custom headers', () => {
  const names = Object.keys(
    headersOf(
      { eventId: 'evt_a_1_0', eventType: 'a.b', deliveryId: 'd' },
      { headers: {}, authType: 'none', authConfig: {} },
      [signingKey('0123456789abcdef')],
      Buffer.from('{}'),
      Date.now(),
    ).sent,
  );
  const hopByHop = [
    'connection',
    'keep-alive',
    'proxy-authenticate',
    'proxy-authorization',
    'proxy-connection',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
  ];
  const framing = ['host', 'content-length', 'content-encoding', 'expect'];

  const create = (columns: Record<string, unknown>) =>
    createWebhook(database, { tenant_id: TENANT, url: receiver.url('/headers'), ...columns });

  test.each([...names, ...hopByHop, ...framing])(
    '%s cannot be set, in whatever case, nor be the name of an API key',
    async (name) => {
      for (const spelt of [
        name,
        name.toUpperCase(),
        name.toLowerCase(),
        name.replace(/^./, (first) => first.toUpperCase()),
      ]) {
        await expect(create({ headers: { [spelt]: 'x' } })).rejects.toMatchObject({
          constraint: 'webhook_configurations_headers_are_valid',
        });
        await expect(
          create({ auth_type: 'api_key', auth_config: { header_name: spelt, header_value: 'x' } }),
        ).rejects.toMatchObject({
          constraint: 'webhook_configurations_auth_config_is_valid',
        });
      }
    },
  );

  test.each<[string, Record<string, unknown>]>([
    ['a line break in a value', { 'X-A': 'a\r\nX-B: b' }],
    ['a line feed in a value', { 'X-A': 'a\nb' }],
    ['a carriage return in a value', { 'X-A': 'a\rb' }],
    ['a control character', { 'X-A': 'a\u0001b' }],
    ['DEL', { 'X-A': 'a\u007fb' }],
    ['another script', { 'X-A': 'é' }],
    ['a line separator', { 'X-A': 'a\u2028b' }],
    ['a number', { 'X-A': 1 }],
    ['a list', { 'X-A': ['a'] }],
    ['null', { 'X-A': null }],
    ['a line break in a name', { 'X-A\r\nX-B': 'b' }],
    ['a colon in a name', { 'X-A:': 'b' }],
    ['a space in a name', { 'X A': 'b' }],
    ['an empty name', { '': 'b' }],
    ['one name in two cases', { 'X-A': 'a', 'x-a': 'b' }],
    ['a long name', { ['x'.repeat(101)]: 'b' }],
    ['17 kB', { 'X-A': 'x'.repeat(17_000) }],
    ['51 headers', Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`x-${n}`, 'x']))],
  ])('%s is refused', async (_, headers) => {
    await expect(create({ headers })).rejects.toMatchObject({ constraint: 'webhook_configurations_headers_are_valid' });
  });

  test.each([
    ['bearer', { token: 't' }, 'AUTHORIZATION'],
    ['basic', { username: 'u', password: 'p' }, 'Authorization'],
    ['api_key', { header_name: 'X-Key', header_value: 'v' }, 'x-key'],
  ])('what auth_type %s sets cannot be set beside it', async (auth_type, auth_config, name) => {
    await expect(create({ auth_type, auth_config, headers: { [name]: 'x' } })).rejects.toMatchObject({
      constraint: 'webhook_configurations_headers_are_valid',
      message: `webhook_configurations.headers: '${name}' is set by auth_type '${auth_type}'. Remove it from headers.`,
    });
  });

  test('others are sent as they are, once each', async () => {
    const headers = {
      'X-Team': 'sales\tnorth "1"',
      Cookie: 'a=b',
      Authorization: 'Own x',
      'x!#$%&*+.^_`|~-': '',
      constructor: 'c',
      ['__proto__']: 'p',
    };
    await create({ headers: JSON.parse(JSON.stringify(headers)) });
    daemon = await startTestDaemon(database);
    const { rawHeaders } = await eventAt('/headers', 'headers');
    for (const [name, value] of Object.entries(headers)) {
      const sent = rawHeaders.filter((_, i) => i % 2 === 0 && rawHeaders[i]?.toLowerCase() === name.toLowerCase());
      expect([name, sent.length, rawHeaders[rawHeaders.indexOf(sent[0] ?? '') + 1]]).toEqual([name, 1, value]);
    }
  });
});

describe('nowhere else', () => {
  const hush = (what: string) => `hush-${what}-0123456789`;
  const webhooks = () => [
    { url: receiver.url('/none'), secret: hush('secret-none'), headers: { 'X-Api-Token': hush('header') } },
    {
      url: receiver.url('/bearer'),
      secret: hush('secret-bearer'),
      auth_type: 'bearer',
      auth_config: { token: hush('token') },
    },
    {
      url: receiver.url('/basic'),
      secret: hush('secret-basic'),
      auth_type: 'basic',
      auth_config: { username: 'u', password: hush('password') },
    },
    {
      url: receiver.url('/key'),
      secret: hush('secret-key'),
      auth_type: 'api_key',
      auth_config: { header_name: 'X-Key', header_value: hush('key') },
    },
    {
      url: receiver.url('/echo'),
      secret: hush('secret-echo'),
      auth_type: 'bearer',
      auth_config: { token: hush('echo') },
    },
    {
      url: receiver.url('/reset'),
      secret: hush('secret-reset'),
      auth_type: 'bearer',
      auth_config: { token: hush('reset') },
    },
    { url: receiver.url('/slow'), secret: hush('secret-slow'), timeout_ms: 1_000 },
    {
      url: receiver.url('/gone'),
      secret: hush('secret-gone'),
      auth_type: 'bearer',
      auth_config: { token: hush('gone') },
    },
    { url: `http://10.0.0.7/${hush('path')}`, secret: hush('secret-refused') },
    {
      url: receiver.url(`/query?token=${hush('query')}&${hush('bare')}#${hush('fragment')}`),
      secret: hush('secret-query'),
      headers: Object.fromEntries(
        ['X-Pass', 'X-Credential', 'X-Session', 'X-JWT'].map((name) => [name, hush(name.toLowerCase())]),
      ),
    },
  ];
  const basic = Buffer.from(`u:${hush('password')}`).toString('base64');

  test("not in the daemon's log, in no table that is read, in no statement that others see", async () => {
    receiver.respond('/echo', ({ headers }) => ({
      status: 400,
      headers: { 'x-echo': headers.authorization ?? '' },
      body: JSON.stringify(headers),
    }));
    receiver.respond('/query', ({ headers, path }) => ({
      status: 302,
      headers: { location: path },
      body: JSON.stringify({ headers, path }),
    }));
    receiver.respond('/reset', { reset: true });
    receiver.respond('/slow', { hang: true });
    receiver.respond('/gone', { status: 410 });
    receiver.respond('/bearer', { status: 500, body: 'error' });

    const seen = new Set<string>();
    let watching = true;
    const watch = (async () => {
      while (watching) {
        const rows = await database.query<{ query: string }>(
          'select query from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()',
        );
        for (const { query } of rows) seen.add(query);
        await sleep(1);
      }
    })();
    const running = startDaemonProcess(database.daemonUrl, { ROWHOOK_LOG_LEVEL: 'trace' });
    const ids: string[] = [];
    try {
      await running.tookLanes();
      for (const columns of webhooks())
        ids.push(
          (
            await createWebhook(database, {
              tenant_id: TENANT,
              retry_strategy: 'linear',
              retry_delay_seconds: 1,
              ...columns,
            })
          ).id,
        );
      for (let i = 0; i < 5; i++) await write(`event ${i}`);
      for (const id of ids) await database.query("select rowhook.rotate_secret($1, '1 hour')", [id]);
      await database.query('update rowhook.webhook_configurations set secret = $1', [hush('second')]);
      for (let i = 5; i < 10; i++) await write(`event ${i}`);
      await waitUntil('every webhook was attempted', async () => {
        const [row] = await database.query(
          'select count(distinct webhook_id)::int as count from rowhook.webhook_logs where webhook_id = any ($1)',
          [ids],
        );
        return row?.count === ids.length;
      });
      // a connection that breaks is logged, too
      await database.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowhook%' and datname = current_database()",
      );
      await running.tookLanes(2);
      await write('afterwards');
      await receiver.waitFor(({ path, body }) => path === '/none' && body.includes('afterwards'));
    } finally {
      watching = false;
      await watch;
      await running.kill('SIGTERM');
    }
    const { stdout, stderr } = await running.ended;
    expect(stdout).toContain('"code":"address_refused"');
    const password = new URL(database.daemonUrl).password;
    for (const [where, text] of [
      ['stdout', stdout],
      ['stderr', stderr],
      ['statements', [...seen].join('\n')],
    ] as const) {
      expect([where, text.includes('hush-'), text.includes(basic), text.includes(password)]).toEqual([
        where,
        false,
        false,
        false,
      ]);
    }
    // the daemon's statements were seen, at least the frequent ones
    expect([...seen].join('\n')).toMatch(/rowhook\.webhook_logs/);
    for (const table of [
      'webhook_logs',
      'webhook_deliveries',
      'webhook_outbox',
      'webhook_health',
      'webhook_lanes',
      'webhook_tenants',
    ]) {
      const rows = await database.query<{ text: string }>(`select x::text as text from rowhook.${table} x`);
      const found = rows.filter(({ text }) => /hush-(?!path)/.test(text) || text.includes(basic));
      expect([table, found]).toEqual([table, []]);
    }
    const [echo] = await database.query<{
      request_headers: Record<string, string>;
      response_body: string;
      response_headers: Record<string, string>;
    }>("select * from rowhook.webhook_logs where request_url like '%/echo' and event_type = 'clients.created' limit 1");
    const [query] = await database.query<{
      request_url: string;
      request_headers: object;
      response_body: string;
      response_headers: object;
    }>("select * from rowhook.webhook_logs where request_url like '%/query?%' and code = 'redirect_refused' limit 1");
    expect(query?.request_url).toBe(receiver.url('/query?token=••••••&••••••#••••••'));
    expect(query?.request_headers).toMatchObject({ 'X-Pass': '••••••', 'X-JWT': '••••••' });
    expect(query?.response_headers).toMatchObject({ location: '/query?token=••••••&••••••' });
    expect(JSON.parse(query?.response_body ?? '')).toMatchObject({
      path: '/query?token=••••••&••••••',
      headers: { 'x-session': '••••••', 'x-credential': '••••••' },
    });
    expect(echo?.request_headers.authorization).toBe('••••••');
    expect(echo?.response_headers['x-echo']).toBe('••••••');
    expect(JSON.parse(echo?.response_body ?? '')).toMatchObject({
      authorization: '••••••',
      'x-webhook-event': 'clients.created',
    });
  });

  test('not in what the command line prints, but for the once that it is made', async () => {
    const env = { DATABASE_URL: database.url };
    const create = ['webhook', 'create', '--tenant', TENANT, '--name', 'n', '--events', '*', '--secret', hush('cli')];
    for (const more of [
      ['--url', 'nonsense'],
      ['--url', 'https://a.example', '--retry-attempts', '99'],
      ['--url', 'https://a.example', '--timeout', '1'],
      ['--url', 'https://a.example', '--header', 'Host: x'],
    ]) {
      const { code, stdout, stderr } = await rowhook([...create, ...more], { env });
      expect([more, code === 0, stdout + stderr]).toEqual([more, false, expect.not.stringMatching(/hush-cli/)]);
    }
    const { id } = await createWebhook(database, {
      tenant_id: TENANT,
      url: `https://a.example/?token=${hush('cli-query')}`,
      headers: { 'X-Pass': hush('cli-header') },
      secret: hush('cli'),
      auth_type: 'bearer',
      auth_config: { token: hush('cli-token') },
    });
    for (const command of [
      ['webhook', 'show', id],
      ['webhook', 'list'],
      ['webhook', 'disable', id],
      ['webhook', 'enable', id],
      ['webhook', 'update', id, '--name', 'm'],
      ['logs'],
      ['deliveries'],
      ['webhook', 'delete', id],
    ]) {
      for (const json of [[], ['--json']]) {
        const { stdout, stderr } = await rowhook([...command, ...json], { env });
        expect([command, stdout + stderr]).toEqual([command, expect.not.stringMatching(/hush-cli/)]);
      }
    }
  });

  test('not the password of the database, when it is refused', async () => {
    const url = new URL(database.url);
    url.password = hush('database');
    const { stdout, stderr, code } = await rowhook(['start'], { env: { DATABASE_URL: url.href } });
    expect(code).not.toBe(0);
    expect(stdout + stderr).not.toContain('hush-');
  });

  test("a row that is refused is not printed, not even to a superuser or into the server's log", async () => {
    const rules = await database.query<{ name: string }>(
      "select conname as name from pg_constraint where conrelid = 'rowhook.webhook_configurations'::regclass and contype = 'c'",
    );
    const [{ text }] = (await database.query("select pg_get_functiondef('rowhook._broken_rule'::regproc) as text")) as [
      { text: string },
    ];
    for (const { name } of rules) expect(text).toContain(`'${name}'`);
    const bad: Record<string, unknown>[] = [
      { retry_attempts: 99 },
      { timeout_ms: 1 },
      { http_method: 'GET' },
      { url: 'nonsense' },
      { url: null },
      { is_active: null },
      { name: '' },
      { tenant_id: '' },
      { ordering: 'x' },
      { auth_type: 'x' },
      { allowed_ips: [] },
      { allowed_ips: [null] },
      { rate_limit_per_second: 0 },
    ];
    for (const columns of bad) {
      const refused = createWebhook(database, {
        tenant_id: TENANT,
        url: 'https://a.example',
        secret: hush('row'),
        auth_config: {},
        ...columns,
      });
      const error = await refused.then(
        () => undefined,
        (thrown) => thrown,
      );
      expect([columns, error?.code, error?.detail]).toEqual([
        columns,
        expect.stringMatching(/^2350[2]|23514$/),
        undefined,
      ]);
      expect(JSON.stringify({ ...error, message: error.message })).not.toContain('hush-');
    }
    const { id } = await createWebhook(database, { tenant_id: TENANT, url: 'https://a.example', secret: hush('row') });
    const error = await database
      .query('update rowhook.webhook_configurations set max_in_flight = 0 where id = $1', [id])
      .then(
        () => undefined,
        (thrown) => thrown,
      );
    expect([error?.constraint, error?.detail]).toEqual(['webhook_configurations_max_in_flight_in_range', undefined]);
  });

  const words = [
    ['secret', 'TOPSECRET'],
    ['secret', `whsec_TOPSECRET`],
    ['secret', `whsec_${'TOPSECRET'.repeat(12)}`],
    ['secret', 'TOPSECRET'.repeat(100)],
    ['auth_type, auth_config', 'api_key', { header_name: 'TOPSECRET bad', header_value: 'x' }],
    ['auth_type, auth_config', 'api_key', { header_name: 'X-Key: TOPSECRET', header_value: 'TOPSECRET' }],
    ['auth_type, auth_config', 'api_key', { header_name: 'TOPSECRET'.repeat(20), header_value: 'TOPSECRET' }],
    ['auth_type, auth_config', 'api_key', { header_name: 'TOPSECRETé', header_value: 'TOPSECRET' }],
    ['auth_type, auth_config', 'api_key', { header_name: 'Host', header_value: 'TOPSECRET' }],
    ['auth_type, auth_config', 'api_key', { header_name: ['TOPSECRET'], header_value: 'TOPSECRET' }],
    ['auth_type, auth_config', 'api_key', { TOPSECRET: 'X-Key' }],
    ['auth_type, auth_config', 'bearer', { token: 'TOPSECRET\nmore' }],
    ['auth_type, auth_config', 'bearer', { token: 'TOPSECRETé' }],
    ['auth_type, auth_config', 'bearer', '"TOPSECRET"'],
    ['auth_type, auth_config', 'basic', { username: 'TOPSECRET:x', password: 'TOPSECRET' }],
    ['auth_type, auth_config', 'basic', { username: 'u', password: 'TOPSECRET\u0001' }],
    ['auth_type, auth_config', 'none', { token: 'TOPSECRET' }],
    ['auth_type, auth_config', 'unknown', { token: 'TOPSECRET' }],
    ['auth_config, timeout_ms', { token: 'TOPSECRET' }, 1],
    ['headers', { 'X-Key: TOPSECRET': 'x' }],
    ['headers', { 'X-Key:TOPSECRET': 'x', 'x-key:topsecret': 'TOPSECRET' }],
    ['headers', { 'TOPSECRET key': 'x' }],
    ['headers', { 'X-Key': 'TOPSECRETé' }],
    ['headers', { 'X-Key': ['TOPSECRET'] }],
    ['headers', { 'X-Key': 'TOPSECRET', 'x-key': 'TOPSECRET' }],
    ['headers', { Host: 'TOPSECRET' }],
    ['headers', '"TOPSECRET"'],
    ['headers, auth_type, auth_config', { Authorization: 'TOPSECRET' }, 'bearer', { token: 'TOPSECRET' }],
    ['url', 'https://TOPSECRET:x@a.example/'],
    ['url', 'https://a.example/?token=TOPSECRET x'],
    ['url', 'TOPSECRET'],
    ['url', `https://a.example/${'TOPSECRET'.repeat(300)}`],
    ['secret, headers, retry_attempts', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, 99],
    ['secret, headers, name', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, null],
    ['secret, headers, ordering, batch_max_events', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, 'row', 5],
    ['secret, headers, allowed_ips', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, []],
    ['secret, headers, event_types', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, ['no type']],
    ['secret, headers, filter', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, '{"a":{"$x":1}}'],
    ['secret, headers, retry_attempts', 'TOPSECRET-0123456789', { 'X-Key': 'TOPSECRET' }, '99999999999'],
  ] as const;

  // the server's log has the error's own fields and no other: its detail, its context and the query inside a function are among them
  test.each(['webhook_configurations', 'webhooks'])(
    'no error about a row of %s shows the value of a secret',
    async (table) => {
      const superuser = new pg.Client(database.url);
      await superuser.connect();
      const tenant = await app.connect(TENANT);
      try {
        for (const client of [superuser, tenant]) {
          const ok = `insert into rowhook.${table} (tenant_id, name, url, event_types, secret) values ($1, 'n', 'https://a.example', '{*}', $2)`;
          await client.query(ok, [TENANT, 'TOPSECRET-of-before']);
          for (const [columns, ...values] of words) {
            const given = { tenant_id: TENANT, name: 'n', url: 'https://a.example', event_types: '{*}' };
            const wrong = Object.fromEntries(columns.split(', ').map((column, index) => [column, values[index]]));
            const row = { ...given, ...wrong };
            const places = Object.keys(row).map((_, index) => `$${index + 1}`);
            const sets = Object.keys(wrong).map((column, index) => `${column} = $${index + 1}`);
            for (const [sql, parameters] of [
              [
                `insert into rowhook.${table} (${Object.keys(row).join()}) values (${places.join()})`,
                Object.values(row),
              ],
              [`update rowhook.${table} set ${sets.join()}`, Object.values(wrong)],
            ] as const) {
              const error = await client.query(sql, [...parameters]).then(
                () => undefined,
                (thrown) => ({ ...thrown, message: thrown.message }),
              );
              expect([sql, values, error]).toEqual([sql, values, expect.objectContaining({ severity: 'ERROR' })]);
              expect([sql, values, JSON.stringify(error)]).toEqual([
                sql,
                values,
                expect.not.stringMatching(/topsecret/i),
              ]);
            }
          }
        }
      } finally {
        await superuser.end();
        await tenant.end();
      }
    },
  );
});

describe('what a receiver echoes', () => {
  const outcome = (body: string, headers: Record<string, string> = {}): Outcome => ({
    status: 'success',
    code: 'delivered',
    error: null,
    response: { status: 200, headers, body },
    remoteIp: null,
    durationMs: 1,
  });
  const url = 'https://a.example/b';
  const sent = { authorization: 'Bearer s3cret-token', 'x-a': 'visible', 'x-key': 'abc' };
  const logged = { ...sent, authorization: '••••••', 'x-key': '••••••' };

  test('is masked wherever it stands, with or without its scheme', () => {
    const { response } = withoutEcho(
      outcome('{"a":"Bearer s3cret-token","b":"s3cret-token","c":"visible"}', { x: 's3cret-token!' }),
      { url, headers: sent },
      logged,
    );
    expect(response).toEqual({
      status: 200,
      headers: { x: '••••••!' },
      body: '{"a":"••••••","b":"••••••","c":"visible"}',
    });
  });

  test('also from the query of the URL, in the forms that it comes back in, and never the time to wait', () => {
    const asked = 'https://a.example/b?token=ab%2Fcd%22&pause=3600';
    const given = { authorization: `Basic ${Buffer.from('user:pass word').toString('base64')}`, 'x-pass': 'say "hi"' };
    const hidden = { authorization: '••••••', 'x-pass': '••••••' };
    const body = JSON.stringify({ a: asked, b: 'ab/cd"', c: 'pass word', d: 'say "hi"' });
    const echoed = outcome(body, { location: asked, 'retry-after': '3600' });
    const { response } = withoutEcho(echoed, { url: asked, headers: given }, hidden);
    expect(JSON.parse(response?.body ?? '')).toEqual({
      a: 'https://a.example/b?token=••••••&pause=••••••',
      b: '••••••',
      c: '••••••',
      d: '••••••',
    });
    expect(response?.headers).toEqual({
      location: 'https://a.example/b?token=••••••&pause=••••••',
      'retry-after': '3600',
    });
  });

  const key = 'k+e/y"& é=';
  const [inKey, afterKey] = [JSON.stringify(key).slice(1, -1), 's3cret-token'];
  test.each([
    ['JSON', inKey],
    ['JSON of PHP', inKey.replaceAll('/', '\\/').replace('é', '\\u00e9')],
    ['JSON of .NET', 'k\\u002Be/y\\u0022\\u0026 \\u00E9='],
    ['JSON of Gson', 'k+e/y\\"\\u0026 é\\u003d'],
    ['JSON, all escaped', [...key].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')],
    ['a URL', encodeURIComponent(key)],
    ['a form', new URLSearchParams({ key }).toString().slice('key='.length)],
    ['HTML', 'k+e/y&quot;&amp; é='],
    ['HTML of Go', 'k&#43;e/y&#34;&amp; &#xE9;='],
  ])('is masked as %s spells it, and nothing beside it', (_, spelt) => {
    const asked = { url, headers: { ...sent, 'x-key': key } };
    const echoed = outcome(`%25"a\\n${spelt}\\n${afterKey}&lt;${spelt}${spelt}\\u0041%`, {
      location: `/?a=${spelt}&b=%41`,
    });
    const { response } = withoutEcho(echoed, asked, logged);
    expect(response?.body).toMatch(/^%25"a\\n••••••\\n••••••&lt;(••••••){1,2}\\u0041%$/);
    expect(response?.headers.location).toBe('/?a=••••••&b=%41');
  });

  test('is masked where the body was cut in the middle of it', () => {
    const masked = (body: string) => withoutEcho(outcome(body), { url, headers: sent }, logged).response?.body;
    expect(masked('a s3cret-tok…')).toBe('a ••••••…');
    expect(masked('a Bearer s3cre…')).toBe('a ••••••…');
    expect(masked('a s3c…')).toBe('a s3c…');
    expect(masked('a s3cret-tok')).toBe('a s3cret-tok');
  });

  test('takes no time that a receiver could choose', () => {
    const headers = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`x-${n}`, `${n}!`.padEnd(300, '!')]));
    const hidden = Object.fromEntries(Object.keys(headers).map((name) => [name, '••••••']));
    // The least of several turns, and only this process, so that other processes do not count.
    const leastCpuUs = (drop: string) => {
      const echoed = outcome(drop.repeat(20_000 / drop.length), { x: drop.repeat(60_000 / drop.length) });
      const turns = Array.from({ length: 5 }, () => {
        const before = process.cpuUsage();
        withoutEcho(echoed, { url, headers }, hidden);
        const { user, system } = process.cpuUsage(before);
        return user + system;
      });
      return Math.min(...turns);
    };
    // Compared with an ordinary text of the same size, as the speed of machines differs.
    const ordinary = leastCpuUs('It is 10 % of it all, as we said before. ');
    for (const drop of ['!', '%21', '\\u0021', '&#33;', '%', '\\', '&', '%ff'])
      expect([drop, leastCpuUs(drop) < 20 * ordinary]).toEqual([drop, true]);
  });

  test('is left alone when it is too short to be told from other text, or nothing was masked', () => {
    expect(withoutEcho(outcome('abcabc'), { url, headers: sent }, logged).response?.body).toBe('abcabc');
    const plain = outcome('visible');
    expect(withoutEcho(plain, { url, headers: sent }, sent)).toBe(plain);
    expect(withoutEcho({ ...plain, response: null }, { url, headers: sent }, logged).response).toBeNull();
  });
});
