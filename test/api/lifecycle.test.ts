// The database goes away, a pooler is in between, clients are slow or rude, and the process is stopped.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

const NEW = { name: 'n', target_url: 'https://a.example/', event_types: ['*'] };

test('PostgreSQL is restarted: 503 with Retry-After, then 200 without a restart of ours', async () => {
  const server = await startServer();
  const api = await startTestApi(server.database);
  try {
    const token = await createKey(server.database, 'acme');
    const ask = () => api.ask('GET', '/v1/me', { token });
    expect((await ask()).status).toBe(200);
    await server.embedded.stop('immediate');
    const away = await Promise.all(Array.from({ length: 50 }, ask));
    expect(new Set(away.map(({ status }) => status))).toEqual(new Set([503]));
    for (const { headers, body } of away) {
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      expect(body.code).toBe('unavailable');
    }
    expect((await fetch(`${api.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
    await server.embedded.start();
    await waitUntil('it answers again', async () => (await ask()).status === 200);
    expect((await fetch(`${api.url}/readyz`)).status).toBe(200);
  } finally {
    await api.stop();
    await server.stop();
  }
});

describe('with one database', () => {
  let database: TestDatabase;
  let api: TestApi;
  let token: string;

  beforeAll(async () => {
    database = await createDatabase();
    api = await startTestApi(database, { apiPool: 2 });
    token = await createKey(database, 'acme');
  });

  afterAll(async () => {
    await api?.stop();
    await database?.drop();
  });

  test('a login that has lost its role: /readyz says so, and nobody learns its name', async () => {
    const login = `late_${randomUUID().slice(0, 8)}`;
    await database.query(`create role ${login} login password 'x' in role rowhook_api`);
    const url = new URL(database.apiUrl);
    Object.assign(url, { username: login, password: 'x' });
    const late = await startTestApi({ ...database, apiUrl: url.href });
    try {
      const ready = async () => {
        const answer = await fetch(`${late.url}/readyz`);
        return [answer.status, await answer.text()];
      };
      expect(await ready()).toEqual([200, 'ok\n']);
      await database.query(`revoke rowhook_api from ${login}`);
      expect((await late.ask('GET', '/v1/me', { token })).status).toBe(500);
      const refused = 'The database refuses the login of the API. The log of the server has the error.\n';
      expect(await ready()).toEqual([503, refused]);
      expect((await fetch(`${late.url}/healthz`)).status).toBe(200);
      await database.query(`grant rowhook_api to ${login}`);
      expect(await ready()).toEqual([200, 'ok\n']);
    } finally {
      await late.stop();
      await database.query(`drop role ${login}`);
    }
  });

  test.runIf(hasPgBouncer)('behind PgBouncer in transaction mode, organizations stay apart', async () => {
    const pooler = await startPgBouncer(database.apiUrl, 'transaction', 2);
    const pooled = await startTestApi({ ...database, apiUrl: pooler.url }, { apiPool: 8 });
    try {
      const names = ['org a', 'org b', 'org c'];
      const tokens = await Promise.all(names.map((name) => createKey(database, name)));
      const asked = Array.from({ length: 60 }, async (_, i) => {
        const [name, own] = [names[i % 3], tokens[i % 3]];
        const { status, body } = await pooled.ask('POST', '/v1/me/outgoing-webhooks', { token: own, body: NEW });
        expect([status, body.organization_id]).toEqual([201, name]);
        const list = await pooled.ask('GET', '/v1/me/outgoing-webhooks?limit=500', { token: own });
        expect(new Set(list.body.data?.map(({ organization_id }) => organization_id))).toEqual(new Set([name]));
      });
      await Promise.all(asked);
    } finally {
      await pooled.stop();
      await pooler.stop();
    }
  });

  test('a table changes under statements that are planned already: 503 for each connection at most, then 200', async () => {
    await api.ask('POST', '/v1/me/outgoing-webhooks', { token, body: NEW });
    const list = () => api.ask('GET', '/v1/me/outgoing-webhooks', { token });
    for (let n = 0; n < 10; n++) expect((await list()).status).toBe(200);
    await database.query('alter table rowhook.webhook_minutes alter column last_attempt_at type timestamptz(3)');
    const answers: Awaited<ReturnType<typeof list>>[] = [];
    for (let n = 0; n < 10; n++) answers.push(await list());
    const away = answers.filter(({ status }) => status !== 200);
    expect(away.map(({ status, headers }) => [status, headers.has('retry-after')])).toEqual(
      away.map(() => [503, true]),
    );
    expect(away.length).toBeGreaterThan(0);
    expect(away.length).toBeLessThanOrEqual(2);
    expect(answers.at(-1)?.status).toBe(200);
  });

  test('more requests than connections wait for their turn; one that waits for too long is told so', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => api.ask('GET', '/v1/me', { token })));
    expect(answers.some(({ status }) => status === 200)).toBe(true);
    const told = answers.filter(({ status, headers }) => status === 503 && headers.has('retry-after'));
    expect(answers.filter(({ status }) => status !== 200)).toEqual(told);
    const [row] = await database.query<{ count: number }>(
      "select count(*)::int from pg_stat_activity where application_name = 'rowhook api' and datname = current_database()",
    );
    expect(row?.count).toBeLessThanOrEqual(2);
  });

  test('a lock that another transaction holds is 503, not a wait without end', async () => {
    const { body } = await api.ask('POST', '/v1/me/outgoing-webhooks', { token, body: NEW });
    const holder = await database.pool.connect();
    try {
      await holder.query('begin');
      await holder.query('select from rowhook.webhook_configurations where id = $1 for update', [body.id]);
      const change = { token, body: { name: 'x' } };
      const { status, headers } = await api.ask('PATCH', `/v1/me/outgoing-webhooks/${body.id}`, change);
      expect([status, headers.get('retry-after')]).toEqual([503, expect.any(String)]);
    } finally {
      await holder.query('rollback');
      holder.release();
    }
  });

  /** What a socket is answered to some bytes. */
  async function raw(text: string): Promise<string> {
    const socket = connect(api.api.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => {});
    socket.write(text);
    await once(socket, 'close');
    return answer;
  }

  test.each([
    ['what is no HTTP', 'hello\r\n\r\n', 400],
    ['headers without end', `GET /api/v1/me HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(10_000)}`, 431],
    ['HTTP/1.0', 'GET /healthz HTTP/1.0\r\n\r\n', 200],
    [
      'bad UTF-8 in the path',
      'GET /api/v1/%ff/outgoing-webhooks HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      400,
    ],
    [
      '100 MB, announced',
      'POST /api/v1/me/outgoing-webhooks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\nConnection: close\r\n\r\n',
      413,
    ],
  ])('%s is answered: %3$d', async (_, text, status) => {
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  test('a stop lets a request that has begun be answered', async () => {
    const stopping = await startTestApi(database);
    const holder = await database.pool.connect();
    const { body } = await stopping.ask('POST', '/v1/me/outgoing-webhooks', { token, body: NEW });
    await holder.query('begin');
    await holder.query('select from rowhook.webhook_configurations where id = $1 for update', [body.id]);
    const asked = stopping.ask('PATCH', `/v1/me/outgoing-webhooks/${body.id}`, { token, body: { name: 'late' } });
    await waitUntil('it waits', async () => {
      const waiting = await database.query(
        "select from pg_stat_activity where application_name = 'rowhook api' and wait_event_type = 'Lock'",
      );
      return waiting.length > 0;
    });
    const stopped = stopping.stop();
    const isAnswered = () =>
      fetch(`${stopping.url}/healthz`)
        .then(({ ok }) => ok)
        .catch(() => false);
    await waitUntil('it takes no more requests', async () => !(await isAnswered()));
    await holder.query('commit');
    holder.release();
    expect((await asked).status).toBe(200);
    await stopped;
    await expect(fetch(`${stopping.url}/healthz`)).rejects.toThrow();
  });
});
