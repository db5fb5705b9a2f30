/** What a tenant sees of its webhooks: their settings without secrets, and how they do. */
import type pg from 'pg';
import { NotFound } from '../../shared/user-error.ts';
import { BYTES_MAX } from '../page.ts';

export type WebhookState = 'active' | 'failing' | 'circuit_open' | 'disabled' | 'off';

/** Without secrets. Numbers of any size are texts. */
export interface WebhookOverview {
  id: string;
  tenant_id: string;
  name: string;
  description: string | null;
  url: string;
  http_method: string;
  event_types: string[];
  /** JSON, as the database prints it. */
  filter: string | null;
  headers: Record<string, string>;
  auth_type: string;
  /** Null for every secret. */
  auth_config: Record<string, string | null>;
  is_active: boolean;
  retry_enabled: boolean;
  retry_attempts: number;
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: string | null;
  ordering: string;
  payload_format: string;
  payload_template: string | null;
  content_type: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: string[] | null;
  state: WebhookState;
  disabled_reason: string | null;
  disabled_at: Date | null;
  created_at: Date;
  updated_at: Date;
  /** When it was created, with microseconds. */
  created_us: string;
  /** Changes with every change of the settings. */
  version: string;
  /** Deliveries that wait for their next attempt, WAITING_MAX at most. */
  waiting: number;
}

export const WAITING_MAX = 10_000;

export interface WebhookFilter {
  limit: number;
  /** The last webhook of the page before. */
  after?: { at: string; id: string } | undefined;
  /** Part of a name, a description or a URL. */
  q?: string | undefined;
  /** Only webhooks that want this event. */
  eventType?: string | undefined;
  isActive?: boolean | undefined;
}

const COLUMNS = `
  w.id, w.tenant_id, w.name, w.description, w.url, w.http_method, w.event_types, w.filter::text as filter,
  w.headers, w.auth_type, w.is_active, w.retry_enabled, w.retry_attempts, w.retry_strategy,
  w.retry_delay_seconds, w.timeout_ms, w.max_in_flight, w.rate_limit_per_second, w.ordering,
  w.payload_format, w.payload_template, w.content_type, w.batch_max_events, w.batch_max_wait_ms, w.allowed_ips,
  w.disabled_reason, w.disabled_at, w.created_at, w.updated_at,
  pg_catalog.to_char(w.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_us,
  (extract(epoch from w.updated_at) * 1000000)::bigint::text as version`;

/** `page` is a query of COLUMNS. Credentials are asked for all rows at once. */
function withState(page: string): string {
  return `
  with page as materialized (${page}),
  auth as materialized (select * from rowhook._public_auth(array(select id from page)))
  select page.*, auth.auth_config,
         rowhook._webhook_state(page.is_active, page.disabled_reason, h.failures, h.open_until) as state,
         (select count(*)::int
            from (select from rowhook.webhook_deliveries d
                   where d.webhook_id = page.id and d.state = 'waiting'
                   limit ${WAITING_MAX}) as counted) as waiting
    from page
    left join auth on auth.webhook_id = page.id
    left join rowhook.webhook_health h on h.webhook_id = page.id
   order by page.created_at desc, page.id desc`;
}

/** What a row of a list may have much of. */
const BYTES = `
  octet_length(w.name) + octet_length(w.url) + coalesce(octet_length(w.description), 0)
  + coalesce(octet_length(w.payload_template), 0) + coalesce(octet_length(w.filter::text), 0)
  + octet_length(w.headers::text) + octet_length(w.event_types::text)
  + coalesce(octet_length(w.allowed_ips::text), 0)`;

/** As within() of operations/page.ts does: the row that crosses BYTES_MAX is the last one. */
const WITHIN = `
  select w.*, count(*) over () as found, ${BYTES} as own_bytes,
         sum(${BYTES}) over (order by w.created_at desc, w.id desc rows unbounded preceding) as all_bytes`;

/** `more`: there is a next page. */
export async function listWebhooks(
  client: pg.ClientBase,
  filter: WebhookFilter,
): Promise<{ webhooks: WebhookOverview[]; more: boolean }> {
  const { limit, after, q, eventType, isActive } = filter;
  const { rows } = await client.query<WebhookOverview & { found: number }>({
    name: 'rowhook_list_webhooks',
    text: withState(`
      select ${COLUMNS}, w.found::int as found
        from (${WITHIN}
                from (
                  select w.*
                    from rowhook.webhooks w
                   where w.tenant_id = rowhook.current_tenant()
                     and ($2::timestamptz is null or (w.created_at, w.id) < ($2, $3::uuid))
                     and ($4::text is null
                          or pg_catalog.strpos(lower(concat_ws(' ', w.name, w.description, w.url)), lower($4)) > 0)
                     and ($5::text is null or w.event_types && rowhook._patterns(array[$5]))
                     and ($6::boolean is null or w.is_active = $6)
                   order by w.created_at desc, w.id desc
                   limit $1) as w) as w
       where w.all_bytes - w.own_bytes < ${BYTES_MAX}
       order by w.created_at desc, w.id desc
       limit $1 - 1`),
    values: [limit + 1, after?.at, after?.id, q, eventType, isActive],
  });
  const webhooks = rows.map(({ found: _, ...row }) => row);
  return { webhooks, more: (rows[0]?.found ?? 0) > rows.length };
}

/** With `lock`, the row stays as it is until the transaction ends. */
export async function readWebhook(client: pg.ClientBase, id: string, lock = false): Promise<WebhookOverview> {
  if (lock) await client.query('select from rowhook.webhook_configurations where id = $1 for update', [id]);
  const { rows } = await client.query<WebhookOverview>({
    name: 'rowhook_read_webhook',
    text: withState(`select ${COLUMNS} from rowhook.webhooks w where w.id = $1`),
    values: [id],
  });
  const row = rows[0];
  if (row === undefined) throw new NotFound(`webhook ${id} does not exist.`, 'webhook');
  return row;
}
