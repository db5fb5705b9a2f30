// Many busy tenants at once: permits are left for one more, and starting what may start does not stop everything else.

import { expect, test } from 'vitest';
import { Dispatcher } from '../../src/dispatch/dispatcher.ts';
import type { Delivery, Matched, Request, Webhook, WebhookSettings } from '../../src/model.ts';
import { Breakers } from '../../src/retry/breaker.ts';
import { waitUntil } from '../support/wait.ts';

const settings = {
  httpMethod: 'POST',
  headers: {},
  authType: 'none',
  authConfig: {},
  timeoutMs: 30_000,
  maxInFlight: 500,
  ratePerSecond: null,
  ordering: 'none',
  payloadFormat: 'nested',
  batchMax: 1,
  batchWaitMs: 0,
  allowedIps: null,
} as unknown as WebhookSettings;

function matched(tenantId: string, n: number, data = '{}'): Matched {
  const webhook = {
    id: `webhook of ${tenantId}`,
    tenantId,
    lane: 0,
    url: `http://${tenantId}.test/`,
    secret: `whsec_${Buffer.from('secret of a webhook').toString('base64')}`,
    previousSecret: null,
    isActive: true,
    unusable: null,
    bytes: 600,
    hasTexts: true,
    settings,
  } as unknown as Webhook;
  const change = { id: String(n), lane: 0, tenantId, data, previous: null, eventTypes: ['a.b'], occurredAt: 0 };
  const delivery = {
    id: `${tenantId} ${n}`,
    eventId: `evt_1_${n}_1`,
    eventType: 'a.b',
    ordinal: 0,
    change: { ...change, sourceId: null, rowKey: null, truncated: null, testWebhookId: null },
    organization: '{}',
    webhookId: webhook.id,
    webhookName: 'webhook',
    payloadFormat: 'nested',
    batchId: null,
    attempt: 0,
  } as unknown as Delivery;
  return { delivery, webhook, skip: null };
}

/** A dispatcher whose receivers never answer, and what it has sent. */
function hanging(maxInFlight: number) {
  const sent: string[] = [];
  const unused = () => expect.unreachable();
  const dispatcher = new Dispatcher(
    {
      maxInFlight,
      bodies: { render: unused },
      sender: {
        send: ({ url }: Request) => {
          sent.push(new URL(url).hostname);
          return new Promise(() => {});
        },
      },
      clock: { now: () => Date.now(), isValid: true },
      recorder: { add: () => {} },
      readDue: unused,
      readWebhooks: unused,
      filterVerdict: () => 'send',
      onAttempt: () => {},
      onLate: () => {},
      onDisable: () => {},
      onError: (error) => expect.unreachable(error.message),
    },
    new Breakers({ failures: 50, days: 3 }),
  );
  return { dispatcher, sent, of: (tenant: string) => sent.filter((host) => host === `${tenant}.test`).length };
}

test.each([128, 256])(
  'ten tenants with receivers that hang leave some of %i permits to one more',
  async (maxInFlight) => {
    const { dispatcher, sent, of } = hanging(maxInFlight);
    for (let n = 0; n < 60; n++)
      for (let tenant = 0; tenant < 10; tenant++) dispatcher.offer(matched(`busy${tenant}`, n), () => {});
    await waitUntil('they have what they may have', () => sent.length > maxInFlight / 3);
    const before = sent.length;
    dispatcher.offer(matched('quiet', 1), () => {});
    await waitUntil('it is sent', () => of('quiet') === 1);
    // within the second in which attempts that hang are not slow yet
    const { inFlight } = dispatcher;
    dispatcher.stop();
    expect(inFlight).toBeGreaterThanOrEqual(before);
    expect(inFlight).toBeLessThan((2 / 3) * maxInFlight + 1);
  },
);

test('a tenant alone has half of all permits, as before', async () => {
  const { dispatcher, of } = hanging(256);
  for (let n = 0; n < 300; n++) dispatcher.offer(matched('busy', n), () => {});
  await waitUntil('it has what it may have', () => of('busy') >= 128);
  dispatcher.stop();
  expect(of('busy')).toBe(128);
});

const large = JSON.stringify('x'.repeat(1024 * 1024));

test('large bodies that hang are half of their limit for one tenant: small and large ones of others start', async () => {
  const { dispatcher, sent, of } = hanging(256);
  for (let n = 0; n < 60; n++) dispatcher.offer(matched('busy', n, large), () => {});
  await waitUntil('some are sent', () => sent.length >= 16);
  for (let n = 0; n < 20; n++) dispatcher.offer(matched('quiet', n), () => {});
  dispatcher.offer(matched('large', 1, large), () => {});
  await waitUntil('all of others are sent', () => of('quiet') === 20 && of('large') === 1);
  dispatcher.stop();
  expect(of('busy')).toBeLessThan(60);
});

test('large bodies of ten tenants that hang: small ones do not wait for them', async () => {
  const { dispatcher, sent, of } = hanging(256);
  for (let n = 0; n < 20; n++)
    for (let tenant = 0; tenant < 10; tenant++) dispatcher.offer(matched(`busy${tenant}`, n, large), () => {});
  await waitUntil('some are sent', () => sent.length >= 16);
  for (let n = 0; n < 20; n++) dispatcher.offer(matched('quiet', n), () => {});
  await waitUntil('all small ones are sent', () => of('quiet') === 20);
  dispatcher.stop();
  expect(sent.length - 20).toBeLessThan(150);
});
