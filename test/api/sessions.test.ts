// Portal links and sessions: who gets one, what it may do, and when it ends.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { consolePolicy } from '../../src/api/sessions/console-headers.ts';
import { type Answer, createKey, startTestApi, type TestApi } from '../support/api.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let giver: string;
let operator: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database, { publicUrl: 'https://hooks.example.com/base' });
  giver = await createKey(database, 'acme', ['read', 'write', 'keys']);
  operator = await createKey(database, null);
  await database.query(
    "insert into rowhook.webhook_tenants (id, name) values ('acme', 'Acme Ltd'), ('other', 'Other')",
  );
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const LINKS = '/v1/acme/portal-links';
const LIST = '/v1/me/outgoing-webhooks';
const NEW = { name: 'n', target_url: 'https://a.example/', event_types: ['*'] };

const makeLink = async (body: object = {}, token = giver) => {
  const { status, body: link } = await api.ask('POST', LINKS, { token, body });
  expect(status).toBe(201);
  return {
    url: String(link.url),
    token: String(link.url).split('#token=')[1] ?? '',
    expiresAt: String(link.expires_at),
  };
};
const open = (token: string, more: object = { bearer: true }) =>
  api.ask('POST', '/v1/session', { body: { token, ...more } });
const openLink = async (body: object = {}, token = giver) =>
  String((await open((await makeLink(body, token)).token)).body.token);
const secondsTo = (time: unknown) => (new Date(String(time)).getTime() - Date.now()) / 1_000;

describe('a portal link', () => {
  test('opens the console for its organization, once, within 5 minutes', async () => {
    const link = await makeLink({ expires_in: 600 });
    expect(link.url).toMatch(/^https:\/\/hooks\.example\.com\/base\/console\/#token=rhl_[\w-]{43}$/);
    expect(secondsTo(link.expiresAt)).toBeGreaterThan(500);
    const opened = await open(link.token);
    expect([opened.status, opened.body]).toEqual([
      201,
      {
        ...{ organization_id: 'acme', tenant_id: 'acme', name: 'a key', scopes: ['read', 'write'], read_only: false },
        organization: { id: 'acme', name: 'Acme Ltd', slug: null },
        expires_at: link.expiresAt,
        token: expect.stringMatching(/^rhs_[\w-]{43}$/),
      },
    ]);
    const token = String(opened.body.token);
    const { token: _, ...me } = opened.body;
    expect((await api.ask('GET', '/v1/me', { token })).body).toEqual(me);
    expect((await api.ask('POST', LIST, { token, body: NEW })).status).toBe(201);
    expect((await open(link.token)).status).toBe(401);
    const [change] = await database.query(
      'select changed_by as actor from rowhook.webhook_changes order by id desc limit 1',
    );
    expect(change?.actor).toMatch(/^session of a key \(/);

    const late = await makeLink();
    await database.query("update rowhook.api_sessions set link_expires_at = now() - interval '1 s'");
    expect((await open(late.token)).text).toBe((await open(`rhl_${'x'.repeat(43)}`)).text);
  });

  test('works for one of two that open it at the same time', async () => {
    const { token } = await makeLink();
    const answers = await Promise.all([1, 2, 3, 4].map(() => open(token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401, 401]);
  });

  test('is no token, and the token of a session is no link', async () => {
    const { token } = await makeLink();
    expect((await api.ask('GET', '/v1/me', { token })).status).toBe(401);
    expect((await open(await openLink())).status).toBe(401);
  });

  test('with read_only changes nothing', async () => {
    const token = await openLink({ read_only: true });
    expect((await api.ask('GET', '/v1/me', { token })).body).toMatchObject({ scopes: ['read'], read_only: true });
    expect((await api.ask('GET', LIST, { token })).status).toBe(200);
    expect((await api.ask('POST', LIST, { token, body: NEW })).status).toBe(403);
  });

  test('gives what its maker has, or less, and ends no later', async () => {
    const reader = await createKey(database, 'acme', ['read', 'keys'], new Date(Date.now() + 120_000));
    const token = await openLink({ expires_in: 3_600 }, reader);
    const { body } = await api.ask('GET', '/v1/me', { token });
    expect(body.scopes).toEqual(['read']);
    expect(secondsTo(body.expires_at)).toBeLessThan(121);
    const empty = await createKey(database, 'acme', ['keys']);
    expect((await api.ask('POST', LINKS, { token: empty, body: {} })).status).toBe(403);
    const ofOperator = await openLink({}, operator);
    expect((await api.ask('GET', '/v1/me', { token: ofOperator })).body).toMatchObject({
      organization_id: 'acme',
      scopes: ['read', 'write', 'inbound'],
    });
    expect((await api.ask('GET', '/v1/organizations', { token: ofOperator })).status).toBe(403);
  });

  test('needs the scope keys and its own organization, and lasts 24 hours at most', async () => {
    const plain = await createKey(database, 'acme');
    expect((await api.ask('POST', LINKS, { token: plain, body: {} })).status).toBe(403);
    const foreign = await createKey(database, 'other', ['read', 'keys']);
    expect((await api.ask('POST', LINKS, { token: foreign, body: {} })).status).toBe(404);
    for (const expires_in of [0, 86_401, 1.5, '60'])
      expect((await api.ask('POST', LINKS, { token: giver, body: { expires_in } })).status).toBe(422);
    expect(secondsTo((await makeLink({ expires_in: 86_400 })).expiresAt)).toBeGreaterThan(86_300);
  });

  test('and what it became end with the key that made it', async () => {
    const key = await createKey(database, 'acme', ['read', 'keys']);
    const token = await openLink({}, key);
    const { token: unopened } = await makeLink({}, key);
    expect((await api.ask('GET', LIST, { token })).status).toBe(200);
    await database.query("update rowhook.api_keys set revoked_at = now() where hash = sha256(convert_to($1, 'UTF8'))", [
      key,
    ]);
    expect((await api.ask('GET', LIST, { token })).status).toBe(401);
    expect((await open(unopened)).status).toBe(401);
  });

  test('is made at the addresses of its key, and opened from everywhere', async () => {
    const proxied = await startTestApi(database, { trustProxy: 1 });
    try {
      const bound = { name: 'bound', scopes: ['read', 'keys'], allowed_ips: ['10.1.0.0/16'] };
      const key = String((await api.ask('POST', '/v1/acme/api-keys', { token: operator, body: bound })).body.token);
      const from = (address: string, method: string, path: string, token?: string, body?: object) =>
        proxied.ask(method, path, { token, body, headers: { 'x-forwarded-for': address } });
      expect((await from('192.0.2.9', 'POST', LINKS, key, {})).status).toBe(401);
      const { status, body } = await from('10.1.2.3', 'POST', LINKS, key, {});
      expect(status).toBe(201);
      const link = { token: String(body.url).split('#token=')[1], bearer: true };
      const opened = await from('192.0.2.9', 'POST', '/v1/session', undefined, link);
      expect(opened.status).toBe(201);
      expect((await from('198.51.100.7', 'GET', LIST, String(opened.body.token))).status).toBe(200);
    } finally {
      await proxied.stop();
    }
  });

  test('is printed by rowhook portal-link', async () => {
    const env = { DATABASE_URL: database.url, ROWHOOK_PUBLIC_URL: 'https://console.example' };
    const args = ['portal-link', '--tenant', 'acme', '--read-only', '--expires-in', '15m', '--json'];
    const { url, expires_at } = JSON.parse((await rowhook(args, { env })).stdout);
    expect(url).toMatch(/^https:\/\/console\.example\/console\/#token=rhl_/);
    const { body } = await open(url.split('#token=')[1]);
    expect(body).toMatchObject({ organization_id: 'acme', scopes: ['read'], expires_at });
    const text = await rowhook(['portal-link', '--tenant', 'acme'], { env: { DATABASE_URL: database.url } });
    expect(text.stdout).toContain('http://127.0.0.1:8080/console/#token=rhl_');
    const wrong = await rowhook(['portal-link', '--tenant', 'acme', '--expires-in', '25h'], { env });
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('Write it as 1h')]);
  });
});

describe('a session', () => {
  test.each([
    ['makes no key', 'POST', '/v1/acme/api-keys', { name: 'x', scopes: ['read'] }],
    ['rotates no key', 'POST', `/v1/acme/api-keys/${crypto.randomUUID()}/rotate`, {}],
    ['makes no portal link', 'POST', LINKS, {}],
    ['makes no further session', 'POST', '/v1/session', { bearer: true }],
  ])('%s', async (_, method, path, body) => {
    for (const key of [giver, operator]) {
      const { body: session } = await api.ask('POST', '/v1/session', { token: key, body: { bearer: true } });
      expect((await api.ask(method, path, { token: String(session.token), body })).status).toBe(403);
      expect((await api.ask('GET', '/v1/acme/api-keys', { token: String(session.token) })).status).toBe(200);
    }
  });

  test('of a key may do what the key may, ends no later, and is bound to its addresses', async () => {
    const start = (body: object, token = operator) => api.ask('POST', '/v1/session', { token, body });
    const { body } = await start({ bearer: true, expires_in: 60 });
    expect(secondsTo(body.expires_at)).toBeLessThanOrEqual(60);
    expect((await api.ask('GET', '/v1/organizations', { token: String(body.token) })).status).toBe(200);
    const short = await createKey(database, 'acme', ['read'], new Date(Date.now() + 30_000));
    const bound = (await start({ bearer: true }, short)).body;
    expect(secondsTo(bound.expires_at)).toBeLessThanOrEqual(30);
    await database.query("update rowhook.api_sessions set allowed_ips = '{10.0.0.0/8}' where expires_at = $1", [
      bound.expires_at,
    ]);
    expect((await api.ask('GET', '/v1/me', { token: String(bound.token) })).status).toBe(401);
    expect((await api.ask('POST', '/v1/session', { body: {} })).status).toBe(401);
  });

  test('begins with a key in the body too, as with one in the header, and with no other token', async () => {
    const key = await createKey(database, 'acme', ['read']);
    const inBody = (token: string) => api.ask('POST', '/v1/session', { body: { token, bearer: true } });
    const { status, body } = await inBody(key);
    expect({ status, scopes: body.scopes }).toEqual({ status: 201, scopes: ['read'] });
    expect((await api.ask('GET', '/v1/me', { token: String(body.token) })).status).toBe(200);
    for (const wrong of [`${key}x`, key.toUpperCase(), String(body.token), 'rhk_', ''])
      expect((await inBody(wrong)).status, wrong).toBe(401);
  });

  test('ends by DELETE, by its time, and leaves no row', async () => {
    const token = await openLink();
    expect((await api.ask('DELETE', '/v1/session', { token })).status).toBe(204);
    expect((await api.ask('GET', '/v1/me', { token })).status).toBe(401);
    expect((await api.ask('DELETE', '/v1/session', { token: giver })).status).toBe(409);
    const late = await openLink();
    await database.query(
      "update rowhook.api_sessions set created_at = now() - interval '1 h', expires_at = now() - interval '1 s'",
    );
    expect((await api.ask('GET', '/v1/me', { token: late })).status).toBe(401);
    await database.query('select rowhook._delete_old_rows(30)');
    expect(await database.query('select from rowhook.api_sessions')).toEqual([]);
  });

  test('and a link are stored as hashes only', async () => {
    const link = await makeLink();
    const token = await openLink();
    const dump = JSON.stringify(await database.query('select s::text as row from rowhook.api_sessions s'));
    for (const secret of [link.token, token]) {
      expect(dump).not.toContain(secret.slice(4));
      expect(dump).not.toContain(Buffer.from(secret).toString('hex'));
    }
  });
});

describe('the cookie', () => {
  const ORIGIN = 'https://hooks.example.com';
  const cookiesOf = ({ headers }: Answer) => headers.getSetCookie();
  const pairOf = (cookie = '') => cookie.split(';')[0] ?? '';

  test('is __Host-, HttpOnly, Secure and SameSite=Strict, and its answer has no token', async () => {
    const answer = await open((await makeLink()).token, {});
    expect([answer.status, answer.body.token]).toEqual([201, undefined]);
    const [cookie, ...more] = cookiesOf(answer);
    expect(cookie).toMatch(
      /^__Host-rowhook=rhs_[\w-]{43}; Max-Age=3\d{3}; Path=\/; HttpOnly; SameSite=Strict; Secure$/,
    );
    expect(more).toEqual([]);
    const me = await api.ask('GET', '/v1/me', { headers: { cookie: `a=b; ${pairOf(cookie)}` } });
    expect(me.body).toMatchObject({ organization_id: 'acme' });
  });

  test.each([
    ['of this server', { origin: ORIGIN }, 201],
    ['of another site', { origin: 'https://evil.example' }, 403],
    ['of a sibling', { origin: 'https://evil.hooks.example.com' }, 403],
    ['of the same host, without TLS', { origin: 'http://hooks.example.com' }, 403],
    ['null', { origin: 'null' }, 403],
    ['missing', {}, 403],
  ])('writes with an Origin %s', async (_, headers, status) => {
    const cookie = pairOf(cookiesOf(await api.ask('POST', '/v1/session', { token: giver, body: {} }))[0]);
    expect((await api.ask('POST', LIST, { body: NEW, headers: { cookie, ...headers } })).status).toBe(status);
    // reading needs none, and a header goes before the cookie
    expect((await api.ask('GET', LIST, { headers: { cookie, ...headers } })).status).toBe(200);
    const both = await api.ask('POST', LIST, { token: giver, body: NEW, headers: { cookie, ...headers } });
    expect(both.status).toBe(201);
  });

  test('is not set for another site, and DELETE removes it', async () => {
    const evil = { origin: 'https://evil.example' };
    const refused = await api.ask('POST', '/v1/session', { token: giver, body: {}, headers: evil });
    expect([refused.status, cookiesOf(refused)]).toEqual([403, []]);
    const cookie = pairOf(cookiesOf(await api.ask('POST', '/v1/session', { token: giver, body: {} }))[0]);
    const ended = await api.ask('DELETE', '/v1/session', { headers: { cookie, origin: ORIGIN } });
    expect([ended.status, cookiesOf(ended)[0]]).toEqual([204, expect.stringMatching(/^__Host-rowhook=; Max-Age=0;/)]);
    expect((await api.ask('GET', '/v1/me', { headers: { cookie } })).status).toBe(401);
  });

  test('needs an Origin with the host and the port of the server, where there is no public URL', async () => {
    const plain = await startTestApi(database);
    try {
      const [cookie] = cookiesOf(await plain.ask('POST', '/v1/session', { token: giver, body: {} })).map(pairOf);
      const write = (headers: Record<string, string>) =>
        plain.ask('POST', LIST, { body: NEW, headers: { cookie: cookie ?? '', ...headers } });
      expect((await write({ origin: plain.url })).status).toBe(201);
      for (const origin of ['http://127.0.0.1:1', 'http://localhost', 'https://evil.example'])
        expect((await write({ origin })).status).toBe(403);
    } finally {
      await plain.stop();
    }
  });
});

test('the addresses that webhooks are sent from', async () => {
  const told = await startTestApi(database, { egressIps: ['192.0.2.0/24', '198.51.100.7'] });
  try {
    expect((await told.ask('GET', '/v1/egress-ips', { token: giver })).body).toEqual({
      data: ['192.0.2.0/24', '198.51.100.7'],
    });
    expect((await api.ask('GET', '/v1/egress-ips', { token: giver })).body).toEqual({ data: [] });
  } finally {
    await told.stop();
  }
});

test('a token sees the name of its own organization, an operator that of each', async () => {
  const own = { id: 'acme', name: 'Acme Ltd', slug: null };
  const me = await api.ask('GET', '/v1/me', { token: giver });
  expect(me.body.organization).toEqual(own);
  expect((await api.ask('GET', '/v1/acme/organization', { token: giver })).body).toEqual(own);
  expect((await api.ask('GET', '/v1/other/organization', { token: giver })).status).toBe(404);

  const nameless = await createKey(database, 'nameless');
  const { body } = await api.ask('GET', '/v1/me', { token: nameless });
  expect(body.organization).toEqual({ id: 'nameless', name: null, slug: null });

  expect((await api.ask('GET', '/v1/me', { token: operator })).body.organization).toBeNull();
  expect((await api.ask('GET', '/v1/other/organization', { token: operator })).body.name).toBe('Other');
});

test('who may embed the console', () => {
  expect(consolePolicy({ frameAncestors: [] })).toMatch(/frame-ancestors 'none'$/);
  const two = consolePolicy({ frameAncestors: ['https://app.example.com', 'https://b.example'] });
  expect(two).toMatch(/frame-ancestors https:\/\/app\.example\.com https:\/\/b\.example$/);
  expect(two).toContain("script-src 'self'");
});
