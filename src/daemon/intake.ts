/**
 * From a window to the queues: updates configurations, matches changes, and hands every delivery to
 * the dispatcher.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type pg from 'pg';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { Configurations } from '../match/configurations.ts';
import { isWanted, match } from '../match/match.ts';
import {
  type Change,
  changesConfiguration,
  type LaggingTenant,
  type Lane,
  type Position,
  type TenantConfiguration,
  type Webhook,
  type Window,
} from '../model.ts';
import { LeftOut } from '../read/left-out.ts';
import type { OpenWindows } from '../read/progress.ts';
import type { ReadAhead } from '../read/read-ahead.ts';
import type { Scope } from '../read/scope.ts';
import type { Breakers } from '../retry/breaker.ts';
import { findBegun, findForgiven, findWaiting, findWaitingOf, type Waiting } from '../retry/takeover.ts';
import type { ThinEvents } from './thin-events.ts';

/**
 * Matching pauses after STEP_MS for a turn of the event loop, so that attempts, timers and the lease
 * go on while a window with many webhooks or slow filters is matched.
 */
const STEP_MS = 4;

const NOBODY = { concerned: [], waiting: new Map() };

export class Intake {
  readonly #pool: pg.Pool;
  readonly #configurations: Configurations;
  readonly #dispatcher: Dispatcher;
  readonly #windows: OpenWindows;
  readonly #breakers: Breakers;
  readonly #thin: ThinEvents;
  readonly #ahead: ReadAhead;
  readonly #leftOut: LeftOut;
  /** Newest first. */
  #incarnations: { startsAt: bigint; incarnation: string }[] = [];
  /** By lane: deliveries that an earlier owner began. They are not begun again. */
  readonly #begun = new Map<number, ReadonlySet<string>>();

  constructor(
    pool: pg.Pool,
    dispatcher: Dispatcher,
    windows: OpenWindows,
    breakers: Breakers,
    onUnusable: (webhook: Webhook) => void,
    thin: ThinEvents,
    ahead: ReadAhead,
    onUnreadable: (change: Change, reason: string) => void,
  ) {
    this.#pool = pool;
    this.#dispatcher = dispatcher;
    this.#windows = windows;
    this.#breakers = breakers;
    this.#thin = thin;
    this.#ahead = ahead;
    this.#leftOut = new LeftOut(pool, onUnreadable);
    this.#configurations = new Configurations(pool, onUnusable);
  }

  /** Takes over what earlier owners of these lanes left. */
  async begin(taken: readonly Lane[]): Promise<void> {
    const lanes = taken.map(({ lane }) => lane);
    const { rows } = await this.#pool.query(
      'select starts_at_id, incarnation from rowhook.webhook_incarnations order by starts_at_id desc',
    );
    this.#incarnations = rows.map((row) => ({ startsAt: BigInt(row.starts_at_id), incarnation: row.incarnation }));
    this.#configurations.clear();
    for (const [lane, begun] of await findBegun(this.#pool, taken)) this.#begun.set(lane, begun);
    const waiting = await findWaiting(this.#pool, lanes);
    const configurations = await this.#configurations.of([...waiting.values()].map(({ tenantId }) => tenantId));
    this.#dispatcher.limits.configure(configurations.values());
    this.#dispatcher.update(configurations, waiting);
  }

  /** Called when the reader has passed every change from before this daemon took `lanes`. */
  forgetBegun(lanes: readonly number[]): void {
    if (this.#begun.size > 0) for (const lane of lanes) this.#begun.delete(lane);
  }

  /**
   * Takes the changes of a window that began at `from`, one by one. A tenant whose share of memory
   * is full lags from that change on. Returns these tenants.
   */
  async take(scope: Scope, from: Position, { changes, after }: Window): Promise<LaggingTenant[]> {
    const configurations = await this.#configurationsOf(changes);
    const window = this.#windows.open(scope);
    const cut = new Map<string, LaggingTenant>();
    const isLarge = after.to !== null;
    const taken = new Map<string, number>();
    const whole = new Map<string, Change>();
    const isWantedNow = (change: Change) =>
      !cut.has(change.tenantId) && isWanted(change, configurations.get(change.tenantId) as TenantConfiguration);
    let stepBegan = performance.now();
    for (const [i, change] of changes.entries()) {
      const { tenantId, lane } = change;
      if (cut.has(tenantId)) continue;
      const before = taken.get(tenantId) ?? 0;
      if (isLarge) taken.set(tenantId, before + 1);
      if (!this.#ahead.mayTake(tenantId, before)) {
        cut.set(tenantId, { tenantId, lane, position: positionBefore(change, from, after) });
        continue;
      }
      this.#thin.note(change);
      if (changesConfiguration(change)) continue;
      if (change.leftOut !== undefined && isWantedNow(change) && !whole.has(change.id))
        for (const read of await this.#leftOut.read(changes.slice(i), isWantedNow)) whole.set(read.id, read);
      const read = whole.get(change.id) ?? change;
      whole.delete(change.id);
      const begun = this.#begun.get(lane);
      const matched = match(read, configurations.get(tenantId) as TenantConfiguration, this.#incarnationOf(change));
      const fresh = begun ? matched.filter(({ delivery }) => !begun.has(delivery.id)) : matched;
      window.expect(fresh.length, change.occurredAt);
      for (const one of fresh) this.#dispatcher.offer(one, window.settle);
      if (performance.now() - stepBegan < STEP_MS) continue;
      await nextTurn();
      stepBegan = performance.now();
    }
    window.close(after, [...cut.values()]);
    return [...cut.values()];
  }

  async #configurationsOf(changes: readonly Change[]): Promise<Map<string, TenantConfiguration>> {
    const changed = changes.filter(changesConfiguration);
    const { concerned, waiting } = changed.length > 0 ? await this.#forget(changed) : NOBODY;
    const happened = changes.filter((change) => !changesConfiguration(change)).map(({ tenantId }) => tenantId);
    const configurations = await this.#configurations.of([...happened, ...concerned]);
    this.#dispatcher.limits.configure(configurations.values());
    const now = concerned.map((tenantId) => [tenantId, configurations.get(tenantId) as TenantConfiguration] as const);
    if (now.length > 0) this.#dispatcher.update(new Map(now), waiting);
    return configurations;
  }

  /**
   * Forgets the configuration of the tenants in `changed`. Returns as `concerned` the tenants that
   * have deliveries in memory or in the table. Ten thousand tenants may be set up at once, and
   * configurations that nobody needs yet are not loaded.
   */
  async #forget(changed: readonly Change[]): Promise<{ concerned: string[]; waiting: Waiting }> {
    const tenantIds = [...new Set(changed.map(({ tenantId }) => tenantId))];
    for (const tenantId of tenantIds) this.#configurations.forget(tenantId);
    const waiting = await findWaitingOf(this.#pool, tenantIds);
    const failing = this.#breakers.failingOf(new Set(changed.map(({ lane }) => lane)));
    const forgiven = await findForgiven(this.#pool, tenantIds, failing);
    for (const webhookId of forgiven) this.#breakers.forget(webhookId);
    const busy = this.#dispatcher.tenants;
    for (const { tenantId } of waiting.values()) busy.add(tenantId);
    return { concerned: tenantIds.filter((tenantId) => busy.has(tenantId)), waiting };
  }

  #incarnationOf({ id }: Change): string {
    if (this.#incarnations.length === 1) return this.#incarnations[0]?.incarnation as string;
    return this.#incarnations.find(({ startsAt }) => startsAt <= BigInt(id))?.incarnation as string;
  }
}

/** The position inside of the window from `from` to `after`, before `change`. */
function positionBefore({ id }: Change, from: Position, after: Position): Position {
  return { ...after, from: from.from, to: after.to ?? after.from, lastId: String(BigInt(id) - 1n) };
}
