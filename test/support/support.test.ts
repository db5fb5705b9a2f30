import { createHmac } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { Agent } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase } from './database.ts';
import { type Receiver, startReceiver } from './receiver.ts';
import { verifyRequest } from './verify.ts';
import { waitUntil } from './wait.ts';

describe('the receiver', () => {
  let receiver: Receiver;
  beforeAll(async () => {
    receiver = await startReceiver();
  });
  beforeEach(() => receiver.clear());
  afterAll(() => receiver.close());

  test('keeps a request as it came', async () => {
    const body = Buffer.from([0x7b, 0xff, 0x00, 0x7d]);
    const response = await fetch(receiver.url('/in?a=1'), {
      method: 'PUT',
      headers: { 'X-Webhook-Event': 'deal.updated' },
      body,
    });
    expect([response.status, await response.text()]).toEqual([200, '']);
    const [request] = receiver.requestsTo('/in');
    expect(request).toMatchObject({
      method: 'PUT',
      path: '/in?a=1',
      headers: { 'x-webhook-event': 'deal.updated' },
      body,
    });
    expect(request?.rawHeaders).toContain('deal.updated');
    expect(request?.at).toBeLessThan(performance.now());
  });

  test('answers per path as told, and changes when told otherwise', async () => {
    receiver.respond('/broken', { status: 503, headers: { 'retry-after': '7' }, body: 'later' });
    receiver.respond('*', (request) => ({ status: 201, body: request.body }));
    const broken = await fetch(receiver.url('/broken'));
    expect([broken.status, broken.headers.get('retry-after'), await broken.text()]).toEqual([503, '7', 'later']);
    const echo = await fetch(receiver.url('/other'), { method: 'POST', body: 'echo' });
    expect([echo.status, await echo.text()]).toEqual([201, 'echo']);
    receiver.respond('/broken', { status: 204 });
    expect((await fetch(receiver.url('/broken'))).status).toBe(204);
  });

  test('is slow, hangs, and breaks connections off', async () => {
    receiver.respond('/slow', { delayMs: 150 });
    receiver.respond('/hang', { hang: true });
    receiver.respond('/reset', { reset: true });
    const before = performance.now();
    await fetch(receiver.url('/slow'));
    expect(performance.now() - before).toBeGreaterThan(140);
    await expect(fetch(receiver.url('/hang'), { signal: AbortSignal.timeout(150) })).rejects.toThrow('timeout');
    await expect(fetch(receiver.url('/reset'))).rejects.toThrow('fetch failed');
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/slow', '/hang', '/reset']);
  });

  test('shows a mistake in a handler to the sender', async () => {
    receiver.respond('/', () => Promise.reject(new Error('my mistake')));
    const response = await fetch(receiver.url());
    expect([response.status, await response.text()]).toEqual([599, 'receiver: Error: my mistake']);
  });

  test('waits for requests that came, and for those that will come', async () => {
    await fetch(receiver.url('/a'));
    expect(await receiver.waitFor(1)).toHaveLength(1);
    const later = receiver.waitFor(({ path }) => path.startsWith('/b'), { count: 2 });
    await Promise.all(['/b1', '/a', '/b2'].map((path) => fetch(receiver.url(path))));
    expect((await later).map(({ path }) => path).sort()).toEqual(['/b1', '/b2']);
  });

  test('says what did arrive when it waited in vain', async () => {
    await expect(receiver.waitFor(1, { timeoutMs: 20 })).rejects.toThrow('Nothing arrived at all.');
    await fetch(receiver.url('/a'), { method: 'POST', headers: { 'x-webhook-event': 'deal.created' } });
    await expect(receiver.waitFor(2, { timeoutMs: 20 })).rejects.toThrow(
      /2 requests, got 1.*\n {2}POST \/a deal.created/,
    );
  });

  test('takes thousands of requests, and holds its port until it is closed', async () => {
    const agent = new Agent({ connections: 32, pipelining: 1 });
    const post = () => agent.request({ origin: receiver.url(''), path: '/', method: 'POST', body: '{}' });
    const send = async () => {
      for (let sent = 0; sent < 100; sent++) await (await post()).body.dump();
    };
    await Promise.all(Array.from({ length: 32 }, send));
    expect(receiver.requests).toHaveLength(3_200);
    await agent.close();
  });

  test('closes at once, with a request hanging', async () => {
    const other = await startReceiver();
    other.respond('/', { hang: true });
    const hanging = fetch(other.url());
    await other.waitFor(1);
    await Promise.all([other.close(), expect(hanging).rejects.toThrow()]);
    await expect(fetch(other.url())).rejects.toThrow();
  });
});

describe('verifyRequest', () => {
  const body = Buffer.from('{"id":"evt_1","n":12345678901234567890}');
  const secrets = ['a plain secret', `whsec_${Buffer.from('twenty-four bytes of key').toString('base64')}`];

  // Signed here with the standard's own library, so this is what any conforming sender sends.
  const signed = (secret: string) => {
    const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
    const now = new Date();
    const headers = {
      'webhook-id': 'evt_1',
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': new Webhook(key, { format: 'raw' }).sign('evt_1', now, body),
      'x-webhook-signature': createHmac('sha256', secret).update(body).digest('hex'),
    };
    return { at: 0, method: 'POST', path: '/', headers, rawHeaders: [], body };
  };

  test.each(secrets)('accepts what is signed with %j', (secret) => {
    expect(() => verifyRequest(signed(secret), secret)).not.toThrow();
  });

  test.each(secrets)('refuses another body, secret or signature than that of %j', (secret) => {
    const request = signed(secret);
    expect(() => verifyRequest({ ...request, body: Buffer.from('{}') }, secret)).toThrow('No matching signature');
    expect(() => verifyRequest(request, 'another')).toThrow('No matching signature');
    const headers = { ...request.headers, 'x-webhook-signature': '00' };
    expect(() => verifyRequest({ ...request, headers }, secret)).toThrow('is not the HMAC of the body');
  });
});

test('waitUntil returns the answer, or says what it waited for', async () => {
  let asked = 0;
  expect(await waitUntil('asked thrice', () => (++asked === 3 ? 'yes' : undefined), { everyMs: 1 })).toBe('yes');
  const never = waitUntil('pigs fly', () => false, { timeoutMs: 5, everyMs: 1 });
  await expect(never).rejects.toThrow('Waited 5 ms until pigs fly. The last answer was false.');
});

describe('createDatabase', () => {
  test('makes databases that know nothing of each other, for the superuser and for a daemon', async () => {
    const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
    await one.query('create table mine (a int)');
    expect(await other.query("select to_regclass('mine') as found")).toEqual([{ found: null }]);
    expect(await one.query("select to_regclass('rowhook.webhook_configurations') is not null as found")).toEqual([
      { found: true },
    ]);
    expect(new URL(one.daemonUrl).username).toBe('rowhook_test_daemon');
    await Promise.all([one.drop(), other.drop()]);
  });

  test('bare has no rowhook, crm has the five tables watched', async () => {
    const [bare, crm] = await Promise.all([createDatabase({ bare: true }), createDatabase({ crm: true })]);
    expect(await bare.query("select 1 from pg_namespace where nspname = 'rowhook'")).toEqual([]);
    expect(await crm.query('select count(*)::int as count from rowhook.webhook_sources')).toEqual([{ count: 5 }]);
    await Promise.all([bare.drop(), crm.drop()]);
  });
});
