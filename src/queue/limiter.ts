/** The two limits of a webhook, or of a tenant: attempts at a time, and attempts per second. */

/**
 * Starts may come early by BURST_MS, several together, because the tick that wakes a waiting queue
 * is not more precise than that.
 */
const BURST_MS = 100;

export class Limiter {
  #inFlight = 0;
  /**
   * The time by performance.now() at which the next start would be due if starts were evenly
   * spaced.
   */
  #evenlyAt = 0;
  inFlightMax: number;
  ratePerSecond: number | null;

  constructor(inFlightMax: number, ratePerSecond: number | null) {
    this.inFlightMax = inFlightMax;
    this.ratePerSecond = ratePerSecond;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  mayStart(now: number): boolean {
    return this.#inFlight < this.inFlightMax && (this.ratePerSecond === null || this.#evenlyAt <= now + BURST_MS);
  }

  /**
   * Counts a start. Each start delays the next one by 1 / `ratePerSecond`. Unused starts are not
   * saved up.
   */
  start(now: number): void {
    this.#inFlight += 1;
    if (this.ratePerSecond !== null) this.#evenlyAt = Math.max(this.#evenlyAt, now) + 1_000 / this.ratePerSecond;
  }

  end(): void {
    this.#inFlight -= 1;
  }
}
