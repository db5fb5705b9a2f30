/** The headers of a request, as sent and as logged. Pure. */

import type { WebhookSettings } from '../model.ts';
import { VERSION } from '../shared/version.ts';
import { isHarmless, MASK } from './mask.ts';
import { hexSignature, type SigningKey, standardSignature } from './signature.ts';

export const USER_AGENT = `rowhook/${VERSION}`;

/** The ids in a request's headers: those of a delivery or of a batch. */
export interface Identity {
  eventId: string;
  eventType: string;
  deliveryId: string;
}

export interface RequestHeaders {
  sent: Record<string, string>;
  /** `sent` with secrets masked, for webhook_logs. The same object if there are no secrets. */
  logged: Record<string, string>;
}

/**
 * All headers of one attempt. `keys` has the newest first. `now` is in milliseconds on the
 * database's clock. `hops` is that of payload/hops.ts.
 */
export function headersOf(
  { eventId, eventType, deliveryId }: Identity,
  settings: Pick<WebhookSettings, 'headers' | 'authType' | 'authConfig'>,
  keys: readonly SigningKey[],
  body: Buffer,
  now: number,
  { hops = 0, contentType = 'application/json' }: { hops?: number; contentType?: string } = {},
): RequestHeaders {
  const seconds = Math.floor(now / 1000);
  const own: Record<string, string> = {
    'content-type': contentType,
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
  if (hops > 0) own['webhook-hops'] = String(hops);
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
