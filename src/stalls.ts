/**
 * Time in which the daemon itself stood still: the host took its processor, or the process was paused. It says nothing about an
 * endpoint, so it does not count against one: without this, a pause of a second parked all that was in memory.
 */

/** A tick may be so late without a reason to speak of. */
const LATE_MS = 100;

export class Stalls {
  readonly #everyMs: number;
  #tickedAt = performance.now();
  /** When each ended, and how long it took; the latest first, and those that still matter. */
  #stalls: { endedAt: number; ms: number }[] = [];

  /** It will be told every `everyMs` that the loop turns. */
  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** It was not told, since there was nothing to do; from now on it is. */
  begin(): void {
    this.#tickedAt = performance.now();
  }

  tick(now: number): void {
    const late = now - this.#tickedAt - this.#everyMs;
    this.#tickedAt = now;
    if (late > LATE_MS) this.#stalls.unshift({ endedAt: now, ms: late });
  }

  /** The time by performance.now() since which `ms` have passed until now, without those in which the daemon stood still. */
  since(ms: number, now: number): number {
    let [left, at] = [ms, now];
    for (const [i, stall] of this.#stalls.entries()) {
      if (at - stall.endedAt >= left) {
        this.#stalls.length = i;
        break;
      }
      left -= at - stall.endedAt;
      at = stall.endedAt - stall.ms;
    }
    return at - left;
  }
}
