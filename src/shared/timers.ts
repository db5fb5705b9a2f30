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
