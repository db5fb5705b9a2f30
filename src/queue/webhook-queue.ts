/**
 * The deliveries of one webhook that are in memory, first in, first out. Two deliveries of one row
 * are never in flight together. backlog.ts decides when new deliveries are parked instead.
 */
import type { Delivery, Webhook, WebhookSettings } from '../model.ts';
import { Backlog } from './backlog.ts';
import { Limiter } from './limiter.ts';
import { RowOrder, rowOf } from './row-order.ts';
import { byChange, payloadSizeOf, type Ticket } from './ticket.ts';

/**
 * Limit on the payload characters of a new batch. A larger event is sent alone. The body of a batch
 * is made, signed and kept in memory as a whole.
 */
const BATCH_SIZE_MAX = 4 * 1024 * 1024;

export class WebhookQueue {
  webhook: Webhook;
  readonly limiter: Limiter;
  /** The webhook's parked deliveries, and where new deliveries go because of them. */
  readonly backlog = new Backlog();
  /**
   * Used with ordering 'row'. After the webhook gives up that ordering, used until all blocked rows
   * are done.
   */
  readonly rowOrder = new RowOrder();
  /** Number of slow attempts; see dispatch/in-flight.ts. */
  slowAttempts = 0;
  /** Characters of the largest recent payload. Null: no payload has been seen yet. */
  payloadSize: number | null = null;
  #waiting: Ticket[] = [];
  #head = 0;
  /** Rows with an attempt in flight, and the tickets that wait behind each of them. */
  readonly #busyRows = new Map<string, Ticket[]>();

  constructor(webhook: Webhook) {
    this.webhook = webhook;
    this.limiter = new Limiter(inFlightMax(webhook.settings), webhook.settings.ratePerSecond);
  }

  /** `webhook` has texts, unless nothing is in memory. */
  configure(webhook: Webhook): void {
    this.webhook = webhook;
    this.limiter.inFlightMax = inFlightMax(webhook.settings);
    this.limiter.ratePerSecond = webhook.settings.ratePerSecond;
  }

  /**
   * Forgets the texts of the webhook while nothing is sent to it. A webhook that only waits for its
   * parked deliveries takes little memory. Before they are read back, its texts are loaded again
   * (dispatch/unpark.ts).
   */
  rest(): void {
    if (!this.webhook.hasTexts || this.webhook.unusable !== null) return;
    if (this.length > 0 || this.limiter.inFlight > 0 || this.#busyRows.size > 0) return;
    if (this.backlog.isReading || this.backlog.joiningSince < Infinity) return;
    this.webhook = withoutTexts(this.webhook);
  }

  /**
   * Whether the deliveries of this delivery's row must be sent one after another. A blocked row
   * drains in order even if its webhook no longer asks for that.
   */
  isOrdered(delivery: Delivery): boolean {
    if (rowOf(delivery) === null) return false;
    return this.webhook.settings.ordering === 'row' || this.rowOrder.isBlocked(delivery);
  }

  get length(): number {
    return this.#waiting.length - this.#head;
  }

  /** Whether to read parked deliveries: one is due, and few are in memory. */
  isDue(now: number): boolean {
    if (!this.webhook.isActive || this.length >= this.webhook.settings.maxInFlight) return false;
    return this.backlog.isDue(now, this.replayRoom);
  }

  /** Whether the queue can be deleted without losing anything. */
  get isIdle(): boolean {
    return this.length === 0 && this.limiter.inFlight === 0 && this.backlog.isEmpty && this.rowOrder.size === 0;
  }

  /**
   * The time by performance.now() since which a window waits for the oldest ticket. The time in
   * which a batch collects events does not count. Infinity: no window waits.
   */
  get waitingSince(): number {
    let oldest = Infinity;
    for (let i = this.#head; i < this.#waiting.length && oldest === Infinity; i++) {
      // Tickets are ordered by time, except tickets that were read back, which have no time.
      oldest = (this.#waiting[i] as Ticket).queuedAt;
    }
    for (const behind of this.#busyRows.values())
      for (const { queuedAt } of behind) oldest = Math.min(oldest, queuedAt);
    const { batchMax, batchWaitMs } = this.webhook.settings;
    return Math.min(oldest, this.backlog.joiningSince) + (batchMax > 1 ? batchWaitMs : 0);
  }

  /**
   * How many deliveries of a replay may join the queue: none while newer deliveries wait, and never
   * more than half of the webhook's max_in_flight.
   */
  get replayRoom(): number {
    if (this.length > 0 || this.backlog.state !== 'flowing') return 0;
    const { batchMax, maxInFlight, ratePerSecond } = this.webhook.settings;
    const free = this.limiter.inFlightMax - this.limiter.inFlight;
    if (batchMax > 1) return free > 0 ? batchMax : 0;
    const share = ratePerSecond === null ? Math.max(1, Math.floor(maxInFlight / 2)) : 1;
    return Math.max(0, Math.min(share - this.backlog.replaysInMemory, free));
  }

  /** Bytes that the body of the next request has at most, about. */
  get bodySize(): number {
    return (this.payloadSize ?? 0) * Math.min(this.webhook.settings.batchMax, this.length);
  }

  push(ticket: Ticket): void {
    this.payloadSize = Math.max(payloadSizeOf(ticket.delivery.change), 0.9 * (this.payloadSize ?? 0));
    this.#waiting.push(ticket);
  }

  /**
   * Takes the tickets of the next request. This is a batch if the webhook asks for batches, or if
   * the first ticket was sent in a batch before. Otherwise it is the next ticket whose row is free.
   * A ticket that its row's head blocks is passed to `behind`.
   */
  take(now: number, behind: (ticket: Ticket) => void): Ticket[] {
    while (this.#head < this.#waiting.length) {
      const ticket = this.#waiting[this.#head] as Ticket;
      if (ticket.delivery.batchId !== null || this.webhook.settings.batchMax > 1) return this.#takeBatch(ticket, now);
      this.#head++;
      if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#head);
        this.#head = 0;
      }
      const row = rowOf(ticket.delivery);
      if (row === null) return [ticket];
      if (this.rowOrder.isBehindHead(ticket.delivery)) {
        behind(ticket);
        continue;
      }
      const inFlight = this.#busyRows.get(row);
      if (!inFlight) {
        this.#busyRows.set(row, []);
        return [ticket];
      }
      inFlight.push(ticket);
    }
    return [];
  }

  /**
   * Takes a batch that is full or old enough. Deliveries that were read back have waited already. A
   * batch that was sent before is sent again unchanged.
   */
  #takeBatch(first: Ticket, now: number): Ticket[] {
    const { batchMax, batchWaitMs } = this.webhook.settings;
    const { batchId } = first.delivery;
    let [end, size] = [this.#head, 0];
    for (; end < this.#waiting.length; end++) {
      const { delivery } = this.#waiting[end] as Ticket;
      size += payloadSizeOf(delivery.change);
      const fits = batchId !== null || end === this.#head || (end - this.#head < batchMax && size <= BATCH_SIZE_MAX);
      if (delivery.batchId !== batchId || !fits) break;
    }
    const isFull = end < this.#waiting.length || end - this.#head >= batchMax;
    const complete = batchId !== null || isFull || first.queuedAt === Infinity;
    if (!complete && now - first.queuedAt < batchWaitMs) return [];
    const batch = this.#waiting.splice(this.#head, end - this.#head);
    // The order in which a failed batch is read back, so that a retry has the same body.
    return batch.sort(byChange);
  }

  /**
   * The attempt of `delivery` has ended. Deliveries of its row that waited go to the front of the
   * queue.
   */
  free(delivery: Delivery): void {
    // A batch does not mark its rows as busy.
    const row = delivery.batchId === null ? rowOf(delivery) : null;
    const behind = row === null ? undefined : this.#busyRows.get(row);
    if (row !== null) this.#busyRows.delete(row);
    if (behind && behind.length > 0) this.#waiting.splice(this.#head, 0, ...behind);
  }

  /** Removes and returns all tickets, in order. */
  drain(): Ticket[] {
    const behind = [...this.#busyRows.values()].flat();
    const queued = [...this.#waiting.slice(this.#head), ...this.backlog.leave()];
    for (const row of this.#busyRows.keys()) this.#busyRows.set(row, []);
    this.#waiting = [];
    this.#head = 0;
    return [...behind, ...queued].sort(byChange);
  }
}

function withoutTexts(webhook: Webhook): Webhook {
  return {
    ...webhook,
    hasTexts: false,
    name: '',
    url: '',
    secret: '',
    previousSecret: null,
    settings: { ...webhook.settings, eventTypes: [], filter: null, headers: {}, authConfig: {}, allowedIps: null },
  };
}

/** Batches of one webhook are sent one at a time, which keeps the order of every row. */
function inFlightMax({ batchMax, maxInFlight }: WebhookSettings): number {
  return batchMax > 1 ? 1 : maxInFlight;
}
