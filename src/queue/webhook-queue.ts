/**
 * The deliveries of one webhook that are in memory: first in, first out, but never two of one row at a time.
 *
 * A queue that does not keep up becomes backlogged: what waits in it is parked, and so is everything that comes, until the
 * parked ones have been read back, in order. So a slow webhook costs neither memory nor anybody else's position, and the
 * first attempts for a row still start in the order of its changes.
 *
 * It ends so also under a load that never pauses: once only those are missing that are on their way to the table, what comes
 * in waits for them in memory ("joining"), and follows them.
 */

import type { Delivery, Webhook, WebhookSettings } from '../model.ts';
import { Limiter } from './limiter.ts';
import { BlockedRows, rowOf } from './row-order.ts';

/** Characters of payload that a new batch carries, but for one larger event alone: its body is made, signed and kept at once. */
const BATCH_SIZE_MAX = 4 * 1024 * 1024;

export interface Ticket {
  delivery: Delivery;
  /** Called once its window need not wait for it any more. */
  settle: () => void;
  /** performance.now(); Infinity for one that was read back: nothing waits for it. */
  queuedAt: number;
}

export class WebhookQueue {
  webhook: Webhook;
  readonly limiter: Limiter;
  /** New events go straight to the parked ones. */
  backlogged = false;
  /** New events that wait here until the last of the parked ones are back; null: they do not. */
  joining: Ticket[] | null = null;
  /** Attempts that have been under way for long; see dispatch/in-flight.ts. */
  held = 0;
  /** Parked entries that the recorder has not committed yet. */
  uncommittedParks = 0;
  /** Counts parks, so that a read can tell whether one came in between. */
  parksSeen = 0;
  /** performance.now() at which the next parked delivery is due; null: none is known. */
  #dueAt: number | null = null;
  dueReading = false;
  /** Characters of the largest payload lately; none is known at first. */
  payloadSize: number | null = null;
  /** Parked deliveries that are queued or in flight. */
  readonly readBack = new Set<string>();
  /** Those of them that a replay asked for. */
  readonly replays = new Set<string>();
  /** More was due than was read back. */
  moreDue = false;
  /** More of a replay is due than was read back. */
  replaysDue = false;
  #waiting: Ticket[] = [];
  #head = 0;
  /** Rows with an attempt in flight, and what waits behind each. */
  readonly #busyRows = new Map<string, Ticket[]>();
  /** With ordering 'row', or until those are done that were blocked when it was given up. */
  readonly blockedRows = new BlockedRows();

  constructor(webhook: Webhook) {
    this.webhook = webhook;
    this.limiter = new Limiter(inFlightMax(webhook.settings), webhook.settings.ratePerSecond);
  }

  configure(webhook: Webhook): void {
    this.webhook = webhook;
    this.limiter.inFlightMax = inFlightMax(webhook.settings);
    this.limiter.ratePerSecond = webhook.settings.ratePerSecond;
  }

  /** Its row's deliveries go one after another. A row that is blocked drains in order, whatever its webhook asks for by now. */
  isOrdered(delivery: Delivery): boolean {
    if (rowOf(delivery) === null) return false;
    return this.webhook.settings.ordering === 'row' || this.blockedRows.isBlocked(delivery);
  }

  get length(): number {
    return this.#waiting.length - this.#head;
  }

  get dueAt(): number | null {
    return this.#dueAt;
  }

  /** A parked delivery is due at this time, by performance.now(), or at once. */
  makeDue(at = performance.now()): void {
    this.#dueAt = Math.min(this.#dueAt ?? Infinity, at);
  }

  /** What is due is read from now on. What becomes due meanwhile may not be seen by that, and is kept in mind. */
  startReading(): void {
    this.dueReading = true;
    this.#dueAt = null;
  }

  /** Some of its deliveries are in the table. */
  get hasParked(): boolean {
    return this.#dueAt !== null || this.dueReading || this.isManyDue || this.readBack.size > 0;
  }

  /** The next ones are read as soon as there is room. Single retries are read by the dispatcher's tick, together with those of others. */
  get isManyDue(): boolean {
    return this.moreDue || this.replaysDue;
  }

  /** Parked deliveries are worth reading: one is due, and few are in memory. */
  isDue(now: number): boolean {
    if (this.joining && this.uncommittedParks > 0) return false; // the last ones are still on their way to the table
    const due = (this.#dueAt !== null && this.#dueAt <= now) || (this.replaysDue && this.replayRoom > 0);
    return due && !this.dueReading && this.webhook.isActive && this.length < this.webhook.settings.maxInFlight;
  }

  /** Nothing would be lost with it. */
  get isIdle(): boolean {
    return (
      this.length === 0 &&
      this.limiter.inFlight === 0 &&
      this.#dueAt === null &&
      !this.dueReading &&
      !this.replaysDue &&
      !this.backlogged &&
      this.uncommittedParks === 0 &&
      // what was sent, but not committed yet, would be read back once more
      this.readBack.size === 0 &&
      this.blockedRows.size === 0
    );
  }

  /** Since when a window waits for the oldest ticket, not counting the time in which a batch gathers; Infinity: none does. */
  get heldSince(): number {
    let oldest = Infinity;
    for (let i = this.#head; i < this.#waiting.length && oldest === Infinity; i++) {
      // they came in order, but for those that were read back, which have no time
      oldest = (this.#waiting[i] as Ticket).queuedAt;
    }
    for (const behind of this.#busyRows.values())
      for (const { queuedAt } of behind) oldest = Math.min(oldest, queuedAt);
    const { batchMax, batchWaitMs } = this.webhook.settings;
    return Math.min(oldest, this.joining?.[0]?.queuedAt ?? Infinity) + (batchMax > 1 ? batchWaitMs : 0);
  }

  /** How many deliveries of a replay may join: none while anything newer waits, and never more than half of the slots. */
  get replayRoom(): number {
    if (this.length > 0 || this.backlogged) return 0;
    const { batchMax, maxInFlight, ratePerSecond } = this.webhook.settings;
    const free = this.limiter.inFlightMax - this.limiter.inFlight;
    if (batchMax > 1) return free > 0 ? batchMax : 0;
    const share = ratePerSecond === null ? Math.max(1, Math.floor(maxInFlight / 2)) : 1;
    return Math.max(0, Math.min(share - this.replays.size, free));
  }

  /** Read back, until what becomes of it has committed. */
  takeBack(delivery: Delivery): void {
    this.readBack.add(delivery.id);
    if (delivery.replayed) this.replays.add(delivery.id);
  }

  /** False: it was not read back. */
  letGo(deliveryId: string): boolean {
    this.replays.delete(deliveryId);
    return this.readBack.delete(deliveryId);
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
      if (this.blockedRows.holdsBack(ticket.delivery)) {
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
    return batch.sort((a, b) => byChange(a.delivery, b.delivery));
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
    const queued = [...this.#waiting.slice(this.#head), ...(this.joining ?? [])];
    this.joining = null;
    for (const row of this.#busyRows.keys()) this.#busyRows.set(row, []);
    this.#waiting = [];
    this.#head = 0;
    return [...behind, ...queued].sort((a, b) => byChange(a.delivery, b.delivery));
  }
}

/** In characters, which bytes are hardly ever more of. */
export function payloadSizeOf({ change }: Delivery): number {
  return (change.data?.length ?? 0) + (change.previous?.length ?? 0);
}

/** Batches of one webhook follow each other, which keeps the order of every row. */
function inFlightMax({ batchMax, maxInFlight }: WebhookSettings): number {
  return batchMax > 1 ? 1 : maxInFlight;
}

function byChange(a: Delivery, b: Delivery): number {
  const [x, y] = [a.change.id, b.change.id];
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : a.ordinal - b.ordinal);
}
