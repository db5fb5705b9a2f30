/**
 * Attempts in flight, and the cap on them. Each delivery takes a permit, which is free again only
 * when the attempt's log row has committed. So a crash can repeat at most `maxInFlight` deliveries,
 * and the rest of one batch.
 *
 * One dead endpoint, or a hundred of them at once, must not take all permits until they time out. An
 * attempt that takes long is slow: it keeps its permit, and it makes its webhook a suspect, as a
 * failed attempt does. Suspects together get two thirds of the permits, and so do attempts that are
 * not slow yet. If everything in flight hangs at once, a third of the permits is left one second
 * later for other webhooks, one each: 40 webhooks that hung made healthy ones wait for 18 s, now 1 s.
 * Attempts that have ended and wait for their log row do not count towards the shares. With them, a
 * drain stood still for a commit.
 */

import type { Delivery, Entry, Webhook } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import { withoutEcho } from '../payload/mask-echo.ts';
import { type Prepared, prepare } from '../payload/request.ts';
import type { TenantLimits } from '../queue/tenant-limits.ts';
import type { Ticket } from '../queue/ticket.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { LeaseClock, SendsRequests } from '../roles.ts';
import { withinHeap } from '../shared/memory.ts';

/** Limit on request-body bytes in flight. Once it is reached, no new request starts; the one that crosses it is sent. */
const BODY_BYTES_MAX = withinHeap(128 * 1024 * 1024, 1 / 32);

/** Of permits and bytes: for suspects together, and for attempts that are not slow. */
const SHARE = 2 / 3;

export interface InFlightOptions {
  maxInFlight: number;
  sender: SendsRequests;
  clock: LeaseClock;
}

export interface AttemptResult {
  outcome: Outcome;
  /** As it was when the attempt started. */
  sentTo: Webhook;
  /** performance.now() */
  startedAt: number;
  loggedHeaders: Record<string, string>;
  /** Queues that the tenant's limits kept waiting. */
  woken: WebhookQueue[];
}

interface Flight {
  startedAt: number;
  queue: WebhookQueue;
  bytes: number;
  isSlow: boolean;
  isSuspect: boolean;
}

export class InFlight {
  readonly #options: InFlightOptions;
  readonly #share: number;
  readonly #tenants: TenantLimits<WebhookQueue>;
  /** In the order of their start. */
  readonly #attempts = new Map<Ticket, Flight>();
  #permits = 0;
  readonly #permitsByLane = new Map<number, number>();
  #bytes = 0;
  #slow = 0;
  #slowBytes = 0;
  #suspects = 0;

  constructor(options: InFlightOptions, tenants: TenantLimits<WebhookQueue>) {
    this.#options = options;
    this.#share = Math.ceil(SHARE * options.maxInFlight);
    this.#tenants = tenants;
  }

  get permits(): number {
    return this.#permits;
  }

  /** Deliveries of this lane take no permit. */
  isAtRest(lane: number): boolean {
    return this.#permitsOf(lane) === 0;
  }

  #permitsOf(lane: number): number {
    return this.#permitsByLane.get(lane) ?? 0;
  }

  /** Most permits are taken by attempts that have ended: the recorder is slow. */
  get areUnrecorded(): boolean {
    return !this.hasPermit && this.#permits > 2 * this.#attempts.size;
  }

  /** There is a permit for some webhook. */
  get hasPermit(): boolean {
    if (this.#permits >= this.#options.maxInFlight || this.#bytes >= BODY_BYTES_MAX) return false;
    // not of all permits: an attempt that has ended cannot hang, and is recorded soon
    return this.#attempts.size - this.#slow < this.#share && this.#bytes - this.#slowBytes < SHARE * BODY_BYTES_MAX;
  }

  /** There is one for this webhook. */
  hasPermitFor({ limiter }: WebhookQueue, isSuspect: boolean): boolean {
    if (!this.hasPermit || (isSuspect && this.#suspects >= this.#share)) return false;
    return this.#attempts.size < this.#share || limiter.inFlight === 0;
  }

  /** One request: a delivery, or a batch of them. */
  async start(queue: WebhookQueue, tickets: readonly Ticket[], isSuspect: boolean): Promise<AttemptResult> {
    const { webhook, limiter } = queue;
    const startedAt = performance.now();
    const deliveries = tickets.map(({ delivery }) => delivery);
    const prepared = this.#prepare(deliveries, webhook);
    if (prepared instanceof Error) return { ...neverSent(prepared), sentTo: webhook, startedAt };
    const { request, loggedHeaders } = prepared;
    this.#countPermits(webhook.lane, tickets.length);
    for (const ticket of tickets) {
      const flight = { startedAt, queue, bytes: request.body.length / tickets.length, isSlow: false, isSuspect };
      this.#attempts.set(ticket, flight);
      this.#bytes += flight.bytes;
      if (isSuspect) this.#suspects += 1;
    }
    limiter.start(startedAt);
    const endForTenant = this.#tenants.start(webhook, startedAt);
    const outcome = withoutEcho(await this.#options.sender.send(request), request, loggedHeaders);
    for (const ticket of tickets) this.#end(ticket);
    limiter.end();
    return { outcome, sentTo: webhook, startedAt, loggedHeaders, woken: endForTenant() };
  }

  /** What a row holds that nobody can have written must not end the session: the same row would end the next one. */
  #prepare(deliveries: readonly Delivery[], webhook: Webhook): Prepared | Error {
    try {
      return prepare(deliveries, webhook, this.#options.clock.now());
    } catch (error) {
      return error as Error;
    }
  }

  /** Its log row has committed, or will be written apart from all others: its permit is free. */
  recorded({ attempt, delivery }: Entry): void {
    if (!attempt || attempt.isPermitFree || attempt.outcome.status === 'skipped') return;
    attempt.isPermitFree = true;
    this.#countPermits(delivery.change.lane, -1);
  }

  /** Lanes with an attempt that takes long. */
  get slowLanes(): ReadonlySet<number> {
    const lanes = new Set<number>();
    for (const { isSlow, queue } of this.#attempts.values()) if (isSlow) lanes.add(queue.webhook.lane);
    return lanes;
  }

  /** Attempts that started before this time, by performance.now(), are slow from now on. Returns all that are. */
  markSlow(before: number, isSuspect: (queue: WebhookQueue) => boolean): Ticket[] {
    const slow: Ticket[] = [];
    for (const [ticket, flight] of this.#attempts) {
      if (flight.startedAt >= before) break;
      slow.push(ticket);
      if (flight.isSlow) continue;
      flight.isSlow = true;
      flight.queue.slowAttempts += 1;
      this.#slow += 1;
      this.#slowBytes += flight.bytes;
    }
    this.#suspects = 0;
    for (const flight of this.#attempts.values()) {
      flight.isSuspect = isSuspect(flight.queue);
      if (flight.isSuspect) this.#suspects += 1;
    }
    return slow;
  }

  #countPermits(lane: number, more: number): void {
    this.#permits += more;
    this.#permitsByLane.set(lane, this.#permitsOf(lane) + more);
  }

  #end(ticket: Ticket): void {
    const flight = this.#attempts.get(ticket);
    if (!flight) return;
    this.#attempts.delete(ticket);
    this.#bytes -= flight.bytes;
    if (flight.isSuspect) this.#suspects -= 1;
    if (!flight.isSlow) return;
    flight.queue.slowAttempts -= 1;
    this.#slow -= 1;
    this.#slowBytes -= flight.bytes;
  }
}

function neverSent({ message }: Error): Pick<AttemptResult, 'outcome' | 'loggedHeaders' | 'woken'> {
  const error = `no request can be made of it: ${message}`;
  const outcome = {
    status: 'skipped',
    code: 'unreadable',
    error,
    response: null,
    remoteIp: null,
    durationMs: 0,
  } as const;
  return { outcome, loggedHeaders: {}, woken: [] };
}
