/**
 * Attempts under way. A slot is taken per delivery, and is free again only when the attempt's log row has committed: so what a
 * crash can repeat is at most `maxInFlight` deliveries (and the rest of one batch).
 */
import { withoutEcho } from './echo.ts';
import type { Outcome, Request, Webhook } from './model.ts';
import { prepare } from './prepare.ts';
import type { Ticket, WebhookQueue } from './queue.ts';
import type { TenantLimits } from './tenant-limits.ts';

/** Bytes of bodies under way above which nothing more starts; the one that crosses it still does. */
const BODY_BYTES_MAX = 128 * 1024 * 1024;

export interface FlightOptions {
  maxInFlight: number;
  send(request: Request): Promise<Outcome>;
  /** Milliseconds since 1970 on the database's clock. */
  now(): number;
}

export interface Landing {
  outcome: Outcome;
  /** As it was when the attempt started. */
  sentTo: Webhook;
  /** performance.now() */
  startedAt: number;
  loggedHeaders: Record<string, string>;
  /** Queues that the tenant's limits kept waiting. */
  woken: WebhookQueue[];
}

export class Flights {
  readonly #options: FlightOptions;
  readonly #tenants: TenantLimits<WebhookQueue>;
  /** In the order of their start. */
  readonly #flying = new Map<Ticket, number>();
  #slots = 0;
  #bodyBytes = 0;

  constructor(options: FlightOptions, tenants: TenantLimits<WebhookQueue>) {
    this.#options = options;
    this.#tenants = tenants;
  }

  get slots(): number {
    return this.#slots;
  }

  get hasSlot(): boolean {
    return this.#slots < this.#options.maxInFlight && this.#bodyBytes < BODY_BYTES_MAX;
  }

  /** One request: a delivery, or a batch of them. */
  async launch(queue: WebhookQueue, tickets: readonly Ticket[]): Promise<Landing> {
    const { webhook, limiter } = queue;
    const startedAt = performance.now();
    const deliveries = tickets.map(({ delivery }) => delivery);
    const { request, loggedHeaders } = prepare(deliveries, webhook, this.#options.now());
    this.#slots += tickets.length;
    this.#bodyBytes += request.body.length;
    limiter.start(startedAt);
    const endForTenant = this.#tenants.start(webhook, startedAt);
    for (const ticket of tickets) this.#flying.set(ticket, startedAt);
    const outcome = withoutEcho(await this.#options.send(request), request.headers, loggedHeaders);
    for (const ticket of tickets) this.#flying.delete(ticket);
    this.#bodyBytes -= request.body.length;
    limiter.end();
    return { outcome, sentTo: webhook, startedAt, loggedHeaders, woken: endForTenant() };
  }

  /** One delivery's log row has committed. */
  committed(): void {
    this.#slots -= 1;
  }

  /** What has been under way for this long. */
  longerThan(ms: number): Ticket[] {
    const before = performance.now() - ms;
    const held: Ticket[] = [];
    for (const [ticket, startedAt] of this.#flying) {
      if (startedAt > before) break;
      held.push(ticket);
    }
    return held;
  }
}
