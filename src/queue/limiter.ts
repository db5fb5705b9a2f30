/** How much at a time and how much a second: the two limits of a webhook, and of a tenant. */

/** Starts may come this early, together: nobody is timed finer than the tick that wakes a waiting queue. */
const BURST_MS = 100;

export class Limiter {
  #inFlight = 0;
  /** performance.now() at which the next start would be due if all came evenly. */
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

  /** One has started; every start pushes the next by 1/rate. What was not used is not saved up. */
  start(now: number): void {
    this.#inFlight += 1;
    if (this.ratePerSecond !== null) this.#evenlyAt = Math.max(this.#evenlyAt, now) + 1_000 / this.ratePerSecond;
  }

  end(): void {
    this.#inFlight -= 1;
  }
}
