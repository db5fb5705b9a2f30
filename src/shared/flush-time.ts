/**
 * Estimates how long this server takes to flush a commit. Rings depend on it (read/doorbell.ts). A
 * small write and a small read take the same time, except for the flush. A busy machine makes some
 * of them slow and none of them quick, so the quickest read counts. A write may also be quick
 * because it was flushed with another transaction's, so a quarter of the writes were quicker than
 * the one that counts.
 */
const RECENT = 32;
const LEAST = 8;

class Recent {
  readonly #ms: number[] = [];

  add(ms: number): void {
    this.#ms.push(ms);
    if (this.#ms.length > RECENT) this.#ms.shift();
  }

  /** The value that `share` of the recent ones are below. Undefined: too few are known. */
  quantile(share: number): number | undefined {
    if (this.#ms.length < LEAST) return undefined;
    return this.#ms.toSorted((a, b) => a - b)[Math.floor(share * this.#ms.length)];
  }
}

export class FlushTime {
  readonly #writes = new Recent();
  readonly #reads = new Recent();

  noteWrite(ms: number): void {
    this.#writes.add(ms);
  }

  noteRead(ms: number): void {
    this.#reads.add(ms);
  }

  /** Undefined: it is not known yet. */
  get ms(): number | undefined {
    const [write, read] = [this.#writes.quantile(1 / 4), this.#reads.quantile(0)];
    return write === undefined || read === undefined ? undefined : Math.max(0, write - read);
  }
}
