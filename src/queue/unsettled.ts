/**
 * Deliveries in memory that a window waits for. Each delivery has a ticket, which is settled once.
 */
import type { Delivery } from '../model.ts';
import { payloadSizeOf, type Ticket } from './ticket.ts';

const NONE = { count: 0, size: 0 };

export class Unsettled {
  count = 0;
  /** Characters of the payloads of these deliveries. */
  size = 0;
  readonly #byLane = new Map<number, number>();
  readonly #byTenant = new Map<string, { count: number; size: number }>();

  isAtRest(lane: number): boolean {
    return this.#ofLane(lane) === 0;
  }

  #ofLane(lane: number): number {
    return this.#byLane.get(lane) ?? 0;
  }

  ofTenant(tenantId: string): { readonly count: number; readonly size: number } {
    return this.#byTenant.get(tenantId) ?? NONE;
  }

  ticket(delivery: Delivery, settle: () => void): Ticket {
    const size = payloadSizeOf(delivery);
    this.count += 1;
    this.size += size;
    const { lane, tenantId } = delivery.change;
    this.#byLane.set(lane, this.#ofLane(lane) + 1);
    let tenant = this.#byTenant.get(tenantId);
    if (!tenant) {
      tenant = { count: 0, size: 0 };
      this.#byTenant.set(tenantId, tenant);
    }
    tenant.count += 1;
    tenant.size += size;
    const own = tenant;
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
        own.count -= 1;
        own.size -= size;
        if (own.count === 0) this.#byTenant.delete(tenantId);
        settle();
      },
    };
  }
}
