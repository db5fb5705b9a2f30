/**
 * Limits the payload in memory to a share of V8's heap, which may be small (a small container,
 * --max-old-space-size).
 */
import { getHeapStatistics } from 'node:v8';

const HEAP_BYTES = getHeapStatistics().heap_size_limit;

/** `bytes`, or `share` of the heap if that is less. */
export function withinHeap(bytes: number, share: number): number {
  return Math.floor(Math.min(bytes, share * HEAP_BYTES));
}
