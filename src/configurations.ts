/**
 * Tenants and their webhooks, loaded on demand and kept until the tenant's stream says that they changed. So an event never
 * meets a configuration from before its time, however the daemon was woken.
 */
import type pg from 'pg';
import { organization } from './envelope.ts';
import type { TenantConfiguration, Webhook, WebhookSettings } from './model.ts';

/** Tenants kept in memory; the least recently used one goes first. */
const TENANTS_MAX = 10_000;

export class Configurations {
  readonly #pool: pg.Pool | pg.Client;
  readonly #tenants = new Map<string, TenantConfiguration>();

  constructor(pool: pg.Pool | pg.Client) {
    this.#pool = pool;
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
    for (const configuration of await load(this.#pool, missing)) {
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

async function load(pool: pg.Pool | pg.Client, tenantIds: readonly string[]): Promise<TenantConfiguration[]> {
  const { rows } = await pool.query<Row>(
    `select t.tenant_id, k.name as tenant_name, k.slug as tenant_slug, k.max_in_flight as tenant_max_in_flight,
            k.rate_limit_per_second::float8 as tenant_rate, rowhook._lane(t.tenant_id) as lane, w.*
       from unnest($1::text[]) as t (tenant_id)
       left join rowhook.webhook_tenants k on k.id = t.tenant_id
       left join lateral (
         select id, name, url, secret, is_active, disabled_reason,
                case when previous_secret_expires_at > now() then previous_secret end as previous_secret,
                (extract(epoch from previous_secret_expires_at) * 1000)::float8 as previous_secret_expires_at,
                http_method, to_json(event_types)::text as event_types, filter::text as filter, headers::text as headers,
                auth_type, auth_config::text as auth_config,
                retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms, max_in_flight,
                rate_limit_per_second::float8 as rate_limit_per_second, ordering, payload_format,
                batch_max_events, batch_max_wait_ms, to_json(allowed_ips)::text as allowed_ips
           from rowhook.webhook_configurations c
          where c.tenant_id = t.tenant_id
          order by created_at, id
       ) as w on true`,
    [tenantIds],
  );
  const byTenant = new Map<string, TenantConfiguration & { webhooks: Webhook[] }>();
  const settings = new Map<string, WebhookSettings>();
  for (const row of rows) {
    let configuration = byTenant.get(row.tenant_id);
    if (!configuration) {
      configuration = {
        tenantId: row.tenant_id,
        organization: organization(row.tenant_id, row.tenant_name, row.tenant_slug),
        limits:
          row.tenant_max_in_flight === null && row.tenant_rate === null
            ? null
            : { maxInFlight: row.tenant_max_in_flight, ratePerSecond: row.tenant_rate },
        webhooks: [],
      };
      byTenant.set(row.tenant_id, configuration);
    }
    if (row.id === null) continue;
    // no text of PostgreSQL holds a NUL, and none of these is empty
    const texts = SETTINGS.map((column) => row[column]).join('\0');
    let shared = settings.get(texts);
    if (!shared) {
      shared = toSettings(row);
      settings.set(texts, shared);
    }
    configuration.webhooks.push({
      id: row.id,
      tenantId: configuration.tenantId,
      lane: row.lane,
      name: row.name,
      url: row.url,
      secret: row.secret,
      previousSecret:
        row.previous_secret === null
          ? null
          : { secret: row.previous_secret, expiresAt: row.previous_secret_expires_at },
      isActive: row.is_active,
      disabledReason: row.disabled_reason,
      settings: shared,
    });
  }
  return [...byTenant.values()];
}

/**
 * Most webhooks say the same here, and hold it in common: 0.35 kB a webhook instead of 1.1, where many tenants have some. Lists and
 * objects come as JSON text, which is parsed for the first webhook that says so.
 */
const SETTINGS = [
  'http_method',
  'event_types',
  'filter',
  'headers',
  'auth_type',
  'auth_config',
  'retry_enabled',
  'retry_attempts',
  'retry_strategy',
  'retry_delay_seconds',
  'timeout_ms',
  'max_in_flight',
  'rate_limit_per_second',
  'ordering',
  'payload_format',
  'batch_max_events',
  'batch_max_wait_ms',
  'allowed_ips',
] as const satisfies readonly (keyof Row)[];

interface Row {
  tenant_id: string;
  tenant_name: string | null;
  tenant_slug: string | null;
  tenant_max_in_flight: number | null;
  tenant_rate: number | null;
  lane: number;
  /** Null: the tenant has no webhook, and this and all that follows is missing. */
  id: string | null;
  name: string;
  url: string;
  secret: string;
  is_active: boolean;
  disabled_reason: string | null;
  previous_secret: string | null;
  previous_secret_expires_at: number;
  http_method: WebhookSettings['httpMethod'];
  event_types: string;
  filter: string | null;
  headers: string;
  auth_type: WebhookSettings['authType'];
  auth_config: string;
  retry_enabled: boolean;
  retry_attempts: number;
  retry_strategy: WebhookSettings['retry']['strategy'];
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: number | null;
  ordering: WebhookSettings['ordering'];
  payload_format: WebhookSettings['payloadFormat'];
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: string | null;
}

/** Reads nothing but what is compared: else a webhook would get what another one says, perhaps another tenant's. */
function toSettings(row: Pick<Row, (typeof SETTINGS)[number]>): WebhookSettings {
  return {
    httpMethod: row.http_method,
    eventTypes: JSON.parse(row.event_types),
    filter: row.filter,
    headers: JSON.parse(row.headers),
    authType: row.auth_type,
    authConfig: JSON.parse(row.auth_config),
    retry: {
      enabled: row.retry_enabled,
      retriesMax: row.retry_attempts,
      strategy: row.retry_strategy,
      delaySeconds: row.retry_delay_seconds,
    },
    timeoutMs: row.timeout_ms,
    maxInFlight: row.max_in_flight,
    ratePerSecond: row.rate_limit_per_second,
    ordering: row.ordering,
    payloadFormat: row.payload_format,
    batchMax: row.batch_max_events,
    batchWaitMs: row.batch_max_wait_ms,
    allowedIps: row.allowed_ips === null ? null : JSON.parse(row.allowed_ips),
  };
}
