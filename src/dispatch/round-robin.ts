/**
 * Who starts next, while permits are free: tenants take turns, and within a tenant its webhooks do.
 * Each turn is one request. So a tenant with a thousand webhooks starts no more often than a tenant
 * with one.
 */

import type { Webhook } from '../model.ts';
import type { TenantLimits } from '../queue/tenant-limits.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Breakers } from '../retry/breaker.ts';
import type { LeaseClock } from '../roles.ts';
import { Steps } from '../shared/timers.ts';
import type { InFlight } from './in-flight.ts';
import type { StartsLanes } from './quiesce.ts';

export class RoundRobin implements StartsLanes {
  /**
   * The queues of each tenant that may start something. Maps and Sets are visited in order of
   * insertion, and what had its turn is deleted and inserted again, at the end. What is alone stays:
   * to move it took 4 us of the 85 that a delivery takes, and 2 of its 30 kB of memory.
   */
  readonly #ready = new Map<string, Set<WebhookQueue>>();
  /** The same of tenants that have reached a limit of theirs. */
  readonly #waiting = new Map<string, Set<WebhookQueue>>();
  readonly #inFlight: InFlight;
  readonly #breakers: Breakers;
  readonly #tenants: TenantLimits;
  readonly #clock: LeaseClock;
  /** More is started in the next turn of the event loop. */
  #goesOn = false;
  /** Lanes that will be handed over soon. Their suspects start nothing. */
  #leaving: ReadonlySet<number> = new Set();
  /** Lanes that start nothing. */
  readonly #frozen = new Set<number>();

  constructor(inFlight: InFlight, breakers: Breakers, tenants: TenantLimits, clock: LeaseClock) {
    this.#inFlight = inFlight;
    this.#breakers = breakers;
    this.#tenants = tenants;
    this.#clock = clock;
  }

  add(queue: WebhookQueue): void {
    const { tenantId } = queue.webhook;
    const queues = this.#ready.get(tenantId) ?? this.#waiting.get(tenantId);
    if (queues) queues.add(queue);
    else this.#ready.set(tenantId, new Set([queue]));
  }

  remove(queue: WebhookQueue): void {
    const { tenantId } = queue.webhook;
    for (const tenants of [this.#ready, this.#waiting]) {
      const queues = tenants.get(tenantId);
      queues?.delete(queue);
      if (queues?.size === 0) tenants.delete(tenantId);
    }
  }

  /** An attempt of the tenant has ended, so it may be below its limits again. */
  wake(tenantId: string): void {
    const queues = this.#waiting.get(tenantId);
    if (!queues) return;
    this.#waiting.delete(tenantId);
    this.#ready.set(tenantId, queues);
  }

  /** Time has passed, so tenants with a limited rate may start again. */
  wakeAll(): void {
    for (const tenantId of this.#waiting.keys()) this.wake(tenantId);
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

  /**
   * `start` starts one request of a queue, and returns whether there was one. Starts what may start
   * in steps, and calls `again` for the next one: a commit frees a hundred permits at once, and to
   * start as many requests takes longer than an event of another tenant takes in all.
   */
  go(start: (queue: WebhookQueue) => boolean, again: () => void): void {
    // Check for a free permit before iterating. A Set keeps deleted entries until it is compacted,
    // so finding its first live entry can mean skipping thousands.
    if (this.#goesOn || !this.#inFlight.hasPermit) return;
    const steps = new Steps();
    const now = performance.now();
    // A round ends when nothing was moved to the end, because a single tenant is ready.
    for (let started = true; started; ) {
      started = false;
      for (const [tenantId, queues] of this.#ready) {
        if (!this.#inFlight.hasPermit) return;
        // It stays where it is: what others end lets it go on.
        if (!this.#inFlight.mayHaveMore(this.#tenants.inFlight(tenantId))) continue;
        if (!this.#tenants.mayStart(tenantId, now)) {
          this.#ready.delete(tenantId);
          this.#waiting.set(tenantId, queues);
          continue;
        }
        started = this.#startOne(queues, start) || started;
        if (queues.size === 0) this.#ready.delete(tenantId);
        else if (this.#ready.size > 1) moveToEnd(this.#ready, tenantId, queues);
        if (steps.isOver) {
          this.#goesOn = true;
          setImmediate(() => {
            this.#goesOn = false;
            again();
          });
          return;
        }
      }
    }
  }

  /**
   * Starts one request of the first queue that can start one. The others are added again when
   * something changes for them.
   */
  #startOne(queues: Set<WebhookQueue>, start: (queue: WebhookQueue) => boolean): boolean {
    for (const queue of queues) {
      const started = this.hasRoom(queue) && start(queue);
      const goesOn = started && queue.length > 0;
      if (!goesOn || queues.size > 1) queues.delete(queue);
      if (goesOn) queues.add(queue);
      if (started) return true;
    }
    return false;
  }

  /** A test does not wait for its webhook's turn, and takes no permits of other tenants. */
  mayTest({ tenantId }: Webhook): boolean {
    return this.#inFlight.hasPermit && this.#tenants.mayStart(tenantId, performance.now());
  }

  /** Whether the webhook has a slow attempt, or its last attempt failed. */
  isSuspect(queue: WebhookQueue): boolean {
    return queue.slowAttempts > 0 || this.#breakers.isFailing(queue.webhook.id);
  }

  /**
   * Checks the breaker, the share of permits, the webhook's limits and the tenant's limits.
   */
  hasRoom(queue: WebhookQueue): boolean {
    const { webhook, limiter } = queue;
    const state = this.#breakers.state(webhook.id, this.#clock.now());
    if (state === 'open' || (state === 'probing' && limiter.inFlight > 0)) return false;
    const isSuspect = this.isSuspect(queue);
    if (this.#frozen.has(webhook.lane) || (isSuspect && this.#leaving.has(webhook.lane))) return false;
    if (!this.#inFlight.hasPermitFor(queue, isSuspect)) return false;
    const now = performance.now();
    return limiter.mayStart(now) && this.#tenants.mayStart(webhook.tenantId, now);
  }
}

function moveToEnd<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
}
