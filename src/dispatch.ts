/**
 * Decides which delivery is attempted when: per webhook, under one cap for the whole daemon, taking turns.
 *
 * A slot under the cap is free again only when the attempt's log row has committed. So what a crash can repeat is at most
 * `maxInFlight` attempts. Nothing here waits for a webhook: what has not finished HOLD_MS after it was read is parked, whether
 * it is queued or in flight, and the position moves on.
 */
import { afterFailure, type DisablePolicy, shouldDisable, stateOf } from './breaker.ts';
import { Limiter } from './limits.ts';
import type {
  Attempt,
  Delivery,
  Entry,
  Health,
  Outcome,
  OutcomeCode,
  Request,
  RowHead,
  TenantConfiguration,
  Webhook,
} from './model.ts';
import type { Due, DueQuery, Waiting } from './parked.ts';
import { prepare } from './prepare.ts';
import { type Ticket, WebhookQueue } from './queue.ts';
import { retryInMs } from './retry.ts';

/** How long a delivery may hold the position of its lane. */
const HOLD_MS = 1_000;

/** How often held deliveries, due ones, rate limits and idle queues are looked at. */
const TICK_MS = 50;

/** Parked deliveries read back ahead of need, per webhook, as a multiple of its max_in_flight. */
const READ_BACK_FACTOR = 4;

/** Webhooks whose parked deliveries are read by one statement. */
const DUE_WEBHOOKS_MAX = 100;

export interface DispatcherOptions {
  maxInFlight: number;
  disable: DisablePolicy;
  send(request: Request): Promise<Outcome>;
  record(entry: Entry): void;
  readDue(queries: readonly DueQuery[]): Promise<Due[]>;
  /** Milliseconds since 1970 on the database's clock. */
  now(): number;
  /** False once the lease may have run out: nothing may be started then. */
  mayStart(): boolean;
  onAttempt(attempt: Attempt): void;
  /** The webhook is to be disabled, for this reason. */
  onDisable(webhook: Webhook, reason: string): void;
  onError(error: Error): void;
}

/** A tenant with limits of its own, and its queues that wait for them. */
interface Tenant {
  limiter: Limiter;
  waiting: Set<WebhookQueue>;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #queues = new Map<string, WebhookQueue>();
  readonly #tenants = new Map<string, Tenant>();
  /** Webhooks that fail; see breaker.ts. */
  readonly #health: Map<string, Health>;
  /** Queues that may be able to start something, in turn. */
  readonly #ready = new Set<WebhookQueue>();
  readonly #flying = new Map<Ticket, number>();
  readonly #timer: NodeJS.Timeout;
  /** Attempts that are under way or not committed yet. */
  #slots = 0;
  /** Deliveries in memory that some window waits for. */
  #pending = 0;
  #stopped = false;

  constructor(options: DispatcherOptions, health: Map<string, Health>) {
    this.#options = options;
    this.#health = health;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  get pending(): number {
    return this.#pending;
  }

  get inFlight(): number {
    return this.#slots;
  }

  /** Takes a delivery; `settle` is called when its window need not wait for it any more. */
  offer(delivery: Delivery, webhook: Webhook, settle: () => void): void {
    const ticket = this.#ticket(delivery, settle);
    const queue = this.#queueOf(webhook);
    // somebody waits for a test, and wants to know how the endpoint is now
    if (delivery.change.testWebhookId !== null && this.#slots < this.#options.maxInFlight) this.#start(queue, ticket);
    else if (queue.isBlocked(delivery)) this.#parkBehind(queue, ticket);
    else if (queue.backlogged) this.#park(queue, ticket);
    else {
      queue.push(ticket);
      this.#ready.add(queue);
      this.#pump();
    }
  }

  /** Logs a delivery that is not to be sent. */
  skip(delivery: Delivery, webhook: Webhook, code: OutcomeCode, error: string, settle: () => void): void {
    this.#skip(this.#queueOf(webhook), this.#ticket(delivery, settle), code, error);
  }

  /** The tenant as it is now: what is queued goes by it. The webhooks in `waiting` have parked deliveries. */
  update(configuration: TenantConfiguration, waiting: Waiting): void {
    this.limit(configuration);
    const { tenantId, webhooks } = configuration;
    const ids = new Set<string>();
    for (const webhook of webhooks) {
      ids.add(webhook.id);
      const parked = waiting.get(webhook.id);
      const queue = parked ? this.#queueOf(webhook) : this.#queues.get(webhook.id);
      if (!queue) continue;
      queue.configure(webhook);
      if (!parked) continue;
      queue.backlogged ||= parked.unattempted;
      queue.dueAt = performance.now();
      for (const { delivery, head } of parked.heads) queue.setHead(delivery, head);
    }
    for (const [id, queue] of this.#queues) {
      if (queue.webhook.tenantId !== tenantId || ids.has(id)) continue;
      for (const ticket of queue.drain())
        this.#skip(queue, ticket, 'webhook_deleted', 'the webhook was deleted before this was sent');
      this.#ready.delete(queue);
      this.#queues.delete(id);
      this.#health.delete(id);
    }
  }

  /** The limits over all of a tenant's webhooks. */
  limit({ tenantId, limits }: TenantConfiguration): void {
    if (!limits) {
      this.#tenants.delete(tenantId);
      return;
    }
    const tenant = this.#tenants.get(tenantId) ?? { limiter: new Limiter(Infinity, null), waiting: new Set() };
    tenant.limiter.inFlightMax = limits.maxInFlight ?? Infinity;
    tenant.limiter.ratePerSecond = limits.ratePerSecond;
    this.#tenants.set(tenantId, tenant);
  }

  /** The recorder has committed these; `heads` are the rows with ordering 'row' that they touched. */
  committed(entries: readonly Entry[], heads: readonly RowHead[]): void {
    const now = performance.now();
    for (const { attempt, delivery, wait, settle } of entries) {
      settle();
      if (attempt && attempt.outcome.status !== 'skipped') this.#slots -= 1;
      const queue = this.#queues.get(delivery.webhookId);
      if (!queue) continue;
      // until now a read of due deliveries could have found it as it was before; one that is held is still in flight
      if (attempt !== null || wait === 'behind') queue.readBack.delete(delivery.id);
      if (wait === 'done') continue;
      queue.uncommittedParks -= 1;
      if (wait === 'behind') queue.countBehind(delivery, -1);
      else if (wait !== 'never' && !queue.readBack.has(delivery.id))
        queue.dueAt = Math.min(queue.dueAt ?? Infinity, now + wait);
    }
    for (const { delivery, head, released } of heads) {
      const queue = this.#queues.get(delivery.webhookId);
      queue?.setHead(delivery, head);
      if (queue && released) queue.dueAt = now;
    }
    this.#pump();
  }

  /** Starts nothing more and waits for what is in flight, `deadlineMs` at most. */
  async drain(deadlineMs: number): Promise<void> {
    this.stop();
    const until = performance.now() + deadlineMs;
    while (this.#slots > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
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

  #queueOf(webhook: Webhook): WebhookQueue {
    let queue = this.#queues.get(webhook.id);
    if (!queue) {
      queue = new WebhookQueue(webhook);
      this.#queues.set(webhook.id, queue);
    }
    // an older window never brings an older configuration: both come from one cache
    if (queue.webhook !== webhook) queue.configure(webhook);
    return queue;
  }

  /** Starts attempts, one per queue and turn. */
  #pump(): void {
    if (this.#stopped || !this.#options.mayStart()) return;
    for (const queue of this.#ready) {
      if (this.#slots >= this.#options.maxInFlight) return;
      // a Set is visited in order of insertion, also what is inserted on the way: this is the end of the line
      this.#ready.delete(queue);
      if (!this.#hasRoom(queue)) continue;
      const ticket = queue.take((blocked) => this.#parkBehind(queue, blocked));
      if (!ticket) continue;
      this.#start(queue, ticket);
      if (queue.length > 0) this.#ready.add(queue);
    }
  }

  /** The breaker, the webhook's limits, the tenant's. What waits for the tenant is told when one of its attempts ends. */
  #hasRoom(queue: WebhookQueue): boolean {
    const { webhook, limiter } = queue;
    const state = stateOf(this.#health.get(webhook.id), this.#options.now());
    if (state === 'open' || (state === 'probing' && limiter.inFlight > 0)) return false;
    const now = performance.now();
    if (!limiter.mayStart(now)) return false;
    const tenant = this.#tenants.get(webhook.tenantId);
    if (!tenant || tenant.limiter.mayStart(now)) return true;
    tenant.waiting.add(queue);
    return false;
  }

  #start(queue: WebhookQueue, ticket: Ticket): void {
    const { webhook } = queue;
    const { delivery } = ticket;
    if (!webhook.isActive && delivery.change.testWebhookId === null) {
      queue.free(delivery);
      this.#skip(queue, ticket, 'webhook_inactive', 'the webhook was switched off before this was sent');
      return;
    }
    const startedAt = performance.now();
    const { request, loggedHeaders } = prepare(delivery, webhook, this.#options.now());
    const tenant = this.#tenants.get(webhook.tenantId);
    this.#slots += 1;
    queue.limiter.start(startedAt);
    tenant?.limiter.start(startedAt);
    this.#flying.set(ticket, startedAt);
    this.#options
      .send(request)
      .then((outcome) => {
        this.#flying.delete(ticket);
        queue.limiter.end();
        tenant?.limiter.end();
        for (const waiting of tenant?.waiting ?? []) this.#ready.add(waiting);
        tenant?.waiting.clear();
        const attempt = delivery.attempt + 1;
        this.#finish(queue, ticket, {
          delivery,
          attempt,
          outcome,
          startedAt,
          requestUrl: webhook.url,
          requestHeaders: loggedHeaders,
          retryInMs: null,
        });
      })
      .catch(this.#options.onError);
  }

  #finish(queue: WebhookQueue, ticket: Ticket, attempt: Attempt): void {
    const { delivery } = ticket;
    const { outcome } = attempt;
    const { webhook } = queue;
    const now = this.#options.now();
    delivery.attempt = attempt.attempt;
    let health: Health | null | undefined;
    if (outcome.status === 'success') {
      health = this.#health.delete(webhook.id) ? null : undefined;
    } else {
      const failed = {
        code: outcome.code,
        responseStatus: outcome.response?.status ?? null,
        retryAfter: outcome.response?.headers['retry-after'],
      };
      attempt.retryInMs = retryInMs(webhook.retry, attempt.attempt, failed, now, Math.random());
      health = afterFailure(this.#health.get(webhook.id), now);
      this.#health.set(webhook.id, health);
      if (attempt.retryInMs !== null) queue.blockBehind(delivery);
      if (outcome.code === 'gone') this.#options.onDisable(webhook, 'the receiver answered 410 Gone');
      else if (webhook.isActive && shouldDisable(health, this.#options.disable, now)) {
        this.#options.onDisable(
          webhook,
          `${health.failures} attempts failed since ${new Date(health.failingSince).toISOString()}, none succeeded`,
        );
      }
    }
    queue.free(delivery);
    this.#options.onAttempt(attempt);
    this.#record(
      queue,
      ticket,
      attempt,
      outcome.status === 'success' ? 'done' : (attempt.retryInMs ?? 'never'),
      health,
    );
    // an open breaker keeps nothing in memory
    if (stateOf(health ?? undefined, now) === 'open') this.#parkAll(queue);
    // its success closes a breaker: what is parked may come
    else if (health === null) queue.dueAt = performance.now();
    this.#ready.add(queue);
    if (this.#isDue(queue, performance.now())) this.#readDue([queue]);
    this.#pump();
  }

  #skip(queue: WebhookQueue, ticket: Ticket, code: OutcomeCode, error: string): void {
    const { delivery } = ticket;
    const outcome: Outcome = { status: 'skipped', code, error, response: null, remoteIp: null, durationMs: 0 };
    const { url } = queue.webhook;
    const attempt = {
      delivery,
      attempt: delivery.attempt,
      outcome,
      startedAt: performance.now(),
      requestUrl: url,
      requestHeaders: {},
      retryInMs: null,
    };
    this.#options.onAttempt(attempt);
    this.#record(queue, ticket, attempt, 'done');
    if (queue.length > 0) this.#ready.add(queue);
  }

  /** Into the table, due at once; behind it nothing of this webhook overtakes. */
  #park(queue: WebhookQueue, ticket: Ticket): void {
    queue.backlogged = true;
    this.#record(queue, ticket, null, 0);
  }

  /** Into the table, behind the head of its row. */
  #parkBehind(queue: WebhookQueue, ticket: Ticket): void {
    queue.countBehind(ticket.delivery, 1);
    this.#record(queue, ticket, null, 'behind');
  }

  #parkAll(queue: WebhookQueue): void {
    for (const ticket of queue.drain()) {
      // what was read back is in the table already
      if (queue.readBack.delete(ticket.delivery.id)) queue.dueAt = performance.now();
      else this.#park(queue, ticket);
    }
    this.#ready.delete(queue);
  }

  #record(
    queue: WebhookQueue,
    { delivery, settle }: Ticket,
    attempt: Attempt | null,
    wait: Entry['wait'],
    health?: Health | null,
  ): void {
    if (wait !== 'done') {
      queue.uncommittedParks += 1;
      queue.parksSeen += 1;
    }
    const ordered = queue.webhook.ordering === 'row' && delivery.change.rowKey !== null;
    this.#options.record({ delivery, attempt, wait, ordered, health, settle });
  }

  #tick(): void {
    const now = performance.now();
    for (const queue of this.#queues.values()) {
      if (now - queue.heldSince > HOLD_MS) this.#parkAll(queue);
      if (queue.length > 0) this.#ready.add(queue);
      else if (queue.isIdle) this.#queues.delete(queue.webhook.id);
    }
    for (const [ticket, startedAt] of this.#flying) {
      if (now - startedAt < HOLD_MS) break;
      const queue = this.#queues.get(ticket.delivery.webhookId);
      if (!queue || queue.readBack.has(ticket.delivery.id)) continue;
      // its attempt goes on; the row is there for the next owner, should we die before it ends
      queue.readBack.add(ticket.delivery.id);
      this.#record(queue, ticket, null, queue.webhook.timeoutMs + HOLD_MS);
    }
    this.#readDue([...this.#queues.values()].filter((queue) => this.#isDue(queue, now)).slice(0, DUE_WEBHOOKS_MAX));
    this.#pump();
  }

  /** Its parked deliveries are worth reading: one is due, and it could be started. */
  #isDue(queue: WebhookQueue, now: number): boolean {
    return (
      queue.dueAt !== null &&
      queue.dueAt <= now &&
      !queue.dueReading &&
      queue.webhook.isActive &&
      queue.length < queue.webhook.maxInFlight &&
      this.#hasRoom(queue)
    );
  }

  #readDue(due: readonly WebhookQueue[]): void {
    if (due.length === 0 || this.#stopped) return;
    const before = due.map((queue) => ({ parks: queue.parksSeen, committed: queue.uncommittedParks === 0 }));
    for (const queue of due) queue.dueReading = true;
    this.#options
      .readDue(
        due.map(({ webhook, readBack }) => ({
          webhookId: webhook.id,
          tenantId: webhook.tenantId,
          limit: this.#health.get(webhook.id)?.openUntil ? 1 : webhook.maxInFlight * READ_BACK_FACTOR,
          inMemory: [...readBack],
        })),
      )
      .then((results) => {
        due.forEach((queue, i) => {
          const { deliveries, moreDue, nextInMs } = results[i] as Due;
          // no park was on its way while we read, so what we saw is all
          const sawAll = before[i]?.committed && before[i]?.parks === queue.parksSeen;
          queue.dueReading = false;
          queue.dueAt = nextInMs !== null ? performance.now() + nextInMs : sawAll ? null : performance.now();
          // what was never attempted is always due: without more, events may come in directly again, behind these
          if (sawAll && !moreDue) queue.backlogged = false;
          for (const delivery of deliveries) {
            queue.readBack.add(delivery.id);
            queue.push({ delivery, settle: () => {}, queuedAt: Infinity });
          }
          this.#ready.add(queue);
        });
        this.#pump();
      })
      .catch(this.#options.onError);
  }
}
