/**
 * Decides which delivery is attempted when: per webhook, under one cap for the whole daemon, taking turns.
 *
 * A slot under the cap is free again only when the attempt's log row has committed. So what a crash can repeat is at most
 * `maxInFlight` attempts. Nothing here waits for a webhook: what has not finished HOLD_MS after it was read is parked, whether
 * it is queued or in flight, and the position moves on.
 */
import { bodyOf, headersOf } from './envelope.ts';
import type { Attempt, Delivery, Outcome, Webhook } from './model.ts';
import type { Due, DueQuery } from './parked.ts';
import { type Ticket, WebhookQueue } from './queue.ts';
import type { Entry } from './record.ts';
import { retryInMs } from './retry.ts';
import { type SigningKey, signingKey } from './sign.ts';

/** How long a delivery may hold the position of its lane. */
const HOLD_MS = 1_000;

/** How often held deliveries, due ones and idle queues are looked for. */
const TICK_MS = 100;

/** Parked deliveries read back ahead of need, per webhook, as a multiple of its max_in_flight. */
const READ_BACK_FACTOR = 4;

/** Webhooks whose parked deliveries are read by one statement. */
const DUE_WEBHOOKS_MAX = 100;

export interface DispatcherOptions {
  maxInFlight: number;
  send(request: {
    url: string;
    method: Webhook['httpMethod'];
    headers: Record<string, string>;
    body: Buffer;
    timeoutMs: number;
    allowedIps: readonly string[] | null;
  }): Promise<Outcome>;
  record(entry: Entry): void;
  readDue(queries: readonly DueQuery[]): Promise<Due[]>;
  /** Milliseconds since 1970 on the database's clock. */
  now(): number;
  /** False once the lease may have run out: nothing may be started then. */
  mayStart(): boolean;
  onAttempt(attempt: Attempt): void;
  /** The receiver answered 410: it wants no more. */
  onGone(webhook: Webhook): void;
  onError(error: Error): void;
}

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #queues = new Map<string, WebhookQueue>();
  /** Queues that can start something, in turn. */
  readonly #ready = new Set<WebhookQueue>();
  readonly #flying = new Map<Ticket, number>();
  readonly #keys = new WeakMap<Webhook, SigningKey[]>();
  readonly #timer: NodeJS.Timeout;
  /** Attempts that are under way or not committed yet. */
  #slots = 0;
  /** Deliveries in memory that some window waits for. */
  #pending = 0;
  #stopped = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  get pending(): number {
    return this.#pending;
  }

  get inFlight(): number {
    return this.#slots;
  }

  /** Takes a delivery; `settle` is called when the window need not wait for it any more. */
  offer(delivery: Delivery, webhook: Webhook, settle: () => void): void {
    this.#pending += 1;
    let settled = false;
    const ticket: Ticket = {
      delivery,
      queuedAt: performance.now(),
      settle: () => {
        if (settled) return;
        settled = true;
        this.#pending -= 1;
        settle();
      },
    };
    const queue = this.#queueOf(webhook);
    if (queue.backlogged) this.#park(queue, ticket, 0);
    else this.#enqueue(queue, ticket);
  }

  /** The tenant's webhooks as they are now; what is queued goes by the new configuration. `waiting` ones have parked deliveries. */
  update(webhooks: readonly Webhook[], waiting: ReadonlyMap<string, { unattempted: boolean }>): void {
    for (const webhook of webhooks) {
      const parked = waiting.get(webhook.id);
      const queue = parked ? this.#queueOf(webhook) : this.#queues.get(webhook.id);
      if (!queue) continue;
      queue.webhook = webhook;
      if (parked) {
        queue.backlogged ||= parked.unattempted;
        queue.dueAt = performance.now();
      }
    }
  }

  /** What is queued for a deleted webhook is logged as skipped. */
  forget(tenantId: string, remaining: readonly Webhook[]): void {
    const ids = new Set(remaining.map(({ id }) => id));
    for (const [id, queue] of this.#queues) {
      if (queue.webhook.tenantId !== tenantId || ids.has(id)) continue;
      for (const ticket of queue.drain()) this.#skip(queue, ticket, 'webhook_deleted');
      this.#ready.delete(queue);
      this.#queues.delete(id);
    }
  }

  /** The recorder has committed these. */
  committed(entries: readonly Entry[]): void {
    for (const { attempt, delivery, waitMs, settle } of entries) {
      settle();
      if (attempt && attempt.outcome.status !== 'skipped') this.#slots -= 1;
      const queue = this.#queues.get(delivery.webhookId);
      if (queue && waitMs !== undefined) {
        queue.uncommittedParks -= 1;
        if (waitMs !== null && !queue.readBack.has(delivery.id)) {
          queue.dueAt = Math.min(queue.dueAt ?? Infinity, performance.now() + waitMs);
        }
      }
    }
    this.#pump();
  }

  /** Starts nothing more and waits for what is in flight, `deadlineMs` at most. */
  async drain(deadlineMs: number): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    const until = performance.now() + deadlineMs;
    while (this.#slots > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  #queueOf(webhook: Webhook): WebhookQueue {
    let queue = this.#queues.get(webhook.id);
    if (!queue) {
      queue = new WebhookQueue(webhook);
      this.#queues.set(webhook.id, queue);
    }
    // an older window never brings an older configuration: both come from one cache
    queue.webhook = webhook;
    return queue;
  }

  #enqueue(queue: WebhookQueue, ticket: Ticket): void {
    queue.push(ticket);
    this.#ready.add(queue);
    this.#pump();
  }

  /** Starts attempts, one per queue and turn. */
  #pump(): void {
    if (this.#stopped || !this.#options.mayStart()) return;
    for (const queue of this.#ready) {
      if (this.#slots >= this.#options.maxInFlight) return;
      this.#ready.delete(queue);
      const ticket = queue.inFlight < queue.webhook.maxInFlight ? queue.take() : undefined;
      if (!ticket) continue;
      // a Set is visited in order of insertion, also what is inserted on the way: this is the end of the line
      if (queue.canStart) this.#ready.add(queue);
      this.#start(queue, ticket);
    }
  }

  #start(queue: WebhookQueue, ticket: Ticket): void {
    const { webhook } = queue;
    const { delivery } = ticket;
    if (!webhook.isActive && delivery.change.testWebhookId === null) {
      queue.free(delivery);
      this.#skip(queue, ticket, 'webhook_inactive');
      return;
    }
    const startedAt = performance.now();
    const body = Buffer.from(bodyOf(delivery));
    const headers = headersOf(delivery, webhook, this.#keysOf(webhook), body, this.#options.now());
    this.#slots += 1;
    queue.inFlight += 1;
    this.#flying.set(ticket, startedAt);
    this.#options
      .send({
        url: webhook.url,
        method: webhook.httpMethod,
        headers: headers.sent,
        body,
        timeoutMs: webhook.timeoutMs,
        allowedIps: webhook.allowedIps,
      })
      .then((outcome) => {
        this.#finish(queue, ticket, {
          delivery,
          attempt: delivery.attempt + 1,
          outcome,
          startedAt,
          requestUrl: webhook.url,
          requestHeaders: headers.logged,
          retryInMs: null,
        });
      })
      .catch(this.#options.onError);
  }

  #finish(queue: WebhookQueue, ticket: Ticket, attempt: Attempt): void {
    const { delivery } = ticket;
    this.#flying.delete(ticket);
    queue.inFlight -= 1;
    queue.free(delivery);
    const { outcome } = attempt;
    if (outcome.status === 'failed') {
      const failed = {
        code: outcome.code,
        responseStatus: outcome.response?.status ?? null,
        retryAfter: outcome.response?.headers['retry-after'],
      };
      attempt.retryInMs = retryInMs(queue.webhook.retry, attempt.attempt, failed, this.#options.now(), Math.random());
    }
    delivery.attempt = attempt.attempt;
    queue.readBack.delete(delivery.id);
    this.#options.onAttempt(attempt);
    this.#record(queue, ticket, attempt, outcome.status === 'failed' ? attempt.retryInMs : undefined);
    if (outcome.code === 'gone') this.#options.onGone(queue.webhook);
    if (queue.canStart) this.#ready.add(queue);
    if (isDue(queue, performance.now())) this.#readDue([queue]);
    this.#pump();
  }

  #skip(queue: WebhookQueue, ticket: Ticket, code: 'webhook_inactive' | 'webhook_deleted'): void {
    const { delivery } = ticket;
    queue.readBack.delete(delivery.id);
    const error =
      code === 'webhook_inactive'
        ? 'the webhook was switched off before this was sent'
        : 'the webhook was deleted before this was sent';
    const outcome: Outcome = { status: 'skipped', code, error, response: null, remoteIp: null, durationMs: 0 };
    const attempt = {
      delivery,
      attempt: delivery.attempt,
      outcome,
      startedAt: performance.now(),
      requestUrl: queue.webhook.url,
      requestHeaders: {},
      retryInMs: null,
    };
    this.#options.onAttempt(attempt);
    this.#record(queue, ticket, attempt, undefined);
    if (queue.canStart) this.#ready.add(queue);
  }

  /** Into the table, due in `waitMs`; behind it nothing of this webhook overtakes. */
  #park(queue: WebhookQueue, ticket: Ticket, waitMs: number): void {
    queue.backlogged = true;
    this.#record(queue, ticket, null, waitMs);
  }

  #record(queue: WebhookQueue, ticket: Ticket, attempt: Attempt | null, waitMs: number | null | undefined): void {
    if (waitMs !== undefined) {
      queue.uncommittedParks += 1;
      queue.parksSeen += 1;
    }
    this.#options.record({ delivery: ticket.delivery, attempt, waitMs, settle: ticket.settle });
  }

  #keysOf(webhook: Webhook): SigningKey[] {
    let keys = this.#keys.get(webhook);
    if (!keys) {
      keys = webhook.secrets.map(({ secret }) => signingKey(secret));
      this.#keys.set(webhook, keys);
    }
    const now = this.#options.now();
    return keys.filter((_, i) => (webhook.secrets[i]?.expiresAt ?? Infinity) > now);
  }

  #tick(): void {
    const now = performance.now();
    for (const queue of this.#queues.values()) {
      if (now - queue.heldSince > HOLD_MS) {
        // what was read back is in the table already; the rest joins it, in order
        for (const ticket of queue.drain()) {
          if (queue.readBack.delete(ticket.delivery.id)) queue.dueAt = now;
          else this.#park(queue, ticket, 0);
        }
        this.#ready.delete(queue);
      }
      if (queue.isIdle) this.#queues.delete(queue.webhook.id);
    }
    for (const [ticket, startedAt] of this.#flying) {
      if (now - startedAt < HOLD_MS) break;
      const queue = this.#queues.get(ticket.delivery.webhookId);
      if (!queue || queue.readBack.has(ticket.delivery.id)) continue;
      // its attempt goes on; the row is there for the next owner, should we die before it ends
      queue.readBack.add(ticket.delivery.id);
      this.#record(queue, ticket, null, queue.webhook.timeoutMs + HOLD_MS);
    }
    this.#readDue([...this.#queues.values()].filter((queue) => isDue(queue, now)).slice(0, DUE_WEBHOOKS_MAX));
    this.#pump();
  }

  #readDue(due: readonly WebhookQueue[]): void {
    if (due.length === 0 || this.#stopped) return;
    const seen = new Map(due.map((queue) => [queue, { parks: queue.parksSeen, uncommitted: queue.uncommittedParks }]));
    for (const queue of due) queue.dueReading = true;
    this.#options
      .readDue(
        due.map((queue) => ({
          webhookId: queue.webhook.id,
          tenantId: queue.webhook.tenantId,
          limit: queue.webhook.maxInFlight * READ_BACK_FACTOR,
          inMemory: [...queue.readBack],
        })),
      )
      .then((results) => {
        due.forEach((queue, i) => {
          const result = results[i] as Due;
          const before = seen.get(queue);
          const quiet = before?.uncommitted === 0 && before.parks === queue.parksSeen;
          queue.dueReading = false;
          queue.dueAt =
            result.nextInMs !== null ? performance.now() + result.nextInMs : quiet ? null : performance.now();
          // nothing unattempted is left behind: events may come in directly again, behind these
          if (quiet && !result.moreDue) queue.backlogged = false;
          for (const delivery of result.deliveries) {
            queue.readBack.add(delivery.id);
            this.#enqueue(queue, { delivery, settle: () => {}, queuedAt: Infinity });
          }
        });
      })
      .catch(this.#options.onError);
  }
}

/** Its parked deliveries are worth reading: one is due, and there is room. */
function isDue(queue: WebhookQueue, now: number): boolean {
  return (
    queue.dueAt !== null &&
    queue.dueAt <= now &&
    !queue.dueReading &&
    queue.webhook.isActive &&
    queue.length < queue.webhook.maxInFlight
  );
}
