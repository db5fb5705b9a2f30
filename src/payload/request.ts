/** A delivery and its webhook become a request, as it will be sent and as it will be logged. */

import type { Delivery, Request, Webhook } from '../model.ts';
import { batchBodyOf, bodyOf } from './body.ts';
import { headersOf } from './headers.ts';
import { batchId, deliveryId } from './ids.ts';
import { type SigningKey, signingKey } from './signature.ts';

/**
 * Of the webhooks that something was sent to last. A KeyObject takes 1.7 µs, where a signature takes 4, and 0.5 kB: kept for each
 * of 100,000 webhooks they took 150 MB, and made anew for each request 6 µs.
 */
const KEYS_MAX = 1_000;
const keys = new Map<Webhook, SigningKey[]>();

export interface Prepared {
  request: Request;
  /** With secrets masked. */
  loggedHeaders: Record<string, string>;
}

/**
 * One delivery, or several as a batch; a webhook that asks for batches gets every event in one. `now` in milliseconds on the
 * database's clock.
 */
export function prepare(deliveries: readonly Delivery[], webhook: Webhook, now: number): Prepared {
  const [first] = deliveries as [Delivery];
  let identity = { eventId: first.eventId, eventType: first.eventType, deliveryId: first.id };
  let text: string;
  if (webhook.settings.batchMax > 1 || first.batchId !== null) {
    const id = first.batchId ?? batchId(deliveries);
    identity = { eventId: id, eventType: 'batch', deliveryId: deliveryId(id, webhook.id) };
    text = batchBodyOf(id, deliveries);
    for (const delivery of deliveries) delivery.batchId = id;
  } else {
    text = bodyOf(first);
  }
  const body = Buffer.from(text);
  const headers = headersOf(identity, webhook.settings, liveKeys(webhook, now), body, now);
  const { httpMethod: method, timeoutMs, allowedIps } = webhook.settings;
  return {
    request: { url: webhook.url, method, headers: headers.sent, body, timeoutMs, allowedIps },
    loggedHeaders: headers.logged,
  };
}

/** Newest first; a rotated secret signs along until it expires. */
function liveKeys(webhook: Webhook, now: number): SigningKey[] {
  const { secret, previousSecret } = webhook;
  let all = keys.get(webhook);
  if (!all) {
    all = [secret, ...(previousSecret ? [previousSecret.secret] : [])].map(signingKey);
    if (keys.size >= KEYS_MAX) keys.delete(keys.keys().next().value as Webhook);
    keys.set(webhook, all);
  }
  return previousSecret && previousSecret.expiresAt <= now ? all.slice(0, 1) : all;
}
