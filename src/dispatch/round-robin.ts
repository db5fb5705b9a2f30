/** Whose turn it is: queues that may have something to start take turns, one request each, while there are slots. */

import type { TenantLimits } from '../queue/tenant-limits.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Breakers } from '../retry/breaker.ts';
import type { Flights } from './in-flight.ts';

export class Turns {
  readonly #ready = new Set<WebhookQueue>();
  readonly #flights: Flights;
  readonly #breakers: Breakers;
  readonly #tenants: TenantLimits<WebhookQueue>;
  readonly #now: () => number;
  /** Lanes that are about to be given back: suspects of theirs start nothing. */
  leaving: ReadonlySet<number> = new Set();
  /** Lanes that start nothing at all. */
  readonly frozen = new Set<number>();

  constructor(flights: Flights, breakers: Breakers, tenants: TenantLimits<WebhookQueue>, now: () => number) {
    this.#flights = flights;
    this.#breakers = breakers;
    this.#tenants = tenants;
    this.#now = now;
  }

  add(queue: WebhookQueue): void {
    this.#ready.add(queue);
  }

  remove(queue: WebhookQueue): void {
    this.#ready.delete(queue);
  }

  /** `start` starts one request of a queue, and says whether there was one. */
  go(start: (queue: WebhookQueue) => boolean): void {
    // asked before the first is looked for: that is behind all that were deleted since the Set was last packed, thousands at times
    if (!this.#flights.hasSlot) return;
    for (const queue of this.#ready) {
      if (!this.#flights.hasSlot) return;
      // a Set is visited in order of insertion, also what is inserted on the way: this is the end of the line
      this.#ready.delete(queue);
      if (this.hasRoom(queue) && start(queue) && queue.length > 0) this.#ready.add(queue);
    }
  }

  /** It hangs, or its last attempt failed. */
  isSuspect(queue: WebhookQueue): boolean {
    return queue.held > 0 || this.#breakers.isFailing(queue.webhook.id);
  }

  /** The breaker, its share of the slots, the webhook's limits, the tenant's. What waits for the tenant is told when one of its attempts ends. */
  hasRoom(queue: WebhookQueue): boolean {
    const { webhook, limiter } = queue;
    const state = this.#breakers.state(webhook.id, this.#now());
    if (state === 'open' || (state === 'probing' && limiter.inFlight > 0)) return false;
    const isSuspect = this.isSuspect(queue);
    if (this.frozen.has(webhook.lane) || (isSuspect && this.leaving.has(webhook.lane))) return false;
    if (!this.#flights.hasSlotFor(queue, isSuspect)) return false;
    const now = performance.now();
    return limiter.mayStart(now) && this.#tenants.mayStart(webhook, queue, now);
  }
}
