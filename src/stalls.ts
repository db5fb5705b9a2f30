/**
 * Time in which the daemon itself stood still: the host took its processor, or the process was paused. It says nothing about an
 * endpoint, so it does not count against one: without this, a pause of a second parked all that was in memory.
 */

/** A tick may be so late without a reason to speak of. */
const LATE_MS = 100;

/** Nothing is asked about longer ago. */
const KEPT_MS = 60_000;

export class Stalls {
  readonly #everyMs: number;
  #tickedAt = performance.now();
  /** When each ended, and how long it took. */
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
    if (late <= LATE_MS) return;
    this.#stalls = this.#stalls.filter(({ endedAt }) => now - endedAt < KEPT_MS);
    this.#stalls.push({ endedAt: now, ms: late });
  }

  /** Milliseconds between two times by performance.now(), the second one now, without those in which the daemon stood still. */
  between(since: number, now: number): number {
    return this.#stalls.reduce((ms, stall) => (stall.endedAt > since ? ms - stall.ms : ms), now - since);
  }
}
