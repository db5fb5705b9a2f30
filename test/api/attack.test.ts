// SQL that runs as rowhook_api or rowhook_app gets no token, no key of an operator, and nothing of a tenant that it does
// not act for.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let foreignKey: string;
let operatorKey: string;

beforeAll(async () => {
  database = await createDatabase();
  api = await startTestApi(database);
  await createKey(database, 'acme', ['read', 'keys']);
  const token = await createKey(database, 'other', ['read', 'write', 'keys']);
  const operator = await createKey(database, null);
  for (const own of [token, operator]) await api.ask('POST', '/v1/session', { token: own, body: {} });
  await api.ask('POST', '/v1/other/portal-links', { token, body: {} });
  const idOf = async (where: string) =>
    (await database.query<{ id: string }>(`select id from rowhook.api_keys where ${where}`))[0]?.id as string;
  [foreignKey, operatorKey] = [await idOf("tenant_id = 'other'"), await idOf('tenant_id is null')];
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

/** What a statement answers, as a role that acts for acme, or the code of its error. */
async function as(role: string, statement: string): Promise<unknown> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(`select set_config('role', $1, true), set_config('rowhook.tenant_id', 'acme', true)`, [role]);
    return (await client.query({ text: statement, rowMode: 'array' })).rows;
  } catch (error) {
    return (error as { code?: string }).code;
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const everything = () =>
  database.query(
    // when a key was last used is written some time after its use
    `select (to_jsonb(k) - 'last_used_at')::text as row from rowhook.api_keys k
      union all select s::text from rowhook.api_sessions s order by 1`,
  );
const [DENIED, HASH] = ['42501', "'\\x00'::bytea"];

describe('as rowhook_api', () => {
  test.each([
    ['hashes of keys', 'select hash from rowhook.api_keys'],
    ['earlier hashes of keys', 'select previous_hash from rowhook.api_keys'],
    ['whole rows of keys', 'select k from rowhook.api_keys k'],
    ['sessions', 'select count(*) from rowhook.api_sessions'],
    ['all tokens', 'select count(*) from rowhook._tokens'],
    ['a key by hand', "insert into rowhook.api_keys (name, prefix, hash) values ('x', 'x', 'x')"],
    ['a key without its end', 'update rowhook.api_keys set expires_at = null'],
    ['a key gone', 'delete from rowhook.api_keys'],
    ['a session by hand', 'update rowhook.api_sessions set expires_at = now()'],
    ['a test URL without an end', "update rowhook.test_urls set expires_at = 'infinity'"],
    [
      'a test URL that lasts',
      "insert into rowhook.test_urls (id, tenant_id, expires_at) values ('x', 'acme', 'infinity')",
    ],
    ['a request by hand', "insert into rowhook.test_requests (tenant_id) values ('acme')"],
    ['an interest by hand', "insert into rowhook.webhook_polls values ('other', 'a.b', now())"],
    ['the maker of keys', "select rowhook._insert_api_key('x', '{operator}', null, null, null)"],
    ['the public maker of keys', "select rowhook.create_api_key('x', '{read}', 'other')"],
    ['rotation of any key', `select rowhook._rotate_api_key(gen_random_uuid(), '0', null, '{read}', null, null)`],
    ['revocation of any key', 'select rowhook._revoke_api_key(gen_random_uuid(), null)'],
    ['a link for anybody', `select rowhook._insert_portal_link('other', null, 'x', ${HASH}, '{read}', now())`],
    [
      'a key of the operator',
      `select rowhook._create_api_key_own('x', '{operator}', null, null, '{read,operator}', null, null)`,
    ],
    ['scopes that it does not name', `select rowhook._create_api_key_own('x', null, null, null, '{keys}', null, null)`],
    [
      'scopes of a maker without any',
      `select rowhook._create_api_key_own('x', '{read}', null, null, null, null, null)`,
    ],
    [
      'a link of the operator',
      `select rowhook._create_portal_link_own(null, 'x', ${HASH}, '{operator}', 60, '{operator}', null)`,
    ],
    [
      'a link that makes keys',
      `select rowhook._create_portal_link_own(null, 'x', ${HASH}, '{read,keys}', 60, '{read,keys}', null)`,
    ],
    ['a link of no scope', `select rowhook._create_portal_link_own(null, 'x', ${HASH}, null, 60, '{read}', null)`],
    ['all organizations', `select rowhook._organizations(${HASH}, null, null, 10)`],
    ['the status', 'select rowhook._status(null)'],
    ['an organization', `select rowhook._put_organization(${HASH}, 'other', 'x', null, null, null)`],
  ])('%s is refused', async (_, statement) => {
    const before = await everything();
    expect(await as('rowhook_api', statement)).toBe(DENIED);
    expect(await everything()).toEqual(before);
  });

  test.each([
    ['keys of others', 'select id from rowhook.api_keys where tenant_id is distinct from $$acme$$', []],
    ['a session of an unknown key', `select rowhook._sign_in(${HASH}, ${HASH}, 60)`, [[null]]],
    ['a session of no key', `select rowhook._sign_in(null, ${HASH}, 60)`, [[null]]],
    ['a link that is not there', `select * from rowhook._open_portal_link(${HASH}, ${HASH})`, []],
    ['no link at all', `select * from rowhook._open_portal_link(null, ${HASH})`, []],
    ['no token at all', "select * from rowhook._authenticate(null, '127.0.0.1', 'other', '{read}')", []],
  ])('%s: nothing is found', async (_, statement, rows) => {
    expect(await as('rowhook_api', statement)).toEqual(rows);
  });

  test('a key of another tenant, or of the operator, is neither rotated nor revoked', async () => {
    for (const id of [foreignKey, operatorKey]) {
      const max = "'{read,write,inbound,keys,operator}', null, null";
      expect(await as('rowhook_api', `select rowhook._rotate_api_key_own('${id}', '0', ${max})`)).toBe('P0002');
      expect(await as('rowhook_api', `select rowhook._revoke_api_key_own('${id}')`)).toEqual([[false]]);
    }
  });

  test('what the lookup of a token leaves behind is no tenant, unless the token may do it', async () => {
    const [row] = await database.query<{ hash: string }>(
      "select encode(hash, 'hex') as hash from rowhook.api_keys where tenant_id = 'other'",
    );
    const ask = (organization: string, scope: string) =>
      as(
        'rowhook_api',
        `select verdict, rowhook.current_tenant()
           from rowhook._authenticate('\\x${row?.hash}', '127.0.0.1', '${organization}', '{${scope}}')`,
      );
    expect(await ask('acme', 'read')).toEqual([['organization', null]]);
    expect(await ask('other', 'inbound')).toEqual([['scope', null]]);
    expect(await ask('other', 'read')).toEqual([[null, 'other']]);
  });
});

test('rowhook_app may call nothing that makes or finds tokens', async () => {
  const found = await database.query<{ name: string; app: boolean }>(
    `select p.oid::regprocedure::text as name, has_function_privilege('rowhook_app', p.oid, 'execute') as app
       from pg_proc p
      where p.pronamespace = 'rowhook'::regnamespace
        and has_function_privilege('rowhook_api', p.oid, 'execute')
        and p.proname ~ 'key|token|session|link|sign_in|authenticate|poll|organizations|status'
        and p.proname <> '_key_columns'`,
  );
  expect(found.length).toBeGreaterThan(9);
  expect(found.filter(({ app }) => app)).toEqual([]);
  for (const table of ['api_keys', 'api_sessions', '_tokens', 'webhook_polls'])
    expect(await as('rowhook_app', `select * from rowhook.${table}`)).toBe(DENIED);
});
