/**
 * Deliveries in memory that a window waits for. Each delivery has a ticket, which is settled once.
 */
import type { Delivery } from '../model.ts';
import { payloadSizeOf, type Ticket } from './ticket.ts';

export class Unsettled {
  count = 0;
  /** Characters of the payloads of these deliveries. */
  size = 0;
  readonly #byLane = new Map<number, number>();

  isAtRest(lane: number): boolean {
    return this.#ofLane(lane) === 0;
  }

  #ofLane(lane: number): number {
    return this.#byLane.get(lane) ?? 0;
  }

  ticket(delivery: Delivery, settle: () => void): Ticket {
    const size = payloadSizeOf(delivery);
    this.count += 1;
    this.size += size;
    const { lane } = delivery.change;
    this.#byLane.set(lane, this.#ofLane(lane) + 1);
    let settled = false;
    return {
      delivery,
      queuedAt: performance.now(),
      settle: () => {
        if (settled) return;
        settled = true;
        this.count -= 1;
        this.size -= size;
        this.#byLane.set(lane, this.#ofLane(lane) - 1);
        settle();
      },
    };
  }
}
