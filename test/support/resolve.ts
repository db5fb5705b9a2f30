import { isIP } from 'node:net';
import type { Resolve } from '../../src/deliver/dns.ts';

/** Resolves every name to `ips`. */
export const answer =
  (...ips: string[]): Resolve =>
  (_name, _options, callback) =>
    setImmediate(
      callback,
      null,
      ips.map((address) => ({ address, family: isIP(address) })),
    );
