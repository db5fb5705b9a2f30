/**
 * Deliveries in memory that a window waits for. Each delivery has a ticket, which is settled once.
 */
import type { Delivery } from '../model.ts';
import { Pace } from './pace.ts';
import { payloadSizeOf, type Ticket } from './ticket.ts';

/** Limit on the tenants without deliveries whose pace is remembered. */
const IDLE_PACES_MAX = 1_000;

export interface TenantLoad {
  readonly count: number;
  /** Characters of the payloads of these deliveries. */
  readonly size: number;
  /** Those of them whose attempt has not started. */
  readonly queued: number;
  /** How many of them may be queued. */
  readonly queuedMax: number;
}

class Load implements TenantLoad {
  count = 0;
  size = 0;
  queued = 0;
  readonly pace: Pace;
  isApart = false;

  constructor(pace: Pace) {
    this.pace = pace;
  }

  get queuedMax(): number {
    return this.pace.queuedMax;
  }
}

const NONE: TenantLoad = new Load(new Pace());

export class Unsettled {
  readonly #idleMs: () => number;
  count = 0;
  /** Characters of the payloads of these deliveries. */
  size = 0;
  /** The part of `count` and `size` that belongs to the tenants of setApart(). */
  readonly apart = { count: 0, size: 0 };
  readonly #byLane = new Map<number, number>();
  readonly #byTenant = new Map<string, Load>();
  /** The pace of tenants without deliveries. A Map keeps its order: the longest idle comes first. */
  readonly #idlePaces = new Map<string, Pace>();

  /** `idleMs` is the idle clock of the daemon: how long it has been idle so far. */
  constructor(idleMs: () => number = () => performance.now()) {
    this.#idleMs = idleMs;
  }

  isAtRest(lane: number): boolean {
    return this.#ofLane(lane) === 0;
  }

  #ofLane(lane: number): number {
    return this.#byLane.get(lane) ?? 0;
  }

  ofTenant(tenantId: string): TenantLoad {
    return this.#byTenant.get(tenantId) ?? NONE;
  }

  /** Counts the tenant's deliveries in `apart` too, or no longer. */
  setApart(tenantId: string, isApart: boolean): void {
    if (!isApart && !this.#byTenant.has(tenantId)) return;
    const load = this.#loadOf(tenantId);
    if (load.isApart === isApart) return;
    load.isApart = isApart;
    this.apart.count += isApart ? load.count : -load.count;
    this.apart.size += isApart ? load.size : -load.size;
    if (load.count === 0) this.#forget(tenantId, load);
  }

  ticket(delivery: Delivery, settle: () => void): Ticket {
    const size = payloadSizeOf(delivery.change);
    const { lane, tenantId } = delivery.change;
    this.#byLane.set(lane, this.#ofLane(lane) + 1);
    const load = this.#loadOf(tenantId);
    this.#count(load, 1, size);
    load.queued += 1;
    const queuedAt = this.#idleMs();
    let isQueued = true;
    let settled = false;
    const leaveQueue = (starts: boolean) => {
      if (!isQueued) return;
      isQueued = false;
      const idleMs = this.#idleMs();
      if (starts) load.pace.noteStart(load.queued, idleMs - queuedAt, idleMs);
      else load.pace.noteWait(idleMs - queuedAt, idleMs);
      load.queued -= 1;
    };
    return {
      delivery,
      queuedAt: performance.now(),
      start: () => leaveQueue(true),
      settle: () => {
        if (settled) return;
        settled = true;
        leaveQueue(false);
        this.#count(load, -1, -size);
        this.#byLane.set(lane, this.#ofLane(lane) - 1);
        if (load.count === 0) this.#forget(tenantId, load);
        settle();
      },
    };
  }

  #count(load: Load, count: number, size: number): void {
    this.count += count;
    this.size += size;
    load.count += count;
    load.size += size;
    if (!load.isApart) return;
    this.apart.count += count;
    this.apart.size += size;
  }

  #loadOf(tenantId: string): Load {
    let load = this.#byTenant.get(tenantId);
    if (!load) {
      load = new Load(this.#idlePaces.get(tenantId) ?? new Pace());
      this.#byTenant.set(tenantId, load);
      this.#idlePaces.delete(tenantId);
    }
    return load;
  }

  /** Forgets a tenant without deliveries, except its pace. */
  #forget(tenantId: string, { isApart, pace }: Load): void {
    if (isApart) return;
    this.#byTenant.delete(tenantId);
    if (!pace.isKnown) return;
    this.#idlePaces.set(tenantId, pace);
    if (this.#idlePaces.size > IDLE_PACES_MAX) this.#idlePaces.delete(this.#idlePaces.keys().next().value as string);
  }
}
