/**
 * Checks a webhook's URL by its text and splits it. The result depends only on the URL, allowed_ips
 * and the policy, so it is cached. Parsing and checking took 5 % of a delivery's CPU for a host
 * that is an address.
 */

import type { CompiledPolicy } from './address-guard.ts';
import { type Refused, refusalOfUrl } from './url-guard.ts';

/** Limit on cached URLs. The oldest entry is removed first. */
const TARGETS_MAX = 1_000;

export interface Target {
  origin: string;
  /** Path and query. */
  path: string;
  /** Host and port. Messages quote only these, because the rest of the URL may hold secrets. */
  host: string;
}

export class Targets {
  readonly #policy: CompiledPolicy;
  readonly #known = new Map<string, Target | Refused>();

  constructor(policy: CompiledPolicy) {
    this.#policy = policy;
  }

  /** The target, or why no request is sent there. Throws if `allowedIps` holds an invalid range. */
  of(url: string, allowedIps: readonly string[] | null): Target | Refused {
    // A range contains no blank, so two different pairs of ranges and URL never share a key.
    const key = `${allowedIps?.join() ?? ''} ${url}`;
    let target = this.#known.get(key);
    if (target === undefined) {
      target = this.#look(url, allowedIps);
      if (this.#known.size >= TARGETS_MAX) this.#known.delete(this.#known.keys().next().value as string);
      this.#known.set(key, target);
    }
    return target;
  }

  #look(text: string, allowedIps: readonly string[] | null): Target | Refused {
    const refused = refusalOfUrl(text, this.#policy, allowedIps ?? undefined);
    if (refused !== undefined) return refused;
    const { origin, pathname, search, host } = new URL(text);
    return { origin, path: pathname + search, host };
  }
}
