/**
 * Reads the configurations of tenants. One statement reads all requested tenants. A bad value in
 * one webhook's row may stop only that webhook.
 */
import type pg from 'pg';
import type { TenantConfiguration, Webhook, WebhookSettings } from '../model.ts';
import { organization } from '../payload/ids.ts';
import { isolate, mayBeOfValue, reasonOf } from '../shared/isolate.ts';
import { eventTypesOf, limitsOf, SETTINGS, type SettingsRow, toSettings } from './webhook-settings.ts';

type Tenant = Pick<TenantConfiguration, 'tenantId' | 'organization' | 'limits'>;
type Known = Pick<Webhook, 'id' | 'tenantId' | 'lane' | 'name' | 'url'>;

/** A role of an application cannot read secrets. Whoever only explains does not need them. */
export type Secrets = 'with secrets' | 'without secrets';

/**
 * If a tenant's rows make the statement fail, its webhooks are loaded one by one. Only the webhook
 * that fails is stopped.
 */
export function loadConfigurations(
  pool: pg.Pool | pg.ClientBase,
  tenantIds: readonly string[],
  secrets: Secrets = 'with secrets',
): Promise<TenantConfiguration[]> {
  return isolate(
    tenantIds,
    (ids) => load(pool, ids, null, secrets),
    async (tenantId) => {
      const { rows } = await pool.query<{ id: string }>(
        'select id from rowhook.webhook_configurations where tenant_id = $1 order by created_at, id',
        [tenantId],
      );
      const none: TenantConfiguration = { ...nobody(tenantId), webhooks: [] };
      const parts = await isolate(
        rows.map(({ id }) => id),
        (ids) => load(pool, [tenantId], ids, secrets),
        async (id, error) => [{ ...none, webhooks: await loadUnusable(pool, tenantId, id, reasonOf(error)) }],
      );
      const whole = parts.find(({ webhooks }) => webhooks.some(({ unusable }) => unusable === null)) ?? none;
      return [{ ...whole, webhooks: parts.flatMap(({ webhooks }) => webhooks) }];
    },
  );
}

/**
 * What remains of a webhook whose row cannot be read: enough to log the events that it misses. If
 * its event types cannot be read either, all events count as missed.
 */
async function loadUnusable(
  pool: pg.Pool | pg.ClientBase,
  tenantId: string,
  id: string,
  reason: string,
): Promise<Webhook[]> {
  const read = (eventTypes: string) =>
    pool.query<Pick<Row, 'lane' | 'is_active' | 'event_types'> & { is_disabled: boolean }>(
      `select rowhook._lane(tenant_id) as lane, is_active, disabled_at is not null as is_disabled,
              ${eventTypes} as event_types
         from rowhook.webhook_configurations where id = $1`,
      [id],
    );
  const { rows } = await read('to_json(event_types)::text').catch((error) => {
    if (mayBeOfValue(error)) return read(`'["*"]'`);
    throw error;
  });
  return rows
    .filter(({ is_active, is_disabled }) => is_active || is_disabled)
    .map(({ lane, event_types }) => unusable({ id, tenantId, lane, name: '', url: '' }, event_types, reason));
}

function unusable(known: Known, eventTypes: string, reason: string): Webhook {
  const types = orError(() => eventTypesOf(eventTypes));
  const settings = { ...NOTHING, eventTypes: types instanceof Error ? ['*'] : types };
  return {
    ...known,
    secret: '',
    previousSecret: null,
    isActive: false,
    disabledReason: null,
    unusable: reason,
    settings,
  };
}

/** Settings that send nothing. */
const NOTHING: WebhookSettings = {
  httpMethod: 'POST',
  eventTypes: [],
  filter: null,
  headers: {},
  authType: 'none',
  authConfig: {},
  retry: { enabled: false, retriesMax: 0, strategy: 'linear', delaySeconds: 1 },
  timeoutMs: 1_000,
  maxInFlight: 1,
  ratePerSecond: null,
  ordering: 'none',
  payloadFormat: 'nested',
  batchMax: 1,
  batchWaitMs: 0,
  allowedIps: null,
};

const SECRETS: Readonly<Record<Secrets, string>> = {
  'with secrets': `secret, auth_config::text as auth_config,
                case when previous_secret_expires_at > now() then previous_secret end as previous_secret`,
  // Names and values that make the row usable.
  'without secrets': `'' as secret, null as previous_secret,
                '{"token":"","username":"","password":"","header_name":"","header_value":""}' as auth_config`,
};

/** `webhookIds` limits the result to these webhooks of the tenants. */
async function load(
  pool: pg.Pool | pg.ClientBase,
  tenantIds: readonly string[],
  webhookIds: readonly string[] | null,
  secrets: Secrets,
): Promise<TenantConfiguration[]> {
  const { rows } = await pool.query<Row>(
    `select t.tenant_id, k.name as tenant_name, k.slug as tenant_slug, k.max_in_flight as tenant_max_in_flight,
            k.rate_limit_per_second::text as tenant_rate, rowhook._lane(t.tenant_id) as lane, w.*
       from unnest($1::text[]) as t (tenant_id)
       left join rowhook.webhook_tenants k on k.id = t.tenant_id
       left join lateral (
         select id, name, url, is_active, disabled_reason, ${SECRETS[secrets]},
                (extract(epoch from previous_secret_expires_at) * 1000)::float8 as previous_secret_expires_at,
                http_method, to_json(event_types)::text as event_types, filter::text as filter,
                headers::text as headers, auth_type,
                retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms, max_in_flight,
                rate_limit_per_second::text as rate_limit_per_second, ordering, payload_format,
                batch_max_events, batch_max_wait_ms, to_json(allowed_ips)::text as allowed_ips
           from rowhook.webhook_configurations c
          where c.tenant_id = t.tenant_id and ($2::uuid[] is null or c.id = any ($2::uuid[]))
          order by created_at, id
       ) as w on true`,
    [tenantIds, webhookIds],
  );
  const byTenant = new Map<string, { tenant: Tenant | Error; webhooks: Webhook[] }>();
  const settings = new Map<string, WebhookSettings | Error>();
  for (const row of rows) {
    const found = byTenant.get(row.tenant_id) ?? { tenant: orError(() => toTenant(row)), webhooks: [] };
    byTenant.set(row.tenant_id, found);
    if (row.id === null) continue;
    // Text in PostgreSQL never holds a NUL, and none of these values is empty.
    const texts = SETTINGS.map((column) => row[column]).join('\0');
    const shared = settings.get(texts) ?? orError(() => toSettings(row));
    settings.set(texts, shared);
    found.webhooks.push(toWebhook(row, row.id, shared, found.tenant));
  }
  return [...byTenant].map(([tenantId, { tenant, webhooks }]) => ({
    ...(tenant instanceof Error ? nobody(tenantId) : tenant),
    webhooks,
  }));
}

interface Row extends SettingsRow {
  tenant_id: string;
  tenant_name: string | null;
  tenant_slug: string | null;
  tenant_max_in_flight: number | null;
  tenant_rate: string | null;
  lane: number;
  /** Null: the tenant has no webhook, and all following fields are missing too. */
  id: string | null;
  name: string;
  url: string;
  secret: string;
  is_active: boolean;
  disabled_reason: string | null;
  previous_secret: string | null;
  previous_secret_expires_at: number;
}

function orError<T>(make: () => T): T | Error {
  try {
    return make();
  } catch (error) {
    return error as Error;
  }
}

function nobody(tenantId: string): Tenant {
  return { tenantId, organization: organization(tenantId, null, null), limits: null };
}

function toTenant({ tenant_id, tenant_name, tenant_slug, tenant_max_in_flight, tenant_rate }: Row): Tenant {
  return {
    tenantId: tenant_id,
    organization: organization(tenant_id, tenant_name, tenant_slug),
    limits: limitsOf(tenant_max_in_flight, tenant_rate),
  };
}

function toWebhook(row: Row, id: string, settings: WebhookSettings | Error, tenant: Tenant | Error): Webhook {
  const known = { id, tenantId: row.tenant_id, lane: row.lane, name: row.name, url: row.url };
  const { is_active: isActive, disabled_reason: disabledReason, previous_secret: previous } = row;
  const problem = settings instanceof Error ? settings : tenant instanceof Error ? tenant : null;
  if (problem !== null) {
    const types = isActive || disabledReason !== null ? row.event_types : '[]';
    return unusable(known, types, problem.message);
  }
  return {
    ...known,
    secret: row.secret,
    previousSecret: previous === null ? null : { secret: previous, expiresAt: row.previous_secret_expires_at },
    isActive,
    disabledReason,
    unusable: null,
    settings: settings as WebhookSettings,
  };
}
