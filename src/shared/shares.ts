/**
 * Shares: of V8's heap, which may be small (a small container, --max-old-space-size), and of what
 * tenants have together: permits (dispatch/in-flight.ts), bytes of large bodies
 * (dispatch/body-bytes.ts), threads for names (deliver/dns.ts).
 */
import { getHeapStatistics } from 'node:v8';

const HEAP_BYTES = getHeapStatistics().heap_size_limit;

/** `bytes`, or `share` of the heap if that is less. */
export function withinHeap(bytes: number, share: number): number {
  return Math.floor(Math.min(bytes, share * HEAP_BYTES));
}

/** Share of all suspects together, and of all attempts that are not slow. */
export const SHARE = 2 / 3;

/**
 * Share of one tenant. Attempts that hang cannot be taken back, so the rest is kept free for others.
 * The request that crosses it is still sent.
 */
export const TENANT_SHARE = 1 / 2;

/** A tenant may have this many times of what is free: ten tenants leave a fortieth to others. */
export const TIMES_FREE = 4;
