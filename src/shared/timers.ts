/**
 * Timers that report how late they run. This measures the event loop's lag without extra timers.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long matching may take until others have a turn. */
const STEP_MS = 4;

/**
 * Calls `work` every `ms`. Before each call, calls `onLate` with the seconds by which it is late.
 */
export function everyMs(ms: number, onLate: (seconds: number) => void, work: () => void): NodeJS.Timeout {
  let dueAt = performance.now() + ms;
  return setInterval(() => {
    const now = performance.now();
    onLate(Math.max(0, now - dueAt) / 1_000);
    dueAt = now + ms;
    work();
  }, ms);
}

/**
 * Long work in steps: after STEP_MS it pauses for a turn of the event loop, so that attempts,
 * timers and the lease go on.
 */
export class Steps {
  #began = performance.now();

  /** Whether to pause now. An `await` in each turn of a loop would cost more than this check. */
  get isOver(): boolean {
    return performance.now() - this.#began >= STEP_MS;
  }

  async pause(): Promise<void> {
    await nextTurn();
    this.#began = performance.now();
  }
}

/** The promise's value, or undefined if it fails or takes longer than `ms`. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}
