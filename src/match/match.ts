/** MATCH: turns one change and its tenant's webhooks into deliveries. Pure. */

import type { Change, Delivery, Matched, TenantConfiguration, Verdict, Webhook, WebhookSettings } from '../model.ts';
import { HOPS_MAX, hopsOf } from '../payload/hops.ts';
import { deliveryId, eventId } from '../payload/ids.ts';
import { wants } from './event-patterns.ts';
import { compileFilter, type Filter, parseFilter } from './filter/filter.ts';
import { Row, STEPS_MAX } from './filter/row.ts';

/**
 * Limit on event types whose receivers are cached for a tenant. A tenant with more types invents
 * them at run time.
 */
const TYPES_MAX = 1_000;

/** What compiling a filter costs its tenant, in the steps of match/filter/row.ts. */
const STEPS_PER_COMPILED_CHARACTER = 100;

/** Compiled once per configuration, and collected with it. */
const filters = new WeakMap<WebhookSettings, Filter | Error>();
const receivers = new WeakMap<TenantConfiguration, Map<string, readonly Webhook[]>>();

/**
 * The deliveries of a change, in the order of its events. `incarnation` belongs to the change's id.
 * Undefined stands for a webhook whose filter does not match, so that the caller can pause between
 * any two webhooks. All filters share one reading of the row, which ends with the change.
 */
export function* match(
  change: Change,
  configuration: TenantConfiguration,
  incarnation: string,
  row = rowOf(change),
): Generator<Matched | undefined> {
  for (const [ordinal, eventType] of change.eventTypes.entries()) {
    for (const webhook of receiversOf(change, eventType, configuration)) {
      const verdict = filterVerdict(webhook, change, row);
      if (verdict === 'pass_over') {
        yield undefined;
        continue;
      }
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
        payloadFormat: webhook.settings.payloadFormat,
        batchId: null,
        attempt: 0,
        parked: false,
        replayed: false,
        unfiltered: false,
      };
      yield { delivery, webhook, skip: verdict === 'send' ? null : verdict };
    }
  }
}

/** What the filters of a change share. */
export function rowOf({ data, previous, truncated }: Change): Row {
  return new Row(data ?? 'null', previous ?? undefined, truncated !== null);
}

/** Whether a webhook subscribes to one of the change's events. Its filter may still reject the event. */
export function isWanted(change: Change, configuration: TenantConfiguration): boolean {
  return change.eventTypes.some((eventType) => receiversOf(change, eventType, configuration).length > 0);
}

/**
 * Active webhooks subscribed to this event type, plus webhooks that rowhook disabled or cannot use:
 * the events that they miss are logged as skipped.
 */
function receiversOf(
  { testWebhookId }: Change,
  eventType: string,
  configuration: TenantConfiguration,
): readonly Webhook[] {
  // A test goes only to its own webhook, active or not.
  if (testWebhookId !== null) return configuration.webhooks.filter(({ id }) => id === testWebhookId);
  let byType = receivers.get(configuration);
  if (!byType) {
    byType = new Map();
    receivers.set(configuration, byType);
  }
  let found = byType.get(eventType);
  if (!found) {
    found = configuration.webhooks.filter(
      (webhook) =>
        (webhook.isActive || webhook.disabledReason !== null || webhook.unusable !== null) &&
        wants(webhook.settings.eventTypes, eventType),
    );
    // emit() accepts any type. An application that invents types must not fill the memory.
    if (byType.size >= TYPES_MAX) byType.clear();
    byType.set(eventType, found);
  }
  return found;
}

/** Decides about a change that the webhook subscribes to by type. */
export function filterVerdict(webhook: Webhook, change: Change, row = rowOf(change)): Verdict {
  const obstacle = obstacleOf(webhook, change);
  if (obstacle !== null) return obstacle;
  if (change.testWebhookId !== null) return 'send';
  const refusal = refusalOf(webhook.settings, change, row);
  if (refusal !== null) return typeof refusal === 'string' ? 'pass_over' : refusal;
  const loop = loopOf(change);
  if (loop !== null) return loop;
  return webhook.isActive
    ? 'send'
    : { code: 'webhook_disabled', error: `the webhook is disabled: ${webhook.disabledReason}` };
}

/** A reason to stop an event whatever the filter says. It applies to tests too. */
function obstacleOf({ unusable }: Webhook, { unreadable }: Change): Matched['skip'] {
  if (unusable !== null) return { code: 'webhook_unusable', error: `the webhook's row cannot be used: ${unusable}` };
  return unreadable === undefined ? null : { code: 'unreadable', error: `the event cannot be sent: ${unreadable}` };
}

/** Null: the event has not gone round too often. */
function loopOf(change: Change): Matched['skip'] {
  const hops = hopsOf(change);
  if (hops <= HOPS_MAX) return null;
  const error = `the event has gone through inbound webhooks ${hops} times, and ${HOPS_MAX} is the limit: it goes round`;
  return { code: 'loop_cut', error };
}

/** Null: the event is sent to this webhook. Otherwise the first condition that stops the event. */
export function stoppedBy(webhook: Webhook, change: Change, eventType: string): string | null {
  if (change.tenantId !== webhook.tenantId) return 'it belongs to another tenant';
  if (change.testWebhookId !== null)
    return change.testWebhookId === webhook.id ? null : 'it is a test of another webhook';
  const obstacle = obstacleOf(webhook, change);
  if (obstacle !== null) return obstacle.error;
  if (!webhook.isActive && webhook.disabledReason === null) return 'the webhook is switched off';
  const { eventTypes } = webhook.settings;
  if (!wants(eventTypes, eventType)) return `its event types (${eventTypes.join(', ')}) do not include it`;
  const refusal = refusalOf(webhook.settings, change, rowOf(change));
  if (refusal !== null) return typeof refusal === 'string' ? refusal : refusal.error;
  const loop = loopOf(change);
  if (loop !== null) return loop.error;
  return webhook.isActive ? null : `the webhook is disabled: ${webhook.disabledReason}`;
}

/**
 * Null: the filter matches. Text: the condition that does not hold. The row is read only for a
 * webhook with a filter, and the event's text stays unchanged.
 */
function refusalOf(
  settings: WebhookSettings,
  { truncated }: Change,
  row: Row,
): string | NonNullable<Matched['skip']> | null {
  if (settings.filter === null) return null;
  const filter = filterOf(settings, settings.filter, row);
  // The table refuses bad filters, but a restore or a superuser may have stored one.
  if (filter instanceof Error)
    return { code: 'filter_failed', error: `the filter cannot be applied: ${filter.message}` };
  const result = filter.matches(row);
  if (result.matched === true) return null;
  if (result.matched === false) return result.because;
  const error =
    result.matched === 'too_costly'
      ? `the filter needs more than the ${STEPS_MAX.toLocaleString('en')} steps that it may take for one row. ` +
        `It had none left for ${result.because}. Filter by smaller columns, or by fewer $contains`
      : `the event has only the key columns of its row, but the filter needs more for ${result.because}. ` +
        (truncated === 'too_large' ? "Raise the source's max_payload_bytes" : 'Run rowhook doctor') +
        ', or filter by key columns';
  return { code: 'filter_failed', error };
}

function filterOf(settings: WebhookSettings, text: string, row: Row): Filter | Error {
  let filter = filters.get(settings);
  if (!filter) {
    try {
      filter = compileFilter(parseFilter(text));
    } catch (error) {
      filter = error as Error;
    }
    filters.set(settings, filter);
    row.countSteps(text.length * STEPS_PER_COMPILED_CHARACTER);
  }
  return filter;
}
