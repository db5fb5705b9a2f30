/**
 * From a window to the queues: updates configurations, matches changes, and hands every delivery to
 * the dispatcher.
 */
import type pg from 'pg';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { Configurations, type HearsOfConfigurations } from '../match/configurations.ts';
import { loadWebhooks, WEBHOOKS_MAX, type WebhookRef } from '../match/load-configurations.ts';
import { isWanted } from '../match/match.ts';
import {
  type Change,
  changesConfiguration,
  type LaggingTenant,
  type Lane,
  type Position,
  type TenantConfiguration,
  type Window,
} from '../model.ts';
import { payloadSizeOf } from '../queue/ticket.ts';
import { LeftOut, LeftOutOfWindow } from '../read/left-out.ts';
import type { OpenWindows } from '../read/progress.ts';
import type { ReadAhead } from '../read/read-ahead.ts';
import type { Scope } from '../read/scope.ts';
import type { Breakers } from '../retry/breaker.ts';
import { findBegun, findForgiven, findWaiting, findWaitingOf, type Waiting } from '../retry/takeover.ts';
import { CHANGED_MAX, changedBy } from './changed-webhooks.ts';
import { Matching } from './matching.ts';
import type { ThinEvents } from './thin-events.ts';

/**
 * Limit on the bytes of configurations that are loaded for one window. Tenants that are not loaded
 * then are read by themselves, so that nobody waits for more.
 */
const LOAD_BYTES_MAX = 4 * 1024 * 1024;

/** Webhooks that one statement reads without their texts. */
const RESTING_MAX = 1_000;

const NONE: ReadonlyMap<string, TenantConfiguration> = new Map();

export class Intake {
  readonly #pool: pg.Pool;
  readonly configurations: Configurations;
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
    listener: HearsOfConfigurations,
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
    this.configurations = new Configurations(pool, listener);
  }

  /** Takes over what earlier owners of these lanes left. */
  async begin(taken: readonly Lane[]): Promise<void> {
    const lanes = taken.map(({ lane }) => lane);
    const { rows } = await this.#pool.query(
      'select starts_at_id, incarnation from rowhook.webhook_incarnations order by starts_at_id desc',
    );
    this.#incarnations = rows.map((row) => ({ startsAt: BigInt(row.starts_at_id), incarnation: row.incarnation }));
    this.configurations.clear();
    for (const [lane, begun] of await findBegun(this.#pool, taken)) this.#begun.set(lane, begun);
    const waiting = await findWaiting(this.#pool, lanes);
    const refs = [...waiting].map(([id, { tenantId }]) => ({ tenantId, id }));
    // Their texts are loaded when they are read back.
    for (let i = 0; i < refs.length; i += RESTING_MAX) {
      const some = refs.slice(i, i + RESTING_MAX);
      this.#update(some, await loadWebhooks(this.#pool, some, 'without texts'), waiting);
    }
  }

  /** These webhooks as they are now, for deliveries that are read back. */
  async webhooks(refs: readonly WebhookRef[]): Promise<readonly TenantConfiguration[]> {
    const parts = await this.configurations.webhooks(refs);
    this.#dispatcher.limits.configure(parts);
    return parts;
  }

  /** Called when the reader has passed every change from before this daemon took `lanes`. */
  forgetBegun(lanes: readonly number[]): void {
    if (this.#begun.size > 0) for (const lane of lanes) this.#begun.delete(lane);
  }

  /**
   * Takes the changes of a window that began at `from`, one by one: those of tenants whose
   * configuration is in memory first. A tenant whose share of memory is full, or whose
   * filters take long, lags from that change on, and so does a tenant whose configuration would be
   * loaded after many others. Returns these tenants, and those that are heavy.
   */
  async take(scope: Scope, from: Position, { changes, after, heavy = [] }: Window): Promise<LaggingTenant[]> {
    const late = await this.#heed(changes, scope);
    const window = this.#windows.open(scope);
    const cut = new Map<string, LaggingTenant>(heavy.map((tenant) => [tenant.tenantId, tenant]));
    const lag = (change: Change) => {
      const { tenantId, lane } = change;
      cut.set(tenantId, { tenantId, lane, position: positionBefore(change, from, after) });
    };
    for (const change of changes) if (late.has(change.tenantId) && !cut.has(change.tenantId)) lag(change);
    const isLarge = after.to !== null;
    const taken = new Map<string, number>();
    const leftOut = new LeftOutOfWindow(this.#leftOut, scope.tenantId !== null);
    const loadedBefore = this.configurations.bytesLoaded;
    let left = changes.filter((change) => !changesConfiguration(change));
    const matching = new Matching(scope.tenantId !== null);
    while (left.length > 0) {
      const mayLoad = this.configurations.bytesLoaded - loadedBefore < LOAD_BYTES_MAX;
      const configurations = mayLoad ? await this.#configurationsOf(left) : NONE;
      const isWantedNow = (change: Change) => {
        const configuration = configurations.get(change.tenantId);
        return configuration !== undefined && !cut.has(change.tenantId) && isWanted(change, configuration);
      };
      const later: Change[] = [];
      for (const [i, change] of left.entries()) {
        const { tenantId, lane } = change;
        if (cut.has(tenantId)) continue;
        const configuration = configurations.get(tenantId);
        if (!configuration && mayLoad) {
          later.push(change);
          continue;
        }
        const before = taken.get(tenantId) ?? 0;
        if (isLarge) taken.set(tenantId, before + 1);
        if (!configuration || !this.#ahead.mayTake(tenantId, before) || !matching.mayTake(tenantId)) {
          lag(change);
          continue;
        }
        const whole = change.leftOut === undefined ? change : await leftOut.whole(left.slice(i), isWantedNow);
        if (!whole) {
          lag(change);
          continue;
        }
        const begun = this.#begun.get(lane);
        const matched = await matching.match(whole, configuration, this.#incarnationOf(change));
        const fresh = begun ? matched?.filter(({ delivery }) => !begun.has(delivery.id)) : matched;
        const count = fresh?.length ?? 0;
        if (!fresh || !this.#ahead.mayAdd(tenantId, { count, size: count * payloadSizeOf(whole) })) {
          lag(change);
          continue;
        }
        this.#thin.note(change);
        window.expect(fresh.length, change.occurredAt);
        for (const one of fresh) {
          this.#dispatcher.offer(one, window.settle);
          if (matching.steps.isOver) await matching.steps.pause();
        }
      }
      left = later;
    }
    window.close(after, [...cut.values()]);
    return [...cut.values()];
  }

  async #configurationsOf(changes: readonly Change[]): Promise<Map<string, TenantConfiguration>> {
    const configurations = await this.configurations.of(changes.map(({ tenantId }) => tenantId));
    this.#dispatcher.limits.configure(configurations.values());
    return configurations;
  }

  /**
   * A change without event types means that its tenant's configuration changed at this point. What
   * changed is loaded again when it is needed. Webhooks with deliveries in memory or in the table
   * need it now. What nobody needs yet is not loaded: ten thousand tenants may be set up at once.
   *
   * Those of tenants that lag are heeded here too, long before the tenant's stream comes to them. If
   * such a change names no webhooks, or many, only the tenant's stream heeds it. Returns the tenants
   * that lag from now on, because many of their webhooks changed.
   */
  async #heed(changes: readonly Change[], { tenantId: only, excluded }: Scope): Promise<ReadonlySet<string>> {
    const late = new Set<string>();
    const changed = changedBy(changes);
    const lagging = new Set(excluded);
    for (const [tenantId, webhooks] of changed) {
      const isMany = only === null && (webhooks?.size ?? this.#dispatcher.queues.countOf(tenantId)) > CHANGED_MAX;
      if (lagging.has(tenantId)) {
        if (webhooks !== null) this.configurations.changedAhead(tenantId, webhooks);
        if (webhooks === null || isMany) changed.delete(tenantId);
      } else if (isMany) {
        late.add(tenantId);
        changed.delete(tenantId);
      } else this.configurations.changed(tenantId, webhooks);
    }
    if (changed.size === 0) return late;
    const waiting = await findWaitingOf(this.#pool, changed);
    const failing = this.#breakers.failingOf(new Set(changes.map(({ lane }) => lane)));
    for (const webhookId of await findForgiven(this.#pool, changed, failing)) this.#breakers.forget(webhookId);
    const waitingTenants = new Set([...waiting.values()].map(({ tenantId }) => tenantId));
    const tenants = new Set<string>();
    const refs: WebhookRef[] = [];
    for (const [tenantId, webhooks] of changed) {
      if (webhooks === null && (this.#dispatcher.queues.countOf(tenantId) > 0 || waitingTenants.has(tenantId)))
        tenants.add(tenantId);
      for (const id of webhooks ?? [])
        if (this.#dispatcher.queues.has(id) || waiting.has(id)) refs.push({ tenantId, id });
    }
    while (tenants.size > 0) {
      const configurations = await this.configurations.of(tenants);
      this.#dispatcher.limits.configure(configurations.values());
      for (const [tenantId, { webhooks }] of configurations) {
        this.#dispatcher.update(tenantId, webhooks, null, waiting);
        tenants.delete(tenantId);
      }
    }
    for (let i = 0; i < refs.length; i += WEBHOOKS_MAX) {
      const some = refs.slice(i, i + WEBHOOKS_MAX);
      this.#update(some, await this.configurations.webhooks(some), waiting);
    }
    return late;
  }

  /** Updates these webhooks: those of `parts` exist. */
  #update(refs: readonly WebhookRef[], parts: readonly TenantConfiguration[], waiting: Waiting): void {
    this.#dispatcher.limits.configure(parts);
    const found = new Map(parts.flatMap(({ webhooks }) => webhooks.map((webhook) => [webhook.id, webhook])));
    for (const { tenantId, id } of refs) {
      const webhook = found.get(id);
      this.#dispatcher.update(tenantId, webhook ? [webhook] : [], new Set([id]), waiting);
    }
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
