// What one organization, or a client without a token, does to the requests of others.

import { Agent, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const MIB = 1024 * 1024;
const SCOPES = ['read', 'write', 'inbound', 'keys'];
let database: TestDatabase;
let api: TestApi;
let busy: string;
let other: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  [busy, other] = [await createKey(database, 'busy', SCOPES), await createKey(database, 'other', SCOPES)];
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

const receive = (token: string, body: unknown) =>
  api.ask('POST', '/webhooks/lead.captured', { body, headers: { 'x-api-key': token } });

/** Inbound events of `busy`, whose payloads are large. */
async function storeLarge(name: string, count: number, bytes: number): Promise<void> {
  const payload = { name: 'x'.repeat(bytes) };
  for (let n = 0; n < count; n++)
    expect((await api.ask('POST', `/webhooks/${name}`, { body: payload, headers: { 'x-api-key': busy } })).status).toBe(
      201,
    );
}

describe('connections', () => {
  test('requests of one organization that wait for a lock leave connections to others', async () => {
    const { id } = await createWebhook(database, { tenant_id: 'busy', url: 'https://a.example/' });
    // The requests of a key that the process does not know yet come all at once.
    const fresh = await createKey(database, 'busy', SCOPES);
    expect((await api.ask('GET', '/v1/me', { token: other })).status).toBe(200);
    const locker = await database.pool.connect();
    try {
      await locker.query('begin');
      await locker.query('select from rowhook.webhook_configurations where id = $1 for update', [id]);
      let settled = 0;
      const hanging = Array.from({ length: 60 }, () =>
        api
          .ask('PATCH', `/v1/busy/outgoing-webhooks/${id}`, { token: fresh, body: { name: 'n' } })
          .finally(() => (settled += 1)),
      );
      await waitUntil('half of the connections wait for the lock', async () => {
        const [row] = await database.query<{ waiting: number }>(
          `select count(*)::int as waiting from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return row?.waiting === 5;
      });
      const [read, received] = await Promise.all([
        api.ask('GET', '/v1/other/outgoing-webhooks', { token: other }),
        receive(other, { a: 1 }),
      ]);
      expect([read.status, received.status]).toEqual([200, 201]);
      // In one line, all of them would have come first.
      expect(settled).toBeLessThan(20);
      await locker.query('rollback');
      await Promise.all(hanging);
    } finally {
      locker.release();
    }
  });

  test('those who ask for /readyz at the same time share one connection', async () => {
    const [made] = await database.query<{ text: string }>(
      "select pg_get_functiondef('rowhook.schema_version()'::regprocedure) as text",
    );
    const locker = await database.pool.connect();
    try {
      await locker.query('select pg_advisory_lock(4711)');
      await database.query(`
        create or replace function rowhook.schema_version() returns int language plpgsql stable parallel safe
        as 'begin perform pg_advisory_xact_lock_shared(4711); return 1; end'`);
      const asked = Array.from({ length: 30 }, async () => (await fetch(`${api.url}/readyz`)).status);
      const waiting = async () =>
        (
          await database.query(
            "select from pg_stat_activity where datname = current_database() and wait_event = 'advisory'",
          )
        ).length;
      await waitUntil('one waits', async () => (await waiting()) > 0);
      for (let n = 0; n < 5; n++) expect((await api.ask('GET', '/v1/me', { token: other })).status).toBe(200);
      expect(await waiting()).toBe(1);
      await locker.query('select pg_advisory_unlock(4711)');
      expect(new Set(await Promise.all(asked))).toEqual(new Set([200]));
    } finally {
      await locker.query('select pg_advisory_unlock_all()');
      locker.release();
      await database.query(made?.text as string);
    }
  });

  test('2,000 requests at once against a pool of 10: none fails except by its rate limit', async () => {
    const limited = await startTestApi(database, { apiPool: 10, apiRateLimit: 600 });
    const agent = new Agent({ maxSockets: Infinity });
    const status = (token: string) =>
      new Promise<number | string>((settle) => {
        const headers = { authorization: `Bearer ${token}` };
        request(`${limited.url}/api/v1/me`, { agent, headers }, (response) => {
          response.resume().once('end', () => settle(response.statusCode as number));
        })
          .once('error', ({ message }) => settle(message))
          .end();
      });
    const countsOf = async (token: string) => {
      const statuses = await Promise.all(Array.from({ length: 2_000 }, () => status(token)));
      return Object.fromEntries([...Map.groupBy(statuses, String)].map(([name, all]) => [name, all.length]));
    };
    try {
      const fresh = await createKey(database, 'busy', ['read']);
      // its first requests come before the process knows it
      expect(await countsOf(fresh)).toEqual({ 200: 600, 429: 1_400 });
      expect(await countsOf(fresh)).toEqual({ 429: 2_000 });
      expect(await status(other)).toBe(200);
    } finally {
      agent.destroy();
      await limited.stop();
    }
  });
});

test('whoever fails too often from a shared address does not keep out those who are known there', async () => {
  const own = await startTestApi(database);
  try {
    expect((await own.ask('GET', '/v1/me', { token: other })).status).toBe(200);
    const wrong = () => own.ask('GET', '/v1/me', { token: `rhk_${'x'.repeat(43)}` });
    for (let n = 0; n < 60; n++) expect((await wrong()).status).toBe(401);
    expect((await wrong()).status).toBe(429);
    expect((await own.ask('GET', '/v1/me', { token: other })).status).toBe(200);
    // one that was never accepted is not even looked for
    expect((await own.ask('GET', '/v1/me', { token: busy })).status).toBe(429);
  } finally {
    await own.stop();
  }
});

test('an address that fails too often is answered from the headers, before its body has come', async () => {
  const own = await startTestApi(database);
  const answer = (method: string, path: string, token: string) =>
    new Promise<number | undefined>((settle, reject) => {
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'content-length': '1000',
      };
      const asked = request(`${own.url}/api${path}`, { method, headers }, ({ statusCode }) => {
        settle(statusCode);
        asked.destroy();
      });
      asked.once('error', reject);
      // the rest of the body never comes
      asked.write('{');
    });
  try {
    const body = {};
    expect((await own.ask('POST', '/v1/other/outgoing-webhooks', { token: other, body })).status).toBe(422);
    const token = `rhk_${'x'.repeat(43)}`;
    for (let n = 0; n < 60; n++) expect((await own.ask('GET', '/v1/me', { token })).status).toBe(401);
    for (const [method, path] of [
      ['POST', '/v1/other/outgoing-webhooks'],
      ['PATCH', '/v1/other/outgoing-webhooks/1'],
      ['POST', '/webhooks/lead.captured'],
      ['POST', '/v1/webhooks/receive'],
      ['POST', '/v1/webhooks/receive/src_1'],
    ] as const)
      expect([path, await answer(method, path, token)]).toEqual([path, 429]);
    // others of that address are known
    expect((await own.ask('POST', '/v1/other/outgoing-webhooks', { token: other, body })).status).toBe(422);
  } finally {
    await own.stop();
  }
});

test('a token that was revoked is known no longer', async () => {
  const own = await startTestApi(database);
  try {
    const token = await createKey(database, 'leaves', ['read']);
    expect((await own.ask('GET', '/v1/me', { token })).status).toBe(200);
    await database.query("update rowhook.api_keys set revoked_at = now() where tenant_id = 'leaves'");
    for (let n = 0; n < 60; n++) expect((await own.ask('GET', '/v1/me', { token })).status).toBe(401);
    expect((await own.ask('GET', '/v1/me', { token })).status).toBe(429);
  } finally {
    await own.stop();
  }
});

test('many streams that begin at the same time are 20 of an organization', async () => {
  const aborts = Array.from({ length: 60 }, () => new AbortController());
  const answers = await Promise.all(
    aborts.map(({ signal }) =>
      fetch(`${api.url}/api/v1/busy/stream`, { headers: { authorization: `Bearer ${busy}` }, signal }),
    ),
  );
  const statuses = answers.map(({ status }) => status).sort();
  expect(statuses).toEqual([...Array(20).fill(200), ...Array(40).fill(429)]);
  for (const abort of aborts) abort.abort();
  // and they give their room back
  await waitUntil('another stream begins', async () => {
    const abort = new AbortController();
    const { status } = await fetch(`${api.url}/api/v1/busy/stream`, {
      headers: { authorization: `Bearer ${busy}` },
      signal: abort.signal,
    });
    abort.abort();
    return status === 200;
  });
});

describe('a page of large rows ends early, and the next one continues', () => {
  test('inbound events', async () => {
    await storeLarge('big.one', 12, 0.9 * MIB);
    const seen: unknown[] = [];
    let path = '/v1/busy/integration-events?limit=500&event_name=big.one';
    for (let pages = 1; ; pages++) {
      const { body, text } = await api.ask('GET', path, { token: busy });
      expect(text.length).toBeLessThan(5.5 * MIB);
      seen.push(...(body.data ?? []).map(({ id }) => id));
      if (body.next_cursor === null) break;
      expect(pages).toBeLessThan(12);
      path = `/v1/busy/integration-events?limit=500&event_name=big.one&cursor=${body.next_cursor}`;
    }
    expect(new Set(seen).size).toBe(12);
    expect(seen).toHaveLength(12);
  });

  test('webhooks', async () => {
    const token = await createKey(database, 'wide', SCOPES);
    // All in one statement, so all have one time, and the id alone orders them.
    await database.query(
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, description, headers)
       select 'wide', 'n' || n, 'https://a.example/', '{*}', repeat('x', 47000),
              jsonb_build_object('x-large', repeat('y', 16000))
         from generate_series(1, 150) as n`,
    );
    const seen: unknown[] = [];
    let cursor = '';
    for (let pages = 1; ; pages++) {
      const { body, text } = await api.ask('GET', `/v1/wide/outgoing-webhooks?limit=500${cursor}`, { token });
      expect(text.length).toBeLessThan(4.5 * MIB);
      expect(body.data?.length).toBeGreaterThan(0);
      seen.push(...(body.data ?? []).map(({ id }) => id));
      if (body.next_cursor === null) break;
      expect(pages).toBeLessThan(4);
      cursor = `&cursor=${body.next_cursor}`;
    }
    expect(new Set(seen).size).toBe(150);
    expect(seen).toHaveLength(150);
    // lists without pages
    for (const path of ['/v1/webhooks', '/webhooks/subscriptions'])
      expect((await api.ask('GET', path, { token })).text.length).toBeLessThan(4.5 * MIB);
  });

  test('claims', async () => {
    await storeLarge('big.two', 22, 0.9 * MIB);
    const claim = async () => {
      const body = { event_names: ['big.two'], max_count: 100 };
      return (await api.ask('POST', '/v1/busy/integration-events/claim', { token: busy, body })).body.data ?? [];
    };
    const counts = [(await claim()).length, (await claim()).length, (await claim()).length, (await claim()).length];
    expect(counts).toEqual([10, 10, 2, 0]);
  });
});

describe('a body is parsed for those only who have a token', () => {
  /** With a regular expression that read each string again from each of its quotes, this took minutes. */
  const endless = `{"a":"${'\\"'.repeat(MIB / 2 - 100)}`;

  test.each([
    ['POST', '/v1/session'],
    ['POST', '/v1/other/outgoing-webhooks'],
  ])('%s %s', async (method, path) => {
    expect((await api.ask(method, path, { body: endless })).status).toBe(401);
    expect((await api.ask(method, path, { body: endless, token: `rhk_${'x'.repeat(43)}` })).status).toBe(401);
    expect((await api.ask(method, path, { body: endless, token: other })).status).toBe(400);
  });
});

test('the OpenAPI document without a token is compressed, has an ETag, and a limit for an address', async () => {
  const own = await startTestApi(database);
  const get = (path: string, headers: Record<string, string> = {}) => own.ask('GET', path, { headers });
  try {
    const zipped = await get('/openapi.json', { 'accept-encoding': 'br, gzip;q=0.5' });
    expect(zipped.headers.get('content-encoding')).toBe('gzip');
    const plain = await get('/openapi.json', { 'accept-encoding': 'gzip;q=0' });
    expect([plain.headers.get('content-encoding'), plain.headers.get('vary')]).toEqual([null, 'accept-encoding']);
    expect(zipped.text).toBe(plain.text);
    const etag = plain.headers.get('etag') as string;
    expect((await get('/openapi.json', { 'if-none-match': `"a", ${etag}` })).status).toBe(304);
    // the document of the page is the same
    expect((await get('/docs/json')).text).toBe(plain.text);
    for (let n = 4; n < 119; n++) expect((await get('/openapi.json')).status).toBe(200);
    expect((await get('/docs/yaml')).status).toBe(200);
    for (const path of ['/openapi.json', '/docs/json', '/docs/yaml']) {
      const { status, headers } = await get(path);
      expect([path, status, Number(headers.get('retry-after')) > 0]).toEqual([path, 429, true]);
    }
    expect((await own.ask('GET', '/openapi.json', { token: other })).status).toBe(200);
  } finally {
    await own.stop();
  }
});

test('a body of very many values is refused before it is checked, except where it is data', async () => {
  const values = JSON.stringify(Array.from({ length: 20_001 }, () => 1));
  const body = `{"name":"n","target_url":"https://a.example/","event_types":${values}}`;
  const refused = await api.ask('POST', '/v1/other/outgoing-webhooks', { token: other, body });
  expect([refused.status, refused.body.detail]).toEqual([400, 'The body has more than 20000 values.']);
  const event = `{"event":"deal.won","data":${values}}`;
  expect((await api.ask('POST', '/v1/other/events', { token: other, body: event })).status).toBe(201);
});
