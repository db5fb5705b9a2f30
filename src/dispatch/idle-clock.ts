/**
 * A clock that runs while the daemon has time to spare. What waits in memory is held against its endpoint by this clock: while the
 * daemon is busy, or paused, or its host takes the processor, or PostgreSQL takes long to record, the wait says nothing about an endpoint.
 *
 * An endpoint that is in the way of others cannot hide behind it: once nothing else gets through, the daemon is idle, and the clock runs.
 * By the wall clock a daemon short of CPU parked all that it read, which costs three times as much CPU: a drain at 5,000 a second that the
 * host slowed to 1,000 for a moment stayed at 2,250 to its end.
 */
import { performance } from 'node:perf_hooks';

/** How exact it is: marks in the time that is asked for. */
const MARKS = 20;

export class IdleClock {
  readonly #tickMs: number;
  readonly #markMs: number;
  #loop = performance.eventLoopUtilization();
  #spareMs = 0;
  /** By performance.now(), one for every `markMs` of spare time, the latest last. */
  readonly #marks: number[] = [];

  /** `since` looks back over `ms` of idle time. Call `tick()` every `tickMs`. */
  constructor(ms: number, tickMs: number) {
    this.#tickMs = tickMs;
    this.#markMs = ms / MARKS;
  }

  /** `isWaiting`: for something of its own, which is not to count. */
  tick(now: number, isWaiting: boolean): void {
    const { idle } = this.#loop;
    this.#loop = performance.eventLoopUtilization();
    // a process that was paused while it waited for sockets was idle for longer than the timer
    if (!isWaiting) this.#spareMs += Math.min(this.#loop.idle - idle, this.#tickMs);
    if (this.#spareMs < this.#markMs) return;
    this.#spareMs -= this.#markMs;
    this.#marks.push(now);
    if (this.#marks.length > MARKS) this.#marks.shift();
  }

  /** The time by performance.now() since which there was so much to spare; -Infinity: there was not so much yet. */
  get since(): number {
    return this.#marks.length < MARKS ? -Infinity : (this.#marks[0] as number);
  }
}
