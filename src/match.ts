/** MATCH: one change and its tenant's webhooks become deliveries. Pure. */
import { deliveryId, eventId } from './envelope.ts';
import { compileFilter, type Filter, parseFilter } from './filter.ts';
import type { Change, Delivery, OutcomeCode, TenantConfiguration, Webhook } from './model.ts';

export interface Matched {
  delivery: Delivery;
  webhook: Webhook;
  /** Wanted, but not to be sent, and why; it is logged. */
  skip: { code: OutcomeCode; error: string } | null;
}

/** Compiled once per configuration, and gone with it. */
const filters = new WeakMap<Webhook, Filter | Error>();
const receivers = new WeakMap<TenantConfiguration, Map<string, readonly Webhook[]>>();

/** The deliveries of a change, in the order of its events. `incarnation` is the one of the change's id. */
export function match(change: Change, configuration: TenantConfiguration, incarnation: string): Matched[] {
  const matched: Matched[] = [];
  change.eventTypes.forEach((eventType, ordinal) => {
    for (const webhook of receiversOf(change, eventType, configuration)) {
      const verdict = judge(webhook, change);
      if (verdict === 'pass_over') continue;
      const event = eventId(incarnation, change.id, ordinal);
      const delivery: Delivery = {
        id: deliveryId(event, webhook.id),
        eventId: event,
        eventType,
        ordinal,
        change,
        organization: configuration.organization,
        webhookId: webhook.id,
        webhookName: webhook.name,
        payloadFormat: webhook.payloadFormat,
        batchId: null,
        attempt: 0,
        parked: false,
      };
      matched.push({ delivery, webhook, skip: verdict === 'send' ? null : verdict });
    }
  });
  return matched;
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

/** Those that want it and are active, or were disabled by rowhook: what these miss is told. */
function receiversOf(
  { testWebhookId }: Change,
  eventType: string,
  configuration: TenantConfiguration,
): readonly Webhook[] {
  // a test goes to its webhook alone, active or not
  if (testWebhookId !== null) return configuration.webhooks.filter(({ id }) => id === testWebhookId);
  let byType = receivers.get(configuration);
  if (!byType) {
    byType = new Map();
    receivers.set(configuration, byType);
  }
  let found = byType.get(eventType);
  if (!found) {
    found = configuration.webhooks.filter(
      (webhook) => (webhook.isActive || webhook.disabledReason !== null) && wants(webhook.eventTypes, eventType),
    );
    byType.set(eventType, found);
  }
  return found;
}

/** Only a webhook with a filter pays for reading the row, and what it reads never replaces the text. */
function judge(webhook: Webhook, change: Change): 'send' | 'pass_over' | NonNullable<Matched['skip']> {
  if (change.testWebhookId !== null) return 'send';
  if (webhook.filter !== null) {
    const filter = filterOf(webhook, webhook.filter);
    // the table refuses bad filters, but a restore or a superuser may have put one there
    if (filter instanceof Error)
      return { code: 'filter_failed', error: `the filter cannot be applied: ${filter.message}` };
    if (change.truncated) {
      return {
        code: 'filter_failed',
        error:
          "the row was too large to be captured whole, so the filter cannot be applied: raise the source's max_payload_bytes",
      };
    }
    if (!filter.matches(change.data ?? 'null', change.previous ?? undefined).matched) return 'pass_over';
  }
  return webhook.isActive
    ? 'send'
    : { code: 'webhook_disabled', error: `the webhook is disabled: ${webhook.disabledReason}` };
}

function filterOf(webhook: Webhook, text: string): Filter | Error {
  let filter = filters.get(webhook);
  if (!filter) {
    try {
      filter = compileFilter(parseFilter(text));
    } catch (error) {
      filter = error as Error;
    }
    filters.set(webhook, filter);
  }
  return filter;
}
