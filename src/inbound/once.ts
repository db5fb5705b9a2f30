/** By which keys a request is known when it comes again. Pure. */
import { createHash } from 'node:crypto';
import { at } from './event-name.ts';
import { headerOf, type InboundSource, type RequestHeaders } from './source.ts';

export const KEY_BYTES_MAX = 512;

/** The key that a sender chose for its request. */
export function keyOfHeaders(headers: RequestHeaders): string | undefined {
  return headerOf(headers, 'webhook-id') ?? headerOf(headers, 'idempotency-key') ?? headerOf(headers, 'svix-id');
}

/**
 * The keys of a request of a source, the sender's own first. Where the scheme signs no time, a
 * recorded request could be sent again under another id, so the body itself is a key, too.
 */
export function keysOf(source: InboundSource, headers: RequestHeaders, body: Buffer, value: unknown): string[] {
  const ofBody = () => `sha256:${createHash('sha256').update(body).digest('hex')}`;
  const some = (key: unknown) => (typeof key === 'string' && key !== '' ? [key] : []);
  switch (source.verification) {
    case 'stripe':
      return some(at(value, 'id'));
    case 'slack':
      return some(at(value, 'event_id'));
    case 'github':
      return [...some(headerOf(headers, 'x-github-delivery')), ofBody()];
    case 'shopify':
      return [...some(headerOf(headers, 'x-shopify-webhook-id')), ofBody()];
    case 'hmac':
      return [...some(keyOfHeaders(headers)), ofBody()];
    case 'standard_webhooks':
    case 'api_key':
      return some(keyOfHeaders(headers));
  }
}

/** The headers that are kept with an event. None of them is a credential. */
const KEPT = [
  ...['content-type', 'user-agent', 'webhook-id', 'webhook-timestamp', 'webhook-hops', 'idempotency-key'],
  ...['x-webhook-event', 'x-request-id', 'x-github-event', 'x-github-delivery', 'x-github-hook-id'],
  ...['x-shopify-topic', 'x-shopify-shop-domain', 'x-shopify-webhook-id', 'x-shopify-api-version'],
  ...['x-slack-request-timestamp', 'x-slack-retry-num', 'x-slack-retry-reason'],
];

const HEADER_LENGTH_MAX = 500;

export function keptHeaders(headers: RequestHeaders): Record<string, string> {
  return Object.fromEntries(
    KEPT.flatMap((name) => {
      const value = headerOf(headers, name);
      return value === undefined ? [] : [[name, value.slice(0, HEADER_LENGTH_MAX)]];
    }),
  );
}

const HOPS_MAX = 1_000;

/** How often the event was relayed before. */
export function hopsOf(headers: RequestHeaders): number {
  const given = headerOf(headers, 'webhook-hops') ?? '';
  return /^\d{1,9}$/.test(given) ? Math.min(Number(given), HOPS_MAX) : 0;
}
