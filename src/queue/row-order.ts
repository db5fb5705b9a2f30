/**
 * With ordering 'row', a delivery whose attempt failed blocks its row and is the row's head. The
 * row's later deliveries are parked behind the head, without a due time. When the head is done or
 * given up, RECORD gives the next delivery its time in the same transaction. So the order survives
 * restarts and takeovers. If the webhook gives up ordering 'row', its blocked rows still drain in
 * this way. Otherwise deliveries without a time would wait forever.
 */
import type { Delivery, RowHead } from '../model.ts';

interface BlockedRow {
  /** Delivery id of the row's head. */
  head: string;
  /** Number of deliveries parked behind the head that are not committed yet. */
  uncommitted: number;
}

export class RowOrder {
  readonly #rows = new Map<string, BlockedRow>();

  get size(): number {
    return this.#rows.size;
  }

  /** Whether the row of `delivery` has a failed head. `delivery` may be the head itself. */
  isBlocked(delivery: Pick<Delivery, 'change'>): boolean {
    if (this.#rows.size === 0) return false;
    const row = rowOf(delivery);
    return row !== null && this.#rows.has(row);
  }

  /** Whether `delivery` must wait for another delivery, the failed head of its row. */
  isBehindHead(delivery: Pick<Delivery, 'id' | 'change'>): boolean {
    // The usual case. It avoids building the row's name.
    if (this.#rows.size === 0) return false;
    const row = rowOf(delivery);
    const blocked = row === null ? undefined : this.#rows.get(row);
    return blocked !== undefined && blocked.head !== delivery.id;
  }

  /**
   * An attempt of `delivery` failed and will be retried. Later deliveries of its row wait for it.
   */
  block(delivery: Delivery): void {
    const row = rowOf(delivery);
    if (row !== null) this.#rows.set(row, { head: delivery.id, uncommitted: this.#rows.get(row)?.uncommitted ?? 0 });
  }

  /** Counts one delivery more (1) or less (-1) that is parked behind the head and not committed. */
  countBehind(delivery: Delivery, by: 1 | -1): void {
    const blocked = this.#rows.get(rowOf(delivery) ?? '');
    if (blocked) blocked.uncommitted += by;
  }

  /** Sets the head of a row after a commit. Null: the row has no head any more. */
  setHead(delivery: RowHead['delivery'], head: string | null): void {
    const row = rowOf(delivery);
    if (row === null) return;
    const blocked = this.#rows.get(row);
    if (head !== null) this.#rows.set(row, { head, uncommitted: blocked?.uncommitted ?? 0 });
    else if (blocked && blocked.uncommitted === 0) this.#rows.delete(row);
  }
}

/** A name for the watched row of an event. Null: the event belongs to no row. */
export function rowOf({ change }: { change: { sourceId: number | null; rowKey: string | null } }): string | null {
  return change.rowKey === null ? null : `${change.sourceId}:${change.rowKey}`;
}
