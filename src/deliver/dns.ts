/**
 * Keeps slow DNS names from delaying other webhooks.
 *
 * By default, Node resolves names in a pool of 4 threads, 2 names at a time. A name whose server
 * does not answer holds a thread for up to half a minute. Any tenant can write two such names into
 * URLs, and then no webhook could connect. So the pool has 128 threads, of which libuv uses half
 * for names. While a name is being looked up, it is not looked up a second time. The pool's size
 * cannot change after its first use, so it is set at import.
 *
 * A larger pool alone is not enough: 200 names without an answer delayed an event for a good name
 * by 50 s. So names that were quick the last time go first, and some threads are reserved for them. A
 * tenant has a share of the others: beside 1,000 names without an answer, a new name of another
 * tenant waited for 20 s.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns';
import { TENANT_SHARE, TIMES_FREE } from '../shared/shares.ts';

process.env.UV_THREADPOOL_SIZE ??= '128';

/** Lookups that libuv runs at the same time. */
const LOOKUPS_MAX = Math.max(2, Math.floor(Number(process.env.UV_THREADPOOL_SIZE) / 2));

/** A name is slow if its last lookup took longer. Slow names share a quarter of the threads. */
const SLOW_MS = 1_000;
const SLOW_MAX = Math.ceil(LOOKUPS_MAX / 4);

/**
 * Limit for slow names and unknown names together: three quarters of the threads. The rest is
 * reserved for names that were quick.
 */
const UNPROVED_MAX = LOOKUPS_MAX - SLOW_MAX;

/** The tenant for which a connection is opened. undici opens it while a request is dispatched. */
const asking = new AsyncLocalStorage<string>();

/** Runs `work`. Names that it looks up count for this tenant. */
export function onBehalfOf(tenantId: string, work: () => void): void {
  asking.run(tenantId, work);
}

/** Number of names whose lookup time is remembered. */
const NAMES_MAX = 10_000;

/** The type of `dns.lookup` as it is called here. A test can pass a replacement. */
export type Resolve = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** Runs one lookup of a name at a time. Callers that ask meanwhile get the same answer. */
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

/** Queues lookups here, quickest names first, because libuv's own queue has no priorities. */
export function quickestFirst(resolve: Resolve): Resolve {
  /** Milliseconds that each name's last lookup took. The least recently used name is first. */
  const took = new Map<string, number>();
  const waiting: { tenantId: string; expectedMs: number; start: () => void }[] = [];
  const running = { all: 0, unproved: 0, slow: 0 };
  /** Lookups of unproved names that run. */
  const byTenant = new Map<string, number>();

  const count = (tenantId: string, expectedMs: number, by: 1 | -1) => {
    running.all += by;
    if (expectedMs > SLOW_MS) running.slow += by;
    if (expectedMs < SLOW_MS) return;
    running.unproved += by;
    const left = (byTenant.get(tenantId) ?? 0) + by;
    if (left === 0) byTenant.delete(tenantId);
    else byTenant.set(tenantId, left);
  };
  const hasShare = (tenantId: string) => {
    const free = UNPROVED_MAX - running.unproved;
    return (byTenant.get(tenantId) ?? 0) < Math.min(TENANT_SHARE * UNPROVED_MAX, TIMES_FREE * free);
  };
  const hasThread = (tenantId: string, expectedMs: number) =>
    running.all < LOOKUPS_MAX &&
    (expectedMs < SLOW_MS || hasShare(tenantId)) &&
    (expectedMs <= SLOW_MS || running.slow < SLOW_MAX);
  const startThoseThatMay = () => {
    waiting.sort((a, b) => a.expectedMs - b.expectedMs);
    for (const one of waiting.splice(0)) {
      if (hasThread(one.tenantId, one.expectedMs)) one.start();
      else waiting.push(one);
    }
  };

  return (hostname, options, callback) => {
    const tenantId = asking.getStore() ?? '';
    // An unknown name ranks between the quick names and the slow ones.
    const expectedMs = took.get(hostname) ?? SLOW_MS;
    const start = () => {
      const startedAt = performance.now();
      count(tenantId, expectedMs, 1);
      resolve(hostname, options, (error, addresses) => {
        count(tenantId, expectedMs, -1);
        took.delete(hostname);
        took.set(hostname, performance.now() - startedAt);
        const [unused] = took.size > NAMES_MAX ? took.keys() : [];
        if (unused !== undefined) took.delete(unused);
        startThoseThatMay();
        callback(error, addresses);
      });
    };
    waiting.push({ tenantId, expectedMs, start });
    startThoseThatMay();
  };
}

export const systemResolve = shared(quickestFirst(lookup));
