/** Limits over all webhooks of a tenant (webhook_tenants), for the few tenants that have some. */

import type { TenantConfiguration, Webhook } from '../model.ts';
import { Limiter } from './limiter.ts';

interface Tenant {
  limiter: Limiter;
  waiting: Set<unknown>;
}

/** `Q` is what waits: a webhook's queue. */
export class TenantLimits<Q> {
  readonly #tenants = new Map<string, Tenant>();

  /** These tenants as they are now. */
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

  /** If not, the queue is among those that the end of the next attempt returns. */
  mayStart({ tenantId }: Webhook, queue: Q, now: number): boolean {
    const tenant = this.#tenants.get(tenantId);
    if (!tenant || tenant.limiter.mayStart(now)) return true;
    tenant.waiting.add(queue);
    return false;
  }

  /** Returns what is to be called at the end of the attempt: it gives the queues that were waiting. */
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
