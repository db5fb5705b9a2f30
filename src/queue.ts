/**
 * The deliveries of one webhook that are in memory: first in, first out, but never two of one row at a time.
 *
 * A queue that is not keeping up becomes backlogged: what waits in it is parked, and so is everything that comes until the
 * parked ones have been read back, in order. So a slow webhook costs neither memory nor anybody else's position, and the
 * first attempts for a row still start in the order of its changes.
 */
import type { Delivery, Webhook } from './model.ts';

/** What the position waits for: a window, or nothing for a delivery that was parked long ago. */
export interface Ticket {
  delivery: Delivery;
  /** Called once, when the delivery is done or parked for good, with respect to its window. */
  settle: () => void;
  /** performance.now(); Infinity for one that was read back: nothing waits for it. */
  queuedAt: number;
}

export class WebhookQueue {
  webhook: Webhook;
  inFlight = 0;
  /** New events go straight to the parked ones. */
  backlogged = false;
  /** Parked entries that the recorder has not committed yet. */
  uncommittedParks = 0;
  /** Counts parks, so that a read can tell whether one came in between. */
  parksSeen = 0;
  /** performance.now() at which the next parked delivery is due; null: none is known. */
  dueAt: number | null = null;
  dueReading = false;
  /** Parked deliveries that were read back and are queued or in flight. */
  readonly readBack = new Set<string>();
  #waiting: Ticket[] = [];
  #head = 0;
  /** Rows with an attempt in flight, and what waits behind each. */
  readonly #busyRows = new Map<string, Ticket[]>();

  constructor(webhook: Webhook) {
    this.webhook = webhook;
  }

  get length(): number {
    return this.#waiting.length - this.#head;
  }

  get canStart(): boolean {
    return this.length > 0 && this.inFlight < this.webhook.maxInFlight;
  }

  get isIdle(): boolean {
    return (
      this.length === 0 && this.inFlight === 0 && this.dueAt === null && !this.backlogged && this.uncommittedParks === 0
    );
  }

  /** When the oldest ticket that a window waits for was queued; Infinity: there is none. */
  get heldSince(): number {
    let oldest = Infinity;
    for (let i = this.#head; i < this.#waiting.length; i++) {
      const { queuedAt } = this.#waiting[i] as Ticket;
      // they came in order; only those that were read back stand before others without a time of their own
      if (queuedAt !== Infinity) {
        oldest = queuedAt;
        break;
      }
    }
    for (const behind of this.#busyRows.values())
      for (const { queuedAt } of behind) oldest = Math.min(oldest, queuedAt);
    return oldest;
  }

  push(ticket: Ticket): void {
    this.#waiting.push(ticket);
  }

  /** The next ticket whose row is free; those behind a busy row step aside until it is free. */
  take(): Ticket | undefined {
    while (this.#head < this.#waiting.length) {
      const ticket = this.#waiting[this.#head++] as Ticket;
      if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#head);
        this.#head = 0;
      }
      const row = rowOf(ticket.delivery);
      const behind = row === null ? undefined : this.#busyRows.get(row);
      if (behind) {
        behind.push(ticket);
        continue;
      }
      if (row !== null) this.#busyRows.set(row, []);
      return ticket;
    }
    return undefined;
  }

  /** The attempt is over: the next one of the row may go, before all that came later. */
  free(delivery: Delivery): void {
    const row = rowOf(delivery);
    if (row === null) return;
    const behind = this.#busyRows.get(row);
    this.#busyRows.delete(row);
    if (behind && behind.length > 0) {
      this.#waiting.splice(this.#head, 0, ...behind);
    }
  }

  /** Empties the queue, in order: what waits behind busy rows came before what is queued now. */
  drain(): Ticket[] {
    const behind = [...this.#busyRows.values()].flat();
    const queued = this.#waiting.slice(this.#head);
    for (const row of this.#busyRows.keys()) this.#busyRows.set(row, []);
    this.#waiting = [];
    this.#head = 0;
    return [...behind, ...queued].sort((a, b) => byChange(a.delivery, b.delivery));
  }
}

function rowOf({ change }: Delivery): string | null {
  return change.rowKey === null ? null : `${change.sourceId}:${change.rowKey}`;
}

function byChange(a: Delivery, b: Delivery): number {
  const [x, y] = [a.change.id, b.change.id];
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : a.ordinal - b.ordinal);
}
