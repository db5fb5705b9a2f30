// Who may do what: tokens, scopes, organizations, limits.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;
let api: TestApi;
const keys: Record<string, string> = {};

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  keys.own = await createKey(database, 'acme');
  keys.foreign = await createKey(database, 'other');
  keys.reader = await createKey(database, 'acme', ['read']);
  keys.giver = await createKey(database, 'acme', ['read', 'keys']);
  keys.operator = await createKey(database, null);
  keys.revoked = await createKey(database, 'acme');
  keys.expired = await createKey(database, 'acme', ['read', 'write'], new Date(Date.now() + 60_000));
  await database.query('update rowhook.api_keys set revoked_at = now() where hash = $1', [hashOf(keys.revoked)]);
  await database.query(
    "update rowhook.api_keys set created_at = now() - interval '2 h', expires_at = now() - interval '1 h' where hash = $1",
    [hashOf(keys.expired)],
  );
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const hashOf = (token: string) => createHash('sha256').update(token).digest();
const PATH = '/v1/acme/outgoing-webhooks';

describe('a token', () => {
  test.each(['/v1/me', '/auth/me'])('GET %s says what it is', async (path) => {
    const { status, body } = await api.ask('GET', path, { token: keys.reader });
    expect([status, body]).toEqual([
      200,
      {
        organization_id: 'acme',
        organization: { id: 'acme', name: null, slug: null },
        tenant_id: 'acme',
        name: 'a key',
        scopes: ['read'],
        read_only: true,
        expires_at: null,
      },
    ]);
    expect((await api.ask('GET', path, { headers: { 'x-api-key': keys.operator as string } })).body).toMatchObject({
      organization_id: null,
      organization: null,
      scopes: expect.arrayContaining(['operator']),
    });
  });

  test('that is unknown, revoked, expired, broken or missing is told the same', async () => {
    const unknown = `rhk_${'x'.repeat(43)}`;
    const tokens = [unknown, keys.revoked, keys.expired, 'nonsense', undefined, 'a.b.c'];
    const answers = await Promise.all(
      tokens.flatMap((token) => [
        api.ask('GET', PATH, { token }),
        // before its body is judged
        api.ask('POST', PATH, { token, body: '{"broken' }),
        api.ask('POST', PATH, { token, body: 'x', headers: { 'content-type': 'text/plain' } }),
      ]),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(401);
    expect(answers[0]?.headers.get('www-authenticate')).toBe('Bearer');
  });

  test('of another organization finds nothing, whether that organization exists or not', async () => {
    const asked = ['acme', 'nobody', 'x'.repeat(600), '%00'].map((organization) =>
      api.ask('GET', `/v1/${organization}/outgoing-webhooks`, { token: keys.foreign }),
    );
    const answers = await Promise.all(asked);
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(404);
  });

  test('of the operator reaches every organization, and `me` is none', async () => {
    const body = { name: 'n', target_url: 'https://a.example/', event_types: ['*'] };
    const { status, body: made } = await api.ask('POST', PATH, { token: keys.operator, body });
    expect([status, made.organization_id]).toEqual([201, 'acme']);
    expect((await api.ask('GET', `${PATH}/${made.id}`, { token: keys.own })).status).toBe(200);
    expect((await api.ask('GET', `/v1/other/outgoing-webhooks/${made.id}`, { token: keys.foreign })).status).toBe(404);
    expect((await api.ask('GET', '/v1/me/outgoing-webhooks', { token: keys.operator })).status).toBe(404);
  });

  test('that may only read changes nothing', async () => {
    expect((await api.ask('GET', PATH, { token: keys.reader })).status).toBe(200);
    const { status, body } = await api.ask('POST', PATH, { token: keys.reader, body: {} });
    expect([status, body.code]).toEqual([403, 'forbidden']);
  });

  test('is stored as a hash only, and last_used_at is noted', async () => {
    await api.ask('GET', '/v1/me', { token: keys.own });
    const used = () =>
      database.query('select from rowhook.api_keys where hash = $1 and last_used_at is not null', [
        hashOf(keys.own as string),
      ]);
    await waitUntil('it was noted', async () => (await used()).length === 1);
    const dump = JSON.stringify(await database.query('select k::text as row from rowhook.api_keys k'));
    for (const token of Object.values(keys)) expect(dump).not.toContain(token.slice(10));
  });

  test('with allowed_ips works from there only', async () => {
    const token = await createKey(database, 'acme');
    const restrict = (range: string) =>
      database.query('update rowhook.api_keys set allowed_ips = $2::cidr[] where hash = $1', [hashOf(token), range]);
    await restrict('{10.0.0.0/8}');
    expect((await api.ask('GET', PATH, { token })).status).toBe(401);
    await restrict('{10.0.0.0/8,127.0.0.1/32}');
    expect((await api.ask('GET', PATH, { token })).status).toBe(200);
  });
});

describe('keys over HTTP', () => {
  const KEYS = '/v1/acme/api-keys';

  test('are made within what the maker has, shown once, rotated and revoked', async () => {
    const made = await api.ask('POST', KEYS, { token: keys.giver, body: { name: 'child', scopes: ['read'] } });
    expect(made.status).toBe(201);
    const { id, token } = made.body as unknown as { id: string; token: string };
    expect((await api.ask('GET', '/v1/me', { token })).body).toMatchObject({ name: 'child', scopes: ['read'] });
    const list = await api.ask('GET', KEYS, { token: keys.giver });
    expect(list.body.data?.find((key) => key.id === id)).toMatchObject({ name: 'child', prefix: token.slice(0, 10) });
    expect(list.text).not.toContain(token);

    const rotated = await api.ask('POST', `${KEYS}/${id}/rotate`, { token: keys.giver, body: { overlap_seconds: 60 } });
    expect(rotated.status).toBe(200);
    const next = rotated.body.token as unknown as string;
    for (const each of [token, next]) expect((await api.ask('GET', '/v1/me', { token: each })).status).toBe(200);
    await api.ask('POST', `${KEYS}/${id}/rotate`, { token: keys.giver, body: { overlap_seconds: 0 } });
    for (const each of [token, next]) expect((await api.ask('GET', '/v1/me', { token: each })).status).toBe(401);

    const again = await api.ask('POST', `${KEYS}/${id}/rotate`, { token: keys.giver });
    const last = again.body.token as unknown as string;
    expect((await api.ask('DELETE', `${KEYS}/${id}`, { token: keys.giver })).status).toBe(204);
    expect((await api.ask('GET', '/v1/me', { token: last })).status).toBe(401);
  });

  test.each([
    ['more scopes', { scopes: ['write'] }, 403],
    ['the operator', { scopes: ['operator'] }, 403],
    ['an unknown scope', { scopes: ['all'] }, 403],
    ['no scope', { scopes: [] }, 422],
    ['an end in the past', { scopes: ['read'], expires_at: '2020-01-01T00:00:00Z' }, 422],
    ['an end without a zone', { scopes: ['read'], expires_at: '2999-01-01T00:00:00' }, 422],
  ])('with %s are refused', async (_, more, status) => {
    expect((await api.ask('POST', KEYS, { token: keys.giver, body: { name: 'x', ...more } })).status).toBe(status);
  });

  test('a maker that ends, or is bound to addresses, gives keys that are so too', async () => {
    const token = await createKey(database, 'acme', ['read', 'keys'], new Date(Date.now() + 3_600_000));
    await database.query("update rowhook.api_keys set allowed_ips = '{127.0.0.0/8}' where hash = $1", [hashOf(token)]);
    const make = (more: object) => api.ask('POST', KEYS, { token, body: { name: 'x', scopes: ['read'], ...more } });
    const { body } = await make({});
    expect(body).toMatchObject({ allowed_ips: ['127.0.0.0/8'], expires_at: expect.any(String) });
    expect((await make({ expires_at: '2999-01-01T00:00:00Z' })).status).toBe(403);
    expect((await make({ allowed_ips: ['0.0.0.0/0'] })).status).toBe(403);
    expect((await make({ allowed_ips: ['127.0.0.1'] })).status).toBe(201);
  });

  test('a key that may do more is not rotated by one that may do less', async () => {
    const { body } = await api.ask('GET', KEYS, { token: keys.giver });
    const mighty = body.data?.find(({ scopes }) => (scopes as string[]).includes('write'));
    expect((await api.ask('POST', `${KEYS}/${mighty?.id}/rotate`, { token: keys.giver })).status).toBe(403);
  });

  test('a key that ends, or is bound to addresses, rotates none that is not', async () => {
    const free = await api.ask('POST', KEYS, { token: keys.giver, body: { name: 'free', scopes: ['read'] } });
    const bound = await createKey(database, 'acme', ['read', 'keys']);
    const rotate = (id: unknown) => api.ask('POST', `${KEYS}/${id}/rotate`, { token: bound });
    const bind = (value: string) =>
      database.query(`update rowhook.api_keys set ${value} where hash = $1`, [hashOf(bound)]);
    for (const value of ["allowed_ips = '{127.0.0.0/8}'", "allowed_ips = null, expires_at = now() + interval '1 h'"]) {
      await bind(value);
      expect((await rotate(free.body.id)).status).toBe(403);
    }
    await bind('expires_at = null');
    expect((await rotate(free.body.id)).status).toBe(200);
  });

  test('need the scope keys, and are those of one organization', async () => {
    expect((await api.ask('GET', KEYS, { token: keys.own })).status).toBe(403);
    const giver = await createKey(database, 'other', ['keys']);
    const { body } = await api.ask('GET', KEYS, { token: keys.operator });
    expect((await api.ask('DELETE', `/v1/other/api-keys/${body.data?.[0]?.id}`, { token: giver })).status).toBe(404);
    const foreign = (await api.ask('GET', '/v1/me/api-keys', { token: giver })).body.data;
    expect(foreign?.every(({ organization_id }) => organization_id === 'other')).toBe(true);
  });
});

describe('limits', () => {
  test('a key has so many requests a minute, and only its own count', async () => {
    const limited = await startTestApi(database, { apiRateLimit: 3 });
    try {
      const token = await createKey(database, 'acme');
      const ask = () => limited.ask('GET', '/v1/me', { token });
      const answers = [await ask(), await ask(), await ask(), await ask()];
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
      expect(answers.map(({ headers }) => headers.get('ratelimit-remaining'))).toEqual(['2', '1', '0', '0']);
      expect(Number(answers[3]?.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(answers[3]?.body.code).toBe('rate_limited');
      expect((await limited.ask('GET', '/v1/me', { token: keys.own })).status).toBe(200);
    } finally {
      await limited.stop();
    }
  });

  test('an address has 60 failures a minute', async () => {
    const guessed = await startTestApi(database);
    try {
      const ask = (token: string | undefined) => guessed.ask('GET', '/v1/me', { token });
      const statuses: number[] = [];
      for (let i = 0; i < 62; i++) statuses.push((await ask(i % 2 ? undefined : `rhk_${'y'.repeat(43)}`)).status);
      expect(statuses.filter((status) => status === 401)).toHaveLength(60);
      expect(statuses.slice(60)).toEqual([429, 429]);
    } finally {
      await guessed.stop();
    }
  });
});

describe('rowhook api-key', () => {
  const run = (...args: string[]) => rowhook(['api-key', ...args], { env: { DATABASE_URL: database.url } });

  test('create, list, rotate, revoke', async () => {
    const { stdout, code } = await run('create', '--tenant', 'acme', '--name', 'cli', '--expires-in', '90d', '--json');
    expect(code).toBe(0);
    const { id, token } = JSON.parse(stdout);
    expect((await api.ask('GET', '/v1/me', { token })).body).toMatchObject({ name: 'cli', organization_id: 'acme' });
    const list = (await run('list', '--tenant', 'acme')).stdout;
    expect(list).toContain(id);
    expect(list).not.toContain(token);
    const rotated = JSON.parse((await run('rotate', id, '--overlap', '0', '--json')).stdout);
    expect((await api.ask('GET', '/v1/me', { token })).status).toBe(401);
    expect((await api.ask('GET', '/v1/me', { token: rotated.token })).status).toBe(200);
    expect((await run('revoke', id)).stdout).toBe(`Key ${id}: revoked.\n`);
    expect((await api.ask('GET', '/v1/me', { token: rotated.token })).status).toBe(401);
  });

  test('create --operator has every scope', async () => {
    const { token } = JSON.parse((await run('create', '--operator', '--name', 'ops', '--json')).stdout);
    expect((await api.ask('GET', '/v1/me', { token })).body).toMatchObject({
      organization_id: null,
      scopes: ['read', 'write', 'inbound', 'keys', 'operator'],
    });
  });

  test.each([
    [['create', '--name', 'x'], 'give either --tenant or --operator'],
    [['create', '--name', 'x', '--tenant', 'a', '--operator'], 'give either --tenant or --operator'],
    [['create', '--name', 'x', '--tenant', 'a', '--scopes', 'all'], 'scopes must list'],
    [['create', '--name', 'x', '--tenant', 'a', '--expires-in', 'soon'], 'Write it as 90d'],
    [['revoke', '00000000-0000-4000-8000-000000000000'], '"rowhook api-key list" shows the keys'],
  ])('%j: what to write instead', async (args, said) => {
    const { code, stderr } = await run(...args);
    expect([code, stderr]).toEqual([expect.toBeOneOf([1, 2]), expect.stringContaining(said)]);
  });
});
