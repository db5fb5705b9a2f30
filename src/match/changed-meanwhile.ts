/** Changes of webhooks of which the tenant is in memory, or is being loaded. */
import type { TenantConfiguration, Webhook } from '../model.ts';
import { fitting, isLeftOut } from './load-configurations.ts';

/** What has changed of tenants while they were being loaded, and may be newer than what was loaded. */
export class ChangedMeanwhile {
  readonly #loading = new Map<string, Set<string>>();

  note(tenantId: string, webhooks: Iterable<string>): void {
    for (const id of webhooks) this.#loading.get(tenantId)?.add(id);
  }

  /** Runs `load`, which loads some of these tenants, and then tells what has changed of them. */
  async during(
    tenantIds: readonly string[],
    load: () => Promise<TenantConfiguration[]>,
    changed: (tenantId: string, webhooks: ReadonlySet<string>) => void,
  ): Promise<TenantConfiguration[]> {
    for (const id of tenantIds) this.#loading.set(id, new Set());
    const noted = new Map(tenantIds.map((id) => [id, this.#loading.get(id) as Set<string>]));
    try {
      const loaded = await load();
      for (const { tenantId } of loaded) {
        const webhooks = noted.get(tenantId);
        if (webhooks && webhooks.size > 0) changed(tenantId, new Set(webhooks));
      }
      return loaded;
    } finally {
      for (const id of tenantIds) this.#loading.delete(id);
    }
  }
}

/** The configuration with the webhooks in `stale` as they are `now`. Those that are not there are gone. */
export function withChanged(
  configuration: TenantConfiguration,
  stale: ReadonlySet<string>,
  now: ReadonlyMap<string, Webhook>,
): TenantConfiguration {
  const known = new Set(configuration.webhooks.map(({ id }) => id));
  const added = [...stale].filter((id) => !known.has(id)).flatMap((id) => now.get(id) ?? []);
  const left = { bytes: configuration.bytesMax };
  for (const webhook of configuration.webhooks)
    if (!stale.has(webhook.id) && !isLeftOut(webhook)) left.bytes -= webhook.bytes;
  const webhooks = configuration.webhooks.flatMap((webhook) => {
    if (!stale.has(webhook.id)) return webhook;
    const changed = now.get(webhook.id);
    return changed ? fitting(changed, left) : [];
  });
  return { ...configuration, webhooks: [...webhooks, ...added.map((webhook) => fitting(webhook, left))] };
}
