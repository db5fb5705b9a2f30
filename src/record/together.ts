/**
 * Entries that only leave a log wait for others, until there are COUNT of them, or for WAIT_MS. At
 * 100 events a second these are 20 statements and flushes a second instead of 100. Their permits
 * stay taken, so of few permits only a part may wait.
 */
import type { Entry } from '../model.ts';
import { leavesItsLogOnly } from './batches.ts';

const COUNT = 16;
const WAIT_MS = 50;
const SHARE = 1 / 4;

export class Together {
  readonly #max: number;
  readonly #onDue: () => void;
  #timer: NodeJS.Timeout | undefined;

  /** `maxInFlight`: the permits of the daemon. */
  constructor(maxInFlight: number, onDue: () => void) {
    this.#max = Math.min(COUNT, Math.ceil(maxInFlight * SHARE));
    this.#onDue = onDue;
  }

  /** `entry` is the last one of `count` entries that are not written yet. */
  added(entry: Entry, count: number): void {
    if (count >= this.#max || !leavesItsLogOnly(entry)) this.#onDue();
    else this.#timer ??= setTimeout(this.#onDue, WAIT_MS);
  }

  /** Nothing waits any more. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
