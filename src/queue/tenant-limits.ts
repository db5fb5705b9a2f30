/**
 * Limits over all webhooks of a tenant: a share of the daemon's attempts for every tenant, and what
 * webhook_tenants says for some.
 */
import type { TenantConfiguration } from '../model.ts';
import { Limiter } from './limiter.ts';

export class TenantLimits {
  readonly #inFlightShare: number;
  /** Tenants with limits of their own, and those with attempts in flight. */
  readonly #tenants = new Map<string, { limiter: Limiter; hasOwnLimits: boolean }>();

  /** `inFlightShare` is the number of attempts that each tenant may have in flight. */
  constructor(inFlightShare: number) {
    this.#inFlightShare = inFlightShare;
  }

  /** Sets the current limits of these tenants. */
  configure(configurations: Iterable<TenantConfiguration>): void {
    for (const { tenantId, limits } of configurations) {
      const known = this.#tenants.get(tenantId);
      if (!limits && !known) continue;
      const limiter = known?.limiter ?? new Limiter(this.#inFlightShare, null);
      limiter.inFlightMax = Math.min(limits?.maxInFlight ?? Infinity, this.#inFlightShare);
      limiter.ratePerSecond = limits?.ratePerSecond ?? null;
      this.#tenants.set(tenantId, { limiter, hasOwnLimits: limits !== null });
      this.#forgetIdle(tenantId);
    }
  }

  mayStart(tenantId: string, now: number): boolean {
    return this.#tenants.get(tenantId)?.limiter.mayStart(now) ?? true;
  }

  /** Counts a start. Call the returned function when the attempt ends. */
  start(tenantId: string, now: number): () => void {
    let tenant = this.#tenants.get(tenantId);
    if (!tenant) {
      tenant = { limiter: new Limiter(this.#inFlightShare, null), hasOwnLimits: false };
      this.#tenants.set(tenantId, tenant);
    }
    const { limiter } = tenant;
    limiter.start(now);
    return () => {
      limiter.end();
      this.#forgetIdle(tenantId);
    };
  }

  #forgetIdle(tenantId: string): void {
    const tenant = this.#tenants.get(tenantId);
    if (tenant && !tenant.hasOwnLimits && tenant.limiter.inFlight === 0) this.#tenants.delete(tenantId);
  }
}
