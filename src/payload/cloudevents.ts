/**
 * CloudEvents 1.0, structured mode: https://github.com/cloudevents/spec. Pure.
 *
 * `data` is the row. What else rowhook knows of an event becomes extension attributes. An attribute
 * cannot be an object, so `previous` holds the old values as JSON text.
 */
import type { Delivery } from '../model.ts';
import { truncatedReason } from './truncated.ts';

export function cloudEventOf(delivery: Delivery): string {
  const { id, eventId, eventType, change, webhookId, webhookName } = delivery;
  const text = (name: string, value: string) => `,"${name}":${JSON.stringify(value)}`;
  return (
    `{"specversion":"1.0","id":"${eventId}"` +
    text('source', `/organizations/${encodeURIComponent(change.tenantId)}`) +
    text('type', eventType) +
    (change.rowKey ? text('subject', change.rowKey) : '') +
    `,"time":"${new Date(change.occurredAt).toISOString()}","datacontenttype":"application/json"` +
    text('webhookid', webhookId) +
    text('webhookname', webhookName) +
    text('deliveryid', id) +
    (change.previous === null ? '' : text('previous', change.previous)) +
    (change.truncated === null ? '' : `,"truncated":true,"truncatedreason":"${truncatedReason(change.truncated)}"`) +
    (change.testWebhookId === null ? '' : ',"test":true') +
    `,"data":${change.data ?? 'null'}}`
  );
}
