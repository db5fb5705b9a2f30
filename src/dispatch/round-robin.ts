/** Queues that may start something take turns, one request each, while permits are free. */

import type { TenantLimits } from '../queue/tenant-limits.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Breakers } from '../retry/breaker.ts';
import type { LeaseClock } from '../roles.ts';
import type { InFlight } from './in-flight.ts';
import type { StartsLanes } from './quiesce.ts';

export class RoundRobin implements StartsLanes {
  readonly #ready = new Set<WebhookQueue>();
  readonly #inFlight: InFlight;
  readonly #breakers: Breakers;
  readonly #tenants: TenantLimits<WebhookQueue>;
  readonly #clock: LeaseClock;
  /** Lanes that will be handed over soon. Their suspects start nothing. */
  #leaving: ReadonlySet<number> = new Set();
  /** Lanes that start nothing. */
  readonly #frozen = new Set<number>();

  constructor(inFlight: InFlight, breakers: Breakers, tenants: TenantLimits<WebhookQueue>, clock: LeaseClock) {
    this.#inFlight = inFlight;
    this.#breakers = breakers;
    this.#tenants = tenants;
    this.#clock = clock;
  }

  add(queue: WebhookQueue): void {
    this.#ready.add(queue);
  }

  remove(queue: WebhookQueue): void {
    this.#ready.delete(queue);
  }

  slowDown(lanes: ReadonlySet<number>): void {
    this.#leaving = lanes;
  }

  freeze(lanes: readonly number[]): void {
    for (const lane of lanes) this.#frozen.add(lane);
  }

  resume(lanes: readonly number[]): void {
    for (const lane of lanes) this.#frozen.delete(lane);
  }

  /** `start` starts one request of a queue, and returns whether there was one. */
  go(start: (queue: WebhookQueue) => boolean): void {
    // Check for a free permit before iterating. A Set keeps deleted entries until it is compacted,
    // so finding its first live entry can mean skipping thousands.
    if (!this.#inFlight.hasPermit) return;
    for (const queue of this.#ready) {
      if (!this.#inFlight.hasPermit) return;
      // A Set is visited in order of insertion, including entries inserted during the loop. So
      // deleting and adding a queue moves it to the end.
      this.#ready.delete(queue);
      if (this.hasRoom(queue) && start(queue) && queue.length > 0) this.#ready.add(queue);
    }
  }

  /** Whether the webhook has a slow attempt, or its last attempt failed. */
  isSuspect(queue: WebhookQueue): boolean {
    return queue.slowAttempts > 0 || this.#breakers.isFailing(queue.webhook.id);
  }

  /**
   * Checks the breaker, the share of permits, the webhook's limits and the tenant's limits. A queue
   * that waits for its tenant is added again when one of the tenant's attempts ends.
   */
  hasRoom(queue: WebhookQueue): boolean {
    const { webhook, limiter } = queue;
    const state = this.#breakers.state(webhook.id, this.#clock.now());
    if (state === 'open' || (state === 'probing' && limiter.inFlight > 0)) return false;
    const isSuspect = this.isSuspect(queue);
    if (this.#frozen.has(webhook.lane) || (isSuspect && this.#leaving.has(webhook.lane))) return false;
    if (!this.#inFlight.hasPermitFor(queue, isSuspect)) return false;
    const now = performance.now();
    return limiter.mayStart(now) && this.#tenants.mayStart(webhook, queue, now);
  }
}
