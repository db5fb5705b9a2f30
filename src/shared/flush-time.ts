/**
 * Estimates how long this server takes to flush a commit. Rings depend on it (read/doorbell.ts). A
 * small write and a small read take the same time, except for the flush. Their quickest ones count,
 * because a busy machine makes some of them slow, and none of them quick.
 */
const RECENT = 16;

class Quickest {
  readonly #recentMs: number[] = [];

  add(ms: number): void {
    this.#recentMs.push(ms);
    if (this.#recentMs.length > RECENT) this.#recentMs.shift();
  }

  /** Undefined: too few are known. */
  get ms(): number | undefined {
    return this.#recentMs.length < RECENT / 2 ? undefined : Math.min(...this.#recentMs);
  }
}

export class FlushTime {
  readonly #writes = new Quickest();
  readonly #reads = new Quickest();

  noteWrite(ms: number): void {
    this.#writes.add(ms);
  }

  noteRead(ms: number): void {
    this.#reads.add(ms);
  }

  /** Undefined: it is not known yet. */
  get ms(): number | undefined {
    const [write, read] = [this.#writes.ms, this.#reads.ms];
    return write === undefined || read === undefined ? undefined : Math.max(0, write - read);
  }
}
