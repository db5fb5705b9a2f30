/**
 * The health of one webhook: a circuit breaker, and the count that disables it in the end. Pure.
 *
 *   closed ──10 failures in a row──▶ open ──5 s, then 10 s … 10 min───▶ probing ──success──▶ closed
 *                                     ▲                                    │
 *                                     └──────────────failure───────────────┘
 *
 * While it is open its events are parked, not lost, and nobody waits for its timeouts.
 */

import { type Health, type HealthChange, UNCHANGED, type Webhook } from '../model.ts';

const FAILURES_TO_OPEN = 10;
/** Ten requests break at once when a receiver is restarted: it must not cost its events half a minute. */
const OPEN_MS_MIN = 5_000;
const OPEN_MS_MAX = 600_000;

export type BreakerState = 'closed' | 'open' | 'probing';

export interface DisablePolicy {
  failures: number;
  days: number;
}

function stateOf(health: Health | undefined, now: number): BreakerState {
  if (!health || health.openUntil === null) return 'closed';
  // further away than it can be: the clock was ahead, and has been set right since
  return now < health.openUntil && health.openUntil - now <= OPEN_MS_MAX ? 'open' : 'probing';
}

/** The webhooks that fail, of the lanes that are ours. */
export class Breakers {
  readonly #health = new Map<string, Health>();
  readonly #blocked = new Set<string>();
  readonly #policy: DisablePolicy;

  constructor(policy: DisablePolicy) {
    this.#policy = policy;
  }

  /** The webhooks that fail, of lanes that come to us. */
  load(health: ReadonlyMap<string, Health>): void {
    for (const [webhookId, one] of health) this.#health.set(webhookId, one);
  }

  /** Ids of the webhooks of these lanes whose last attempt failed. */
  failingOf(lanes: ReadonlySet<number>): string[] {
    return [...this.#health].filter(([, { lane }]) => lanes.has(lane)).map(([webhookId]) => webhookId);
  }

  /** Forgets the webhooks of lanes that were handed to another daemon. */
  forgetLanes(lanes: readonly number[]): void {
    for (const [webhookId, { lane }] of this.#health) if (lanes.includes(lane)) this.#health.delete(webhookId);
  }

  /** What became of its attempts cannot be recorded, or can again: until then nothing starts, as if its breaker were open. */
  block(webhookId: string, isBlocked: boolean): void {
    if (isBlocked) this.#blocked.add(webhookId);
    else this.#blocked.delete(webhookId);
  }

  state(webhookId: string, now: number): BreakerState {
    if (this.#blocked.has(webhookId)) return 'open';
    return stateOf(this.#health.get(webhookId), now);
  }

  /** Its last attempt failed. */
  isFailing(webhookId: string): boolean {
    return this.#health.has(webhookId);
  }

  /** Breakers that are not closed. */
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

  /** Its health after one more failed attempt, and why it is to be disabled, if it is. */
  failed({ id, lane }: Pick<Webhook, 'id' | 'lane'>, now: number): { health: Health; disable: string | null } {
    const health = afterFailure(this.#health.get(id), lane, now);
    this.#health.set(id, health);
    const disable = shouldDisable(health, this.#policy, now)
      ? `${health.failures} attempts failed since ${new Date(health.failingSince).toISOString()}, none succeeded`
      : null;
    return { health, disable };
  }
}

/** The health after one more failed attempt. */
export function afterFailure(health: Health | undefined, lane: number, now: number): Health {
  const failures = (health?.failures ?? 0) + 1;
  const failingSince = health?.failingSince ?? now;
  const openings = health?.openings ?? 0;
  const state = stateOf(health, now);
  // what was in flight when it opened says nothing new
  if (state === 'open') return { lane, failures, failingSince, openings, openUntil: health?.openUntil ?? null };
  if (state === 'closed' && failures < FAILURES_TO_OPEN)
    return { lane, failures, failingSince, openings, openUntil: null };
  const openMs = Math.min(OPEN_MS_MIN * 2 ** openings, OPEN_MS_MAX);
  return { lane, failures, failingSince, openings: openings + 1, openUntil: now + openMs };
}

/** Both a count and a duration: neither a burst within a short outage nor one failure a week disables a webhook. */
export function shouldDisable(health: Health, policy: DisablePolicy, now: number): boolean {
  return health.failures >= policy.failures && now - health.failingSince >= policy.days * 86_400_000;
}
