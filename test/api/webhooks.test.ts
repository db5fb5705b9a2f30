// Outgoing webhooks over HTTP: what each route answers to right and to wrong input.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULTS } from '../../src/api/routes/webhook-fields.ts';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const ORG = 'acme';
const PATH = `/v1/${ORG}/outgoing-webhooks`;
const MASK = '••••••';

let database: TestDatabase;
let api: TestApi;
let token: string;
let reader: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  token = await createKey(database, ORG);
  reader = await createKey(database, ORG, ['read']);
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const NEW = { name: 'CRM', target_url: 'https://hooks.example.com/in?key=s3cret', event_types: ['deal.*'] };
const create = async (more: object = {}) => {
  const { status, body } = await api.ask('POST', PATH, { token, body: { ...NEW, ...more } });
  expect([status, body]).toEqual([201, expect.anything()]);
  return body as Record<string, unknown> & { id: string; secret: string };
};
const stored = async (id: string) =>
  (await database.query('select * from rowhook.webhook_configurations where id = $1', [id]))[0];

describe('create', () => {
  test('answers 201, where it is, and its secret, once', async () => {
    const { status, headers, body } = await api.ask('POST', PATH, { token, body: NEW });
    expect(status).toBe(201);
    const { id, secret } = body as { id: string; secret: string };
    expect(headers.get('location')).toBe(`/api${PATH}/${id}`);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(body).toMatchObject({ ...NEW, ...DEFAULTS, auth_config: {}, organization_id: ORG, state: 'active' });
    expect(await stored(id)).toMatchObject({ secret, tenant_id: ORG, url: NEW.target_url });
    const again = await api.ask('GET', `${PATH}/${id}`, { token });
    expect(again.status).toBe(200);
    const { secret: _, notes, ...rest } = body;
    expect([again.body, notes]).toEqual([rest, []]);
    expect(again.headers.get('etag')).toBe(headers.get('etag'));
  });

  test.each([
    ['bearer', { token: 't0ken' }, { token: null }],
    ['basic', { username: 'bob', password: 'pw' }, { username: 'bob', password: null }],
    ['api_key', { header_name: 'X-Key', header_value: 'v' }, { header_name: 'X-Key', header_value: null }],
  ])('with %s: the credentials are written and never read', async (auth_type, auth_config, shown) => {
    const { id, ...body } = await create({ auth_type, auth_config, headers: { 'X-Team': 'sales', 'X-Pass': 'word' } });
    expect(body).toMatchObject({ auth_type, auth_config: shown, headers: { 'X-Team': 'sales', 'X-Pass': MASK } });
    expect(await stored(id)).toMatchObject({ auth_config, headers: { 'X-Team': 'sales', 'X-Pass': 'word' } });
  });

  test('says everything that is wrong at once, in the words of the database', async () => {
    const { status, headers, body } = await api.ask('POST', PATH, {
      token,
      body: { ...NEW, target_url: 'ftp://x', timeout_ms: 5, filter: { a: 1 }, event_types: ['?'], retry_attempts: 99 },
    });
    expect(status).toBe(422);
    expect(headers.get('content-type')).toContain('application/problem+json');
    expect(body).toMatchObject({ code: 'invalid', status: 422, type: 'about:blank' });
    expect(Object.fromEntries(body.errors?.map(({ field, message }) => [field, message]) ?? [])).toEqual({
      target_url: expect.stringMatching(/^must be http/),
      timeout_ms: 'must be 1000 to 30000 milliseconds',
      retry_attempts: 'must be 0 to 20 retries',
      event_types: expect.stringContaining('is not an event type'),
      filter: expect.any(String),
    });
  });

  test('nothing is coerced, and an unknown field is refused', async () => {
    const body = { ...NEW, timeout_ms: '5000', is_active: 1, surprise: true };
    const { status, body: answer } = await api.ask('POST', PATH, { token, body });
    expect(status).toBe(422);
    expect(answer.errors?.map(({ field }) => field).sort()).toEqual(['is_active', 'surprise', 'timeout_ms']);
  });

  test('a URL that the daemon would refuse is refused, with the remedy', async () => {
    const { status, body } = await api.ask('POST', PATH, {
      token,
      body: { ...NEW, target_url: 'https://127.0.0.1/x' },
    });
    expect([status, body.errors]).toEqual([
      422,
      [{ field: 'target_url', message: expect.stringContaining('ROWHOOK_ALLOW_CIDRS') }],
    ]);
  });

  test.each([
    ['no JSON', '{"name":', 400],
    ['a list', '[]', 422],
    ['nothing', '', 422],
    ['many levels', `${'['.repeat(600)}${']'.repeat(600)}`, 400],
    ['NUL', JSON.stringify({ ...NEW, name: 'a\u0000b' }), 422],
    ['too much', JSON.stringify({ ...NEW, description: 'x'.repeat(1_100_000) }), 413],
  ])('%s in the body: %3$d', async (_, body, status) => {
    const answer = await api.ask('POST', PATH, { token, body });
    expect([answer.status, answer.body.status]).toEqual([status, status]);
  });

  test('numbers of a filter keep all their digits', async () => {
    const digits = '12345678901234567890.5';
    const body = `{"name":"n","target_url":"https://a.example/","event_types":["*"],"filter":{"data.value":{"$gt":${digits}}}}`;
    const { text } = await api.ask('POST', PATH, { token, body });
    expect(text).toContain(digits);
  });

  test('the form of another content type is 415', async () => {
    const headers = { 'content-type': 'text/plain' };
    expect((await api.ask('POST', PATH, { token, body: 'x', headers })).status).toBe(415);
  });
});

describe('change', () => {
  test('PATCH changes what it names, and null clears', async () => {
    const { id } = await create({ description: 'text', filter: { 'data.a': 1 }, rate_limit_per_second: 5 });
    const { status, body } = await api.ask('PATCH', `${PATH}/${id}`, {
      token,
      body: { is_active: false, description: null, filter: null, rate_limit_per_second: null, state: 'active' },
    });
    expect([status, body]).toEqual([
      200,
      expect.objectContaining({ state: 'off', description: null, filter: null, rate_limit_per_second: null }),
    ]);
    expect(body).toMatchObject(NEW);
  });

  test.each(['PATCH', 'PUT'])('%s of what was read keeps every secret', async (method) => {
    const auth = { auth_type: 'basic', auth_config: { username: 'bob', password: 'pw' } };
    const { id } = await create({ ...auth, headers: { 'X-Pass': 'word', 'X-Team': 'a' }, secret: 'x'.repeat(20) });
    const { body } = await api.ask('GET', `${PATH}/${id}`, { token: method === 'PUT' ? token : reader });
    const changed = await api.ask(method, `${PATH}/${id}`, { token, body: { ...body, name: 'other' } });
    expect([changed.status, changed.body.name]).toEqual([200, 'other']);
    expect(await stored(id)).toMatchObject({
      ...auth,
      headers: { 'X-Pass': 'word', 'X-Team': 'a' },
      url: NEW.target_url,
      secret: 'x'.repeat(20),
    });
  });

  test('PUT resets what it does not name', async () => {
    const { id } = await create({ timeout_ms: 5_000, description: 'x' });
    const { body } = await api.ask('PUT', `${PATH}/${id}`, { token, body: NEW });
    expect(body).toMatchObject(DEFAULTS);
  });

  test('If-Match refuses a change of what somebody else changed', async () => {
    const { id } = await create();
    const etag = (await api.ask('GET', `${PATH}/${id}`, { token })).headers.get('etag') as string;
    const change = (body: object) => api.ask('PATCH', `${PATH}/${id}`, { token, body, headers: { 'if-match': etag } });
    expect((await change({ name: 'first' })).status).toBe(200);
    expect((await change({ name: 'second' })).status).toBe(412);
    expect(await stored(id)).toMatchObject({ name: 'first' });
  });

  test('enable and disable, rotate-secret, delete', async () => {
    const { id, secret } = await create();
    expect((await api.ask('POST', `${PATH}/${id}/disable`, { token })).body.state).toBe('off');
    expect((await api.ask('POST', `${PATH}/${id}/enable`, { token })).body.state).toBe('active');
    const rotated = await api.ask('POST', `${PATH}/${id}/rotate-secret`, { token, body: { overlap_seconds: 60 } });
    expect(rotated.status).toBe(200);
    expect(await stored(id)).toMatchObject({ secret: rotated.body.secret, previous_secret: secret });
    expect((await api.ask('DELETE', `${PATH}/${id}`, { token })).status).toBe(204);
    expect((await api.ask('GET', `${PATH}/${id}`, { token })).status).toBe(404);
    expect((await api.ask('DELETE', `${PATH}/${id}`, { token })).status).toBe(404);
  });
});

describe('list', () => {
  const other = 'list-org';
  let lister: string;

  beforeAll(async () => {
    lister = await createKey(database, other);
    for (let i = 0; i < 5; i++) {
      const body = {
        ...NEW,
        name: `hook ${i}`,
        is_active: i !== 3,
        event_types: i === 2 ? ['note.added'] : ['deal.*'],
      };
      expect((await api.ask('POST', '/v1/me/outgoing-webhooks', { token: lister, body })).status).toBe(201);
    }
  });

  const names = async (query: string) =>
    (await api.ask('GET', `/v1/me/outgoing-webhooks?${query}`, { token: lister })).body.data?.map(({ name }) => name);

  test('newest first, page by page', async () => {
    const seen: unknown[] = [];
    let cursor: unknown = '';
    do {
      const query = cursor ? `&cursor=${cursor}` : '';
      const { body } = await api.ask('GET', `/v1/${other}/outgoing-webhooks?limit=2${query}`, { token: lister });
      seen.push(...(body.data ?? []).map(({ name }) => name));
      cursor = body.next_cursor;
    } while (cursor !== null);
    expect(seen).toEqual(['hook 4', 'hook 3', 'hook 2', 'hook 1', 'hook 0']);
  });

  test.each([
    ['q=HOOK%201', ['hook 1']],
    ['is_active=false', ['hook 3']],
    ['event_type=note.added', ['hook 2']],
    ['q=%25', []],
  ])('%s', async (query, expected) => {
    expect(await names(query)).toEqual(expected);
  });

  test.each(['limit=0', 'limit=501', 'limit=x', 'cursor=abc', 'surprise=1', 'is_active=maybe'])(
    '%s is 400',
    async (query) => {
      expect((await api.ask('GET', `/v1/me/outgoing-webhooks?${query}`, { token: lister })).status).toBe(400);
    },
  );

  test('for a reader, query values of a URL are masked', async () => {
    const { body } = await api.ask('GET', `${PATH}?limit=1`, { token: reader });
    expect(body.data?.[0]?.target_url).toBe(`https://hooks.example.com/in?key=${MASK}`);
  });
});
