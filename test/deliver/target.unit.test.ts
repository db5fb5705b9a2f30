// URLs are judged once, and for those only who they belong to.

import { expect, test } from 'vitest';
import { compilePolicy } from '../../src/deliver/address-guard.ts';
import { Targets } from '../../src/deliver/target.ts';

const policy = compilePolicy({ allowHttp: true, allowCidrs: ['127.0.0.0/8'], denyCidrs: [] });
const URL_TEXT = 'http://127.0.0.1:8080/hook/a?b=c';
const TARGET = { origin: 'http://127.0.0.1:8080', path: '/hook/a?b=c', host: '127.0.0.1:8080' };

const refusal = (error: RegExp) => ({ code: 'address_refused', error: expect.stringMatching(error) });

test('a URL is taken apart, the first time and from then on', () => {
  const targets = new Targets(policy);
  expect(targets.of(URL_TEXT, null)).toEqual(TARGET);
  expect(targets.of(URL_TEXT, null)).toBe(targets.of(URL_TEXT, null));
});

test('what is refused stays refused', () => {
  const targets = new Targets(policy);
  for (const _ of [1, 2]) expect(targets.of('http://10.0.0.7/', null)).toEqual(refusal(/private address 10\.0\.0\.7/));
  for (const _ of [1, 2]) expect(targets.of('no url', null)).toEqual(refusal(/is not valid/));
});

test("one webhook's allowed_ips decide nothing for another's", () => {
  const targets = new Targets(policy);
  expect(targets.of(URL_TEXT, null)).toEqual(TARGET);
  expect(targets.of(URL_TEXT, ['127.0.0.2/32'])).toEqual(refusal(/unlisted address/));
  expect(targets.of(URL_TEXT, ['127.0.0.1/32'])).toEqual(TARGET);
  expect(targets.of(URL_TEXT, null)).toEqual(TARGET);
});

test('no URL can be written so that it stands for the ranges and the URL of another webhook', () => {
  const targets = new Targets(policy);
  for (const poison of [`127.0.0.1/32 ${URL_TEXT}`, ` ${URL_TEXT}`, JSON.stringify([['127.0.0.1/32'], URL_TEXT])])
    targets.of(poison, null);
  expect(targets.of(URL_TEXT, ['127.0.0.1/32'])).toEqual(TARGET);
  targets.of(`x ${URL_TEXT}`, []);
  expect(targets.of(URL_TEXT, null)).toEqual(TARGET);
});

test('the latest thousand are kept, and an older one is looked up anew', () => {
  const targets = new Targets(policy);
  const first = targets.of(URL_TEXT, null);
  for (let n = 0; n < 1_000; n++) targets.of(`https://example.com/${n}`, null);
  expect(targets.of(URL_TEXT, null)).toEqual(first);
  expect(targets.of(URL_TEXT, null)).not.toBe(first);
});

test.each([
  [
    'http://127.0.0.1:3000/',
    'address_refused',
    /add 127\.0\.0\.1\/32 to ROWHOOK_ALLOW_CIDRS\..*ROWHOOK_ALLOW_HTTP=true/,
  ],
  [
    'http://localhost:3000/',
    'http_refused',
    /ROWHOOK_ALLOW_HTTP=true.*add 127\.0\.0\.0\/8,::1\/128 to ROWHOOK_ALLOW_CIDRS\.$/,
  ],
  ['https://127.0.0.1:3000/', 'address_refused', /add 127\.0\.0\.1\/32 to ROWHOOK_ALLOW_CIDRS\.$/],
  ['http://hooks.example.com/', 'http_refused', /\(ROWHOOK_ALLOW_HTTP=true\)\.$/],
  ['http://169.254.169.254/', 'address_refused', /No setting opens it\. Give the webhook another URL\.$/],
  ['http://127.0.0.1:25/', 'address_refused', /^Port 25 is refused.*such as 443\.$/],
])('%s: the error names every setting that it needs, and no other', (url, code, error) => {
  const strict = new Targets(compilePolicy({ allowHttp: false, allowCidrs: [], denyCidrs: [] }));
  expect(strict.of(url, null)).toEqual({ code, error: expect.stringMatching(error) });
});

test('localhost over http: its address is not named if it is allowed', () => {
  const local = new Targets(compilePolicy({ allowHttp: false, allowCidrs: ['127.0.0.0/8'], denyCidrs: [] }));
  expect(local.of('http://localhost/', null)).toMatchObject({ error: expect.not.stringContaining('ALLOW_CIDRS') });
});
