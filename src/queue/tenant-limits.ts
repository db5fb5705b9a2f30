/** Limits over all webhooks of a tenant (webhook_tenants). Only few tenants have such limits. */

import type { TenantConfiguration, Webhook } from '../model.ts';
import { Limiter } from './limiter.ts';

interface Tenant {
  limiter: Limiter;
  waiting: Set<unknown>;
}

/** `Q` is what waits for a limit: the queue of a webhook. */
export class TenantLimits<Q> {
  readonly #tenants = new Map<string, Tenant>();

  /** Sets the current limits of these tenants. */
  configure(configurations: Iterable<TenantConfiguration>): void {
    for (const { tenantId, limits } of configurations) {
      if (!limits) {
        this.#tenants.delete(tenantId);
        continue;
      }
      const tenant = this.#tenants.get(tenantId) ?? { limiter: new Limiter(Infinity, null), waiting: new Set() };
      tenant.limiter.inFlightMax = limits.maxInFlight ?? Infinity;
      tenant.limiter.ratePerSecond = limits.ratePerSecond;
      this.#tenants.set(tenantId, tenant);
    }
  }

  /**
   * Whether an attempt may start. If not, `queue` is returned when the tenant's next attempt ends.
   */
  mayStart({ tenantId }: Webhook, queue: Q, now: number): boolean {
    const tenant = this.#tenants.get(tenantId);
    if (!tenant || tenant.limiter.mayStart(now)) return true;
    tenant.waiting.add(queue);
    return false;
  }

  /**
   * Counts a start. Call the returned function when the attempt ends: it returns the queues that
   * waited.
   */
  start({ tenantId }: Webhook, now: number): () => Q[] {
    const tenant = this.#tenants.get(tenantId);
    if (!tenant) return () => [];
    tenant.limiter.start(now);
    return () => {
      tenant.limiter.end();
      const waiting = [...tenant.waiting] as Q[];
      tenant.waiting.clear();
      return waiting;
    };
  }
}
