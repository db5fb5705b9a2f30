/** By which keys a request is known when it comes again. Pure. */
import { createHash } from 'node:crypto';
import { at } from './event-name.ts';
import { headerOf, type InboundSource, type RequestHeaders } from './source.ts';
import { hashOfSigned } from './verify.ts';

export const KEY_BYTES_MAX = 512;

/** The key that a sender chose for its request. */
export function keyOfHeaders(headers: RequestHeaders): string | undefined {
  return headerOf(headers, 'webhook-id') ?? headerOf(headers, 'idempotency-key') ?? headerOf(headers, 'svix-id');
}

/**
 * The keys of a request of a source, the sender's own first. Where the scheme signs no time, a
 * recorded request could be sent again under another id, so the body itself is a key, too. Where it
 * signs one, only an id counts that is signed.
 */
export function keysOf(source: InboundSource, headers: RequestHeaders, body: Buffer, value: unknown): string[] {
  const ofBody = () => `${OF_BODY}${createHash('sha256').update(body).digest('hex')}`;
  const orSigned = (ids: string[]) => (ids.length > 0 ? ids : [`${OF_BODY}${hashOfSigned(source, headers, body)}`]);
  switch (source.verification) {
    case 'standard_webhooks':
      return ids(headerOf(headers, 'webhook-id') ?? headerOf(headers, 'svix-id'));
    case 'stripe':
      return orSigned(ids(at(value, 'id')));
    case 'slack':
      return orSigned(ids(at(value, 'event_id')));
    case 'github':
      return [...ids(headerOf(headers, 'x-github-delivery')), ofBody()];
    case 'shopify':
      return [...ids(headerOf(headers, 'x-shopify-webhook-id')), ofBody()];
    case 'hmac':
      return [...ids(keyOfHeaders(headers)), ofBody()];
    case 'api_key':
      return ids(keyOfHeaders(headers));
  }
}

const OF_BODY = 'sha256:';

/** An id that looks like the key of a body would stand for that body. */
function ids(given: unknown): string[] {
  if (typeof given !== 'string' || given === '') return [];
  return [given.startsWith(OF_BODY) ? `id:${given}` : given];
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
  const kept: Record<string, string> = {};
  for (const name of KEPT) {
    const value = headerOf(headers, name);
    if (value !== undefined) kept[name] = value.slice(0, HEADER_LENGTH_MAX);
  }
  return kept;
}

const HOPS_MAX = 1_000;

/** How often the event was relayed before. A header that came twice is a list: the largest counts. */
export function hopsOf(headers: RequestHeaders): number {
  const given = (headerOf(headers, 'webhook-hops') ?? '').split(',').map((one) => one.trim());
  return given.reduce(
    (most, one) => (/^\d{1,9}$/.test(one) ? Math.max(most, Math.min(Number(one), HOPS_MAX)) : most),
    0,
  );
}
