/**
 * Decides when each delivery is attempted. The queues of all webhooks take turns, under one cap for
 * the whole daemon.
 *
 * The dispatcher never waits for a webhook. A delivery that has not finished PARK_AFTER_MS after it
 * was read is parked, whether it is queued or in flight. The position then moves on.
 */

import type { ChangedWebhooks, Entry, Matched, RowHead, Webhook } from '../model.ts';
import { FINISHED, type HealthChange } from '../outcome.ts';
import { QueueRegistry } from '../queue/queue-registry.ts';
import { TenantLimits } from '../queue/tenant-limits.ts';
import { Unsettled } from '../queue/unsettled.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { Breakers } from '../retry/breaker.ts';
import type { Waiting } from '../retry/takeover.ts';
import type { HearsCommits, RecordsEntries } from '../roles.ts';
import { TENANT_SHARE } from '../shared/shares.ts';
import { everyMs } from '../shared/timers.ts';
import { Attempts, type AttemptsOptions } from './attempts.ts';
import { IdleClock } from './idle-clock.ts';
import { InFlight, type InFlightOptions } from './in-flight.ts';
import { Parking } from './park.ts';
import { Quiesce } from './quiesce.ts';
import { RoundRobin } from './round-robin.ts';
import { Unparking, type UnparkingOptions } from './unpark.ts';

/**
 * An unfinished delivery is parked after PARK_AFTER_MS of the daemon's idle time, and after
 * PARK_AFTER_MS_MAX of elapsed time at the latest.
 */
const PARK_AFTER_MS = 1_000;
const PARK_AFTER_MS_MAX = 10_000;

/**
 * How often slow deliveries, due ones, rate limits and idle queues are checked. The timer runs only
 * while there are queues.
 */
const TICK_MS = 50;

export interface DispatcherOptions
  extends InFlightOptions,
    AttemptsOptions,
    Pick<UnparkingOptions, 'readDue' | 'readWebhooks' | 'filterVerdict'> {
  recorder: RecordsEntries;
  onLate(seconds: number): void;
  onDisable(webhook: Webhook, reason: string): void;
  onError(error: Error): void;
}

export class Dispatcher implements HearsCommits {
  readonly unsettled = new Unsettled(() => this.#idleClock.idleMs);
  readonly quiesce: Quiesce;
  readonly limits: TenantLimits;
  readonly #options: DispatcherOptions;
  readonly #queues = new QueueRegistry();
  readonly #breakers: Breakers;
  readonly #parking: Parking;
  readonly #readBack: Unparking;
  readonly #turns: RoundRobin;
  readonly #inFlight: InFlight;
  readonly #attempts: Attempts;
  readonly #idleClock = new IdleClock(PARK_AFTER_MS, TICK_MS);
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: DispatcherOptions, breakers: Breakers) {
    this.#options = options;
    this.limits = new TenantLimits(Math.ceil(TENANT_SHARE * options.maxInFlight));
    this.#breakers = breakers;
    this.#parking = new Parking(options.recorder);
    this.#readBack = new Unparking({
      ...options,
      isProbing: ({ webhook }) => breakers.state(webhook.id, options.clock.now()) === 'probing',
      drop: (queue, ticket) => this.#parking.record(queue, ticket, null, FINISHED),
      skip: (queue, ticket, code, error) => this.#attempts.skip(queue, ticket, code, error),
    });
    this.#inFlight = new InFlight(options, this.limits);
    this.#turns = new RoundRobin(this.#inFlight, breakers, this.limits, options.clock);
    this.#attempts = new Attempts(
      options,
      { inFlight: this.#inFlight, turns: this.#turns, parking: this.#parking, breakers },
      (queue, health) => this.#goOn(queue, health),
    );
    this.quiesce = new Quiesce({
      turns: this.#turns,
      holders: [this.#inFlight, this.unsettled, this.#parking, this.#queues],
      parkLanes: (lanes) => {
        for (const queue of this.#queues.ofLanes(lanes)) this.#parkAll(queue);
      },
      forgetLanes: (lanes) => this.#forgetLanes(lanes),
      slowLanes: () => this.#inFlight.slowLanes,
    });
  }

  get inFlight(): number {
    return this.#inFlight.permits;
  }

  /** Accepts a delivery. `settle` is called when its window need not wait for it any more. */
  offer({ delivery, webhook, skip }: Matched, settle: () => void): void {
    const ticket = this.unsettled.ticket(delivery, settle);
    const queue = this.#queues.of(webhook);
    this.#keepTicking();
    if (skip) this.#attempts.skip(queue, ticket, skip.code, skip.error);
    // A test starts at once: somebody waits for it, and wants to know how the endpoint is now.
    else if (delivery.change.testWebhookId !== null && this.#turns.mayTest(webhook))
      this.#attempts.start(queue, [ticket]);
    else if (queue.rowOrder.isBehindHead(delivery)) this.#parking.parkBehind(queue, ticket);
    else if (queue.backlog.state === 'joining') queue.backlog.join(ticket);
    else if (queue.backlog.state === 'backlogged') this.#parking.park(queue, ticket);
    else {
      queue.push(ticket);
      this.#turns.add(queue);
      this.#pump();
    }
  }

  get queues(): Pick<QueueRegistry, 'has' | 'countOf'> {
    return this.#queues;
  }

  update(tenantId: string, webhooks: readonly Webhook[], changed: ChangedWebhooks, waiting: Waiting): void {
    for (const queue of this.#queues.update(tenantId, webhooks, changed, waiting)) {
      for (const ticket of queue.drain())
        this.#attempts.skip(queue, ticket, 'webhook_deleted', 'the webhook was deleted before the event was sent');
      this.#turns.remove(queue);
      this.#breakers.forget(queue.webhook.id);
    }
    this.#keepTicking();
  }

  /**
   * The recorder has committed `entries`. `heads` are the rows with ordering 'row' that `entries`
   * touched. The order of the steps:
   *
   *   1. settle: the delivery's window need not wait for it, so the lane's position may move.
   *   2. park: the lane has one entry less on its way to the table.
   *   3. permits: the permits that the attempt took are free again.
   *   4. queues: parked deliveries may be read back, because the table contains them now.
   *   5. pump: starts what steps 3 and 4 made possible.
   *
   * A permit must not be free before its log row has committed: this limits what a crash repeats. A
   * queue must not learn of a parked delivery earlier. Otherwise a read could find the row in its
   * previous state.
   */
  committed(entries: readonly Entry[], heads: readonly RowHead[]): void {
    for (const entry of entries) {
      entry.settle();
      this.#parking.committed(entry);
      this.#inFlight.recorded(entry);
    }
    this.#queues.committed(entries, heads);
    this.#pump();
  }

  /** Frees the permits of `entries`: they are recorded apart, and others need the permits. */
  setApart(entries: readonly Entry[]): void {
    for (const entry of entries) this.#inFlight.recorded(entry);
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  #pump(): void {
    if (this.#stopped || !this.#options.clock.isValid) return;
    const start = (queue: WebhookQueue) => {
      const tickets = queue.take(performance.now(), (blocked) => this.#parking.parkBehind(queue, blocked));
      if (tickets.length > 0) this.#attempts.start(queue, tickets);
      return tickets.length > 0;
    };
    this.#turns.go(start, () => this.#pump());
  }

  /** Called after an attempt: the queue may start another one, or its breaker has changed. */
  #goOn(queue: WebhookQueue, health: HealthChange): void {
    // While its breaker is open, a webhook keeps nothing in memory.
    if (this.#breakers.state(queue.webhook.id, this.#options.clock.now()) === 'open') this.#parkAll(queue);
    else if (health.kind === 'healthy') queue.backlog.makeDue();
    this.#turns.add(queue);
    if (queue.backlog.isManyDue && queue.isDue(performance.now()) && this.#turns.hasRoom(queue)) this.#readDue([queue]);
    this.#pump();
  }

  #forgetLanes(lanes: readonly number[]): void {
    for (const queue of this.#queues.ofLanes(lanes)) {
      this.#turns.remove(queue);
      this.#queues.delete(queue);
    }
    this.#breakers.forgetLanes(lanes);
  }

  #parkAll(queue: WebhookQueue): void {
    this.#turns.remove(queue);
    this.#parking.parkAll(queue);
  }

  #keepTicking(): void {
    if (this.#stopped || this.#timer) return;
    this.#timer = everyMs(TICK_MS, this.#options.onLate, () => this.#tick());
  }

  #tick(): void {
    const now = performance.now();
    this.#idleClock.tick(now, this.#inFlight.areUnrecorded);
    const before = Math.max(this.#idleClock.since, now - PARK_AFTER_MS_MAX);
    if (this.#queues.size === 0 && this.#inFlight.permits === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    this.#turns.wakeAll();
    for (const queue of this.#queues.values()) {
      if (queue.waitingSince < before) this.#parkAll(queue);
      if (queue.length > 0) this.#turns.add(queue);
      else if (queue.isIdle) this.#queues.delete(queue);
      else queue.rest();
    }
    for (const ticket of this.#inFlight.markSlow(before, (queue) => this.#turns.isSuspect(queue))) {
      const queue = this.#queues.get(ticket.delivery.webhookId);
      // Nothing is kept for a deleted webhook.
      if (!queue) ticket.settle();
      else if (!queue.backlog.isReadBack(ticket.delivery.id)) this.#parking.parkSlow(queue, ticket, PARK_AFTER_MS);
    }
    this.#readBack.count(this.#queues.values());
    this.#readDue([...this.#queues.values()].filter((queue) => queue.isDue(now) && this.#turns.hasRoom(queue)));
    this.#pump();
  }

  #readDue(due: readonly WebhookQueue[]): void {
    const queues = this.#readBack.choose(due);
    if (queues.length === 0 || this.#stopped) return;
    const goOn = () => {
      for (const queue of queues) this.#turns.add(queue);
      this.#pump();
    };
    this.#readBack.read(queues).then(goOn).catch(this.#options.onError);
  }
}
