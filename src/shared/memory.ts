/** How much payload may be in memory: what is asked for, or less where V8 has little (a small container, --max-old-space-size). */
import { getHeapStatistics } from 'node:v8';

const HEAP_BYTES = getHeapStatistics().heap_size_limit;

/** `bytes`, or this share of the heap if that is less. */
export function withinHeap(bytes: number, share: number): number {
  return Math.floor(Math.min(bytes, share * HEAP_BYTES));
}
