// What `rowhook serve` refuses to start on, with the statement that ends it; and how it stops.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startApi } from '../../src/api/server.ts';
import { apiSettings, createKey, startTestApi } from '../support/api.ts';
import { startRowhook } from '../support/cli.ts';
import { apiRole, createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

let database: TestDatabase;
let token: string;
const role = `serve_login_${process.pid}`;
let loginUrl: string;

beforeAll(async () => {
  database = await createDatabase();
  token = await createKey(database, 'acme');
  loginUrl = databaseUrl(database.url, database.name, role, 'secret');
});

afterAll(async () => {
  await database.query(`drop role if exists ${role}`);
  await database.drop();
});

const refusal = (url: string) =>
  startApi(apiSettings(url)).then(
    async (api) => {
      await api.stop();
      return 'it started';
    },
    (error: Error) => error.message,
  );
const remedyOf = (said: string) => /[Ll]et a DBA run: (.*); then start "rowhook serve" again\./.exec(said)?.[1] ?? '';

describe('a login that is no member of rowhook_api is refused, and starts after what it is told', () => {
  beforeEach(() => database.query(`drop role if exists ${role}; create role ${role} login password 'secret'`));

  test.each([
    ['none', ''],
    ['noinherit', `grant rowhook_api to ROLE; alter role ROLE noinherit`],
    ['of the application', 'grant rowhook_app to ROLE'],
  ])('%s', async (_, statements) => {
    await database.query(statements.replaceAll('ROLE', role));
    const said = await refusal(loginUrl);
    if (said === 'it started') return;
    expect(said).toContain(`${role} may not act as rowhook_api`);
    await database.query(remedyOf(said));
    expect(await refusal(loginUrl)).toBe('it started');
  });
});

describe('a replaced current_tenant() is refused, until it follows the setting', () => {
  test.each(['jwt-claims', 'session-user'])('%s', async (variant) => {
    await database.query(readFileSync(join(import.meta.dirname, `../../sql/tenants/${variant}.sql`), 'utf8'));
    const said = await refusal(database.apiUrl);
    expect(said).toContain('was replaced, and does not follow the setting rowhook.tenant_id');
    await database.query(remedyOf(said));
    expect(await refusal(database.apiUrl)).toBe('it started');
    await database.query('drop table if exists rowhook.tenant_logins');
  });
});

test('a login that is a superuser starts, and its requests see one organization only', async () => {
  const api = await startTestApi({ ...database, apiUrl: database.url });
  const foreign = await createKey(database, 'other');
  try {
    const body = { name: 'n', target_url: 'https://a.example/', event_types: ['*'] };
    const made = await api.ask('POST', '/v1/me/outgoing-webhooks', { token: foreign, body });
    expect(made.status).toBe(201);
    expect((await api.ask('GET', `/v1/me/outgoing-webhooks/${made.body.id}`, { token })).status).toBe(404);
    expect((await api.ask('GET', '/v1/me/outgoing-webhooks', { token })).body.data).toEqual([]);
  } finally {
    await api.stop();
  }
});

test('as people run it: it answers, tells its port, and a signal stops it in order', async () => {
  const running = startRowhook(['serve'], {
    env: { DATABASE_URL: database.apiUrl, ROWHOOK_API_PORT: '0', ROWHOOK_API_METRICS_PORT: '0' },
  });
  try {
    const port = await waitUntil('it has started', async () => /"port":(\d+)/.exec(running.stdout())?.[1]);
    const url = `http://127.0.0.1:${port}`;
    expect(await (await fetch(`${url}/healthz`)).text()).toBe('ok\n');
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect((await fetch(`${url}/metrics`)).status).toBe(404);
    const me = await fetch(`${url}/api/auth/me?secret=query`, { headers: { 'x-api-key': token } });
    expect(await me.json()).toMatchObject({ organization_id: 'acme', scopes: ['read', 'write'], read_only: false });
  } finally {
    running.process.kill('SIGTERM');
  }
  const { code, stdout } = await running.ended;
  expect([code, stdout]).toEqual([0, expect.not.stringContaining(token)]);
  expect(stdout).not.toContain('secret=query');
});

test.each([
  ['behind a proxy', { ROWHOOK_TRUST_PROXY: '1' }, true],
  ['on all interfaces', { ROWHOOK_API_HOST: '0.0.0.0' }, true],
  ['for this machine', {}, false],
  ['with its address', { ROWHOOK_TRUST_PROXY: '1', ROWHOOK_PUBLIC_URL: 'https://hooks.example.com' }, false],
])('%s: whether it says that links need ROWHOOK_PUBLIC_URL', async (_, env, isTold) => {
  const running = startRowhook(['serve'], {
    env: { DATABASE_URL: database.apiUrl, ROWHOOK_API_PORT: '0', ROWHOOK_API_METRICS_PORT: '0', ...env },
  });
  await waitUntil('it has started', async () => /"port":\d+/.test(running.stdout()));
  running.process.kill('SIGTERM');
  expect((await running.ended).stdout.includes('ROWHOOK_PUBLIC_URL is not set')).toBe(isTold);
});

test('metrics have a port of their own', async () => {
  const api = await startApi({ ...apiSettings(database.apiUrl), apiMetricsPort: 0 });
  expect(api.metricsPort).toBeNull();
  await api.stop();
  expect(apiRole).toBeDefined();
});
