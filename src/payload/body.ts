/**
 * Builds the body of a delivery. Pure.
 *
 * The body is spliced from the JSON text that PostgreSQL printed. Parsing the text would change
 * bigint, numeric and 1e400, and cost more than everything else here.
 */
import type { Delivery } from '../model.ts';
import { cloudEventOf } from './cloudevents.ts';
import { flatFields } from './flat.ts';
import { truncatedReason } from './truncated.ts';

/**
 * The body has the same bytes on every attempt of the delivery. Ids and event types need no JSON
 * escapes. An event that is shown to its tenant goes to no webhook, so it has no `metadata`.
 */
export function bodyOf(delivery: Delivery, metadataOf: 'webhook' | 'nobody' = 'webhook'): string {
  if (delivery.rendered) return delivery.rendered.text;
  return delivery.payloadFormat === 'cloudevents' ? cloudEventOf(delivery) : splicedOf(delivery, metadataOf);
}

/** What templates read. */
export function nestedBodyOf(delivery: Delivery): string {
  return splicedOf({ ...delivery, payloadFormat: 'nested' }, 'webhook');
}

function splicedOf(delivery: Delivery, metadataOf: 'webhook' | 'nobody'): string {
  const { id, eventId, eventType, change, organization, webhookId, webhookName } = delivery;
  const timestamp = new Date(change.occurredAt).toISOString();
  const previous = change.previous === null ? '' : `,"previous":${change.previous}`;
  const thin =
    change.truncated === null ? '' : `,"truncated":true,"truncated_reason":"${truncatedReason(change.truncated)}"`;
  const marks = `${thin}${change.testWebhookId === null ? '' : ',"test":true'}`;
  const named = `{"webhook_id":"${webhookId}","webhook_name":${JSON.stringify(webhookName)},"delivery_id":"${id}"}`;
  const metadata = metadataOf === 'nobody' ? '' : named;
  if (delivery.payloadFormat === 'flat') {
    const fields = flatFields(change.data ?? 'null');
    return (
      `{"webhook_event_id":"${eventId}","webhook_event":"${eventType}","webhook_timestamp":"${timestamp}",` +
      `"webhook_organization":${organization}${fields}${previous}${marks}${metadata && `,"webhook_metadata":${metadata}`}}`
    );
  }
  return (
    `{"id":"${eventId}","event":"${eventType}","timestamp":"${timestamp}","organization":${organization},` +
    `"data":${change.data ?? 'null'}${previous}${marks}${metadata && `,"metadata":${metadata}`}}`
  );
}

/**
 * The format of the first delivery decides what a batch is. With any other than cloudevents each
 * delivery keeps its own, which may differ while somebody changes the webhook.
 */
export function batchBodyOf(id: string, deliveries: readonly Delivery[]): string {
  if (deliveries[0]?.payloadFormat === 'cloudevents') return `[${deliveries.map(cloudEventOf).join()}]`;
  return `{"id":"${id}","batch":[${deliveries.map((delivery) => splicedOf(delivery, 'webhook')).join()}]}`;
}
