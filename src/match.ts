/** MATCH: one change and its tenant's webhooks become deliveries. Pure. */
import { deliveryId, eventId } from './envelope.ts';
import { compileFilter, type Filter, parseFilter } from './filter.ts';
import type { Change, Delivery, TenantConfiguration, Webhook } from './model.ts';

/** Compiled once per configuration of a webhook, and gone with it. */
const filters = new WeakMap<Webhook, Filter>();
const wanted = new WeakMap<TenantConfiguration, Map<string, readonly Webhook[]>>();

/** The deliveries of a change, in the order of its events. `incarnation` is the one of the change's id. */
export function match(change: Change, configuration: TenantConfiguration, incarnation: string): Delivery[] {
  const deliveries: Delivery[] = [];
  change.eventTypes.forEach((eventType, ordinal) => {
    for (const webhook of receivers(change, eventType, configuration)) {
      if (change.testWebhookId === null && !passes(webhook, change)) continue;
      const event = eventId(incarnation, change.id, ordinal);
      deliveries.push({
        id: deliveryId(event, webhook.id),
        eventId: event,
        eventType,
        ordinal,
        change,
        organization: configuration.organization,
        webhookId: webhook.id,
        webhookName: webhook.name,
        attempt: 0,
        parked: false,
      });
    }
  });
  return deliveries;
}

/** Exact (`deal.updated`), by prefix (`deal.*`) or all (`*`). */
export function wants(eventTypes: readonly string[], eventType: string): boolean {
  return eventTypes.some(
    (pattern) =>
      pattern === eventType ||
      pattern === '*' ||
      (pattern.endsWith('.*') && eventType.startsWith(pattern.slice(0, -1))),
  );
}

function receivers(
  { testWebhookId }: Change,
  eventType: string,
  configuration: TenantConfiguration,
): readonly Webhook[] {
  // a test goes to its webhook alone, active or not
  if (testWebhookId !== null) return configuration.webhooks.filter(({ id }) => id === testWebhookId);
  let byType = wanted.get(configuration);
  if (!byType) {
    byType = new Map();
    wanted.set(configuration, byType);
  }
  let found = byType.get(eventType);
  if (!found) {
    found = configuration.webhooks.filter((webhook) => webhook.isActive && wants(webhook.eventTypes, eventType));
    byType.set(eventType, found);
  }
  return found;
}

function passes(webhook: Webhook, change: Change): boolean {
  if (webhook.filter === null) return true;
  let filter = filters.get(webhook);
  if (!filter) {
    filter = compileFilter(parseFilter(webhook.filter));
    filters.set(webhook, filter);
  }
  return filter.matches(change.data ?? 'null', change.previous ?? undefined).matched;
}
