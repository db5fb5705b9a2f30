/**
 * Timers that report how late they run. This measures the event loop's lag without extra timers.
 */

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

/** The promise's value, or undefined if it fails or takes longer than `ms`. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}
