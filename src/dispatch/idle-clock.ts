/**
 * A clock that runs only while the daemon is idle. It measures how long deliveries wait in memory
 * for their endpoints. The daemon may be busy or paused, its host may lack CPU, or PostgreSQL may
 * take long to record. A wait during that time says nothing about an endpoint, so the clock stands
 * still.
 *
 * An endpoint that blocks others is still found: once no other request gets through, the daemon is
 * idle, and the clock runs. When elapsed time decided, a daemon short of CPU parked everything that
 * it read. Parking costs three times as much CPU. In a drain of 5,000 events a second, the host
 * slowed the daemon to 1,000 for a moment. The drain then stayed at 2,250 until its end.
 */
import { performance } from 'node:perf_hooks';

/** The resolution of the clock: marks within the `ms` of the constructor. */
const MARKS = 20;

export class IdleClock {
  readonly #tickMs: number;
  readonly #markMs: number;
  #loop = performance.eventLoopUtilization();
  #spareMs = 0;
  #idleMs = 0;
  /** One time by performance.now() for every `markMs` of idle time, latest last. */
  readonly #marks: number[] = [];

  /** `since` looks back over `ms` of idle time. Call `tick()` every `tickMs`. */
  constructor(ms: number, tickMs: number) {
    this.#tickMs = tickMs;
    this.#markMs = ms / MARKS;
  }

  /** `isWaiting`: the daemon waits for its own recorder, and this time does not count as idle. */
  tick(now: number, isWaiting: boolean): void {
    const { idle } = this.#loop;
    this.#loop = performance.eventLoopUtilization();
    // A process that was paused while it waited for sockets was idle for longer than `tickMs`.
    const spareMs = isWaiting ? 0 : Math.min(this.#loop.idle - idle, this.#tickMs);
    this.#idleMs += spareMs;
    this.#spareMs += spareMs;
    if (this.#spareMs < this.#markMs) return;
    this.#spareMs -= this.#markMs;
    this.#marks.push(now);
    if (this.#marks.length > MARKS) this.#marks.shift();
  }

  /** Milliseconds for which the daemon has been idle so far. */
  get idleMs(): number {
    return this.#idleMs;
  }

  /**
   * The time by performance.now() since which the daemon was idle for `ms`. -Infinity: it was not
   * idle for that long yet.
   */
  get since(): number {
    return this.#marks.length < MARKS ? -Infinity : (this.#marks[0] as number);
  }
}
