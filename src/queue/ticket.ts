/** One delivery in memory. */
import type { Change, Delivery } from '../model.ts';

export interface Ticket {
  delivery: Delivery;
  /** Called when its attempt starts. */
  start?: () => void;
  /** Called when the delivery's window need not wait for it any more. */
  settle: () => void;
  /**
   * By performance.now(). Infinity for a delivery that was read back, because no window waits for
   * it.
   */
  queuedAt: number;
}

/** Characters of the payload. A payload hardly ever has more bytes than characters. */
export function payloadSizeOf({ data, previous }: Change): number {
  return (data?.length ?? 0) + (previous?.length ?? 0);
}

/** Orders tickets by change, and by event within one change. */
export function byChange(a: Ticket, b: Ticket): number {
  const [x, y] = [a.delivery.change.id, b.delivery.change.id];
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : a.delivery.ordinal - b.delivery.ordinal);
}
