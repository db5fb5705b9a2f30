/**
 * What an outcome means for a delivery and its webhook, and how the log shows it. Pure, except for
 * the breakers' count.
 */

import type { Delivery, Webhook } from '../model.ts';
import { FINISHED, type HealthChange, type Next, type Outcome, UNCHANGED } from '../outcome.ts';
import type { Breakers } from './breaker.ts';
import { type FailedAttempt, retryInMs } from './schedule.ts';

export interface Consequence {
  /** What becomes of the delivery, or of all deliveries of a batch. */
  next: Exclude<Next, { kind: 'behindRowHead' }>;
  health: HealthChange;
  /** Why to disable the webhook. Null: it is not disabled. */
  disable: string | null;
}

/**
 * `now` is in milliseconds on the database's clock, `random` is in [0, 1). A batch counts as one
 * success or failure of its webhook. `sentTo` is the webhook as it was when the attempt started. If
 * its address has changed since, the outcome says nothing about the new address.
 */
export function consequenceOf(
  webhook: Webhook,
  sentTo: Webhook,
  deliveries: readonly Delivery[],
  outcome: Outcome,
  breakers: Breakers,
  now: number,
  random: number,
): Consequence {
  if (outcome.status === 'skipped') return { next: FINISHED, health: UNCHANGED, disable: null };
  const hasMoved = sentTo.url !== webhook.url;
  if (outcome.status === 'success')
    return { next: FINISHED, health: hasMoved ? UNCHANGED : breakers.succeeded(webhook.id), disable: null };
  const failed: FailedAttempt = {
    code: hasMoved ? 'http_error' : outcome.code,
    responseStatus: hasMoved ? null : (outcome.response?.status ?? null),
    retryAfter: outcome.response?.headers['retry-after'],
  };
  const attempt = Math.max(...deliveries.map((delivery) => delivery.attempt)) + 1;
  const inMs = retryInMs(webhook.settings.retry, attempt, failed, now, random);
  const next = inMs === null ? ({ kind: 'givenUp' } as const) : ({ kind: 'retry', inMs } as const);
  if (hasMoved) return { next, health: UNCHANGED, disable: null };
  const { health, disable } = breakers.failed(webhook, now);
  const reason = outcome.code === 'gone' ? 'the receiver answered 410 Gone' : disable;
  return { next, health: { kind: 'failing', health }, disable: reason };
}
