/** Deliveries in memory that some window waits for: each is a ticket, which is settled once. */
import type { Delivery } from './model.ts';
import { payloadSizeOf, type Ticket } from './queue.ts';

export class Pending {
  count = 0;
  /** Characters of their payloads. */
  size = 0;

  ticket(delivery: Delivery, settle: () => void): Ticket {
    const size = payloadSizeOf(delivery);
    this.count += 1;
    this.size += size;
    let settled = false;
    return {
      delivery,
      queuedAt: performance.now(),
      settle: () => {
        if (settled) return;
        settled = true;
        this.count -= 1;
        this.size -= size;
        settle();
      },
    };
  }
}
