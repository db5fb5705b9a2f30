/**
 * Node resolves names in a pool of 4 threads, 2 at a time, and a name whose server does not answer holds one for up to half a
 * minute: two such names, which any tenant can write into URLs, would keep every webhook from connecting. So there are 128
 * threads (libuv gives half of them to names), and a name that is being looked up is not looked up a second time meanwhile.
 * The setting counts until the pool is first used, so it is made here, at import.
 */
import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns';

process.env.UV_THREADPOOL_SIZE ??= '128';

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

export const systemResolve = shared(lookup);
