/**
 * Tenants and their webhooks. They are loaded on demand, and kept as long as memory allows. When a
 * tenant's stream reports a change, what changed is loaded again before the next use. So an event
 * never meets a configuration older than itself, whatever woke the daemon.
 */
import type pg from 'pg';
import type { ChangedWebhooks, TenantConfiguration, Webhook } from '../model.ts';
import { withinHeap } from '../shared/shares.ts';
import { ChangedMeanwhile, withChanged } from './changed-meanwhile.ts';
import {
  isLeftOut,
  loadTenants,
  loadWebhooks,
  type Secrets,
  WEBHOOKS_MAX,
  type WebhookRef,
} from './load-configurations.ts';

/** Limit on what is kept. The tenant that was used least recently is dropped first. */
const BYTES_MAX = withinHeap(64 * 1024 * 1024, 1 / 16);

/** What a tenant takes besides its webhooks. */
const TENANT_BYTES = 512;

/**
 * A tenant with webhooks that do not fit is loaded as a whole again after this time, and not with
 * each change: somebody may have shortened or deleted other webhooks.
 */
const LEFT_OUT_MS = 60_000;

/** What a daemon reports about its configurations. */
export interface HearsOfConfigurations {
  /** A loaded webhook cannot be used because of its row's values. */
  unusable(webhook: Webhook): void;
  /** Webhooks of a tenant do not fit into `bytesMax`. */
  leftOut(tenantId: string, count: number, bytesMax: number): void;
  /** `count` webhooks were read from the database. */
  loaded(count: number): void;
}

const NOBODY: HearsOfConfigurations = { unusable() {}, leftOut() {}, loaded() {} };

interface Kept {
  configuration: TenantConfiguration;
  bytes: number;
  leftOut: number;
  /** When all of it was loaded, by performance.now(). */
  loadedAt: number;
  /** Webhooks that have changed since. */
  stale: Set<string>;
}

export class Configurations {
  readonly #pool: pg.Pool | pg.ClientBase;
  readonly #secrets: Secrets;
  readonly #listener: HearsOfConfigurations;
  readonly #bytesMax: number;
  readonly #tenants = new Map<string, Kept>();
  readonly #meanwhile = new ChangedMeanwhile();
  #bytes = 0;
  #leftOut = 0;
  #bytesLoaded = 0;

  constructor(
    pool: pg.Pool | pg.ClientBase,
    listener = NOBODY,
    { secrets = 'with secrets', bytesMax = BYTES_MAX }: { secrets?: Secrets; bytesMax?: number } = {},
  ) {
    this.#pool = pool;
    this.#secrets = secrets;
    this.#listener = listener;
    this.#bytesMax = bytesMax;
  }

  /** Bytes of what is kept, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that were loaded so far, about. */
  get bytesLoaded(): number {
    return this.#bytesLoaded;
  }

  /** Number of kept webhooks that do not fit into the memory of their tenant. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** These webhooks of the tenant have changed. */
  changed(tenantId: string, webhooks: ChangedWebhooks): void {
    const kept = this.#tenants.get(tenantId);
    if (!kept) return;
    for (const id of webhooks ?? []) kept.stale.add(id);
    if (webhooks === null || kept.stale.size > WEBHOOKS_MAX) this.#drop(tenantId);
  }

  /**
   * These webhooks of a tenant that lags have changed, and events from before are still to come.
   * Webhooks that are not in memory stay out of it: they may be new, and older events are not theirs.
   */
  changedAhead(tenantId: string, webhooks: Iterable<string>): void {
    const ids = [...webhooks];
    this.#meanwhile.note(tenantId, ids);
    const kept = this.#tenants.get(tenantId);
    if (!kept) return;
    const known = new Set(kept.configuration.webhooks.map(({ id }) => id));
    for (const id of ids) if (known.has(id) && kept.stale.size < WEBHOOKS_MAX) kept.stale.add(id);
  }

  /**
   * Call this when lanes arrive: their configurations may be older than their previous owner's
   * changes.
   */
  clear(): void {
    for (const tenantId of this.#tenants.keys()) this.#drop(tenantId);
  }

  /**
   * The configurations of some of `tenantIds`: of those in memory, or if there are none, of as many
   * as one statement loads. Call it again for the others.
   */
  async of(tenantIds: Iterable<string>): Promise<Map<string, TenantConfiguration>> {
    const found = new Map<string, TenantConfiguration>();
    const stale: Kept[] = [];
    const missing: string[] = [];
    for (const id of new Set(tenantIds)) {
      const kept = this.#fresh(id);
      if (!kept) missing.push(id);
      else if (kept.stale.size > 0) stale.push(kept);
      else {
        this.#touch(id, kept);
        found.set(id, kept.configuration);
      }
    }
    if (found.size > 0) return found;
    const [ids, load] =
      stale.length > 0
        ? [stale.map(({ configuration }) => configuration.tenantId), () => this.#loadStale(stale)]
        : [missing, () => this.#loadMissing(missing)];
    const loaded = await this.#meanwhile.during(ids, load, (id, webhooks) => this.changedAhead(id, webhooks));
    for (const configuration of loaded) found.set(configuration.tenantId, configuration);
    return found;
  }

  /**
   * These webhooks as they are now, with their tenants, as far as they exist. A tenant may be there
   * several times. What is not in memory is loaded, but not kept.
   */
  async webhooks(refs: readonly WebhookRef[]): Promise<TenantConfiguration[]> {
    const parts: TenantConfiguration[] = [];
    const missing: WebhookRef[] = [];
    for (const ref of refs) {
      const kept = this.#fresh(ref.tenantId);
      const webhook = kept?.stale.has(ref.id)
        ? undefined
        : kept?.configuration.webhooks.find(({ id }) => id === ref.id);
      if (kept && webhook) parts.push({ ...kept.configuration, webhooks: [webhook] });
      else missing.push(ref);
    }
    for (let i = 0; i < missing.length; i += WEBHOOKS_MAX)
      parts.push(...(await this.#load(missing.slice(i, i + WEBHOOKS_MAX))));
    return parts;
  }

  #fresh(tenantId: string): Kept | undefined {
    const kept = this.#tenants.get(tenantId);
    if (!kept || kept.leftOut === 0 || performance.now() - kept.loadedAt < LEFT_OUT_MS) return kept;
    this.#drop(tenantId);
    return undefined;
  }

  async #loadMissing(tenantIds: readonly string[]): Promise<TenantConfiguration[]> {
    const loaded = await loadTenants(this.#pool, tenantIds, this.#secrets);
    this.#report(loaded);
    for (const configuration of loaded) this.#keep(configuration, performance.now());
    return loaded;
  }

  /** Loads what is stale of the first of these tenants, and of as many as one statement loads. */
  async #loadStale([first, ...others]: readonly Kept[]): Promise<TenantConfiguration[]> {
    const chosen = first ? [first] : [];
    let count = first?.stale.size ?? 0;
    for (const kept of others) {
      count += kept.stale.size;
      if (count <= WEBHOOKS_MAX) chosen.push(kept);
    }
    // A copy: what becomes stale while this is loaded is not known to be gone.
    const asked = chosen.map((kept) => ({ ...kept, stale: new Set(kept.stale) }));
    const refs = asked.flatMap(({ stale, configuration: { tenantId } }) => [...stale].map((id) => ({ tenantId, id })));
    const parts = await this.#load(refs);
    const now = new Map(parts.flatMap(({ webhooks }) => webhooks.map((webhook) => [webhook.id, webhook])));
    return asked.map(({ configuration, stale, loadedAt }) => {
      const changed = withChanged(configuration, stale, now);
      this.#keep(changed, loadedAt);
      return changed;
    });
  }

  async #load(refs: readonly WebhookRef[]): Promise<TenantConfiguration[]> {
    const loaded = await loadWebhooks(this.#pool, refs, this.#secrets);
    this.#report(loaded);
    return loaded;
  }

  #report(loaded: readonly TenantConfiguration[]): void {
    for (const { tenantId, webhooks, bytesMax } of loaded) {
      this.#listener.loaded(webhooks.length);
      let leftOut = 0;
      for (const webhook of webhooks) {
        this.#bytesLoaded += webhook.bytes;
        if (isLeftOut(webhook)) leftOut += 1;
        else if (webhook.unusable !== null) this.#listener.unusable(webhook);
      }
      if (leftOut > 0) this.#listener.leftOut(tenantId, leftOut, bytesMax);
    }
  }

  #keep(configuration: TenantConfiguration, loadedAt: number): void {
    const { tenantId, webhooks } = configuration;
    this.#drop(tenantId);
    const bytes = webhooks.reduce((sum, webhook) => sum + webhook.bytes, TENANT_BYTES);
    const leftOut = webhooks.filter(isLeftOut).length;
    this.#tenants.set(tenantId, { configuration, bytes, leftOut, loadedAt, stale: new Set() });
    this.#bytes += bytes;
    this.#leftOut += leftOut;
    // A Map keeps insertion order, so its first entry is the one that was used least recently.
    while (this.#bytes > this.#bytesMax && this.#tenants.size > 1)
      this.#drop(this.#tenants.keys().next().value as string);
  }

  #touch(tenantId: string, kept: Kept): void {
    this.#tenants.delete(tenantId);
    this.#tenants.set(tenantId, kept);
  }

  #drop(tenantId: string): void {
    const kept = this.#tenants.get(tenantId);
    if (!kept) return;
    this.#tenants.delete(tenantId);
    this.#bytes -= kept.bytes;
    this.#leftOut -= kept.leftOut;
  }
}
