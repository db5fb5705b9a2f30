// Requests of real senders: signed by their own libraries, or as their documentation publishes them.

import { createHmac } from 'node:crypto';
import { sign as signGithub } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { describe, expect, test } from 'vitest';
import { eventNameFrom, eventNameOf } from '../../src/inbound/event-name.ts';
import { checkJson } from '../../src/inbound/json-bytes.ts';
import { hopsOf, keptHeaders, keysOf } from '../../src/inbound/once.ts';
import { type InboundSource, type RequestHeaders, type Verification, withoutSecret } from '../../src/inbound/source.ts';
import { isFrom } from '../../src/inbound/verify.ts';

const NOW = 1_760_000_000_000;
const SECONDS = NOW / 1_000;
const MINUTE_MS = 60_000;
const WHSEC = `whsec_${Buffer.from('a secret of 24 bytes....').toString('base64')}`;
const BODY = '{"type":"invoice.paid","data":{"n":12345678901234567890,"name":"Ærø"}}';

const sourceOf = (verification: Verification, secret: string, more: Partial<InboundSource> = {}): InboundSource => ({
  id: 'src_1',
  tenant_id: 'acme',
  name: 'shop',
  verification,
  secrets: [secret],
  signature_header: null,
  signature_algorithm: null,
  signature_encoding: null,
  event_name: null,
  event_path: null,
  event_header: null,
  ...more,
});

interface Sent {
  source: InboundSource;
  headers: RequestHeaders;
  body: string;
  signsTime: boolean;
  /** By default NOW. */
  at?: number;
}

const slackBody =
  'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V' +
  '&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=' +
  '&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN' +
  '&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c';

async function senders(): Promise<Record<string, Sent>> {
  const standard = new Webhook(WHSEC).sign('msg_1', new Date(NOW), BODY);
  const stripe = await new Stripe('sk_test').webhooks.generateTestHeaderStringAsync({
    payload: BODY,
    secret: 'whsec_stripe_test_secret',
    timestamp: SECONDS,
  });
  const github = await signGithub("It's a Secret to Everybody", BODY);
  const standardHeaders = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(SECONDS) };
  return {
    'Standard Webhooks': {
      source: sourceOf('standard_webhooks', WHSEC),
      headers: { ...standardHeaders, 'webhook-signature': `v1a,x v1,bm8= ${standard}` },
      body: BODY,
      signsTime: true,
    },
    Stripe: {
      source: sourceOf('stripe', 'whsec_stripe_test_secret'),
      headers: { 'stripe-signature': stripe },
      body: BODY,
      signsTime: true,
    },
    GitHub: {
      source: sourceOf('github', "It's a Secret to Everybody"),
      headers: { 'x-hub-signature-256': github },
      body: BODY,
      signsTime: false,
    },
    // docs.github.com, "Validating webhook deliveries"
    'GitHub, as documented': {
      source: sourceOf('github', "It's a Secret to Everybody"),
      headers: {
        'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
      },
      body: 'Hello, World!',
      signsTime: false,
    },
    // api.slack.com, "Verifying requests from Slack"
    'Slack, as documented': {
      source: sourceOf('slack', '8f742231b10e8888abcd99yyyzzz85a5'),
      headers: {
        'x-slack-request-timestamp': '1531420618',
        'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
      },
      body: slackBody,
      signsTime: true,
      at: 1_531_420_618_000,
    },
    // Of the tests of Shopify's own library: shopify-api-php, tests/Webhooks/RegistryTest.php.
    'Shopify, as in its library': {
      source: sourceOf('shopify', 'steffi'),
      headers: { 'x-shopify-hmac-sha256': '/Redz4YXHLnSmmSN8grr5/Jl/Ua3d7yX3iWbjb8R8wo=' },
      body: '{"foo":"bar"}',
      signsTime: false,
    },
    // Shopify signs as RFC 4231 does in its test case 2, in base64.
    'Shopify, RFC 4231': {
      source: sourceOf('shopify', 'Jefe'),
      headers: { 'x-shopify-hmac-sha256': 'W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=' },
      body: 'what do ya want for nothing?',
      signsTime: false,
    },
    'hmac, sha512 in base64': {
      source: sourceOf('hmac', 'secret of ours', {
        signature_header: 'X-Sum',
        signature_algorithm: 'sha512',
        signature_encoding: 'base64',
      }),
      headers: { 'x-sum': createHmac('sha512', 'secret of ours').update(BODY).digest('base64') },
      body: BODY,
      signsTime: false,
    },
    'hmac, with the name of its algorithm': {
      source: sourceOf('hmac', 'secret of ours'),
      headers: { 'x-signature': `sha256=${createHmac('sha256', 'secret of ours').update(BODY).digest('hex')}` },
      body: BODY,
      signsTime: false,
    },
  };
}

const all = Object.entries(await senders());

describe.each(all)('%s', (_, { source, headers, body, at = NOW }) => {
  const bytes = Buffer.from(body);
  const ask = (from = source, given: RequestHeaders = headers, of = bytes, now = at) => isFrom(from, given, of, now);

  test('is accepted', () => {
    expect(ask()).toBe(true);
  });

  test('each of its bytes counts', () => {
    for (let i = 0; i < bytes.length; i++) {
      const altered = Buffer.from(bytes);
      altered.writeUInt8((altered[i] as number) ^ 1, i);
      expect([i, ask(source, headers, altered)]).toEqual([i, false]);
    }
  });

  test('each character of its signature counts, and each of its headers', () => {
    for (const name of Object.keys(headers)) {
      expect(ask(source, { ...headers, [name]: undefined })).toBe(false);
      expect(ask(source, { ...headers, [name]: [String(headers[name]), String(headers[name])] })).toBe(false);
    }
    const [name = ''] = Object.keys(headers).filter((each) => /signature|hmac|sum/.test(each));
    const signature = String(headers[name]);
    const last = signature.length - (signature.endsWith('=') ? 3 : 1);
    const other = signature[last] === '0' ? '1' : '0';
    expect(ask(source, { ...headers, [name]: signature.slice(0, last) + other + signature.slice(last + 1) })).toBe(
      false,
    );
  });

  test('another secret is refused, also as the second one it is accepted', () => {
    expect(ask({ ...source, secrets: ['another secret'] })).toBe(false);
    expect(ask({ ...source, secrets: ['another secret', ...source.secrets] })).toBe(true);
    expect(ask({ ...source, secrets: [] })).toBe(false);
  });
});

test.each(all.filter(([, { signsTime }]) => signsTime))(
  '%s: four minutes later it is accepted, six minutes later and earlier it is not',
  (_, { source, headers, body, at = NOW }) => {
    const ask = (minutes: number) => isFrom(source, headers, Buffer.from(body), at + minutes * MINUTE_MS);
    expect([-6, -4, 4, 6].map(ask)).toEqual([false, true, true, false]);
  },
);

test('a key comes in the header that the source names, else in X-API-Key or as a bearer token', () => {
  const source = sourceOf('api_key', 'the key of a form');
  const ask = (headers: RequestHeaders, more: Partial<InboundSource> = {}) =>
    isFrom({ ...source, ...more }, headers, Buffer.alloc(0), NOW);
  expect(ask({ 'x-api-key': 'the key of a form' })).toBe(true);
  expect(ask({ authorization: 'Bearer thekey' }, { secrets: ['thekey'] })).toBe(true);
  expect(ask({ 'x-api-key': 'the key of a for' })).toBe(false);
  expect(ask({})).toBe(false);
  expect(ask({ 'x-form-key': 'the key of a form' }, { signature_header: 'X-Form-Key' })).toBe(true);
  expect(ask({ 'x-api-key': 'the key of a form' }, { signature_header: 'X-Form-Key' })).toBe(false);
});

test('a time that is no number of seconds is refused', () => {
  const source = sourceOf('slack', 'a slack secret');
  for (const time of ['', 'NaN', '1e9', ' 1760000000', '1760000000.5', '-1']) {
    const sum = createHmac('sha256', 'a slack secret').update(`v0:${time}:x`).digest('hex');
    const headers = { 'x-slack-request-timestamp': time, 'x-slack-signature': `v0=${sum}` };
    expect(isFrom(source, headers, Buffer.from('x'), NOW)).toBe(false);
  }
});

describe('the name of an event', () => {
  const named = (verification: Verification, headers: RequestHeaders, value: unknown, more = {}) =>
    eventNameOf(sourceOf(verification, 'x', more), headers, value);

  test('is where each sender writes it', () => {
    expect(named('standard_webhooks', {}, { type: 'user.created' })).toBe('user.created');
    expect(named('stripe', {}, { type: 'invoice.paid' })).toBe('invoice.paid');
    expect(named('github', { 'x-github-event': 'pull_request' }, {})).toBe('pull_request');
    expect(named('shopify', { 'x-shopify-topic': 'orders/create' }, {})).toBe('orders.create');
    expect(named('slack', {}, { type: 'event_callback', event: { type: 'app_mention' } })).toBe('app_mention');
    expect(named('hmac', { 'x-webhook-event': 'lead.captured' }, { type: 'no' })).toBe('lead.captured');
    expect(named('hmac', {}, { type: 'no' })).toBe('shop');
  });

  test('is what the source says first of all', () => {
    expect(named('stripe', {}, { type: 'a' }, { event_name: 'payment' })).toBe('payment');
    expect(named('hmac', {}, { data: { kind: 'a b/c' } }, { event_path: 'data.kind' })).toBe('a.b.c');
    expect(named('hmac', {}, {}, { event_path: 'constructor.name' })).toBe('shop');
    expect(named('hmac', { 'x-topic': 'one:two' }, {}, { event_header: 'X-Topic' })).toBe('one.two');
  });

  test('has the characters of an event type', () => {
    expect(eventNameFrom('..a//b..')).toBe('a.b');
    expect(eventNameFrom('ÄÖ')).toBeUndefined();
    expect(eventNameFrom(7)).toBeUndefined();
    expect(eventNameFrom(`${'a.'.repeat(200)}`)).toMatch(/^(a\.){59}a$/);
  });
});

test('what names a request again: the id of its sender, and the body where no time is signed', () => {
  const keys = (verification: Verification, headers: RequestHeaders, value: unknown = {}) =>
    keysOf(sourceOf(verification, 'x'), headers, Buffer.from('abc'), value);
  const ofBody = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(keys('standard_webhooks', { 'webhook-id': 'msg_1' })).toEqual(['msg_1']);
  expect(keys('standard_webhooks', { 'svix-id': 'msg_1' })).toEqual(['msg_1']);
  expect(keys('stripe', {}, { id: 'evt_1' })).toEqual(['evt_1']);
  expect(keys('slack', {}, { event_id: 'Ev1' })).toEqual(['Ev1']);
  expect(keys('github', { 'x-github-delivery': 'd' })).toEqual(['d', ofBody]);
  expect(keys('shopify', {})).toEqual([ofBody]);
  expect(keys('hmac', { 'idempotency-key': 'k' })).toEqual(['k', ofBody]);
  expect(keys('api_key', {})).toEqual([]);
});

describe('a recorded request that comes again is known, whatever is added to it', () => {
  const keys = (verification: Verification, headers: RequestHeaders, value: unknown = {}) =>
    keysOf(sourceOf(verification, 'x'), headers, Buffer.from('abc'), value);

  test('an id counts where it is signed, or where the body counts as well', () => {
    const added = { 'idempotency-key': 'new', 'x-request-id': 'new' };
    const svix = { 'svix-id': 'msg_1', 'svix-timestamp': '1760000000', 'svix-signature': 'v1,x' };
    expect(keys('standard_webhooks', { ...svix, ...added })).toEqual(keys('standard_webhooks', svix));
    const stripe = { 'stripe-signature': 't=1760000000,v1=x' };
    expect(keys('stripe', { ...stripe, ...added, 'webhook-id': 'new' })).toEqual(keys('stripe', stripe));
    for (const verification of ['github', 'shopify', 'hmac'] as const)
      expect(keys(verification, { ...added, 'x-github-delivery': 'new' }).at(-1)).toBe(keys(verification, {}).at(-1));
  });

  test('without an id, what was signed counts: its time and its body', () => {
    const slack = (time: string) => keys('slack', { 'x-slack-request-timestamp': time, 'x-slack-signature': 'v0=x' });
    expect(slack('1')).toEqual(slack('1'));
    expect(slack('1')).not.toEqual(slack('2'));
    const stripe = (header: string) => keys('stripe', { 'stripe-signature': header }, { id: 7 });
    expect(stripe('t=1,v1=x')).toEqual(stripe('v1=x, t=1'));
    expect(stripe('t=1,v1=x')).toEqual([expect.stringMatching(/^sha256:[0-9a-f]{64}$/)]);
  });

  test('no id stands for a body', () => {
    const [ofBody] = keys('shopify', {});
    expect(keys('hmac', { 'webhook-id': ofBody })).toEqual([`id:${ofBody}`, ofBody]);
  });
});

test('a refusal takes as long for a source that does not exist', () => {
  const body = Buffer.alloc(1_048_576, 'x');
  const time = (source: InboundSource | undefined, headers: RequestHeaders) => {
    const begun = process.cpuUsage();
    for (let n = 0; n < 4; n++) expect(isFrom(source, headers, body, NOW)).toBe(false);
    const { user, system } = process.cpuUsage(begun);
    return user + system;
  };
  const median = (all: number[]) => all.sort((a, b) => a - b)[all.length >> 1] ?? 0;
  const cases: [InboundSource | undefined, RequestHeaders][] = [
    [sourceOf('github', 'a secret'), { 'x-hub-signature-256': 'sha256=00' }],
    [undefined, { 'x-hub-signature-256': 'sha256=00' }],
    [sourceOf('github', 'a secret'), {}],
    [sourceOf('slack', 'a secret'), { 'x-slack-request-timestamp': '1', 'x-slack-signature': 'v0=00' }],
    [sourceOf('api_key', 'a secret'), { 'x-api-key': 'another' }],
  ];
  const rounds = Array.from({ length: 7 }, () => cases.map(([source, headers]) => time(source, headers)));
  const [wrong = 0, ...others] = cases.map((_, i) => median(rounds.map((round) => round[i] ?? 0)));
  for (const other of others) {
    expect(other).toBeGreaterThan(wrong / 2);
    expect(other).toBeLessThan(wrong * 2);
  }
});

test('a source may call its key like a header that is kept, and it is not kept', () => {
  const source = sourceOf('api_key', 'the key', { signature_header: 'X-Request-Id' });
  const headers = { 'x-request-id': 'the key', 'webhook-id': 'a' };
  expect(keptHeaders(withoutSecret(source, headers))).toEqual({ 'webhook-id': 'a' });
  expect(keptHeaders(withoutSecret(sourceOf('hmac', 'x'), headers))).toEqual(headers);
});

test('the headers that are kept hold no credentials, and hops are a number', () => {
  const headers = { authorization: 'Bearer x', cookie: 'x', 'x-api-key': 'x', 'stripe-signature': 'x' };
  expect(keptHeaders({ ...headers, 'x-github-event': 'push' })).toEqual({ 'x-github-event': 'push' });
  const given = ['3', '0', '-1', 'x', '99999999', '2, 6', undefined];
  expect(given.map((hops) => hopsOf({ 'webhook-hops': hops }))).toEqual([3, 0, 0, 0, 1_000, 6, 0]);
});

describe('a body', () => {
  const problem = (text: string | Buffer) => {
    const checked = checkJson(Buffer.from(text));
    return 'problem' in checked ? checked.problem : checked.text;
  };

  test('is kept as it came, and broken JSON is named with its place', () => {
    const exact = '{ "a":1.10, "a":12345678901234567890, "\\u0000":"\\ud800" }';
    expect(problem(exact)).toBe(exact);
    expect(problem('{"a":}')).toBe('The body is not valid JSON at position 5.');
    expect(problem('')).toBe('The body is not valid JSON at position 0.');
    expect(problem('[1,')).toBe('The body is not valid JSON at position 3.');
    const broken = {
      '{"a":1}}': 7,
      '{"a" 1}': 5,
      '[1 2]': 3,
      '{a:1}': 1,
      '[1,]': 3,
      '{"a":1,}': 7,
      '"\\x"': 1,
      nul: 0,
    };
    for (const [text, at] of Object.entries(broken))
      expect([text, problem(text)]).toEqual([text, `The body is not valid JSON at position ${at}.`]);
    expect(problem('\ufeff{}')).toContain('position 0');
    expect(problem(Buffer.from([0x22, 0xff, 0x22]))).toBe('The body is not valid UTF-8.');
  });

  test('has 512 levels at most; brackets in strings do not count', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
    expect(problem(nested(512))).toBe(nested(512));
    expect(problem(nested(513))).toBe('The body has more than 512 levels, at position 512.');
    expect(problem(`"${'['.repeat(600)}\\"${'['.repeat(600)}"`)).toContain('[[[');
  });

  test.each([
    ['of levels', Buffer.from('['.repeat(1_048_576))],
    ['of objects', Buffer.from('{"a":'.repeat(200_000))],
    ['of keys', Buffer.from(`{${Array.from({ length: 90_000 }, (_, i) => `"k${i}":1`).join()}}`)],
    ['of numbers', Buffer.from(`[${'1234567890123456789,'.repeat(50_000)}1]`)],
  ])('that is a bomb %s costs little', (_, bomb) => {
    const before = process.cpuUsage();
    checkJson(bomb);
    const { user } = process.cpuUsage(before);
    expect(user / 1_000).toBeLessThan(1_500);
  });
});
