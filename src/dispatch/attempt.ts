/**
 * Makes the log row of an attempt: what was sent, as far as logs may show it, and how it ended.
 * Pure.
 */

import type { Attempt, Delivery, Webhook } from '../model.ts';
import type { Next, Outcome, OutcomeCode } from '../outcome.ts';
import { maskedUrl } from '../payload/mask.ts';

/**
 * Makes the log row of an attempt that has ended. A skipped attempt does not increase the
 * delivery's count.
 */
export function madeAttempt(
  delivery: Delivery,
  webhook: Webhook,
  outcome: Outcome,
  startedAt: number,
  requestHeaders: Record<string, string>,
  next: Next,
): Attempt {
  if (outcome.status !== 'skipped') delivery.attempt += 1;
  const retryInMs = next.kind === 'retry' ? next.inMs : null;
  return {
    delivery,
    attempt: delivery.attempt,
    outcome: REFUSED.has(outcome.code) ? withReplay(outcome, delivery) : outcome,
    startedAt,
    requestMethod: webhook.settings.httpMethod,
    requestUrl: maskedUrl(webhook.url),
    requestHeaders,
    retryInMs,
  };
}

/**
 * Refused deliveries were never sent, and rowhook does not retry them. After removing the reason,
 * the operator sends them with a replay.
 */
const REFUSED: ReadonlySet<OutcomeCode> = new Set(['address_refused', 'http_refused']);
function withReplay(outcome: Outcome, { webhookId, change }: Delivery): Outcome {
  const since = new Date(change.occurredAt).toISOString().replace(/\.\d+Z$/, 'Z');
  return { ...outcome, error: `${outcome.error} Then: rowhook replay ${webhookId} --since ${since}` };
}

export function skippedOutcome(code: OutcomeCode, error: string): Outcome {
  return { status: 'skipped', code, error, response: null, remoteIp: null, durationMs: 0 };
}

/** Makes the log row of a delivery that a webhook wanted and that is not sent. */
export function skippedAttempt(delivery: Delivery, webhook: Webhook, code: OutcomeCode, error: string): Attempt {
  return {
    delivery,
    attempt: delivery.attempt,
    outcome: skippedOutcome(code, error),
    startedAt: performance.now(),
    requestMethod: webhook.settings.httpMethod,
    requestUrl: maskedUrl(webhook.url),
    requestHeaders: {},
    retryInMs: null,
  };
}
