/**
 * From a window to the queues: updates configurations, matches changes, and hands every delivery to
 * the dispatcher.
 */
import type pg from 'pg';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { Configurations } from '../match/configurations.ts';
import { match } from '../match/match.ts';
import type { Change, TenantConfiguration, Webhook, Window } from '../model.ts';
import type { OpenWindows } from '../read/progress.ts';
import type { Breakers } from '../retry/breaker.ts';
import { findBegun, findForgiven, findWaiting, findWaitingOf, type Waiting } from '../retry/takeover.ts';
import type { ThinEvents } from './thin-events.ts';

const NOBODY = { concerned: [], waiting: new Map() };

export class Intake {
  readonly #pool: pg.Pool;
  readonly #configurations: Configurations;
  readonly #dispatcher: Dispatcher;
  readonly #windows: OpenWindows;
  readonly #breakers: Breakers;
  readonly #thin: ThinEvents;
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
  ) {
    this.#pool = pool;
    this.#dispatcher = dispatcher;
    this.#windows = windows;
    this.#breakers = breakers;
    this.#thin = thin;
    this.#configurations = new Configurations(pool, onUnusable);
  }

  /**
   * Takes over what earlier owners of `lanes` left. `since` is the time at which the oldest
   * position was taken.
   */
  async begin(lanes: readonly number[], since: string): Promise<void> {
    const { rows } = await this.#pool.query(
      'select starts_at_id, incarnation from rowhook.webhook_incarnations order by starts_at_id desc',
    );
    this.#incarnations = rows.map((row) => ({ startsAt: BigInt(row.starts_at_id), incarnation: row.incarnation }));
    this.#configurations.clear();
    for (const [lane, begun] of await findBegun(this.#pool, lanes, since)) this.#begun.set(lane, begun);
    const waiting = await findWaiting(this.#pool, lanes);
    const configurations = await this.#configurations.of([...waiting.values()].map(({ tenantId }) => tenantId));
    this.#dispatcher.limits.configure(configurations.values());
    this.#dispatcher.update(configurations, waiting);
  }

  /** Called when the reader has passed every change from before this daemon took `lanes`. */
  forgetBegun(lanes: readonly number[]): void {
    if (this.#begun.size > 0) for (const lane of lanes) this.#begun.delete(lane);
  }

  async take(lanes: readonly number[], { changes, after }: Window): Promise<void> {
    for (const change of changes) this.#thin.note(change);
    const configurations = await this.#configurationsOf(changes);
    const matched = changes
      .filter(({ eventTypes }) => eventTypes.length > 0)
      .flatMap((change) =>
        match(change, configurations.get(change.tenantId) as TenantConfiguration, this.#incarnationOf(change)),
      )
      .filter(({ delivery }) => !this.#begun.get(delivery.change.lane)?.has(delivery.id));
    const settle = this.#windows.open(lanes, after, matched.length, matched[0]?.delivery.change.occurredAt);
    for (const one of matched) this.#dispatcher.offer(one, settle);
  }

  /** A change without event types means that its tenant's configuration changed at this point. */
  async #configurationsOf(changes: readonly Change[]): Promise<Map<string, TenantConfiguration>> {
    const changed = changes.filter(({ eventTypes }) => eventTypes.length === 0);
    const { concerned, waiting } = changed.length > 0 ? await this.#forget(changed) : NOBODY;
    const happened = changes.filter(({ eventTypes }) => eventTypes.length > 0).map(({ tenantId }) => tenantId);
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
