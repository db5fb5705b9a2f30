/** From a window to the queues: brings configurations up to date, MATCHes, and hands every delivery to the dispatcher. */
import type pg from 'pg';
import { Configurations } from './configurations.ts';
import type { Dispatcher } from './dispatch.ts';
import { findBegun, findFailing, findWaiting, findWaitingOf } from './leftovers.ts';
import { match } from './match.ts';
import type { Change, TenantConfiguration, Window } from './model.ts';
import type { OpenWindows } from './windows.ts';

export class Intake {
  readonly #pool: pg.Pool;
  readonly #configurations: Configurations;
  readonly #dispatcher: Dispatcher;
  readonly #windows: OpenWindows;
  /** Newest first. */
  #incarnations: { startsAt: bigint; incarnation: string }[] = [];
  /** Deliveries that an owner before us began: they are not begun again. By lane. */
  readonly #begun = new Map<number, ReadonlySet<string>>();

  constructor(pool: pg.Pool, dispatcher: Dispatcher, windows: OpenWindows) {
    this.#pool = pool;
    this.#dispatcher = dispatcher;
    this.#windows = windows;
    this.#configurations = new Configurations(pool);
  }

  /** Takes over what earlier owners of these lanes left. `since`: when the oldest of the positions was taken. */
  async begin(lanes: readonly number[], since: string, failing: ReadonlySet<string>): Promise<void> {
    const { rows } = await this.#pool.query(
      'select starts_at_id, incarnation from rowhook.webhook_incarnations order by starts_at_id desc',
    );
    this.#incarnations = rows.map((row) => ({ startsAt: BigInt(row.starts_at_id), incarnation: row.incarnation }));
    this.#configurations.clear();
    for (const [lane, begun] of await findBegun(this.#pool, lanes, since)) this.#begun.set(lane, begun);
    const waiting = await findWaiting(this.#pool, lanes);
    const configurations = await this.#configurations.of([...waiting.values()].map(({ tenantId }) => tenantId));
    for (const configuration of configurations.values()) this.#dispatcher.update(configuration, waiting, failing);
  }

  /** Everything of these lanes from before we took over has been taken. */
  forgetBegun(lanes: readonly number[]): void {
    if (this.#begun.size > 0) for (const lane of lanes) this.#begun.delete(lane);
  }

  async take(lanes: readonly number[], { changes, after }: Window): Promise<void> {
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

  /** A change without events says that its tenant's configuration changed at this point. */
  async #configurationsOf(changes: readonly Change[]): Promise<Map<string, TenantConfiguration>> {
    const changed = new Set(
      changes.filter(({ eventTypes }) => eventTypes.length === 0).map(({ tenantId }) => tenantId),
    );
    for (const tenantId of changed) this.#configurations.forget(tenantId);
    const configurations = await this.#configurations.of(changes.map(({ tenantId }) => tenantId));
    for (const configuration of configurations.values()) this.#dispatcher.limit(configuration);
    if (changed.size > 0) {
      const waiting = await findWaitingOf(this.#pool, [...changed]);
      const failing = await findFailing(this.#pool, [...changed]);
      for (const tenantId of changed) {
        this.#dispatcher.update(configurations.get(tenantId) as TenantConfiguration, waiting, failing);
      }
    }
    return configurations;
  }

  #incarnationOf({ id }: Change): string {
    if (this.#incarnations.length === 1) return this.#incarnations[0]?.incarnation as string;
    return this.#incarnations.find(({ startsAt }) => startsAt <= BigInt(id))?.incarnation as string;
  }
}
