/**
 * With ordering 'row', a delivery whose attempt failed blocks its row: it is the row's head, and the row's later deliveries are parked behind
 * it, without a time. When the head is done or is given up, RECORD gives the next one its time, in the same
 * transaction; so the order holds across restarts and takeovers. A row that is blocked when its webhook gives that ordering up
 * drains so too: what waits without a time would wait for ever.
 */
import type { Delivery, RowHead } from '../model.ts';

interface BlockedRow {
  /** Delivery id of the row's head. */
  head: string;
  /** Parked behind it, but not committed yet. */
  uncommitted: number;
}

export class RowOrder {
  readonly #rows = new Map<string, BlockedRow>();

  get size(): number {
    return this.#rows.size;
  }

  /** It, or another one, is the failed head of its row. */
  isBlocked(delivery: Pick<Delivery, 'change'>): boolean {
    if (this.#rows.size === 0) return false;
    const row = rowOf(delivery);
    return row !== null && this.#rows.has(row);
  }

  /** Its row's failed head holds it back. */
  isBehindHead(delivery: Pick<Delivery, 'id' | 'change'>): boolean {
    // mostly so, and a row's name need not be made
    if (this.#rows.size === 0) return false;
    const row = rowOf(delivery);
    const blocked = row === null ? undefined : this.#rows.get(row);
    return blocked !== undefined && blocked.head !== delivery.id;
  }

  /** An attempt of this delivery failed, and it will be tried again: the later ones of its row wait for it. */
  block(delivery: Delivery): void {
    const row = rowOf(delivery);
    if (row !== null) this.#rows.set(row, { head: delivery.id, uncommitted: this.#rows.get(row)?.uncommitted ?? 0 });
  }

  /** One more (or, with -1, one less) parked behind the row's head without being committed. */
  countBehind(delivery: Delivery, by: 1 | -1): void {
    const blocked = this.#rows.get(rowOf(delivery) ?? '');
    if (blocked) blocked.uncommitted += by;
  }

  /** What a commit left of a row: its head now, or none. */
  setHead(delivery: RowHead['delivery'], head: string | null): void {
    const row = rowOf(delivery);
    if (row === null) return;
    const blocked = this.#rows.get(row);
    if (head !== null) this.#rows.set(row, { head, uncommitted: blocked?.uncommitted ?? 0 });
    else if (blocked && blocked.uncommitted === 0) this.#rows.delete(row);
  }
}

/** What tells a watched row from all others; null: the event is of none. */
export function rowOf({ change }: { change: { sourceId: number | null; rowKey: string | null } }): string | null {
  return change.rowKey === null ? null : `${change.sourceId}:${change.rowKey}`;
}
