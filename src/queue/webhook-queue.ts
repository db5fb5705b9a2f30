/**
 * The deliveries of one webhook that are in memory: first in, first out, but never two of one row at
 * a time. backlog.ts says when new deliveries go to the table instead.
 */
import type { Delivery, Webhook, WebhookSettings } from '../model.ts';
import { Backlog } from './backlog.ts';
import { Limiter } from './limiter.ts';
import { RowOrder, rowOf } from './row-order.ts';
import { byChange, payloadSizeOf, type Ticket } from './ticket.ts';

/**
 * Characters of payload that a new batch carries; one larger event is sent alone. A batch's body is
 * made, signed and kept at once.
 */
const BATCH_SIZE_MAX = 4 * 1024 * 1024;

export class WebhookQueue {
  webhook: Webhook;
  readonly limiter: Limiter;
  /** What is parked, and what that means for new deliveries. */
  readonly backlog = new Backlog();
  /** With ordering 'row', or until rows that were blocked when it was given up are done. */
  readonly rowOrder = new RowOrder();
  /** Attempts that take long; see dispatch/in-flight.ts. */
  slowAttempts = 0;
  /** Characters of the largest payload lately; null: none was seen yet. */
  payloadSize: number | null = null;
  #waiting: Ticket[] = [];
  #head = 0;
  /** Rows with an attempt in flight, and what waits behind each. */
  readonly #busyRows = new Map<string, Ticket[]>();

  constructor(webhook: Webhook) {
    this.webhook = webhook;
    this.limiter = new Limiter(inFlightMax(webhook.settings), webhook.settings.ratePerSecond);
  }

  configure(webhook: Webhook): void {
    this.webhook = webhook;
    this.limiter.inFlightMax = inFlightMax(webhook.settings);
    this.limiter.ratePerSecond = webhook.settings.ratePerSecond;
  }

  /**
   * The deliveries of this one's row go one after another. A row that is blocked drains in order,
   * also when its webhook no longer asks for that.
   */
  isOrdered(delivery: Delivery): boolean {
    if (rowOf(delivery) === null) return false;
    return this.webhook.settings.ordering === 'row' || this.rowOrder.isBlocked(delivery);
  }

  get length(): number {
    return this.#waiting.length - this.#head;
  }

  /** Parked deliveries are worth reading: one is due, and few are in memory. */
  isDue(now: number): boolean {
    if (!this.webhook.isActive || this.length >= this.webhook.settings.maxInFlight) return false;
    return this.backlog.isDue(now, this.replayRoom);
  }

  /** Nothing would be lost with it. */
  get isIdle(): boolean {
    return this.length === 0 && this.limiter.inFlight === 0 && this.backlog.isEmpty && this.rowOrder.size === 0;
  }

  /**
   * Since when a window waits for the oldest ticket, by performance.now(), without the time in which
   * a batch gathers. Infinity: no window waits.
   */
  get waitingSince(): number {
    let oldest = Infinity;
    for (let i = this.#head; i < this.#waiting.length && oldest === Infinity; i++) {
      // tickets are in order of time, except those that were read back, which have none
      oldest = (this.#waiting[i] as Ticket).queuedAt;
    }
    for (const behind of this.#busyRows.values())
      for (const { queuedAt } of behind) oldest = Math.min(oldest, queuedAt);
    const { batchMax, batchWaitMs } = this.webhook.settings;
    return Math.min(oldest, this.backlog.joiningSince) + (batchMax > 1 ? batchWaitMs : 0);
  }

  /** How many deliveries of a replay may join: none while anything newer waits, and never more than half of the permits. */
  get replayRoom(): number {
    if (this.length > 0 || this.backlog.state !== 'flowing') return 0;
    const { batchMax, maxInFlight, ratePerSecond } = this.webhook.settings;
    const free = this.limiter.inFlightMax - this.limiter.inFlight;
    if (batchMax > 1) return free > 0 ? batchMax : 0;
    const share = ratePerSecond === null ? Math.max(1, Math.floor(maxInFlight / 2)) : 1;
    return Math.max(0, Math.min(share - this.backlog.replaysInMemory, free));
  }

  push(ticket: Ticket): void {
    this.payloadSize = Math.max(payloadSizeOf(ticket.delivery), 0.9 * (this.payloadSize ?? 0));
    this.#waiting.push(ticket);
  }

  /**
   * What goes out next, in one request: a batch when the webhook asks for them or it was sent in one, else the next ticket whose
   * row is free. What its row's head blocks is handed to `behind`.
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

  /** Full, or old enough; what was read back has waited already. One that was sent before goes out as it was. */
  #takeBatch(first: Ticket, now: number): Ticket[] {
    const { batchMax, batchWaitMs } = this.webhook.settings;
    const { batchId } = first.delivery;
    let [end, size] = [this.#head, 0];
    for (; end < this.#waiting.length; end++) {
      const { delivery } = this.#waiting[end] as Ticket;
      size += payloadSizeOf(delivery);
      const fits = batchId !== null || end === this.#head || (end - this.#head < batchMax && size <= BATCH_SIZE_MAX);
      if (delivery.batchId !== batchId || !fits) break;
    }
    const isFull = end < this.#waiting.length || end - this.#head >= batchMax;
    const complete = batchId !== null || isFull || first.queuedAt === Infinity;
    if (!complete && now - first.queuedAt < batchWaitMs) return [];
    const batch = this.#waiting.splice(this.#head, end - this.#head);
    // as they will be read back, should it fail: its body is the same then
    return batch.sort(byChange);
  }

  /** The attempt is over: the next one of the row may go, before all that came later. */
  free(delivery: Delivery): void {
    // a batch keeps no row busy
    const row = delivery.batchId === null ? rowOf(delivery) : null;
    const behind = row === null ? undefined : this.#busyRows.get(row);
    if (row !== null) this.#busyRows.delete(row);
    if (behind && behind.length > 0) this.#waiting.splice(this.#head, 0, ...behind);
  }

  /** Empties the queue, in order. */
  drain(): Ticket[] {
    const behind = [...this.#busyRows.values()].flat();
    const queued = [...this.#waiting.slice(this.#head), ...this.backlog.leave()];
    for (const row of this.#busyRows.keys()) this.#busyRows.set(row, []);
    this.#waiting = [];
    this.#head = 0;
    return [...behind, ...queued].sort(byChange);
  }
}

/** Batches of one webhook follow each other, which keeps the order of every row. */
function inFlightMax({ batchMax, maxInFlight }: WebhookSettings): number {
  return batchMax > 1 ? 1 : maxInFlight;
}
