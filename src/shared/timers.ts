/** Timers that tell how late they are: the event loop's lag, measured where there is a timer anyway. */

/** Calls `work` every `ms`, and `onLate` before it with the seconds by which the call is late. */
export function everyMs(ms: number, onLate: (seconds: number) => void, work: () => void): NodeJS.Timeout {
  let dueAt = performance.now() + ms;
  return setInterval(() => {
    const now = performance.now();
    onLate(Math.max(0, now - dueAt) / 1_000);
    dueAt = now + ms;
    work();
  }, ms);
}

/** What the promise gives, or undefined when it fails or takes longer. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}
