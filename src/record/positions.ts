/** Decides when positions are written, and which: those that have moved since they were written. */
import type { DonePosition } from './position-rows.ts';

/**
 * How often positions are written. After a crash, changes after the last one are checked again.
 * Under load they are written less often: while a transaction stays open, each write leaves 16 row
 * versions that every later batch steps over. 14,400 of them make a batch 1.2 ms slower.
 */
const EVERY_MS = { idle: 1_000, busy: 2_000 };

export interface PositionsOptions {
  /** The positions that may be written: everything before them has committed. */
  positions(): ReadonlyMap<number | string, DonePosition>;
  onPositionsWritten?(moved: readonly DonePosition[]): void;
  /** Nothing waits to be delivered or recorded. */
  isIdle(): boolean;
}

export class Positions {
  readonly #options: PositionsOptions;
  readonly #written = new Map<number | string, DonePosition>();
  #writtenAt = performance.now();

  constructor(options: PositionsOptions) {
    this.#options = options;
  }

  get areDue(): boolean {
    return performance.now() - this.#writtenAt >= (this.#options.isIdle() ? EVERY_MS.idle : EVERY_MS.busy);
  }

  makeDue(): void {
    this.#writtenAt = -Infinity;
  }

  /** The positions that have moved since they were written. */
  get moved(): DonePosition[] {
    return [...this.#options.positions()].flatMap(([key, done]) => (this.#written.get(key) === done ? [] : done));
  }

  /** `moved` has committed. `all`: these were all that had moved. */
  noteWritten(moved: readonly DonePosition[], all: boolean): void {
    for (const done of moved) {
      if (done.position === null) this.#written.delete(done.tenantId as string);
      else this.#written.set(done.tenantId ?? done.lane, done);
    }
    if (all) this.#writtenAt = performance.now();
    this.#options.onPositionsWritten?.(moved);
  }
}
