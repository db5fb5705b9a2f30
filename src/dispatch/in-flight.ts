/**
 * Attempts in flight, and the cap on them. Each delivery takes a permit. The permit is free again
 * only when the attempt's log row has committed. So a crash can repeat at most `maxInFlight`
 * deliveries, plus the rest of one batch.
 *
 * One dead endpoint, or a hundred of them at once, must not take all permits until they time out.
 * An attempt that takes long is slow. It keeps its permit, and it makes its webhook a suspect, as a
 * failed attempt does. Suspects together may use two thirds of the permits. Attempts that are not
 * slow yet may use two thirds as well. If everything in flight hangs at once, a third of the
 * permits is left for other webhooks one second later, one permit each. With 40 hanging webhooks,
 * healthy ones waited for 18 s; they now wait for 1 s. Attempts that have ended and wait for their
 * log row do not count towards the shares. When they counted, a drain stood still until the next
 * commit.
 */

import type { Delivery, Entry, Webhook } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import { withoutEcho } from '../payload/mask-echo.ts';
import { needsRendering, type Prepared, prepare } from '../payload/request.ts';
import type { TenantLimits } from '../queue/tenant-limits.ts';
import { payloadSizeOf, type Ticket } from '../queue/ticket.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { LeaseClock, RendersBodies, SendsRequests } from '../roles.ts';
import { SHARE, TIMES_FREE } from '../shared/shares.ts';
import { skippedOutcome } from './attempt.ts';
import { BodyBytes } from './body-bytes.ts';

export interface InFlightOptions {
  maxInFlight: number;
  sender: SendsRequests;
  bodies: RendersBodies;
  clock: LeaseClock;
}

export interface AttemptResult {
  outcome: Outcome;
  /** The webhook as it was when the attempt started. */
  sentTo: Webhook;
  /** By performance.now(). */
  startedAt: number;
  loggedHeaders: Record<string, string>;
}

interface Running {
  startedAt: number;
  queue: WebhookQueue;
  tenantId: string;
  /** What the delivery takes of the bytes of large bodies. */
  bytes: number;
  isSlow: boolean;
  isSuspect: boolean;
}

export class InFlight {
  readonly #options: InFlightOptions;
  readonly #share: number;
  readonly #tenants: TenantLimits;
  /** In order of their start. */
  readonly #attempts = new Map<Ticket, Running>();
  #permits = 0;
  readonly #permitsByLane = new Map<number, number>();
  readonly #bodies = new BodyBytes();
  #slow = 0;
  #suspects = 0;

  constructor(options: InFlightOptions, tenants: TenantLimits) {
    this.#options = options;
    this.#share = Math.ceil(SHARE * options.maxInFlight);
    this.#tenants = tenants;
  }

  get permits(): number {
    return this.#permits;
  }

  /** Whether the deliveries of `lane` take no permit. */
  isAtRest(lane: number): boolean {
    return this.#permitsOf(lane) === 0;
  }

  #permitsOf(lane: number): number {
    return this.#permitsByLane.get(lane) ?? 0;
  }

  /** Whether attempts that have ended take most of the permits. If so, the recorder is slow. */
  get areUnrecorded(): boolean {
    return !this.hasPermit && this.#permits > 2 * this.#attempts.size;
  }

  /** Whether a permit is free for some webhook. */
  get hasPermit(): boolean {
    // Count attempts, not permits: an attempt that has ended cannot hang, and is recorded soon.
    return this.#permits < this.#options.maxInFlight && this.#attempts.size - this.#slow < this.#share;
  }

  /** Whether a tenant with this number of attempts in flight leaves enough permits to others. */
  mayHaveMore(inFlight: number): boolean {
    const free = Math.min(this.#options.maxInFlight - this.#permits, this.#share - (this.#attempts.size - this.#slow));
    return inFlight < TIMES_FREE * free;
  }

  /** Whether a permit is free for this webhook, and room for its next body. */
  hasPermitFor({ webhook, limiter, bodySize }: WebhookQueue, isSuspect: boolean): boolean {
    if (!this.hasPermit || (isSuspect && this.#suspects >= this.#share)) return false;
    if (!this.#bodies.mayStart(webhook.tenantId, bodySize)) return false;
    return this.#attempts.size < this.#share || limiter.inFlight === 0;
  }

  /** Sends one request for one delivery, or for a batch. */
  async start(queue: WebhookQueue, tickets: readonly Ticket[], isSuspect: boolean): Promise<AttemptResult> {
    const { webhook } = queue;
    const startedAt = performance.now();
    const deliveries = tickets.map(({ delivery }) => delivery);
    const [first] = deliveries as [Delivery];
    const isRendered = needsRendering(first, webhook);
    let prepared = isRendered ? null : this.#prepare(deliveries, webhook);
    if (prepared instanceof Error) return { ...neverSent(prepared), sentTo: webhook, startedAt };
    // A body that is still to be rendered counts as its payload.
    const size = prepared?.request.body.length ?? payloadSizeOf(first.change);
    const end = this.#begin(queue, tickets, { startedAt, size, isSuspect });
    if (prepared === null) {
      // A template takes a permit while it is rendered, so a slow one is treated as a slow receiver.
      const problem = await this.#options.bodies.render(first, webhook);
      prepared = problem === null ? this.#prepare(deliveries, webhook) : new Error(problem);
      if (prepared instanceof Error) {
        end();
        this.#countPermits(webhook.lane, -tickets.length);
        const failed = problem === null ? neverSent(prepared) : templateFailed(problem);
        return { ...failed, sentTo: webhook, startedAt };
      }
      if (!this.#options.clock.isValid) throw new Error('the lease ended while a template was rendered');
    }
    const { request, loggedHeaders } = prepared;
    const outcome = withoutEcho(await this.#options.sender.send(request), request, loggedHeaders);
    end();
    return { outcome, sentTo: webhook, startedAt, loggedHeaders };
  }

  /** Takes the permits of a request. Returns what to call when it has ended. */
  #begin(
    queue: WebhookQueue,
    tickets: readonly Ticket[],
    { startedAt, size, isSuspect }: { startedAt: number; size: number; isSuspect: boolean },
  ): () => void {
    const { webhook, limiter } = queue;
    this.#countPermits(webhook.lane, tickets.length);
    const { tenantId } = webhook;
    let bytes = this.#bodies.take(tenantId, size);
    for (const ticket of tickets) {
      // The first ticket of a batch stands for its body.
      this.#attempts.set(ticket, { startedAt, queue, tenantId, bytes, isSlow: false, isSuspect });
      bytes = 0;
      if (isSuspect) this.#suspects += 1;
    }
    limiter.start(startedAt);
    const endForTenant = this.#tenants.start(tenantId, tickets.length, startedAt);
    return () => {
      for (const ticket of tickets) this.#end(ticket);
      limiter.end();
      endForTenant();
    };
  }

  /**
   * Returns an error if no request can be made of a row. The error must not end the session,
   * because the same row would end the next session too.
   */
  #prepare(deliveries: readonly Delivery[], webhook: Webhook): Prepared | Error {
    try {
      return prepare(deliveries, webhook, this.#options.clock.now());
    } catch (error) {
      return error as Error;
    }
  }

  /** Frees the permit of an attempt: its log row has committed, or will be written apart. */
  recorded({ attempt, delivery }: Entry): void {
    if (!attempt || attempt.isPermitFree || attempt.outcome.status === 'skipped') return;
    attempt.isPermitFree = true;
    this.#countPermits(delivery.change.lane, -1);
  }

  /** Lanes with a slow attempt. */
  get slowLanes(): ReadonlySet<number> {
    const lanes = new Set<number>();
    for (const { isSlow, queue } of this.#attempts.values()) if (isSlow) lanes.add(queue.webhook.lane);
    return lanes;
  }

  /**
   * Marks attempts as slow that started before `before`, by performance.now(). Returns all slow
   * attempts.
   */
  markSlow(before: number, isSuspect: (queue: WebhookQueue) => boolean): Ticket[] {
    const slow: Ticket[] = [];
    for (const [ticket, running] of this.#attempts) {
      if (running.startedAt >= before) break;
      slow.push(ticket);
      if (running.isSlow) continue;
      running.isSlow = true;
      running.queue.slowAttempts += 1;
      this.#slow += 1;
      this.#bodies.slow(running.bytes);
    }
    this.#suspects = 0;
    for (const running of this.#attempts.values()) {
      running.isSuspect = isSuspect(running.queue);
      if (running.isSuspect) this.#suspects += 1;
    }
    return slow;
  }

  #countPermits(lane: number, more: number): void {
    this.#permits += more;
    this.#permitsByLane.set(lane, this.#permitsOf(lane) + more);
  }

  #end(ticket: Ticket): void {
    const running = this.#attempts.get(ticket);
    if (!running) return;
    this.#attempts.delete(ticket);
    this.#bodies.free(running.tenantId, running.bytes, running.isSlow);
    if (running.isSuspect) this.#suspects -= 1;
    if (!running.isSlow) return;
    running.queue.slowAttempts -= 1;
    this.#slow -= 1;
  }
}

function neverSent({ message }: Error): Pick<AttemptResult, 'outcome' | 'loggedHeaders'> {
  const error = `no request can be made from this delivery: ${message}`;
  return { outcome: skippedOutcome('unreadable', error), loggedHeaders: {} };
}

function templateFailed(problem: string): Pick<AttemptResult, 'outcome' | 'loggedHeaders'> {
  const error = `${problem}. Correct it, then send the event with rowhook replay`;
  return { outcome: skippedOutcome('template_failed', error), loggedHeaders: {} };
}
