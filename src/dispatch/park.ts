/**
 * Hands the result of a delivery to RECORD, and counts the entries that are on their way to the
 * table.
 */
import type { Attempt, Entry } from '../model.ts';
import { type HealthChange, type Next, UNCHANGED } from '../outcome.ts';
import type { Ticket } from '../queue/ticket.ts';
import type { WebhookQueue } from '../queue/webhook-queue.ts';
import type { RecordsEntries } from '../roles.ts';

export class Parking {
  readonly #recorder: RecordsEntries;
  readonly #uncommitted = new Map<number, number>();

  constructor(recorder: RecordsEntries) {
    this.#recorder = recorder;
  }

  /** Whether the recorder has committed all entries of `lane`. */
  isAtRest(lane: number): boolean {
    return this.#uncommittedOf(lane) === 0;
  }

  #uncommittedOf(lane: number): number {
    return this.#uncommitted.get(lane) ?? 0;
  }

  committed({ delivery }: Entry): void {
    const { lane } = delivery.change;
    this.#uncommitted.set(lane, this.#uncommittedOf(lane) - 1);
  }

  record(
    queue: WebhookQueue,
    { delivery, settle }: Ticket,
    attempt: Attempt | null,
    next: Next,
    health: HealthChange = UNCHANGED,
  ): void {
    if (next.kind !== 'finished') queue.backlog.parkBegan();
    const { lane } = delivery.change;
    this.#uncommitted.set(lane, this.#uncommittedOf(lane) + 1);
    this.#recorder.add({ delivery, attempt, next, ordered: queue.isOrdered(delivery), health, settle });
  }

  /** Parks a delivery, due at once. No later delivery of this webhook may overtake it. */
  park(queue: WebhookQueue, ticket: Ticket): void {
    queue.backlog.fallBehind();
    this.record(queue, ticket, null, { kind: 'retry', inMs: 0 });
  }

  /** Parks a delivery behind the head of its row. */
  parkBehind(queue: WebhookQueue, ticket: Ticket): void {
    queue.rowOrder.countBehind(ticket.delivery, 1);
    this.record(queue, ticket, null, { kind: 'behindRowHead' });
  }

  /**
   * Parks all queued deliveries, in order. Deliveries that were read back are in the table already.
   */
  parkAll(queue: WebhookQueue): void {
    for (const ticket of queue.drain()) {
      if (queue.backlog.letGo(ticket.delivery.id)) queue.backlog.makeDue();
      else this.park(queue, ticket);
    }
  }

  /**
   * Parks a delivery whose attempt goes on. If this daemon dies before the attempt ends, the next
   * owner finds the row.
   */
  parkSlow(queue: WebhookQueue, ticket: Ticket, marginMs: number): void {
    queue.backlog.takeBack(ticket.delivery);
    this.record(queue, ticket, null, { kind: 'retry', inMs: queue.webhook.settings.timeoutMs + marginMs });
  }
}
