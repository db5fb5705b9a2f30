// Tokens of the application: what is accepted, and every way to forge one.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const SECRET = 'a secret of the application, 32 bytes or more';
const key = new TextEncoder().encode(SECRET);
const about = { issuer: 'https://auth.example.com', audience: 'rowhook' };

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database.drop());

const token = (
  claims: object,
  { alg = 'HS256', signedBy = key as Parameters<SignJWT['sign']>[0], exp = '1h' } = {},
) => {
  const jwt = new SignJWT({ organization_id: 'acme', ...claims }).setProtectedHeader({ alg, kid: 'k1' });
  return (exp === '' ? jwt : jwt.setExpirationTime(exp)).sign(signedBy);
};
const me = async (api: TestApi, jwt: string) => {
  const { status, body } = await api.ask('GET', '/v1/me', { token: jwt });
  return [status, body.scopes ?? body.code];
};
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('with a secret', () => {
  let api: TestApi;

  beforeAll(async () => {
    api = await startTestApi(database, { jwtSecret: SECRET });
  });

  afterAll(() => api.stop());

  test.each([
    ['no scope claim: it may read', {}, ['read']],
    ['a text', { scope: 'read write other' }, ['read', 'write']],
    ['a list', { scope: ['write', 'keys', 7] }, ['write', 'keys']],
    ['operator, never', { scope: 'read operator' }, ['read']],
  ])('scopes: %s', async (_, claims, scopes) => {
    expect(await me(api, await token(claims))).toEqual([200, scopes]);
  });

  test('it reaches its own organization only', async () => {
    const jwt = await token({ scope: 'read write' });
    const body = { name: 'n', target_url: 'https://a.example/', event_types: ['*'] };
    const made = await api.ask('POST', '/v1/acme/outgoing-webhooks', { token: jwt, body });
    expect([made.status, made.body.organization_id]).toEqual([201, 'acme']);
    expect((await api.ask('GET', '/v1/other/outgoing-webhooks', { token: jwt })).status).toBe(404);
    const foreign = await token({ organization_id: 'other' });
    expect((await api.ask('GET', `/v1/me/outgoing-webhooks/${made.body.id}`, { token: foreign })).status).toBe(404);
    expect((await api.ask('POST', '/v1/acme/outgoing-webhooks', { token: await token({}), body })).status).toBe(403);
  });

  test.each<[string, () => string | Promise<string>]>([
    ['alg none', () => `${part({ alg: 'none' })}.${part({ organization_id: 'acme', exp: 9_999_999_999 })}.`],
    [
      'alg none with a signature',
      () => `${part({ alg: 'none' })}.${part({ organization_id: 'acme', exp: 9_999_999_999 })}.x`,
    ],
    ['another secret', () => token({}, { signedBy: new TextEncoder().encode('x'.repeat(40)) })],
    ['HS512', () => token({}, { alg: 'HS512' })],
    ['no exp', () => token({}, { exp: '' })],
    ['an exp in the past', () => token({}, { exp: '-1 minute' })],
    ['a tenant that is a list', () => token({ organization_id: ['acme'] })],
    ['a tenant that is empty', () => token({ organization_id: '' })],
    ['a tenant of 2 kB', () => token({ organization_id: 'x'.repeat(2_048) })],
    ['a tenant with NUL', () => token({ organization_id: 'a\0b' })],
    ['a tenant that is a number', () => token({ organization_id: 7 })],
    ['RS256', async () => token({}, { alg: 'RS256', signedBy: (await generateKeyPair('RS256')).privateKey })],
    ['a not before in the future', () => token({ nbf: Math.floor(Date.now() / 1_000) + 600 })],
    ['no tenant', () => token({ organization_id: undefined })],
    ['9 kB', () => token({ more: 'x'.repeat(9_000) })],
  ])('%s is 401', async (_, make) => {
    expect(await me(api, await make())).toEqual([401, 'unauthorized']);
  });
});

describe('with public keys', () => {
  let api: TestApi;
  let keys: Awaited<ReturnType<typeof generateKeyPair>>;
  let stop: () => void;
  let trapped = 0;

  beforeAll(async () => {
    keys = await generateKeyPair('RS256', { extractable: true });
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'RS256' };
    const server = createServer((request, response) => {
      if (request.url !== '/jwks') trapped += 1;
      response.end(JSON.stringify({ keys: [jwk] }));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    stop = () => server.close();
    const { port } = server.address() as AddressInfo;
    const jwksUrl = `http://127.0.0.1:${port}/jwks`;
    api = await startTestApi(database, { jwksUrl, jwtIssuer: about.issuer, jwtAudience: about.audience });
  });

  afterAll(async () => {
    await api.stop();
    stop();
  });

  const claims = { iss: about.issuer, aud: about.audience };

  test('a token that fits is accepted', async () => {
    expect(await me(api, await token(claims, { alg: 'RS256', signedBy: keys.privateKey }))).toEqual([200, ['read']]);
  });

  test.each<[string, () => string | Promise<string>]>([
    ['a foreign issuer', () => token({ ...claims, iss: 'x' }, { alg: 'RS256', signedBy: keys.privateKey })],
    ['a foreign audience', () => token({ ...claims, aud: 'x' }, { alg: 'RS256', signedBy: keys.privateKey })],
    ['no audience', () => token({ iss: about.issuer }, { alg: 'RS256', signedBy: keys.privateKey })],
    ['no exp', () => token(claims, { alg: 'RS256', signedBy: keys.privateKey, exp: '' })],
    [
      'alg none',
      () => `${part({ alg: 'none', kid: 'k1' })}.${part({ organization_id: 'acme', ...claims, exp: 9_999_999_999 })}.`,
    ],
    [
      'a key in its own header',
      async () => {
        const forger = await generateKeyPair('RS256', { extractable: true });
        const jwk = await exportJWK(forger.publicKey);
        return new SignJWT({ organization_id: 'acme', ...claims })
          .setProtectedHeader({ alg: 'RS256', jwk })
          .setExpirationTime('1h')
          .sign(forger.privateKey);
      },
    ],
    ['no issuer', () => token({ aud: about.audience }, { alg: 'RS256', signedBy: keys.privateKey })],
    [
      'HS256, signed with the public key',
      async () => token(claims, { signedBy: new TextEncoder().encode(await exportSPKI(keys.publicKey)) }),
    ],
    [
      'jku and x5u to a trap',
      async () => {
        const forger = await generateKeyPair('RS256');
        const header = { alg: 'RS256', kid: 'k1', jku: 'http://127.0.0.1:1/trap', x5u: 'http://127.0.0.1:1/trap' };
        return new SignJWT({ organization_id: 'acme', ...claims })
          .setProtectedHeader(header)
          .setExpirationTime('1h')
          .sign(forger.privateKey);
      },
    ],
  ])('%s is 401', async (_, make) => {
    expect(await me(api, await make())).toEqual([401, 'unauthorized']);
    expect(trapped).toBe(0);
  });
});
