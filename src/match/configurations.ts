/**
 * Tenants and their webhooks, loaded on demand and kept until the tenant's stream says that they changed. So an event never
 * meets a configuration from before its time, however the daemon was woken.
 */
import type pg from 'pg';
import type { TenantConfiguration, Webhook } from '../model.ts';
import { loadConfigurations } from './load-configurations.ts';

/** Tenants kept in memory; the least recently used one goes first. */
const TENANTS_MAX = 10_000;

export class Configurations {
  readonly #pool: pg.Pool | pg.Client;
  readonly #onUnusable: (webhook: Webhook) => void;
  readonly #tenants = new Map<string, TenantConfiguration>();

  /** `onUnusable`: a webhook was loaded that nothing can be sent to, for what its row holds. */
  constructor(pool: pg.Pool | pg.Client, onUnusable: (webhook: Webhook) => void = () => {}) {
    this.#pool = pool;
    this.#onUnusable = onUnusable;
  }

  forget(tenantId: string): void {
    this.#tenants.delete(tenantId);
  }

  /** Of lanes that come to us, configurations may be from before somebody else had them. */
  clear(): void {
    this.#tenants.clear();
  }

  /** The configurations of these tenants, one query for all that are not here. */
  async of(tenantIds: Iterable<string>): Promise<Map<string, TenantConfiguration>> {
    const found = new Map<string, TenantConfiguration>();
    const missing: string[] = [];
    for (const id of new Set(tenantIds)) {
      const kept = this.#tenants.get(id);
      if (kept) this.#keep(kept);
      if (kept) found.set(id, kept);
      else missing.push(id);
    }
    if (missing.length === 0) return found;
    for (const configuration of await loadConfigurations(this.#pool, missing)) {
      for (const webhook of configuration.webhooks) if (webhook.unusable !== null) this.#onUnusable(webhook);
      this.#keep(configuration);
      found.set(configuration.tenantId, configuration);
    }
    return found;
  }

  /** A Map keeps the order of insertion: the first one is the least recently used. */
  #keep(configuration: TenantConfiguration): void {
    this.#tenants.delete(configuration.tenantId);
    this.#tenants.set(configuration.tenantId, configuration);
    if (this.#tenants.size > TENANTS_MAX) this.#tenants.delete(this.#tenants.keys().next().value as string);
  }
}
