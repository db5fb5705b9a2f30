// What a tenant wrote into a URL or a header is not read again in a log.

import { describe, expect, test } from 'vitest';
import { headersOf } from '../../src/payload/headers.ts';
import { isHarmless, MASK, maskedUrl, querySecrets } from '../../src/payload/mask.ts';
import { signingKey } from '../../src/payload/signature.ts';

describe('a URL', () => {
  test.each([
    ['https://a.example/b', 'https://a.example/b'],
    ['https://a.example/b@c', 'https://a.example/b@c'],
    ['https://a.example/b?token=abc', `https://a.example/b?token=${MASK}`],
    ['https://a.example?k=a&v=1&k=b', `https://a.example?k=${MASK}&v=${MASK}&k=${MASK}`],
    ['https://a.example/?abc', `https://a.example/?${MASK}`],
    ['https://a.example/?a=b=c', `https://a.example/?a=${MASK}`],
    ['https://a.example/?a=b?c=d', `https://a.example/?a=${MASK}`],
    ['https://a.example/?a=x@y', `https://a.example/?a=${MASK}`],
    ['https://a.example/?', 'https://a.example/?'],
    ['https://a.example/?a=&', `https://a.example/?a=${MASK}&`],
    ['https://a.example/b#token=abc', `https://a.example/b#${MASK}`],
    ['https://user:pass@a.example/b?c=d#e', `https://${MASK}@a.example/b?c=${MASK}#${MASK}`],
    ['user:pass@a.example', `${MASK}@a.example`],
    ['no url ? at all', `no url ?${MASK}`],
  ])('%s stands in the log as %s', (url, masked) => {
    expect(maskedUrl(url)).toBe(masked);
    expect(maskedUrl(masked)).toBe(masked);
  });

  test('the values of its query are looked for in responses, as they stand and decoded', () => {
    expect(querySecrets('https://a.example/?t=a%2Fb&bare')).toEqual(['a%2Fb', 'a/b', 'bare']);
    expect(querySecrets('https://a.example/?t=%zz')).toEqual(['%zz', '%zz']);
    expect(querySecrets('https://a.example/b')).toEqual([]);
  });
});

test('all custom headers are masked, except a short list of harmless names', () => {
  const names = ['X-Pass', 'X-Credential', 'X-Session', 'X-JWT', 'X-Sig', 'Cookie', 'X-Anything', 'constructor'];
  const headers = Object.fromEntries([...names, 'X-Team', 'accept-language'].map((name) => [name, 'value']));
  const { sent, logged } = headersOf(
    { eventId: 'evt_a_1_0', eventType: 'a.b', deliveryId: 'd' },
    { headers, authType: 'none', authConfig: {} },
    [signingKey('0123456789abcdef')],
    Buffer.from('{}'),
    Date.now(),
  );
  expect(sent).toMatchObject(headers);
  for (const name of names) expect([name, logged[name]]).toEqual([name, MASK]);
  expect(logged).toMatchObject({ 'X-Team': 'value', 'accept-language': 'value', 'webhook-id': 'evt_a_1_0' });
  expect(['X-TEAM', 'x-team', 'X-Teams', '__proto__'].map(isHarmless)).toEqual([true, true, false, false]);
});
