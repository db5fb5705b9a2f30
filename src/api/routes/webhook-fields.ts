/** The fields of a webhook: their schemas, their columns, and what an answer shows of them. */
import type { WebhookOverview } from '../../operations/webhooks/overview.ts';
import type { Columns } from '../../operations/webhooks/webhooks.ts';
import { isHarmless, MASK, maskedUrl } from '../../payload/mask.ts';
import type { Caller } from '../auth.ts';
import { JsonText } from '../body.ts';
import { closed, nullable, type Static, Time, Type } from '../schema.ts';

const Int = () => Type.Integer({ minimum: -2_147_483_648, maximum: 2_147_483_647 });
const Strings = Type.Record(Type.String(), Type.String());
const Filter = Type.Any({ description: 'conditions on the row, such as {"data.stage":"won"}; null: every event' });
const Ranges = nullable(Type.Array(Type.String({ pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$' })));

/** What a client may write, beside the secrets. The database checks the values. */
const WRITABLE = {
  name: Type.String(),
  description: nullable(Type.String()),
  target_url: Type.String(),
  http_method: Type.String({ description: 'POST, PUT or PATCH' }),
  event_types: Type.Array(Type.String(), { description: 'deal.updated, deal.* or *' }),
  filter: Filter,
  auth_type: Type.String({ description: 'none, bearer, basic or api_key' }),
  is_active: Type.Boolean(),
  retry_enabled: Type.Boolean(),
  retry_attempts: Int(),
  retry_strategy: Type.String({ description: 'exponential or linear' }),
  retry_delay_seconds: Int(),
  timeout_ms: Int(),
  max_in_flight: Int(),
  rate_limit_per_second: nullable(Type.Number()),
  ordering: Type.String({ description: 'none or row' }),
  payload_format: Type.String({ description: 'nested, flat, cloudevents, slack, discord, teams or template' }),
  payload_template: nullable(Type.String({ description: 'a Liquid template, with payload_format template' })),
  content_type: nullable(Type.String({ description: 'of what the template makes; null: application/json' })),
  batch_max_events: Int(),
  batch_max_wait_ms: Int(),
  allowed_ips: Ranges,
};

const WITH_SECRETS = {
  ...WRITABLE,
  headers: nullable(Strings),
  auth_config: nullable(Type.Record(Type.String(), nullable(Type.String()))),
  secret: nullable(Type.String({ description: 'the signing secret; without it rowhook makes one' })),
};

export const State = Type.Union([
  Type.Literal('active'),
  Type.Literal('failing'),
  Type.Literal('circuit_open'),
  Type.Literal('disabled'),
  Type.Literal('off'),
]);

/** Fields that only rowhook sets. A client may send them back. */
export const READ_ONLY = [
  ...['id', 'organization_id', 'state', 'waiting', 'disabled_reason', 'disabled_at', 'created_at', 'updated_at'],
  ...['stats_24h', 'last_attempt_at', 'sparkline', 'notes'],
];

const ANSWERED = {
  id: Type.String(),
  organization_id: Type.String(),
  ...WRITABLE,
  headers: Strings,
  auth_config: Type.Record(Type.String(), nullable(Type.String())),
  state: State,
  waiting: Type.Integer({ description: 'deliveries that wait for their next attempt, counted up to 10,000' }),
  disabled_reason: nullable(Type.String()),
  disabled_at: nullable(Time),
  created_at: Time,
  updated_at: Time,
};

export const Webhook = closed(ANSWERED);
export const WebhookInList = closed({
  ...ANSWERED,
  stats_24h: closed({ success: Type.Integer(), failed: Type.Integer(), skipped: Type.Integer() }),
  sparkline: Type.Array(Type.Integer(), { description: 'attempts of each of the last 24 hours, the oldest first' }),
  last_attempt_at: nullable(Time),
});
const notes = Type.Array(Type.String(), { description: 'probable mistakes, such as a column in the filter' });
export const ChangedWebhook = closed({ ...ANSWERED, notes });
export const WebhookWithSecret = closed({
  ...ANSWERED,
  secret: Type.String({ description: 'shown this once' }),
  notes,
});

const { name, target_url, event_types } = WITH_SECRETS;
export const NewWebhook = closed({
  ...Type.Partial(Type.Object(WITH_SECRETS)).properties,
  name,
  target_url,
  event_types,
});
export const WebhookChange = closed(Type.Partial(Type.Object(WITH_SECRETS)).properties);

/** What a webhook has where nobody chose otherwise. PUT sets what a body does not name. */
export const DEFAULTS = {
  description: null,
  http_method: 'POST',
  filter: null,
  headers: {},
  auth_type: 'none',
  is_active: true,
  retry_enabled: true,
  retry_attempts: 7,
  retry_strategy: 'exponential',
  retry_delay_seconds: 60,
  timeout_ms: 10_000,
  max_in_flight: 8,
  rate_limit_per_second: null,
  ordering: 'none',
  payload_format: 'nested',
  payload_template: null,
  content_type: null,
  batch_max_events: 1,
  batch_max_wait_ms: 1_000,
  allowed_ips: null,
};

export type Change = Static<typeof WebhookChange>;

/** The columns of the fields that a body names. `stored` is the webhook as it is, if there is one. */
export function columnsOf(body: Change, stored: WebhookOverview | null): Columns {
  const { target_url: url, filter, headers, auth_config, secret, ...others } = body;
  const columns: Record<string, unknown> = {
    ...others,
    url: stored !== null && url === maskedUrl(stored.url) ? stored.url : url,
    filter: filter === undefined || filter === null ? filter : JSON.stringify(filter),
    headers: headers === undefined ? undefined : JSON.stringify(keptHeaders(headers ?? {}, stored)),
    auth_config: authConfig(body, auth_config),
    secret: secret === null || secret === MASK ? undefined : secret,
  };
  return Object.entries(columns).filter(([, value]) => value !== undefined);
}

/** A mask that comes back keeps the value that it stands for. */
function keptHeaders(headers: Record<string, string>, stored: WebhookOverview | null): Record<string, string> {
  const kept = Object.entries(headers).map(([header, value]) => [
    header,
    value === MASK ? (stored?.headers[header] ?? value) : value,
  ]);
  return Object.fromEntries(kept);
}

/** Null for a key keeps its value, which only the database knows. */
function authConfig({ auth_type }: Change, config: Change['auth_config']): string | undefined {
  if (auth_type === 'none' && !config) return '{}';
  if (config === undefined || config === null) return undefined;
  const entries = Object.entries(config).map(([key, value]) => [key, value === MASK ? null : value]);
  return JSON.stringify(Object.fromEntries(entries));
}

/** As JSON, for this caller. */
export function webhookJson(row: WebhookOverview, caller: Caller): Static<typeof Webhook> {
  const { tenant_id, url, filter, headers, rate_limit_per_second: rate, created_us: _, version: __, ...others } = row;
  const mayWrite = caller.scopes.includes('write');
  return {
    ...others,
    organization_id: tenant_id,
    target_url: mayWrite ? url : maskedUrl(url),
    filter: filter === null ? null : new JsonText(filter),
    headers: Object.fromEntries(
      Object.entries(headers).map(([header, value]) => [header, isHarmless(header) ? value : MASK]),
    ),
    rate_limit_per_second: rate === null ? null : Number(rate),
    disabled_at: row.disabled_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}
