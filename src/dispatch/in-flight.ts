/**
 * Attempts under way. A slot is taken per delivery, and is free again only when the attempt's log row has committed: so what a
 * crash can repeat is at most `maxInFlight` deliveries (and the rest of one batch).
 *
 * One dead endpoint, or a hundred of them at once, must not take all slots until they time out. An attempt that takes long is
 * held: it keeps its slot, and it makes its webhook a suspect, as a failed attempt does. Suspects together get two thirds of the
 * slots, and so do attempts that are not held yet. So when all at once everything hangs that is under way, a third of the
 * slots is left a second later, for other webhooks, one each: 40 webhooks that hung made healthy ones wait for 18 s, now for 1 s.
 * Attempts that have ended and wait for their log row are no part of the shares: with them, a drain stood still for a commit.
 */

import type { Delivery, Entry, Outcome, Request, Webhook } from '../model.ts';
import { withoutEcho } from '../payload/mask-echo.ts';
import { type Prepared, prepare } from '../payload/request.ts';
import type { TenantLimits } from '../queue/tenant-limits.ts';
import type { Ticket, WebhookQueue } from '../queue/webhook-queue.ts';
import { withinHeap } from '../shared/memory.ts';

/** Bytes of bodies under way above which nothing more starts; the one that crosses it still does. */
const BODY_BYTES_MAX = withinHeap(128 * 1024 * 1024, 1 / 32);

/** Of slots and bytes, for suspects together, and for what is not held. */
const SHARE = 2 / 3;

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

interface Flight {
  startedAt: number;
  queue: WebhookQueue;
  bytes: number;
  isHeld: boolean;
  isSuspect: boolean;
}

export class Flights {
  readonly #options: FlightOptions;
  readonly #share: number;
  readonly #tenants: TenantLimits<WebhookQueue>;
  /** In the order of their start. */
  readonly #flying = new Map<Ticket, Flight>();
  #slots = 0;
  readonly #slotsByLane = new Map<number, number>();
  #bytes = 0;
  #held = 0;
  #heldBytes = 0;
  #suspects = 0;

  constructor(options: FlightOptions, tenants: TenantLimits<WebhookQueue>) {
    this.#options = options;
    this.#share = Math.ceil(SHARE * options.maxInFlight);
    this.#tenants = tenants;
  }

  get slots(): number {
    return this.#slots;
  }

  /** Slots that deliveries of this lane take. */
  slotsOf(lane: number): number {
    return this.#slotsByLane.get(lane) ?? 0;
  }

  /** The slots are taken by attempts that have ended, for the most part: it is the recorder that is slow. */
  get areUnrecorded(): boolean {
    return !this.hasSlot && this.#slots > 2 * this.#flying.size;
  }

  /** There is a slot for somebody. */
  get hasSlot(): boolean {
    if (this.#slots >= this.#options.maxInFlight || this.#bytes >= BODY_BYTES_MAX) return false;
    // not of all slots: an attempt that has ended cannot hang, and is recorded soon
    return this.#flying.size - this.#held < this.#share && this.#bytes - this.#heldBytes < SHARE * BODY_BYTES_MAX;
  }

  /** There is one for this webhook. */
  hasSlotFor({ limiter }: WebhookQueue, isSuspect: boolean): boolean {
    if (!this.hasSlot || (isSuspect && this.#suspects >= this.#share)) return false;
    return this.#flying.size < this.#share || limiter.inFlight === 0;
  }

  /** One request: a delivery, or a batch of them. */
  async launch(queue: WebhookQueue, tickets: readonly Ticket[], isSuspect: boolean): Promise<Landing> {
    const { webhook, limiter } = queue;
    const startedAt = performance.now();
    const deliveries = tickets.map(({ delivery }) => delivery);
    const prepared = this.#prepare(deliveries, webhook);
    if (prepared instanceof Error) return { ...neverSent(prepared), sentTo: webhook, startedAt };
    const { request, loggedHeaders } = prepared;
    this.#countSlots(webhook.lane, tickets.length);
    for (const ticket of tickets) {
      const flight = { startedAt, queue, bytes: request.body.length / tickets.length, isHeld: false, isSuspect };
      this.#flying.set(ticket, flight);
      this.#bytes += flight.bytes;
      if (isSuspect) this.#suspects += 1;
    }
    limiter.start(startedAt);
    const endForTenant = this.#tenants.start(webhook, startedAt);
    const outcome = withoutEcho(await this.#options.send(request), request, loggedHeaders);
    for (const ticket of tickets) this.#end(ticket);
    limiter.end();
    return { outcome, sentTo: webhook, startedAt, loggedHeaders, woken: endForTenant() };
  }

  /** What a row holds that nobody can have written must not end the session: the same row would end the next one. */
  #prepare(deliveries: readonly Delivery[], webhook: Webhook): Prepared | Error {
    try {
      return prepare(deliveries, webhook, this.#options.now());
    } catch (error) {
      return error as Error;
    }
  }

  /** Its log row has committed, or will be written apart from all others: its slot is free. */
  recorded({ attempt, delivery }: Entry): void {
    if (!attempt || attempt.isSlotFree || attempt.outcome.status === 'skipped') return;
    attempt.isSlotFree = true;
    this.#countSlots(delivery.change.lane, -1);
  }

  /** Lanes with an attempt that has been under way for long. */
  get heldLanes(): ReadonlySet<number> {
    const lanes = new Set<number>();
    for (const { isHeld, queue } of this.#flying.values()) if (isHeld) lanes.add(queue.webhook.lane);
    return lanes;
  }

  /** What was started before this time, by performance.now(): it is held from now on. */
  hold(before: number, isSuspect: (queue: WebhookQueue) => boolean): Ticket[] {
    const held: Ticket[] = [];
    for (const [ticket, flight] of this.#flying) {
      if (flight.startedAt >= before) break;
      held.push(ticket);
      if (flight.isHeld) continue;
      flight.isHeld = true;
      flight.queue.held += 1;
      this.#held += 1;
      this.#heldBytes += flight.bytes;
    }
    this.#suspects = 0;
    for (const flight of this.#flying.values()) {
      flight.isSuspect = isSuspect(flight.queue);
      if (flight.isSuspect) this.#suspects += 1;
    }
    return held;
  }

  #countSlots(lane: number, more: number): void {
    this.#slots += more;
    this.#slotsByLane.set(lane, this.slotsOf(lane) + more);
  }

  #end(ticket: Ticket): void {
    const flight = this.#flying.get(ticket);
    if (!flight) return;
    this.#flying.delete(ticket);
    this.#bytes -= flight.bytes;
    if (flight.isSuspect) this.#suspects -= 1;
    if (!flight.isHeld) return;
    flight.queue.held -= 1;
    this.#held -= 1;
    this.#heldBytes -= flight.bytes;
  }
}

function neverSent({ message }: Error): Pick<Landing, 'outcome' | 'loggedHeaders' | 'woken'> {
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
