/** Builds a request from a delivery and its webhook, as sent and as logged. */

import type { Delivery, Request, Webhook } from '../model.ts';
import { batchBodyOf, bodyOf } from './body.ts';
import { contentTypeOf, isRendered } from './formats.ts';
import { headersOf } from './headers.ts';
import { hopsOf } from './hops.ts';
import { batchId, deliveryId } from './ids.ts';
import { type SigningKey, signingKey } from './signature.ts';

/**
 * Limit on cached keys: those of the webhooks used last. A KeyObject takes 1.7 µs to create and 0.5
 * kB of memory. A signature takes 4 µs. Keys of all 100,000 webhooks took 150 MB. Creating the keys
 * for each request took 6 µs.
 */
const KEYS_MAX = 1_000;
const keys = new Map<Webhook, SigningKey[]>();

export interface Prepared {
  request: Request;
  /** `headers` with secrets masked. */
  loggedHeaders: Record<string, string>;
}

/**
 * Prepares one delivery, or several as a batch. A webhook with batches enabled gets every event in
 * a batch. `now` is in milliseconds on the database's clock.
 */
export function prepare(deliveries: readonly Delivery[], webhook: Webhook, now: number): Prepared {
  const [first] = deliveries as [Delivery];
  let identity = { eventId: first.eventId, eventType: first.eventType, deliveryId: first.id };
  let text: string;
  const isBatch = isBatched(first, webhook);
  if (isBatch) {
    const id = first.batchId ?? batchId(deliveries);
    identity = { eventId: id, eventType: 'batch', deliveryId: deliveryId(id, webhook.id) };
    text = batchBodyOf(id, deliveries);
    for (const delivery of deliveries) delivery.batchId = id;
  } else {
    text = bodyOf(first);
  }
  const body = Buffer.from(text);
  const hops = Math.max(...deliveries.map(({ change }) => hopsOf(change)));
  const rendered = isBatch ? undefined : first.rendered;
  const contentType = rendered?.contentType ?? contentTypeOf(first.payloadFormat, isBatch);
  const about = { hops, contentType };
  const headers = headersOf(identity, webhook.settings, liveKeys(webhook, now), body, now, about);
  const { httpMethod: method, timeoutMs, allowedIps } = webhook.settings;
  return {
    request: {
      tenantId: webhook.tenantId,
      url: webhook.url,
      method,
      headers: headers.sent,
      body,
      timeoutMs,
      allowedIps,
    },
    loggedHeaders: headers.logged,
  };
}

function isBatched({ batchId }: Delivery, { settings }: Webhook): boolean {
  return settings.batchMax > 1 || batchId !== null;
}

/** Whether a template has to make the body, or has made it. Batches have no templates. */
export function needsRendering(delivery: Delivery, webhook: Webhook): boolean {
  return isRendered(delivery.payloadFormat) && !isBatched(delivery, webhook);
}

/** Newest first. A rotated secret also signs until it expires. */
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
