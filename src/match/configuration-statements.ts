/**
 * The statements that read configurations. They bound what they send to the daemon: a tenant may
 * have stored texts of any size, if the constraints were dropped.
 */
import type { SettingsRow } from './webhook-settings.ts';

/** Limit on the bytes of webhooks that one statement reads. It reads at least one tenant. */
const STATEMENT_BYTES_MAX = 8 * 1024 * 1024;

/** Limit on the texts and secrets of one row. webhook_configurations_is_small_enough refuses more. */
const ROW_BYTES_MAX = (64 + 2) * 1024;

/** What a webhook takes in memory besides its texts, about. */
export const OBJECT_BYTES = 512;

/** The bound on a tenant's webhooks if no row names one. */
export const TENANT_BYTES_MAX = 8 * 1024 * 1024;

/** Event types of a webhook that cannot be used, if they are longer: all events count as missed. */
const UNUSABLE_TYPES_MAX = 1024;

export interface Row extends SettingsRow {
  tenant_id: string;
  tenant_name: string | null;
  tenant_slug: string | null;
  tenant_max_in_flight: number | null;
  tenant_rate: string | null;
  bytes_max: number;
  lane: number;
  /** Null: the tenant has no webhook, and all following fields are missing too. */
  id: string | null;
  /** Why the texts were not read. */
  too_large: 'row' | 'tenant' | null;
  bytes: number;
  has_texts: boolean;
  name: string;
  url: string;
  secret: string;
  is_active: boolean;
  disabled_reason: string | null;
  previous_secret: string | null;
  previous_secret_expires_at: number;
}

/** A role of an application cannot read secrets. Whoever only explains does not need them. */
export type Secrets = 'with secrets' | 'without secrets';

/** Texts that may be long. They are not sent to the daemon if they are too large together. */
const OPEN_TEXTS = `true as has_texts, name, url, auth_type, to_json(event_types)::text as event_types,
                filter::text as filter, headers::text as headers, to_json(allowed_ips)::text as allowed_ips,
                payload_template, content_type`;

const TEXTS: Readonly<Record<Secrets | 'without texts', string>> = {
  'with secrets': `${OPEN_TEXTS}, secret, auth_config::text as auth_config,
                case when previous_secret_expires_at > now() then previous_secret end as previous_secret`,
  // Names and values that make the row usable.
  'without secrets': `${OPEN_TEXTS}, '' as secret, null::text as previous_secret,
                '{"token":"","username":"","password":"","header_name":"","header_value":""}' as auth_config`,
  // What a webhook needs as long as nothing is sent to it.
  'without texts': `false as has_texts, '' as name, '' as url, '' as secret, 'none' as auth_type,
                null::text as previous_secret, '[]' as event_types, null::text as filter, '{}' as headers,
                '{}' as auth_config, null::text as allowed_ips, null::text as payload_template,
                null::text as content_type`,
};

const BYTES = [
  'name',
  'url',
  'secret',
  'previous_secret',
  'event_types',
  'filter',
  'headers',
  'auth_config',
  'payload_template',
]
  .map((text) => `coalesce(octet_length(w.${text}), 0)`)
  .join(' + ');

const WEBHOOK = (texts: string) => `
         select row_number() over (order by created_at, id) as n, id, is_active, disabled_reason,
                (extract(epoch from previous_secret_expires_at) * 1000)::float8 as previous_secret_expires_at,
                http_method, retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms,
                max_in_flight, rate_limit_per_second::text as rate_limit_per_second, ordering, payload_format,
                batch_max_events, batch_max_wait_ms, ${texts}
           from rowhook.webhook_configurations c`;

/** A role of an application can neither read webhook_installation nor call _lane(). */
const INSTALLATION = (texts: keyof typeof TEXTS) =>
  texts === 'without secrets'
    ? '(select null::int as max_configuration_bytes, 0 as lane)'
    : `(select (select max_configuration_bytes from rowhook.webhook_installation) as max_configuration_bytes,
                             rowhook._lane(t.tenant_id) as lane)`;

/** `wanted` yields t (tenant_id, ord) and w, the webhooks. */
const STATEMENT = (wanted: string, texts: keyof typeof TEXTS) => `
     with sized as (
       select t.tenant_id, t.ord, k.name as tenant_name, k.slug as tenant_slug,
              k.max_in_flight as tenant_max_in_flight, k.rate_limit_per_second::text as tenant_rate,
              coalesce(k.max_configuration_bytes, i.max_configuration_bytes, ${TENANT_BYTES_MAX}) as bytes_max,
              i.lane, w.*, ${BYTES} as text_bytes
         from ${wanted}
         left join rowhook.webhook_tenants k on k.id = t.tenant_id
         left join lateral ${INSTALLATION(texts)} as i on true
     ), bounded as (
       select *,
              case when text_bytes > ${ROW_BYTES_MAX} then 'row'
                   when sum(case when text_bytes <= ${ROW_BYTES_MAX} then text_bytes else 0 end + ${OBJECT_BYTES})
                          over (partition by ord order by n) > bytes_max then 'tenant' end as too_large
         from sized
     ), counted as (
       select *, sum(bytes) over (order by ord) as bytes_so_far
         from (select *, ${OBJECT_BYTES} + case when too_large is null then text_bytes else 0 end as bytes
                 from bounded) as b
     )
     select tenant_id, tenant_name, tenant_slug, tenant_max_in_flight, tenant_rate, bytes_max::float8 as bytes_max,
            lane, id, is_active, disabled_reason, previous_secret_expires_at, http_method, retry_enabled,
            retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms, max_in_flight, rate_limit_per_second,
            ordering, payload_format, batch_max_events, batch_max_wait_ms, too_large, bytes::int as bytes, has_texts,
            left(name, 255) as name, left(url, 2048) as url, auth_type,
            case when too_large is null or octet_length(event_types) <= ${UNUSABLE_TYPES_MAX} then event_types
                 else '["*"]' end as event_types,
            case when too_large is null then secret else '' end as secret,
            ${['previous_secret', 'filter', 'headers', 'auth_config', 'allowed_ips', 'payload_template', 'content_type']
              .map((text) => `case when too_large is null then ${text} end as ${text}`)
              .join(', ')}
       from counted
      where ord = 1 or bytes_so_far <= ${STATEMENT_BYTES_MAX}
      order by ord, n`;

const ofTenants = (texts: Secrets) =>
  STATEMENT(
    `unnest($1::text[]) with ordinality as t (tenant_id, ord)
         left join lateral (${WEBHOOK(TEXTS[texts])}
          where c.tenant_id = t.tenant_id) as w on true`,
    texts,
  );

const ofWebhooks = (texts: keyof typeof TEXTS) =>
  STATEMENT(
    `unnest($1::text[], $2::uuid[]) with ordinality as t (tenant_id, webhook_id, ord)
         join lateral (${WEBHOOK(TEXTS[texts])}
          where c.id = t.webhook_id and c.tenant_id = t.tenant_id) as w on true`,
    texts,
  );

export const OF_TENANTS = {
  'with secrets': ofTenants('with secrets'),
  'without secrets': ofTenants('without secrets'),
};
export const OF_WEBHOOKS = {
  'with secrets': ofWebhooks('with secrets'),
  'without secrets': ofWebhooks('without secrets'),
  'without texts': ofWebhooks('without texts'),
};
