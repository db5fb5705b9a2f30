/**
 * The health of one webhook: a circuit breaker, and the count that disables it in the end. Pure.
 *
 *   closed ──10 failures in a row──▶ open ──5 s, then 10 s … 10 min───▶ probing ──success──▶ closed
 *                                     ▲                                    │
 *                                     └──────────────failure───────────────┘
 *
 * While a breaker is open, its events are parked, not lost, and nobody waits for its timeouts.
 */

import type { Webhook } from '../model.ts';
import { type Health, type HealthChange, UNCHANGED } from '../outcome.ts';

const FAILURES_TO_OPEN = 10;
/**
 * A restart of a receiver breaks ten requests at once. Its events must not wait half a minute for
 * that.
 */
const OPEN_MS_MIN = 5_000;
const OPEN_MS_MAX = 600_000;

export type BreakerState = 'closed' | 'open' | 'probing';

export interface DisablePolicy {
  failures: number;
  days: number;
}

function stateOf(health: Health | undefined, now: number): BreakerState {
  if (!health || health.openUntil === null) return 'closed';
  // `openUntil` is too far in the future: the clock was ahead, and has since been corrected.
  return now < health.openUntil && health.openUntil - now <= OPEN_MS_MAX ? 'open' : 'probing';
}

/** The failing webhooks of the owned lanes. */
export class Breakers {
  readonly #health = new Map<string, Health>();
  readonly #blocked = new Set<string>();
  readonly #policy: DisablePolicy;

  constructor(policy: DisablePolicy) {
    this.#policy = policy;
  }

  /** Adds the failing webhooks of lanes that this daemon has taken. */
  load(health: ReadonlyMap<string, Health>): void {
    for (const [webhookId, one] of health) this.#health.set(webhookId, one);
  }

  /** Ids of the webhooks of `lanes` whose last attempt failed. */
  failingOf(lanes: ReadonlySet<number>): string[] {
    return [...this.#health].filter(([, { lane }]) => lanes.has(lane)).map(([webhookId]) => webhookId);
  }

  /** Forgets the webhooks of lanes that were handed to another daemon. */
  forgetLanes(lanes: readonly number[]): void {
    for (const [webhookId, { lane }] of this.#health) if (lanes.includes(lane)) this.#health.delete(webhookId);
  }

  /**
   * Blocks a webhook while its outcomes cannot be recorded, or unblocks it. A blocked webhook
   * starts nothing, as if its breaker were open.
   */
  block(webhookId: string, isBlocked: boolean): void {
    if (isBlocked) this.#blocked.add(webhookId);
    else this.#blocked.delete(webhookId);
  }

  state(webhookId: string, now: number): BreakerState {
    if (this.#blocked.has(webhookId)) return 'open';
    return stateOf(this.#health.get(webhookId), now);
  }

  /** Whether the last attempt of the webhook failed. */
  isFailing(webhookId: string): boolean {
    return this.#health.has(webhookId);
  }

  /** Number of breakers that are not closed. */
  get openCount(): number {
    let count = 0;
    for (const { openUntil } of this.#health.values()) if (openUntil !== null) count += 1;
    return count;
  }

  forget(webhookId: string): void {
    this.#health.delete(webhookId);
  }

  succeeded(webhookId: string): HealthChange {
    return this.#health.delete(webhookId) ? { kind: 'healthy' } : UNCHANGED;
  }

  /**
   * Returns the health after one more failed attempt. `disable` is the reason to disable the
   * webhook, or null.
   */
  failed({ id, lane }: Pick<Webhook, 'id' | 'lane'>, now: number): { health: Health; disable: string | null } {
    const health = afterFailure(this.#health.get(id), lane, now);
    this.#health.set(id, health);
    const disable = shouldDisable(health, this.#policy, now)
      ? `${health.failures} attempts failed since ${new Date(health.failingSince).toISOString()}, and none succeeded`
      : null;
    return { health, disable };
  }
}

/** Returns the health after one more failed attempt. */
export function afterFailure(health: Health | undefined, lane: number, now: number): Health {
  const failures = (health?.failures ?? 0) + 1;
  const failingSince = health?.failingSince ?? now;
  const openings = health?.openings ?? 0;
  const state = stateOf(health, now);
  // Attempts that were in flight when the breaker opened say nothing new.
  if (state === 'open') return { lane, failures, failingSince, openings, openUntil: health?.openUntil ?? null };
  if (state === 'closed' && failures < FAILURES_TO_OPEN)
    return { lane, failures, failingSince, openings, openUntil: null };
  const openMs = Math.min(OPEN_MS_MIN * 2 ** openings, OPEN_MS_MAX);
  return { lane, failures, failingSince, openings: openings + 1, openUntil: now + openMs };
}

/**
 * Requires both a count and a duration. Neither many failures within a short outage nor one failure
 * a week disables a webhook.
 */
export function shouldDisable(health: Health, policy: DisablePolicy, now: number): boolean {
  return health.failures >= policy.failures && now - health.failingSince >= policy.days * 86_400_000;
}
