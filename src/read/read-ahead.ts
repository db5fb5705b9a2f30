/**
 * How much of what was read may be in memory, and how tenants share it. A tenant with more than its
 * share lags: it is read by itself, and everybody else's changes are read without waiting for it.
 */
import { withinHeap } from '../shared/shares.ts';
import { CHANGES_MAX } from './statements.ts';

/**
 * Limits on what is in memory: deliveries, and characters of their payloads. One limit for all
 * tenants that keep up, and the same for all that lag.
 */
const READ_AHEAD_MAX = 1_000;
const READ_AHEAD_SIZE_MAX = withinHeap(32 * 1024 * 1024, 1 / 32);

/**
 * What a tenant that keeps up may have in memory, as a share of the limits. It may also have no more
 * than what is free for all that keep up. So one tenant uses half, ten busy ones a tenth each, and
 * something is always free for one more. While each of ten could fill half, an event of another
 * tenant waited for 0.7 s until they had sent enough.
 */
const SHARE_KEEPING_UP = 1 / 2;

/**
 * A tenant that keeps up does not lag with less than this, however much others have: tenants that
 * lag are read one by one, which would take longer for hundreds of them.
 */
const LEAST_KEEPING_UP = { count: 32, size: 64 * 1024 };

/**
 * Changes that one tenant may have in a page of a large window, whether anybody wants them or not.
 * The rest of the window may be its own too, and then the others need not read it.
 */
const PAGE_SHARE_MAX = CHANGES_MAX / 2;

/** The least that each of many lagging tenants may have in memory: deliveries, and characters. */
const LEAST = { count: 16, size: 64 * 1024 };

interface Amount {
  /** Deliveries. */
  readonly count: number;
  /** Characters of their payloads. */
  readonly size: number;
}

export interface InMemory extends Amount {
  /** The part of the tenants that were set apart. */
  readonly apart: Amount;
  setApart(tenantId: string, isApart: boolean): void;
  /** `queued`: deliveries whose attempt has not started. The endpoints take up to `queuedMax` soon. */
  ofTenant(tenantId: string): Amount & { readonly queued: number; readonly queuedMax: number };
}

export class ReadAhead {
  readonly #inMemory: InMemory;
  readonly #lagging = new Set<string>();

  constructor(inMemory: InMemory) {
    this.#inMemory = inMemory;
  }

  beginLag(tenantId: string): void {
    this.#lagging.add(tenantId);
    this.#inMemory.setApart(tenantId, true);
  }

  endLag(tenantId: string): void {
    this.#lagging.delete(tenantId);
    this.#inMemory.setApart(tenantId, false);
  }

  /** Whether to read more for the tenants that keep up. */
  get hasRoom(): boolean {
    const { count, size, apart } = this.#inMemory;
    return isBelowLimits(count - apart.count, size - apart.size);
  }

  /** Whether to read more for the tenants that lag. */
  get hasRoomForLagging(): boolean {
    const { count, size } = this.#inMemory.apart;
    return isBelowLimits(count, size);
  }

  /** Whether to read a page for a tenant that lags. Half of its share is free then. */
  hasRoomFor(tenantId: string): boolean {
    return this.#isBelow(tenantId, this.#laggingMax, 1 / 2);
  }

  /**
   * Whether one more change of the tenant may come into memory. `pageChanges` of the tenant were
   * taken from the same page of a large window; 0 for another window.
   */
  mayTake(tenantId: string, pageChanges: number): boolean {
    if (this.#lagging.has(tenantId)) return this.#isBelow(tenantId, this.#laggingMax, 1);
    return pageChanges < PAGE_SHARE_MAX && this.#isBelow(tenantId, this.#keepingUpMax, 1);
  }

  /**
   * Whether the deliveries of one change fit. One change of a tenant with 1,000 webhooks would keep
   * its lane's window open until they are all queued. A change of 1 MiB for 40 webhooks that hang
   * would stop the reading for everybody, until they are parked after a second. A tenant that lags
   * may go above its share with one change, as its page is taken while the lanes are read.
   */
  mayAdd(tenantId: string, deliveries: Amount): boolean {
    if (this.#lagging.has(tenantId)) return true;
    const { count, size } = this.#inMemory.ofTenant(tenantId);
    const max = this.#keepingUpMax;
    return count + deliveries.count <= max.count && size + deliveries.size <= max.size;
  }

  /** What one tenant that lags may have in memory. */
  get #laggingMax(): Amount {
    const share = 1 / Math.max(1, this.#lagging.size);
    return {
      count: Math.max(LEAST.count, READ_AHEAD_MAX * share),
      size: Math.max(LEAST.size, READ_AHEAD_SIZE_MAX * share),
    };
  }

  /** What one tenant that keeps up may have in memory. */
  get #keepingUpMax(): Amount {
    const { count, size, apart } = this.#inMemory;
    const max = (limit: number, used: number, least: number) =>
      Math.max(least, Math.min(limit * SHARE_KEEPING_UP, limit - used));
    return {
      count: max(READ_AHEAD_MAX, count - apart.count, LEAST_KEEPING_UP.count),
      size: max(READ_AHEAD_SIZE_MAX, size - apart.size, LEAST_KEEPING_UP.size),
    };
  }

  #isBelow(tenantId: string, max: Amount, part: number): boolean {
    const { count, size, queued, queuedMax } = this.#inMemory.ofTenant(tenantId);
    return count < max.count * part && queued < Math.min(max.count, queuedMax) * part && size < max.size * part;
  }
}

function isBelowLimits(count: number, size: number): boolean {
  return count < READ_AHEAD_MAX && size < READ_AHEAD_SIZE_MAX;
}
