/**
 * Signals that ask a process to end. npm passes a Ctrl-C on to a child that already got it from the
 * terminal. So a repeat within this time counts as the same request.
 */
const SAME_REQUEST_MS = 300;

/** `process`, or a test's own. */
interface Signalled {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/**
 * Resolves at the first SIGINT or SIGTERM. `onSecond` runs at the next one, from a user who does
 * not want to wait.
 */
export function untilAskedToStop(process: Signalled, onSecond: () => void): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt = 0;
    const listener = (signal: NodeJS.Signals) => {
      const now = performance.now();
      if (firstAt === 0) {
        firstAt = now;
        resolve(signal);
      } else if (now - firstAt > SAME_REQUEST_MS) {
        onSecond();
      }
    };
    process.on('SIGINT', listener);
    process.on('SIGTERM', listener);
  });
}
