/**
 * Ids of events, deliveries and batches. They are computed from names, so they are the same on
 * every attempt. Pure.
 */

import { hash } from 'node:crypto';
import type { Delivery } from '../model.ts';

/** `evt_<incarnation>_<outbox id>_<n>`: the same on every retry, restart and replay. */
export function eventId(incarnation: string, outboxId: string, ordinal: number): string {
  return `evt_${incarnation}_${outboxId}_${ordinal}`;
}

/**
 * A name-based uuid (version 8, RFC 9562) of event and webhook. It begins with the outbox id, so
 * that new entries of an index stand at its end: a log row takes PostgreSQL 25 µs instead of 29. A
 * batch has no outbox id, and no row either. rowhook._delivery_id computes the same.
 */
export function deliveryId(event: string, webhookId: string): string {
  const outboxId = BigInt.asUintN(48, BigInt(event.split('_')[2] ?? 0));
  const begin = outboxId.toString(16).padStart(12, '0');
  const hex = hash('sha256', `${event}:${webhookId}`);
  const variant = ((Number.parseInt(hex[16] as string, 16) & 3) | 8).toString(16);
  const [third, fourth] = [`8${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`];
  return `${begin.slice(0, 8)}-${begin.slice(8)}-${third}-${fourth}-${hex.slice(20, 32)}`;
}

/** The JSON text of the body's organization. Only the id if name and slug are unknown. */
export function organization(id: string, name: string | null, slug: string | null): string {
  return JSON.stringify(name === null && slug === null ? { id } : { id, name, slug });
}

/** A batch's id depends on its deliveries, so a retry of the same deliveries has the same id. */
export function batchId(deliveries: readonly Delivery[]): string {
  return `bat_${hash('sha256', deliveries.map(({ id }) => id).join()).slice(0, 32)}`;
}
