/**
 * What goes out for a delivery: ids, body and headers. Pure.
 *
 * The body is spliced from the JSON text that PostgreSQL printed. Parsing it would bend bigint, numeric and 1e400, and
 * cost more than everything else here.
 */
import { hash } from 'node:crypto';
import type { Delivery, WebhookSettings } from '../model.ts';
import { VERSION } from '../shared/version.ts';
import { truncatedReason } from '../thin.ts';
import { flatFields } from './flat.ts';
import { isHarmless, MASK } from './mask.ts';
import { hexSignature, type SigningKey, standardSignature } from './signature.ts';

export const USER_AGENT = `rowhook/${VERSION}`;

/** `evt_<incarnation>_<outbox id>_<n>`: the same on every retry, restart and replay. */
export function eventId(incarnation: string, outboxId: string, ordinal: number): string {
  return `evt_${incarnation}_${outboxId}_${ordinal}`;
}

/** A name-based uuid (version 8, RFC 9562) of event and webhook, as rowhook._delivery_id computes it. */
export function deliveryId(event: string, webhookId: string): string {
  const hex = hash('sha256', `${event}:${webhookId}`);
  const variant = ((Number.parseInt(hex[16] as string, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** The JSON text of the body's organization; the id alone where nothing else is known. */
export function organization(id: string, name: string | null, slug: string | null): string {
  return JSON.stringify(name === null && slug === null ? { id } : { id, name, slug });
}

/** The body: the same bytes on every attempt of the delivery. Ids and event types consist of characters that JSON takes as they are. */
export function bodyOf(delivery: Delivery): string {
  const { id, eventId, eventType, change, organization, webhookId, webhookName } = delivery;
  const timestamp = new Date(change.occurredAt).toISOString();
  const previous = change.previous === null ? '' : `,"previous":${change.previous}`;
  const thin =
    change.truncated === null ? '' : `,"truncated":true,"truncated_reason":"${truncatedReason(change.truncated)}"`;
  const marks = `${thin}${change.testWebhookId === null ? '' : ',"test":true'}`;
  const metadata = `{"webhook_id":"${webhookId}","webhook_name":${JSON.stringify(webhookName)},"delivery_id":"${id}"}`;
  if (delivery.payloadFormat === 'flat') {
    return `{"webhook_event_id":"${eventId}","webhook_event":"${eventType}","webhook_timestamp":"${timestamp}","webhook_organization":${organization}${flatFields(
      change.data ?? 'null',
    )}${previous}${marks},"webhook_metadata":${metadata}}`;
  }
  return `{"id":"${eventId}","event":"${eventType}","timestamp":"${timestamp}","organization":${organization},"data":${change.data ?? 'null'}${previous}${marks},"metadata":${metadata}}`;
}

/** A batch's id: its deliveries decide it, so a retry of the same ones has the same. */
export function batchId(deliveries: readonly Delivery[]): string {
  return `bat_${hash('sha256', deliveries.map(({ id }) => id).join()).slice(0, 32)}`;
}

export function batchBodyOf(id: string, deliveries: readonly Delivery[]): string {
  return `{"id":"${id}","batch":[${deliveries.map(bodyOf).join()}]}`;
}

/** What the headers say of one request: a delivery's ids, or a batch's. */
export interface Identity {
  eventId: string;
  eventType: string;
  deliveryId: string;
}

export interface RequestHeaders {
  sent: Record<string, string>;
  /** The same with secrets masked, for webhook_logs; the same object where there are none. */
  logged: Record<string, string>;
}

/** All headers of one attempt; `keys` newest first, `now` in milliseconds on the database's clock. */
export function headersOf(
  { eventId, eventType, deliveryId }: Identity,
  settings: Pick<WebhookSettings, 'headers' | 'authType' | 'authConfig'>,
  keys: readonly SigningKey[],
  body: Buffer,
  now: number,
): RequestHeaders {
  const seconds = Math.floor(now / 1000);
  const own: Record<string, string> = {
    'content-type': 'application/json',
    'user-agent': USER_AGENT,
    'accept-encoding': 'identity',
    'webhook-id': eventId,
    'webhook-timestamp': String(seconds),
    'webhook-signature': keys.map((key) => standardSignature(key, eventId, seconds, body)).join(' '),
    'X-Webhook-Event': eventType,
    'X-Webhook-Timestamp': new Date(now).toISOString(),
    'X-Webhook-Signature': hexSignature(keys[0] as SigningKey, body),
    'X-Webhook-Delivery': deliveryId,
  };
  const auth = authHeader(settings);
  const sent = { ...settings.headers, ...auth, ...own };
  const custom = Object.keys(settings.headers).filter((name) => !isHarmless(name));
  const secrets = [...Object.keys(auth), ...custom];
  if (secrets.length === 0) return { sent, logged: sent };
  return { sent, logged: { ...sent, ...Object.fromEntries(secrets.map((name) => [name, MASK])) } };
}

function authHeader({
  authType,
  authConfig,
}: Pick<WebhookSettings, 'authType' | 'authConfig'>): Record<string, string> {
  switch (authType) {
    case 'none':
      return {};
    case 'bearer':
      return { authorization: `Bearer ${authConfig.token}` };
    case 'basic':
      return {
        authorization: `Basic ${Buffer.from(`${authConfig.username}:${authConfig.password}`).toString('base64')}`,
      };
    case 'api_key':
      return { [authConfig.header_name as string]: authConfig.header_value as string };
  }
}
