/**
 * How many of a tenant's deliveries may be queued, so that each of them starts soon. A delivery
 * that is queued for a second is parked (dispatch/dispatcher.ts), and parking costs more than
 * reading it later.
 *
 * The number grows while deliveries start quickly, and halves when one was queued for too long: the
 * way in which TCP finds out how much a network takes. With a receiver that answers after 50 ms and
 * 8 attempts at a time, some 70 deliveries are queued.
 *
 * Only time in which the daemon is idle counts (dispatch/idle-clock.ts), because a daemon that is
 * short of CPU says nothing about a receiver. On a host with a load of 18, a tenant with one webhook
 * sent 64 % of what a tenant with 50 webhooks sent beside it in their first 4,000 deliveries; 44 %
 * when elapsed time counted.
 */

/** For a tenant that nothing is known of. */
const START = 64;
const LEAST = 16;
const MOST = 1_000;

/** Deliveries that start within QUICK_MS let the number grow. One that takes SLOW_MS halves it. */
const QUICK_MS = 200;
const SLOW_MS = 400;

export class Pace {
  #queuedMax = START;
  /** By the idle clock. */
  #halvedAt = Number.NEGATIVE_INFINITY;

  get queuedMax(): number {
    return this.#queuedMax;
  }

  /** Whether it differs from that of an unknown tenant. */
  get isKnown(): boolean {
    return this.#queuedMax !== START;
  }

  /** One of `queued` deliveries starts at `idleMs` of the idle clock, after `waitedMs` on it. */
  noteStart(queued: number, waitedMs: number, idleMs: number): void {
    // A short queue says nothing about a longer one.
    if (waitedMs < QUICK_MS && this.#queuedMax < MOST && queued > this.#queuedMax / 2) this.#queuedMax += 1;
    else this.noteWait(waitedMs, idleMs);
  }

  /** One was queued for `waitedMs`, and starts or is parked at `idleMs`. */
  noteWait(waitedMs: number, idleMs: number): void {
    if (waitedMs < SLOW_MS || this.#queuedMax === LEAST) return;
    // Those that were queued together are slow together.
    if (idleMs - this.#halvedAt < SLOW_MS) return;
    this.#halvedAt = idleMs;
    this.#queuedMax = Math.max(LEAST, this.#queuedMax >> 1);
  }
}
