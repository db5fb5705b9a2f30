import { createHmac } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import type { ReceivedRequest } from './receiver.ts';

/** What a careful receiver does: Standard Webhooks over the raw body, with their library, and the plain HMAC as well. */
export function verifyRequest(request: ReceivedRequest, secret: string): void {
  const bytes = new TextEncoder().encode(secret);
  // Their library takes any secret for base64; ours that do not start with whsec_ are keys as they are.
  const webhook = secret.startsWith('whsec_') ? new Webhook(secret) : new Webhook(bytes, { format: 'raw' });
  webhook.verify(request.body, request.headers, { jsonParse: false });

  const expected = createHmac('sha256', bytes).update(request.body).digest('hex');
  const sent = request.headers['x-webhook-signature'];
  if (sent !== expected) throw new Error(`x-webhook-signature: "${sent}" is not the HMAC of the body, "${expected}".`);
}
