/** Starts the attempts of a queue, and decides what follows from their outcomes. */

import type { Attempt, Webhook } from '../model.ts';
import { FINISHED, type HealthChange, type OutcomeCode, UNCHANGED } from '../outcome.ts';
import type { Ticket } from '../queue/ticket.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import { consequenceOf } from '../retry/after-attempt.ts';
import type { Breakers } from '../retry/breaker.ts';
import type { LeaseClock } from '../roles.ts';
import { madeAttempt, skippedAttempt } from './attempt.ts';
import type { AttemptResult, InFlight } from './in-flight.ts';
import type { Parking } from './park.ts';
import type { RoundRobin } from './round-robin.ts';

export interface AttemptsOptions {
  clock: LeaseClock;
  onAttempt(attempt: Attempt): void;
  /** Disables `webhook` because of `reason`. */
  onDisable(webhook: Webhook, reason: string): void;
  onError(error: Error): void;
}

export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #inFlight: InFlight;
  readonly #turns: RoundRobin;
  readonly #parking: Parking;
  readonly #breakers: Breakers;
  readonly #goOn: (queue: WebhookQueue, health: HealthChange) => void;

  /** `goOn` is called after each attempt, once its entries have been handed to the recorder. */
  constructor(
    options: AttemptsOptions,
    parts: { inFlight: InFlight; turns: RoundRobin; parking: Parking; breakers: Breakers },
    goOn: (queue: WebhookQueue, health: HealthChange) => void,
  ) {
    this.#options = options;
    this.#inFlight = parts.inFlight;
    this.#turns = parts.turns;
    this.#parking = parts.parking;
    this.#breakers = parts.breakers;
    this.#goOn = goOn;
  }

  /** Starts one request for one delivery, or for a batch. */
  start(queue: WebhookQueue, tickets: readonly Ticket[]): void {
    const { webhook } = queue;
    if (!webhook.isActive && tickets[0]?.delivery.change.testWebhookId === null) {
      for (const ticket of tickets) {
        queue.free(ticket.delivery);
        // A parked delivery stays parked until the webhook is switched on again.
        if (!queue.backlog.letGo(ticket.delivery.id))
          this.skip(queue, ticket, 'webhook_inactive', 'the webhook was switched off before the event was sent');
      }
      return;
    }
    for (const ticket of tickets) ticket.start?.();
    this.#inFlight
      .start(queue, tickets, this.#turns.isSuspect(queue))
      .then((result) => this.#ended(queue, tickets, result))
      .catch(this.#options.onError);
  }

  /** Skips the delivery, and logs it with its reason. */
  skip(queue: WebhookQueue, ticket: Ticket, code: OutcomeCode, error: string): void {
    const attempt = skippedAttempt(ticket.delivery, queue.webhook, code, error);
    this.#options.onAttempt(attempt);
    this.#parking.record(queue, ticket, attempt, FINISHED);
    if (queue.length > 0) this.#turns.add(queue);
  }

  #ended(queue: WebhookQueue, tickets: readonly Ticket[], result: AttemptResult): void {
    const { outcome, sentTo, startedAt, loggedHeaders } = result;
    this.#turns.wake(queue.webhook.tenantId);
    const { webhook } = queue;
    const { next, health, disable } = consequenceOf(
      webhook,
      sentTo,
      tickets.map(({ delivery }) => delivery),
      outcome,
      this.#breakers,
      this.#options.clock.now(),
      Math.random(),
    );
    if (disable !== null && webhook.isActive) this.#options.onDisable(webhook, disable);
    tickets.forEach((ticket, i) => {
      const { delivery } = ticket;
      if (next.kind === 'retry' && webhook.settings.ordering === 'row') queue.rowOrder.block(delivery);
      queue.free(delivery);
      const attempt = madeAttempt(delivery, sentTo, outcome, startedAt, loggedHeaders, next);
      this.#options.onAttempt(attempt);
      this.#parking.record(queue, ticket, attempt, next, i === 0 ? health : UNCHANGED);
    });
    this.#goOn(queue, health);
  }
}
