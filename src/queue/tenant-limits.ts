/**
 * Limits over all webhooks of a tenant: a share of the daemon's permits for every tenant, and what
 * webhook_tenants says for some.
 */
import type { TenantConfiguration } from '../model.ts';
import { Limiter } from './limiter.ts';

interface Tenant {
  /** The limits of webhook_tenants, which count requests. */
  limiter: Limiter;
  hasOwnLimits: boolean;
  /** Deliveries in flight. A batch takes a permit for each of its deliveries. */
  permits: number;
}

export class TenantLimits {
  readonly #permitsMax: number;
  /** Tenants with limits of their own, and those with deliveries in flight. */
  readonly #tenants = new Map<string, Tenant>();

  /** `permitsMax`: a tenant with this number of deliveries in flight starts nothing more. */
  constructor(permitsMax: number) {
    this.#permitsMax = permitsMax;
  }

  /** Sets the current limits of these tenants. */
  configure(configurations: Iterable<TenantConfiguration>): void {
    for (const { tenantId, limits } of configurations) {
      if (!limits && !this.#tenants.has(tenantId)) continue;
      const tenant = this.#of(tenantId);
      tenant.limiter.inFlightMax = limits?.maxInFlight ?? Infinity;
      tenant.limiter.ratePerSecond = limits?.ratePerSecond ?? null;
      tenant.hasOwnLimits = limits !== null;
      this.#forgetIdle(tenantId);
    }
  }

  mayStart(tenantId: string, now: number): boolean {
    const tenant = this.#tenants.get(tenantId);
    return !tenant || (tenant.permits < this.#permitsMax && tenant.limiter.mayStart(now));
  }

  /** Deliveries of the tenant in flight. */
  inFlight(tenantId: string): number {
    return this.#tenants.get(tenantId)?.permits ?? 0;
  }

  /** Counts a request with this number of deliveries. Call the returned function when it ends. */
  start(tenantId: string, deliveries: number, now: number): () => void {
    const tenant = this.#of(tenantId);
    tenant.limiter.start(now);
    tenant.permits += deliveries;
    return () => {
      tenant.limiter.end();
      tenant.permits -= deliveries;
      this.#forgetIdle(tenantId);
    };
  }

  #of(tenantId: string): Tenant {
    let tenant = this.#tenants.get(tenantId);
    if (!tenant) {
      tenant = { limiter: new Limiter(Infinity, null), hasOwnLimits: false, permits: 0 };
      this.#tenants.set(tenantId, tenant);
    }
    return tenant;
  }

  #forgetIdle(tenantId: string): void {
    const tenant = this.#tenants.get(tenantId);
    if (tenant && !tenant.hasOwnLimits && tenant.permits === 0) this.#tenants.delete(tenantId);
  }
}
