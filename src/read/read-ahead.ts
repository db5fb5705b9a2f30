/**
 * How much of what was read may be in memory, and how tenants share it. A tenant with more than its
 * share lags: it is read by itself, and everybody else's changes are read without waiting for it.
 */
import { withinHeap } from '../shared/memory.ts';

/**
 * Limits on what is in memory: deliveries, and characters of their payloads. One limit for all
 * tenants that keep up, and the same for all that lag.
 */
const READ_AHEAD_MAX = 1_000;
const READ_AHEAD_SIZE_MAX = withinHeap(32 * 1024 * 1024, 1 / 32);

/** What a tenant that keeps up may have in memory, as a share of the limits. */
const SHARE_KEEPING_UP = 1 / 2;

/** The least that each of many lagging tenants may have in memory: deliveries, and characters. */
const LEAST = { count: 16, size: 64 * 1024 };

export interface Amount {
  /** Deliveries. */
  count: number;
  /** Characters of their payloads. */
  size: number;
}

export interface InMemory extends Amount {
  ofTenant(tenantId: string): Amount;
}

export class ReadAhead {
  readonly #inMemory: InMemory;
  readonly #lagging = new Set<string>();

  constructor(inMemory: InMemory) {
    this.#inMemory = inMemory;
  }

  get laggingCount(): number {
    return this.#lagging.size;
  }

  beginLag(tenantId: string): void {
    this.#lagging.add(tenantId);
  }

  endLag(tenantId: string): void {
    this.#lagging.delete(tenantId);
  }

  /** Whether to read more for the tenants that keep up. */
  get hasRoom(): boolean {
    let { count, size } = this.#inMemory;
    for (const tenantId of this.#lagging) {
      const own = this.#inMemory.ofTenant(tenantId);
      count -= own.count;
      size -= own.size;
    }
    return count < READ_AHEAD_MAX && size < READ_AHEAD_SIZE_MAX;
  }

  /** Whether to read a page for a tenant that lags. Half of its share is free then. */
  hasRoomFor(tenantId: string): boolean {
    return this.#isBelow(tenantId, this.#laggingShare / 2);
  }

  /** Whether one more change of the tenant may come into memory. */
  mayTake(tenantId: string): boolean {
    return this.#isBelow(tenantId, this.#lagging.has(tenantId) ? this.#laggingShare : SHARE_KEEPING_UP);
  }

  get #laggingShare(): number {
    return 1 / Math.max(1, this.#lagging.size);
  }

  #isBelow(tenantId: string, share: number): boolean {
    const { count, size } = this.#inMemory.ofTenant(tenantId);
    return (
      count < Math.max(LEAST.count, READ_AHEAD_MAX * share) && size < Math.max(LEAST.size, READ_AHEAD_SIZE_MAX * share)
    );
  }
}
