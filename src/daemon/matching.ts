/**
 * Matches the changes of one window in steps, so that attempts, timers and the lease go on while it
 * has many webhooks or slow filters. Limits the work of one tenant's filters, so that others need
 * not wait for them.
 */
import { match, rowOf } from '../match/match.ts';
import type { Change, Matched, TenantConfiguration } from '../model.ts';
import { Steps } from '../shared/timers.ts';

/**
 * Limit on the work of one tenant's filters in one window, in steps (match/filter/row.ts). A tenant
 * that needs more lags from that change on.
 */
const FILTER_STEPS_MAX = 40_000_000;

export class Matching {
  readonly steps = new Steps();
  readonly #isOfOneTenant: boolean;
  readonly #stepsDone = new Map<string, number>();

  /** `isOfOneTenant`: the tenant lags. At least one of its changes is matched then, as a whole. */
  constructor(isOfOneTenant: boolean) {
    this.#isOfOneTenant = isOfOneTenant;
  }

  /** Whether one more change of the tenant may be matched in this window. */
  mayTake(tenantId: string): boolean {
    return (this.#stepsDone.get(tenantId) ?? 0) <= FILTER_STEPS_MAX;
  }

  /** The deliveries of a change. Undefined: they are too much work for this window. */
  async match(change: Change, configuration: TenantConfiguration, incarnation: string): Promise<Matched[] | undefined> {
    const row = rowOf(change);
    const before = this.#stepsDone.get(change.tenantId) ?? 0;
    const stepsMax = this.#isOfOneTenant ? Infinity : FILTER_STEPS_MAX - before;
    const matched: Matched[] = [];
    for (const one of match(change, configuration, incarnation, row)) {
      if (one) matched.push(one);
      if (row.stepsDone > stepsMax) break;
      if (this.steps.isOver) await this.steps.pause();
    }
    if (row.stepsDone > 0) this.#stepsDone.set(change.tenantId, before + row.stepsDone);
    return row.stepsDone > stepsMax ? undefined : matched;
  }
}
