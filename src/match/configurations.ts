/**
 * Tenants and their webhooks. They are loaded on demand and kept until the tenant's stream reports
 * a change. So an event never meets a configuration older than itself, whatever woke the daemon.
 */
import type pg from 'pg';
import type { TenantConfiguration, Webhook } from '../model.ts';
import { loadConfigurations, type Secrets } from './load-configurations.ts';

/** Limit on tenants kept in memory. The least recently used tenant is dropped first. */
const TENANTS_MAX = 10_000;

export class Configurations {
  readonly #pool: pg.Pool | pg.ClientBase;
  readonly #secrets: Secrets;
  readonly #onUnusable: (webhook: Webhook) => void;
  readonly #tenants = new Map<string, TenantConfiguration>();

  /** `onUnusable` is called when a loaded webhook cannot be used because of its row's values. */
  constructor(
    pool: pg.Pool | pg.ClientBase,
    onUnusable: (webhook: Webhook) => void = () => {},
    secrets: Secrets = 'with secrets',
  ) {
    this.#pool = pool;
    this.#secrets = secrets;
    this.#onUnusable = onUnusable;
  }

  forget(tenantId: string): void {
    this.#tenants.delete(tenantId);
  }

  /**
   * Call this when lanes arrive: their configurations may be older than their previous owner's
   * changes.
   */
  clear(): void {
    this.#tenants.clear();
  }

  /** The configurations of `tenantIds`. One query loads all that are not in memory. */
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
    for (const configuration of await loadConfigurations(this.#pool, missing, this.#secrets)) {
      for (const webhook of configuration.webhooks) if (webhook.unusable !== null) this.#onUnusable(webhook);
      this.#keep(configuration);
      found.set(configuration.tenantId, configuration);
    }
    return found;
  }

  /** A Map keeps insertion order, so its first entry is the least recently used. */
  #keep(configuration: TenantConfiguration): void {
    this.#tenants.delete(configuration.tenantId);
    this.#tenants.set(configuration.tenantId, configuration);
    if (this.#tenants.size > TENANTS_MAX) this.#tenants.delete(this.#tenants.keys().next().value as string);
  }
}
