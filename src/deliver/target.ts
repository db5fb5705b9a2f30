/**
 * What a webhook's URL comes to: judged by its text, and taken apart. It is the same for each of the webhook's requests, and nothing of
 * it goes by what changes, so it is kept: parsing and judging took 5 % of a delivery's CPU where the host is an address.
 */

import type { OutcomeCode } from '../outcome.ts';
import { type CompiledPolicy, httpProblem, placeProblem } from './address-guard.ts';

/** Of the URLs that something was sent to last. */
const TARGETS_MAX = 1_000;

export interface Target {
  origin: string;
  /** With its query. */
  path: string;
  /** With its port; for sentences, as the rest may hold secrets. */
  host: string;
}

/** Why nothing is sent to a URL. */
export interface Refused {
  code: Extract<OutcomeCode, 'address_refused' | 'http_refused'>;
  error: string;
}

export class Targets {
  readonly #policy: CompiledPolicy;
  readonly #known = new Map<string, Target | Refused>();

  constructor(policy: CompiledPolicy) {
    this.#policy = policy;
  }

  /** The target, or why nothing is sent there. Throws when one of `allowedIps` is no range. */
  of(url: string, allowedIps: readonly string[] | null): Target | Refused {
    // no range holds a blank, so nobody's URL can stand for another's ranges and URL
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
    const place = placeProblem(text, this.#policy, allowedIps ?? undefined);
    if (place !== undefined) return { code: 'address_refused', error: place };
    const http = httpProblem(text, this.#policy);
    if (http !== undefined) return { code: 'http_refused', error: http };
    const { origin, pathname, search, host } = new URL(text);
    return { origin, path: pathname + search, host };
  }
}
