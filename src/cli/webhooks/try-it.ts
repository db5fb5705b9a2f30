import type { WebhookRow } from '../../operations/webhooks/webhooks.ts';
import { hexSignature, signingKey, standardSignature } from '../../payload/signature.ts';
import { curlCommand, quoted } from '../../shared/shell-quote.ts';

/** A curl command that sends one signed example to the webhook's URL. */
export function tryItCommand(webhook: WebhookRow, nowSeconds: number): string {
  const event = exampleEvent(webhook.event_types);
  const id = 'evt_example';
  const at = new Date(nowSeconds * 1000).toISOString();
  const body = JSON.stringify({
    id,
    event,
    timestamp: at,
    organization: { id: webhook.tenant_id },
    data: { id: 1, example: true },
    metadata: { webhook_id: webhook.id, webhook_name: webhook.name },
  });
  const key = signingKey(webhook.secret);
  const headers = [
    'content-type: application/json',
    `webhook-id: ${id}`,
    `webhook-timestamp: ${nowSeconds}`,
    `webhook-signature: ${standardSignature(key, id, nowSeconds, body)}`,
    `X-Webhook-Event: ${event}`,
    `X-Webhook-Timestamp: ${at}`,
    `X-Webhook-Signature: ${hexSignature(key, body)}`,
  ];
  return curlCommand({ method: webhook.http_method, url: webhook.url, headers }, quoted(body));
}

/** An event type that the webhook wants: for `deal.*`, `deal.updated`. */
function exampleEvent(eventTypes: readonly string[]): string {
  const pattern = eventTypes[0] ?? '*';
  return pattern === '*' ? 'example.updated' : pattern.replace(/\*$/, 'updated');
}
