/**
 * Reads the configurations of tenants. One statement reads several tenants, as many as fit. A bad
 * value in one webhook's row may stop only that webhook.
 */
import type pg from 'pg';
import type { TenantConfiguration, Webhook, WebhookSettings } from '../model.ts';
import { organization } from '../payload/ids.ts';
import { isolate, mayBeOfValue, reasonOf } from '../shared/isolate.ts';
import {
  OBJECT_BYTES,
  OF_TENANTS,
  OF_WEBHOOKS,
  type Row,
  type Secrets,
  TENANT_BYTES_MAX,
} from './configuration-statements.ts';
import { eventTypesOf, limitsOf, SETTINGS, toSettings } from './webhook-settings.ts';

/** Tenants that one statement reads, if their webhooks fit. */
const TENANTS_MAX = 64;

/** Webhooks that one statement reads by their ids. */
export const WEBHOOKS_MAX = 100;

export type { Secrets };

/** A webhook, by its tenant and id. */
export type WebhookRef = Pick<Webhook, 'tenantId' | 'id'>;

/** Why a webhook whose texts are too large cannot be used. */
const TOO_LARGE = {
  row: 'its texts have more than 64 kB together',
  tenant:
    'the webhooks of its tenant take more memory than max_configuration_bytes allows. Shorten or delete some of ' +
    'them, or let an operator raise it in webhook_tenants',
};

type Tenant = Omit<TenantConfiguration, 'webhooks'>;
type Known = Pick<Webhook, 'id' | 'tenantId' | 'lane' | 'name' | 'url' | 'bytes'>;

/**
 * Returns the configurations of the first of `tenantIds`, and of as many more as fit into one
 * statement. If a tenant's rows make the statement fail, its webhooks are loaded one by one. Only
 * the webhook that fails is stopped.
 */
export function loadTenants(
  pool: pg.Pool | pg.ClientBase,
  tenantIds: readonly string[],
  secrets: Secrets = 'with secrets',
): Promise<TenantConfiguration[]> {
  return isolate(
    tenantIds.slice(0, TENANTS_MAX),
    (ids) => load(pool, OF_TENANTS[secrets], [ids]),
    async (tenantId) => {
      const { rows } = await pool.query<{ id: string }>(
        'select id from rowhook.webhook_configurations where tenant_id = $1 order by created_at, id',
        [tenantId],
      );
      const refs = rows.map(({ id }) => ({ tenantId, id }));
      const parts: TenantConfiguration[] = [];
      for (let i = 0; i < refs.length; i += WEBHOOKS_MAX)
        parts.push(...(await loadWebhooks(pool, refs.slice(i, i + WEBHOOKS_MAX), secrets)));
      const whole =
        parts.find(({ webhooks }) => webhooks.some(({ unusable }) => unusable === null)) ?? nobody(tenantId);
      const bytesLeft = { bytes: whole.bytesMax };
      return [{ ...whole, webhooks: parts.flatMap(({ webhooks }) => webhooks.map((one) => fitting(one, bytesLeft))) }];
    },
  );
}

/**
 * Reads up to WEBHOOKS_MAX webhooks; without their texts, any number. The results have tenants with
 * those of the webhooks that exist. A tenant may be in several results.
 */
export function loadWebhooks(
  pool: pg.Pool | pg.ClientBase,
  webhooks: readonly WebhookRef[],
  texts: Secrets | 'without texts' = 'with secrets',
): Promise<TenantConfiguration[]> {
  return isolate(
    webhooks,
    (some) => load(pool, OF_WEBHOOKS[texts], [some.map(({ tenantId }) => tenantId), some.map(({ id }) => id)]),
    async ({ tenantId, id }, error) => [
      { ...nobody(tenantId), webhooks: await loadUnusable(pool, tenantId, id, reasonOf(error)) },
    ],
  );
}

/** Whether the webhook does not fit into the memory of its tenant. */
export function isLeftOut({ unusable }: Webhook): boolean {
  return unusable === TOO_LARGE.tenant;
}

/**
 * The webhook, or one that cannot be used if its tenant's webhooks take more than `left.bytes`.
 * Reduces `left.bytes`.
 */
export function fitting(webhook: Webhook, left: { bytes: number }): Webhook {
  left.bytes -= webhook.bytes;
  if (left.bytes >= 0 || webhook.unusable !== null) return webhook;
  left.bytes += webhook.bytes;
  const types = webhook.isActive || webhook.disabledReason !== null ? webhook.settings.eventTypes : [];
  return unusable({ ...webhook, bytes: OBJECT_BYTES }, JSON.stringify(types), TOO_LARGE.tenant);
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
  const known = { id, tenantId, name: '', url: '', bytes: OBJECT_BYTES };
  return rows
    .filter(({ is_active, is_disabled }) => is_active || is_disabled)
    .map(({ lane, event_types }) => unusable({ ...known, lane }, event_types, reason));
}

function unusable({ id, tenantId, lane, name, url, bytes }: Known, eventTypes: string, reason: string): Webhook {
  const types = orError(() => eventTypesOf(eventTypes));
  const settings = { ...NOTHING, eventTypes: types instanceof Error ? ['*'] : types };
  return {
    id,
    tenantId,
    lane,
    name,
    url,
    secret: '',
    previousSecret: null,
    isActive: false,
    disabledReason: null,
    unusable: reason,
    bytes,
    hasTexts: true,
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
  payloadTemplate: null,
  contentType: null,
  batchMax: 1,
  batchWaitMs: 0,
  allowedIps: null,
};

async function load(
  pool: pg.Pool | pg.ClientBase,
  text: string,
  values: readonly (readonly string[])[],
): Promise<TenantConfiguration[]> {
  const { rows } = await pool.query<Row>(text, [...values]);
  const byTenant = new Map<string, { tenant: Tenant | Error; webhooks: Webhook[] }>();
  const settings = new Map<string, WebhookSettings | Error>();
  for (const row of rows) {
    const found = byTenant.get(row.tenant_id) ?? { tenant: orError(() => toTenant(row)), webhooks: [] };
    byTenant.set(row.tenant_id, found);
    if (row.id === null) continue;
    // Text in PostgreSQL never holds a NUL, and none of these values is empty.
    const texts = SETTINGS.map((column) => row[column]).join('\0');
    const shared = row.too_large === null ? (settings.get(texts) ?? orError(() => toSettings(row))) : NOTHING;
    if (row.too_large === null) settings.set(texts, shared);
    found.webhooks.push(toWebhook(row, row.id, shared, found.tenant));
  }
  return [...byTenant].map(([tenantId, { tenant, webhooks }]) => ({
    ...(tenant instanceof Error ? nobody(tenantId) : tenant),
    webhooks,
  }));
}

function orError<T>(make: () => T): T | Error {
  try {
    return make();
  } catch (error) {
    return error as Error;
  }
}

function nobody(tenantId: string): TenantConfiguration {
  return {
    tenantId,
    organization: organization(tenantId, null, null),
    limits: null,
    bytesMax: TENANT_BYTES_MAX,
    webhooks: [],
  };
}

function toTenant(row: Row): Tenant {
  return {
    tenantId: row.tenant_id,
    organization: organization(row.tenant_id, row.tenant_name, row.tenant_slug),
    limits: limitsOf(row.tenant_max_in_flight, row.tenant_rate),
    bytesMax: row.bytes_max,
  };
}

function toWebhook(row: Row, id: string, settings: WebhookSettings | Error, tenant: Tenant | Error): Webhook {
  const known = { id, tenantId: row.tenant_id, lane: row.lane, name: row.name, url: row.url, bytes: row.bytes };
  const { is_active: isActive, disabled_reason: disabledReason, previous_secret: previous } = row;
  const problem = settings instanceof Error ? settings : tenant instanceof Error ? tenant : null;
  if (problem !== null || row.too_large !== null) {
    const types = isActive || disabledReason !== null ? row.event_types : '[]';
    return unusable(known, types, problem?.message ?? TOO_LARGE[row.too_large ?? 'row']);
  }
  return {
    ...known,
    secret: row.secret,
    previousSecret: previous === null ? null : { secret: previous, expiresAt: row.previous_secret_expires_at },
    isActive,
    disabledReason,
    unusable: null,
    hasTexts: row.has_texts,
    settings: settings as WebhookSettings,
  };
}
