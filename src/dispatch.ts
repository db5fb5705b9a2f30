/**
 * Decides which delivery is attempted when: per webhook, under one cap for the whole daemon, taking turns.
 *
 * A slot under the cap is free again only when the attempt's log row has committed. So what a crash can repeat is at most
 * `maxInFlight` attempts. Nothing here waits for a webhook: what has not finished HOLD_MS after it was read is parked, whether
 * it is queued or in flight, and the position moves on.
 */
import type { Breakers } from './breaker.ts';
import { consequenceOf, madeAttempt, skippedAttempt } from './consequence.ts';
import { Flights, type Landing } from './flights.ts';
import type {
  Attempt,
  Change,
  Delivery,
  Entry,
  Health,
  Outcome,
  OutcomeCode,
  Request,
  RowHead,
  TenantConfiguration,
  Verdict,
  Webhook,
} from './model.ts';
import type { Due, DueQuery, Waiting } from './parked.ts';
import { Parking } from './parking.ts';
import type { Ticket, WebhookQueue } from './queue.ts';
import { Queues } from './queues.ts';
import { readBack } from './readback.ts';
import { TenantLimits } from './tenant-limits.ts';

/** How long a delivery may hold the position of its lane. */
const HOLD_MS = 1_000;

/** How often held deliveries, due ones, rate limits and idle queues are looked at. */
const TICK_MS = 50;

/** Webhooks whose parked deliveries are read by one statement. */
const DUE_WEBHOOKS_MAX = 100;

export interface DispatcherOptions {
  maxInFlight: number;
  send(request: Request): Promise<Outcome>;
  record(entry: Entry): void;
  readDue(queries: readonly DueQuery[]): Promise<Due[]>;
  judge(webhook: Webhook, change: Change): Verdict;
  /** Milliseconds since 1970 on the database's clock. */
  now(): number;
  /** False once the lease may have run out: nothing may be started then. */
  mayStart(): boolean;
  onAttempt(attempt: Attempt): void;
  /** The webhook is to be disabled, for this reason. */
  onDisable(webhook: Webhook, reason: string): void;
  onError(error: Error): void;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #queues = new Queues();
  readonly #tenants = new TenantLimits<WebhookQueue>();
  readonly #breakers: Breakers;
  readonly #parking: Parking;
  /** Queues that may be able to start something, in turn. */
  readonly #ready = new Set<WebhookQueue>();
  readonly #flights: Flights;
  readonly #timer: NodeJS.Timeout;
  /** Deliveries in memory that some window waits for. */
  #pending = 0;
  #stopped = false;

  constructor(options: DispatcherOptions, breakers: Breakers) {
    this.#options = options;
    this.#breakers = breakers;
    this.#parking = new Parking(options.record);
    this.#flights = new Flights(options, this.#tenants);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  get pending(): number {
    return this.#pending;
  }

  get inFlight(): number {
    return this.#flights.slots;
  }

  /** Takes a delivery; `settle` is called when its window need not wait for it any more. */
  offer(delivery: Delivery, webhook: Webhook, settle: () => void): void {
    const ticket = this.#ticket(delivery, settle);
    const queue = this.#queues.of(webhook);
    // somebody waits for a test, and wants to know how the endpoint is now
    if (delivery.change.testWebhookId !== null && this.#flights.hasSlot) this.#start(queue, [ticket]);
    else if (queue.isBlocked(delivery)) this.#parking.parkBehind(queue, ticket);
    else if (queue.backlogged) this.#parking.park(queue, ticket);
    else {
      queue.push(ticket);
      this.#ready.add(queue);
      this.#pump();
    }
  }

  /** Logs a delivery that is not to be sent. */
  skip(delivery: Delivery, webhook: Webhook, code: OutcomeCode, error: string, settle: () => void): void {
    this.#skip(this.#queues.of(webhook), this.#ticket(delivery, settle), code, error);
  }

  /** The tenant as it is now: what is queued goes by it. The webhooks in `waiting` have parked deliveries, those in `failing` a bad record. */
  update(configuration: TenantConfiguration, waiting: Waiting, failing: ReadonlySet<string>): void {
    this.limit(configuration);
    for (const webhook of configuration.webhooks) if (!failing.has(webhook.id)) this.#breakers.forget(webhook.id);
    for (const queue of this.#queues.update(configuration, waiting)) {
      for (const ticket of queue.drain())
        this.#skip(queue, ticket, 'webhook_deleted', 'the webhook was deleted before this was sent');
      this.#ready.delete(queue);
      this.#breakers.forget(queue.webhook.id);
    }
  }

  /** The limits over all of a tenant's webhooks. */
  limit(configuration: TenantConfiguration): void {
    this.#tenants.configure(configuration);
  }

  /** The recorder has committed these; `heads` are the rows with ordering 'row' that they touched. */
  committed(entries: readonly Entry[], heads: readonly RowHead[]): void {
    for (const { attempt, settle } of entries) {
      settle();
      if (attempt && attempt.outcome.status !== 'skipped') this.#flights.committed();
    }
    this.#queues.committed(entries, heads);
    this.#pump();
  }

  /** Starts nothing more and waits for what is in flight, `deadlineMs` at most. */
  async drain(deadlineMs: number): Promise<void> {
    this.stop();
    const until = performance.now() + deadlineMs;
    while (this.#flights.slots > 0 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 10));
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  #ticket(delivery: Delivery, settle: () => void): Ticket {
    this.#pending += 1;
    let settled = false;
    return {
      delivery,
      queuedAt: performance.now(),
      settle: () => {
        if (settled) return;
        settled = true;
        this.#pending -= 1;
        settle();
      },
    };
  }

  /** Starts attempts, one per queue and turn. */
  #pump(): void {
    if (this.#stopped || !this.#options.mayStart()) return;
    for (const queue of this.#ready) {
      if (!this.#flights.hasSlot) return;
      // a Set is visited in order of insertion, also what is inserted on the way: this is the end of the line
      this.#ready.delete(queue);
      if (!this.#hasRoom(queue)) continue;
      const tickets = queue.take(performance.now(), (blocked) => this.#parking.parkBehind(queue, blocked));
      if (tickets.length === 0) continue;
      this.#start(queue, tickets);
      if (queue.length > 0) this.#ready.add(queue);
    }
  }

  /** The breaker, the webhook's limits, the tenant's. What waits for the tenant is told when one of its attempts ends. */
  #hasRoom(queue: WebhookQueue): boolean {
    const { webhook, limiter } = queue;
    const state = this.#breakers.state(webhook.id, this.#options.now());
    if (state === 'open' || (state === 'probing' && limiter.inFlight > 0)) return false;
    const now = performance.now();
    return limiter.mayStart(now) && this.#tenants.mayStart(webhook, queue, now);
  }

  /** One request: a delivery, or a batch of them. */
  #start(queue: WebhookQueue, tickets: readonly Ticket[]): void {
    const { webhook } = queue;
    if (!webhook.isActive && tickets[0]?.delivery.change.testWebhookId === null) {
      for (const ticket of tickets) {
        queue.free(ticket.delivery);
        // what was parked stays so until the webhook is switched on again
        if (!queue.letGo(ticket.delivery.id))
          this.#skip(queue, ticket, 'webhook_inactive', 'the webhook was switched off before this was sent');
      }
      return;
    }
    this.#flights
      .launch(queue, tickets)
      .then((landing) => this.#land(queue, tickets, landing))
      .catch(this.#options.onError);
  }

  #land(queue: WebhookQueue, tickets: readonly Ticket[], landing: Landing): void {
    const { outcome, sentTo, startedAt, loggedHeaders, woken } = landing;
    for (const waiting of woken) this.#ready.add(waiting);
    const { webhook } = queue;
    const deliveries = tickets.map(({ delivery }) => delivery);
    const { wait, health, disable } = consequenceOf(
      webhook,
      sentTo,
      deliveries,
      outcome,
      this.#breakers,
      this.#options.now(),
      Math.random(),
    );
    if (disable !== null && webhook.isActive) this.#options.onDisable(webhook, disable);
    tickets.forEach((ticket, i) => {
      const { delivery } = ticket;
      if (typeof wait === 'number') queue.blockBehind(delivery);
      queue.free(delivery);
      const attempt = madeAttempt(delivery, sentTo, outcome, startedAt, loggedHeaders, wait);
      this.#options.onAttempt(attempt);
      this.#parking.record(queue, ticket, attempt, wait, i === 0 ? health : undefined);
    });
    this.#goOn(queue, health);
  }

  /** After an attempt: the queue may go on, or its breaker has opened or closed. */
  #goOn(queue: WebhookQueue, health: Health | null | undefined): void {
    // an open breaker keeps nothing in memory
    if (this.#breakers.state(queue.webhook.id, this.#options.now()) === 'open') this.#parkAll(queue);
    else if (health === null) queue.dueAt = performance.now();
    this.#ready.add(queue);
    if (this.#isDue(queue, performance.now())) this.#readDue([queue]);
    this.#pump();
  }

  /** What a replay queued without asking the filter is judged when it is read back; passed over, it needs no row. */
  #passes(queue: WebhookQueue, delivery: Delivery): boolean {
    const verdict = delivery.unfiltered ? this.#options.judge(queue.webhook, delivery.change) : 'send';
    if (verdict === 'send') return true;
    const ticket = { delivery, settle: () => {}, queuedAt: Infinity };
    if (verdict === 'pass_over') this.#parking.record(queue, ticket, null, 'done');
    else this.#skip(queue, ticket, verdict.code, verdict.error);
    return false;
  }

  #skip(queue: WebhookQueue, ticket: Ticket, code: OutcomeCode, error: string): void {
    const attempt = skippedAttempt(ticket.delivery, queue.webhook, code, error);
    this.#options.onAttempt(attempt);
    this.#parking.record(queue, ticket, attempt, 'done');
    if (queue.length > 0) this.#ready.add(queue);
  }

  #parkAll(queue: WebhookQueue): void {
    this.#ready.delete(queue);
    this.#parking.parkAll(queue);
  }

  #tick(): void {
    const now = performance.now();
    for (const queue of this.#queues.values()) {
      if (now - queue.heldSince > HOLD_MS + (queue.webhook.batchMax > 1 ? queue.webhook.batchWaitMs : 0))
        this.#parkAll(queue);
      if (queue.length > 0) this.#ready.add(queue);
      else if (queue.isIdle) this.#queues.delete(queue);
    }
    for (const ticket of this.#flights.longerThan(HOLD_MS)) {
      const queue = this.#queues.get(ticket.delivery.webhookId);
      // of a webhook that was deleted nothing is kept
      if (!queue) ticket.settle();
      else if (!queue.readBack.has(ticket.delivery.id)) this.#parking.hold(queue, ticket, HOLD_MS);
    }
    this.#readDue([...this.#queues.values()].filter((queue) => this.#isDue(queue, now)).slice(0, DUE_WEBHOOKS_MAX));
    this.#pump();
  }

  /** Its parked deliveries are worth reading: one is due, and it could be started. */
  #isDue(queue: WebhookQueue, now: number): boolean {
    return (
      ((queue.dueAt !== null && queue.dueAt <= now) || (queue.replaysDue && queue.replayRoom > 0)) &&
      !queue.dueReading &&
      queue.webhook.isActive &&
      queue.length < queue.webhook.maxInFlight &&
      this.#hasRoom(queue)
    );
  }

  #readDue(queues: readonly WebhookQueue[]): void {
    if (queues.length === 0 || this.#stopped) return;
    const probing = (queue: WebhookQueue) => this.#breakers.state(queue.webhook.id, this.#options.now()) === 'probing';
    readBack(queues, probing, this.#options.readDue, (queue, delivery) => this.#passes(queue, delivery))
      .then(() => {
        for (const queue of queues) this.#ready.add(queue);
        this.#pump();
      })
      .catch(this.#options.onError);
  }
}
