/**
 * Node resolves names in a pool of 4 threads, 2 at a time, and a name whose server does not answer holds one for up to half a
 * minute: two such names, which any tenant can write into URLs, would keep every webhook from connecting. So there are 128
 * threads (libuv gives half of them to names), and a name that is being looked up is not looked up a second time meanwhile.
 * The setting counts until the pool is first used, so it is made here, at import.
 *
 * That alone only moves the number: 200 silent names kept an event for a good one waiting for 50 s. So who was quick the last time
 * goes first, and a part of the threads is kept for names that were.
 */
import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns';

process.env.UV_THREADPOOL_SIZE ??= '128';

/** What libuv looks up at a time. */
const LOOKUPS_MAX = Math.max(2, Math.floor(Number(process.env.UV_THREADPOOL_SIZE) / 2));

/** Names that took longer the last time are slow, and together get a quarter of the threads. */
const SLOW_MS = 1_000;
const SLOW_MAX = Math.ceil(LOOKUPS_MAX / 4);

/** Slow ones and those that nothing is known of get three quarters together: the rest is for names that have proved quick. */
const UNPROVED_MAX = LOOKUPS_MAX - SLOW_MAX;

/** Names that are remembered. */
const NAMES_MAX = 10_000;

/** How `dns.lookup` is called here, so that a test can answer in its place. */
export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** One lookup of a name at a time; who asks meanwhile gets the same answer. */
export function shared(resolve: Resolve): Resolve {
  const asking = new Map<string, Parameters<Resolve>[2][]>();
  return (hostname, options, callback) => {
    const key = `${hostname} ${JSON.stringify(options)}`;
    const waiting = asking.get(key);
    if (waiting) {
      waiting.push(callback);
      return;
    }
    const callbacks = [callback];
    asking.set(key, callbacks);
    resolve(hostname, options, (error, addresses) => {
      asking.delete(key);
      for (const each of callbacks) each(error, addresses);
    });
  };
}

/** Lookups wait for a thread here, the quickest names first, and not in libuv's queue. */
export function quickestFirst(resolve: Resolve): Resolve {
  /** Milliseconds that a name took the last time, longest unused first. */
  const took = new Map<string, number>();
  const waiting: { expectedMs: number; start: () => void }[] = [];
  const running = { all: 0, unproved: 0, slow: 0 };

  const count = (expectedMs: number, by: 1 | -1) => {
    running.all += by;
    if (expectedMs >= SLOW_MS) running.unproved += by;
    if (expectedMs > SLOW_MS) running.slow += by;
  };
  const hasThread = (expectedMs: number) =>
    running.all < LOOKUPS_MAX &&
    (expectedMs < SLOW_MS || running.unproved < UNPROVED_MAX) &&
    (expectedMs <= SLOW_MS || running.slow < SLOW_MAX);
  const startThoseThatMay = () => {
    waiting.sort((a, b) => a.expectedMs - b.expectedMs);
    for (const one of waiting.splice(0)) {
      if (hasThread(one.expectedMs)) one.start();
      else waiting.push(one);
    }
  };

  return (hostname, options, callback) => {
    // a name that nothing is known of stands between the quick and the slow
    const expectedMs = took.get(hostname) ?? SLOW_MS;
    const start = () => {
      const startedAt = performance.now();
      count(expectedMs, 1);
      resolve(hostname, options, (error, addresses) => {
        count(expectedMs, -1);
        took.delete(hostname);
        took.set(hostname, performance.now() - startedAt);
        const [unused] = took.size > NAMES_MAX ? took.keys() : [];
        if (unused !== undefined) took.delete(unused);
        startThoseThatMay();
        callback(error, addresses);
      });
    };
    waiting.push({ expectedMs, start });
    startThoseThatMay();
  };
}

export const systemResolve = shared(quickestFirst(lookup));
