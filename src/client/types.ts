// Written by npm run docs from the OpenAPI document. Do not edit.

export interface ApiKey {
  id: string;
  organization_id: string | null;
  name: string;
  /** how the token begins */
  prefix: string;
  scopes: Array<string>;
  allowed_ips: Array<string> | null;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
}

export interface ApiKeyWithToken {
  id: string;
  organization_id: string | null;
  name: string;
  /** how the token begins */
  prefix: string;
  scopes: Array<string>;
  allowed_ips: Array<string> | null;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
  /** shown this once */
  token: string;
}

export interface Attempt {
  id: string;
  delivery_id: string;
  event_id: string;
  event_type: string;
  /** its number within the delivery, from 1 */
  attempt: number;
  /** success, failed or skipped */
  status: string;
  /** why it ended this way: delivered, http_error, timeout … */
  code: string;
  response_status: number | null;
  duration_ms: number | null;
  attempted_at: string;
  next_attempt_at: string | null;
  error: string | null;
  remote_ip: string | null;
  user_agent: string | null;
}

export interface AttemptDetail {
  id: string;
  delivery_id: string;
  event_id: string;
  event_type: string;
  /** its number within the delivery, from 1 */
  attempt: number;
  /** success, failed or skipped */
  status: string;
  /** why it ended this way: delivered, http_error, timeout … */
  code: string;
  response_status: number | null;
  duration_ms: number | null;
  attempted_at: string;
  next_attempt_at: string | null;
  error: string | null;
  remote_ip: string | null;
  user_agent: string | null;
  webhook_id: string;
  webhook_name: string | null;
  request: {
    method: string;
    url: string;
    headers: Record<string, string> | null;
    body: string | null;
    note: string | null;
  };
  response: {
    status: number;
    headers: Record<string, string> | null;
    body: string | null;
  } | null;
  curl: string | null;
}

export interface ChangedWebhook {
  id: string;
  organization_id: string;
  name: string;
  description: string | null;
  target_url: string;
  /** POST, PUT or PATCH */
  http_method: string;
  /** deal.updated, deal.* or * */
  event_types: Array<string>;
  /** conditions on the row, such as {"data.stage":"won"}; null: every event */
  filter: unknown;
  /** none, bearer, basic or api_key */
  auth_type: string;
  is_active: boolean;
  retry_enabled: boolean;
  retry_attempts: number;
  /** exponential or linear */
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: number | null;
  /** none or row */
  ordering: string;
  /** nested, flat, cloudevents, slack, discord, teams or template */
  payload_format: string;
  payload_template: string | null;
  content_type: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: Array<string> | null;
  headers: Record<string, string>;
  auth_config: Record<string, string | null>;
  state: "active" | "failing" | "circuit_open" | "disabled" | "off";
  /** deliveries that wait for their next attempt, counted up to 10,000 */
  waiting: number;
  disabled_reason: string | null;
  disabled_at: string | null;
  created_at: string;
  updated_at: string;
  /** probable mistakes, such as a column in the filter */
  notes: Array<string>;
}

/** CloudEvents 1.0, structured mode */
export interface CloudEvent {
  specversion: "1.0";
  /** evt_…; the same for every webhook and every attempt */
  id: string;
  /** /organizations/ and the id of the organization, percent-encoded */
  source: string;
  /** such as deal.updated */
  type: string;
  /** the key of the row */
  subject?: string;
  time: string;
  datacontenttype: "application/json";
  webhookid: string;
  webhookname: string;
  /** the same for every attempt of this delivery */
  deliveryid: string;
  /** JSON text of the former values */
  previous?: string;
  /** true: data is not the whole row */
  truncated?: boolean;
  /** too_large, or error_ and a SQLSTATE */
  truncatedreason?: string;
  /** true: a test event */
  test?: boolean;
  /** the row, or what an application emitted; numbers have all of their digits */
  data: unknown;
}

export interface Delivery {
  id: string;
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  /** waiting, failed, delivered or skipped */
  state: string;
  occurred_at: string | null;
  next_attempt_at: string | null;
  waits_for: string | null;
  /** what happens next, as a sentence */
  next: string;
  event: Event | null;
  /** oldest first */
  attempts: Array<Attempt>;
}

export interface Event {
  /** evt_…; the same for every webhook and every attempt */
  id: string;
  /** such as deal.updated */
  event: string;
  timestamp: string;
  organization: {
    id: string;
    name?: string | null;
    slug?: string | null;
  };
  /** the row, or what an application emitted; numbers have all of their digits */
  data: unknown;
  /** the former values of the columns that an update changed */
  previous?: unknown;
  /** true: data is not the whole row */
  truncated?: boolean;
  /** too_large, or error_ and a SQLSTATE */
  truncated_reason?: string;
  /** true: a test event */
  test?: boolean;
}

export interface Explanation {
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  /** whether the webhook wants it as it is configured now */
  sent: boolean;
  because: string | null;
  delivery_id: string;
  happened: {
    status: string;
    code: string | null;
    at: string | null;
    next_attempt_at: string | null;
  } | null;
}

/** the fields of data stand beside these */
export interface FlatWebhookBody {
  /** evt_…; the same for every webhook and every attempt */
  webhook_event_id: string;
  /** such as deal.updated */
  webhook_event: string;
  webhook_timestamp: string;
  webhook_organization: {
    id: string;
    name?: string | null;
    slug?: string | null;
  };
  /** the former values of the columns that an update changed */
  previous?: unknown;
  /** true: data is not the whole row */
  truncated?: boolean;
  /** too_large, or error_ and a SQLSTATE */
  truncated_reason?: string;
  /** true: a test event */
  test?: boolean;
  webhook_metadata: {
    webhook_id: string;
    webhook_name: string;
    /** the same for every attempt of this delivery */
    delivery_id: string;
  };
}

export interface Me {
  organization_id: string | null;
  tenant_id: string | null;
  organization: {
    id: string;
    name: string | null;
    slug: string | null;
  } | null;
  /** of the token */
  name: string;
  scopes: Array<string>;
  read_only: boolean;
  expires_at: string | null;
}

export interface NewApiKey {
  name: string;
  /** read, write, inbound, keys; default read and write */
  scopes?: Array<string>;
  allowed_ips?: Array<string> | null;
  expires_at?: string | null;
}

export interface NewWebhook {
  name: string;
  description?: string | null;
  target_url: string;
  /** POST, PUT or PATCH */
  http_method?: string;
  /** deal.updated, deal.* or * */
  event_types: Array<string>;
  /** conditions on the row, such as {"data.stage":"won"}; null: every event */
  filter?: unknown;
  /** none, bearer, basic or api_key */
  auth_type?: string;
  is_active?: boolean;
  retry_enabled?: boolean;
  retry_attempts?: number;
  /** exponential or linear */
  retry_strategy?: string;
  retry_delay_seconds?: number;
  timeout_ms?: number;
  max_in_flight?: number;
  rate_limit_per_second?: number | null;
  /** none or row */
  ordering?: string;
  /** nested, flat, cloudevents, slack, discord, teams or template */
  payload_format?: string;
  payload_template?: string | null;
  content_type?: string | null;
  batch_max_events?: number;
  batch_max_wait_ms?: number;
  allowed_ips?: Array<string> | null;
  headers?: Record<string, string> | null;
  auth_config?: Record<string, string | null> | null;
  secret?: string | null;
}

export interface Organization {
  id: string;
  name: string | null;
  slug: string | null;
  max_in_flight: number | null;
  rate_limit_per_second: number | null;
  webhooks: number;
  active: number;
  failing: number;
  disabled: number;
  /** deliveries, counted up to 10,000 */
  waiting: number;
  /** deliveries, counted up to 10,000 */
  failed: number;
}

/** RFC 9457 */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** stable; a program decides by this */
  code: string;
  errors?: Array<{
    field: string;
    message: string;
  }>;
}

export interface ReplayProgress {
  since: string;
  until: string;
  only: string;
  /** how many events were queued */
  total: number;
  /** how many of them wait for their first attempt */
  left: number;
  is_running: boolean;
  started_at: string;
  cancelled_at: string | null;
}

export interface Status {
  at: string;
  database: string;
  server: string;
  schema_version: number;
  environment: string | null;
  oldest_undelivered_seconds: number | null;
  oldest_waiting_seconds: number | null;
  waiting: number;
  given_up: number;
  breakers_open: number;
  webhooks: {
    active: number;
    off: number;
    disabled: number;
  };
  daemons: Array<{
    name: string;
    started_at: string;
    lanes: number;
  }>;
  lanes: Array<{
    lane: number;
    owner: string | null;
    lease_seconds: number | null;
    position_age_seconds: number;
    /** events that are not delivered yet */
    events: number;
    oldest_seconds: number | null;
    tenants_lagging: number;
    lagging: Array<{
      tenant_id: string;
      events: number;
      oldest_seconds: number | null;
    }>;
    /** there are more events than were counted */
    more: boolean;
  }> | null;
  /** the 100 webhooks with most deliveries that failed or wait */
  troubled: Array<{
    id: string;
    tenant_id: string | null;
    tenant_name: string | null;
    name: string | null;
    state: "active" | "failing" | "circuit_open" | "disabled" | "off" | "deleted";
    disabled_reason: string | null;
    waiting: number;
    given_up: number;
    oldest_seconds: number | null;
    breaker: "closed" | "open" | "probing" | null;
    failures: number | null;
    opens_again_seconds: number | null;
  }>;
  inbound: {
    pending: number;
    processing: number;
    lease_ended: number;
    failed_24h: number;
    oldest_seconds: number | null;
    oldest_tenant_id: string | null;
    oldest_event_name: string | null;
    oldest_attempts: number | null;
  };
  slots: Array<{
    slot: number;
    /** current, next or kept */
    turn: string;
    oldest_seconds: number | null;
    newest_seconds: number | null;
    bytes: number;
  }>;
  sources: {
    watched: number;
    problems: Array<{
      table: string;
      what: string;
      fix: string;
    }>;
  };
}

export interface UnfinishedDelivery {
  id: string;
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  state: "waiting" | "failed";
  /** how many attempts were made */
  attempt: number;
  last_code: string | null;
  occurred_at: string;
  next_attempt_at: string | null;
  replayed: boolean;
  test: boolean;
}

export interface Webhook {
  id: string;
  organization_id: string;
  name: string;
  description: string | null;
  target_url: string;
  /** POST, PUT or PATCH */
  http_method: string;
  /** deal.updated, deal.* or * */
  event_types: Array<string>;
  /** conditions on the row, such as {"data.stage":"won"}; null: every event */
  filter: unknown;
  /** none, bearer, basic or api_key */
  auth_type: string;
  is_active: boolean;
  retry_enabled: boolean;
  retry_attempts: number;
  /** exponential or linear */
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: number | null;
  /** none or row */
  ordering: string;
  /** nested, flat, cloudevents, slack, discord, teams or template */
  payload_format: string;
  payload_template: string | null;
  content_type: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: Array<string> | null;
  headers: Record<string, string>;
  auth_config: Record<string, string | null>;
  state: "active" | "failing" | "circuit_open" | "disabled" | "off";
  /** deliveries that wait for their next attempt, counted up to 10,000 */
  waiting: number;
  disabled_reason: string | null;
  disabled_at: string | null;
  created_at: string;
  updated_at: string;
}

export interface WebhookBatch {
  /** bat_… */
  id: string;
  batch: Array<WebhookBody | FlatWebhookBody>;
}

export interface WebhookBody {
  /** evt_…; the same for every webhook and every attempt */
  id: string;
  /** such as deal.updated */
  event: string;
  timestamp: string;
  organization: {
    id: string;
    name?: string | null;
    slug?: string | null;
  };
  /** the row, or what an application emitted; numbers have all of their digits */
  data: unknown;
  /** the former values of the columns that an update changed */
  previous?: unknown;
  /** true: data is not the whole row */
  truncated?: boolean;
  /** too_large, or error_ and a SQLSTATE */
  truncated_reason?: string;
  /** true: a test event */
  test?: boolean;
  metadata: {
    webhook_id: string;
    webhook_name: string;
    /** the same for every attempt of this delivery */
    delivery_id: string;
  };
}

export interface WebhookChange {
  name?: string;
  description?: string | null;
  target_url?: string;
  /** POST, PUT or PATCH */
  http_method?: string;
  /** deal.updated, deal.* or * */
  event_types?: Array<string>;
  /** conditions on the row, such as {"data.stage":"won"}; null: every event */
  filter?: unknown;
  /** none, bearer, basic or api_key */
  auth_type?: string;
  is_active?: boolean;
  retry_enabled?: boolean;
  retry_attempts?: number;
  /** exponential or linear */
  retry_strategy?: string;
  retry_delay_seconds?: number;
  timeout_ms?: number;
  max_in_flight?: number;
  rate_limit_per_second?: number | null;
  /** none or row */
  ordering?: string;
  /** nested, flat, cloudevents, slack, discord, teams or template */
  payload_format?: string;
  payload_template?: string | null;
  content_type?: string | null;
  batch_max_events?: number;
  batch_max_wait_ms?: number;
  allowed_ips?: Array<string> | null;
  headers?: Record<string, string> | null;
  auth_config?: Record<string, string | null> | null;
  secret?: string | null;
}

export interface WebhookInList {
  id: string;
  organization_id: string;
  name: string;
  description: string | null;
  target_url: string;
  /** POST, PUT or PATCH */
  http_method: string;
  /** deal.updated, deal.* or * */
  event_types: Array<string>;
  /** conditions on the row, such as {"data.stage":"won"}; null: every event */
  filter: unknown;
  /** none, bearer, basic or api_key */
  auth_type: string;
  is_active: boolean;
  retry_enabled: boolean;
  retry_attempts: number;
  /** exponential or linear */
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: number | null;
  /** none or row */
  ordering: string;
  /** nested, flat, cloudevents, slack, discord, teams or template */
  payload_format: string;
  payload_template: string | null;
  content_type: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: Array<string> | null;
  headers: Record<string, string>;
  auth_config: Record<string, string | null>;
  state: "active" | "failing" | "circuit_open" | "disabled" | "off";
  /** deliveries that wait for their next attempt, counted up to 10,000 */
  waiting: number;
  disabled_reason: string | null;
  disabled_at: string | null;
  created_at: string;
  updated_at: string;
  stats_24h: {
    success: number;
    failed: number;
    skipped: number;
  };
  /** attempts of each of the last 24 hours, the oldest first */
  sparkline: Array<number>;
  last_attempt_at: string | null;
}

export interface WebhookSettingsChange {
  id: string;
  changed_at: string;
  webhook_id: string;
  webhook_name: string;
  /** created, changed or deleted */
  action: string;
  changed_by: string;
  /** the changed settings; secrets are masked */
  changes: Record<string, {
    old: unknown;
    new: unknown;
  }>;
}

export interface WebhookWithSecret {
  id: string;
  organization_id: string;
  name: string;
  description: string | null;
  target_url: string;
  /** POST, PUT or PATCH */
  http_method: string;
  /** deal.updated, deal.* or * */
  event_types: Array<string>;
  /** conditions on the row, such as {"data.stage":"won"}; null: every event */
  filter: unknown;
  /** none, bearer, basic or api_key */
  auth_type: string;
  is_active: boolean;
  retry_enabled: boolean;
  retry_attempts: number;
  /** exponential or linear */
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: number | null;
  /** none or row */
  ordering: string;
  /** nested, flat, cloudevents, slack, discord, teams or template */
  payload_format: string;
  payload_template: string | null;
  content_type: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: Array<string> | null;
  headers: Record<string, string>;
  auth_config: Record<string, string | null>;
  state: "active" | "failing" | "circuit_open" | "disabled" | "off";
  /** deliveries that wait for their next attempt, counted up to 10,000 */
  waiting: number;
  disabled_reason: string | null;
  disabled_at: string | null;
  created_at: string;
  updated_at: string;
  /** shown this once */
  secret: string;
  /** probable mistakes, such as a column in the filter */
  notes: Array<string>;
}

export interface paths {
  "/api/v1/me": {
    /** What the token is */
    get: {
      responses: {
        200: { content: { "application/json": Me } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/auth/me": {
    /** What the token is */
    get: {
      responses: {
        200: { content: { "application/json": Me } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/organization": {
    /** The name and the slug of this organization */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          id: string;
          name: string | null;
          slug: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/egress-ips": {
    /** The addresses that webhooks are sent from */
    get: {
      responses: {
        200: { content: { "application/json": {
          data: Array<string>;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks": {
    /** List webhooks, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          /** part of a name, a description or a URL */
          q?: string;
          /** only webhooks that want this event */
          event_type?: string;
          is_active?: boolean;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<WebhookInList>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Create a webhook */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody: { content: { "application/json": NewWebhook } };
      responses: {
        201: { content: { "application/json": WebhookWithSecret } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}": {
    /** Read a webhook */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      responses: {
        200: { content: { "application/json": Webhook } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Change what the body names */
    patch: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        header?: {
          /** the ETag of the webhook as you read it; 412 if it was changed since */
          "If-Match"?: string;
        };
      };
      requestBody: { content: { "application/json": WebhookChange } };
      responses: {
        200: { content: { "application/json": ChangedWebhook } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Replace all settings, except secrets that the body leaves out */
    put: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        header?: {
          /** the ETag of the webhook as you read it; 412 if it was changed since */
          "If-Match"?: string;
        };
      };
      requestBody: { content: { "application/json": NewWebhook } };
      responses: {
        200: { content: { "application/json": ChangedWebhook } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Delete a webhook and its unfinished deliveries */
    delete: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        header?: {
          /** the ETag of the webhook as you read it; 412 if it was changed since */
          "If-Match"?: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/enable": {
    /** Switch a webhook on */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        header?: {
          /** the ETag of the webhook as you read it; 412 if it was changed since */
          "If-Match"?: string;
        };
      };
      responses: {
        200: { content: { "application/json": ChangedWebhook } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/disable": {
    /** Switch a webhook off */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        header?: {
          /** the ETag of the webhook as you read it; 412 if it was changed since */
          "If-Match"?: string;
        };
      };
      responses: {
        200: { content: { "application/json": ChangedWebhook } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/rotate-secret": {
    /** Make a new signing secret. The old one also signs for a time */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      requestBody?: { content: { "application/json": {
          overlap_seconds?: number;
        } | null } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          secret: string;
          overlap_seconds: number;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/api-keys": {
    /** List API keys, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<ApiKey>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Make an API key, with scopes that the maker has */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody: { content: { "application/json": NewApiKey } };
      responses: {
        201: { content: { "application/json": ApiKeyWithToken } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/api-keys/{id}/rotate": {
    /** Give a key a new token. The old one works for a time */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      requestBody?: { content: { "application/json": {
          overlap_seconds?: number;
        } | null } };
      responses: {
        200: { content: { "application/json": ApiKeyWithToken } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/api-keys/{id}": {
    /** Revoke a key, at once */
    delete: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/portal-links": {
    /** Make a link that opens the console for this organization */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody?: { content: { "application/json": {
          /** seconds; 3600 by default */
          expires_in?: number;
          /** true: the visitor changes nothing */
          read_only?: boolean;
        } | null } };
      responses: {
        201: { content: { "application/json": {
          /** shown this once; it can be opened once, within 5 minutes */
          url: string;
          /** when the session ends */
          expires_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/session": {
    /** Open a portal link, or sign in with an API key */
    post: {
      requestBody?: { content: { "application/json": {
          /** of a portal link, or an API key; without it, the API key of the header */
          token?: string;
          /** true: the answer has the token, for a page in an iframe; else it is a cookie */
          bearer?: boolean;
          /** seconds, for an API key; 43200 by default */
          expires_in?: number;
        } | null } };
      responses: {
        201: { content: { "application/json": {
          organization_id: string | null;
          tenant_id: string | null;
          organization: {
            id: string;
            name: string | null;
            slug: string | null;
          } | null;
          /** of the token */
          name: string;
          scopes: Array<string>;
          read_only: boolean;
          expires_at: string | null;
          /** only with bearer; send it as Authorization: Bearer */
          token?: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** End the session of the token */
    delete: {
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/webhooks": {
    /** List webhooks */
    get: {
      responses: {
        200: { content: { "application/json": Array<{
          id: string;
          name: string;
          description: string | null;
          targetUrl: string;
          events: Array<string>;
          headers: Record<string, string>;
          isActive: boolean;
          createdAt: string;
          updatedAt: string;
        }> } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Create a webhook */
    post: {
      requestBody: { content: { "application/json": {
          name?: string;
          description?: string | null;
          targetUrl: string;
          events: Array<string>;
          headers?: Record<string, string>;
          isActive?: boolean;
        } } };
      responses: {
        201: { content: { "application/json": {
          id: string;
          name: string;
          description: string | null;
          targetUrl: string;
          events: Array<string>;
          headers: Record<string, string>;
          isActive: boolean;
          createdAt: string;
          updatedAt: string;
          secret: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/webhooks/{id}": {
    /** Read a webhook */
    get: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          id: string;
          name: string;
          description: string | null;
          targetUrl: string;
          events: Array<string>;
          headers: Record<string, string>;
          isActive: boolean;
          createdAt: string;
          updatedAt: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Change what the body names */
    put: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      requestBody: { content: { "application/json": {
          name?: string;
          description?: string | null;
          targetUrl?: string;
          events?: Array<string>;
          headers?: Record<string, string>;
          isActive?: boolean;
        } } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          name: string;
          description: string | null;
          targetUrl: string;
          events: Array<string>;
          headers: Record<string, string>;
          isActive: boolean;
          createdAt: string;
          updatedAt: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Delete it */
    delete: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/webhooks/subscriptions": {
    /** List subscriptions */
    get: {
      responses: {
        200: { content: { "application/json": Array<{
          id: string;
          tenant_id: string;
          event_name: string | null;
          event_names: Array<string>;
          target_url: string;
          enabled: boolean;
          created_at: string;
          updated_at: string;
        }> } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Subscribe to an event */
    post: {
      requestBody: { content: { "application/json": {
          event_name?: string | null;
          event_names?: Array<string>;
          target_url: string;
          enabled?: boolean;
        } } };
      responses: {
        201: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string | null;
          event_names: Array<string>;
          target_url: string;
          enabled: boolean;
          created_at: string;
          updated_at: string;
          secret: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/webhooks/subscriptions/{id}": {
    /** Read a subscription */
    get: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string | null;
          event_names: Array<string>;
          target_url: string;
          enabled: boolean;
          created_at: string;
          updated_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Change what the body names */
    patch: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      requestBody: { content: { "application/json": {
          event_name?: string | null;
          event_names?: Array<string>;
          target_url?: string;
          enabled?: boolean;
        } } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string | null;
          event_names: Array<string>;
          target_url: string;
          enabled: boolean;
          created_at: string;
          updated_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Delete it */
    delete: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/deliveries": {
    /** List the attempts of a webhook, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          status?: "success" | "failed" | "skipped";
          /** evt_… */
          event_id?: string;
          event_type?: string;
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          since?: string;
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          until?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<Attempt>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/attempts/{log_id}": {
    /** Read an attempt with its request and response */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          log_id: string;
        };
      };
      responses: {
        200: { content: { "application/json": AttemptDetail } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/stats": {
    /** Count the attempts of a webhook per minute, hour or day (UTC), oldest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
        query?: {
          bucket?: "minute" | "hour" | "day";
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          since?: string;
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          until?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          bucket: string;
          data: Array<{
            at: string;
            success: number;
            failed: number;
            skipped: number;
            p50: number | null;
            p95: number | null;
          }>;
          /** of the whole range; its percentiles are those of all attempts */
          total: {
            success: number;
            failed: number;
            skipped: number;
            p50: number | null;
            p95: number | null;
          };
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/deliveries": {
    /** List deliveries that wait or failed, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          state?: "waiting" | "failed";
          /** the id of a webhook */
          webhook?: string;
          event_type?: string;
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          since?: string;
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          until?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<UnfinishedDelivery>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/deliveries/{delivery_id}": {
    /** Read a delivery with its event, its attempts and what happens next */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          delivery_id: string;
        };
      };
      responses: {
        200: { content: { "application/json": Delivery } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/deliveries/{delivery_id}/retry": {
    /** Send a delivery again now, with the same ids */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          delivery_id: string;
        };
      };
      requestBody?: { content: { "application/json": Record<string, never> | null } };
      responses: {
        202: { content: { "application/json": {
          id: string;
          retried: number;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/deliveries/retry": {
    /** Send many deliveries again now */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody: { content: { "application/json": {
          ids?: Array<string>;
          filter?: {
            state?: "waiting" | "failed";
            /** the id of a webhook */
            webhook?: string;
            event_type?: string;
            /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
            since?: string;
            /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
            until?: string;
          };
          dry_run?: boolean;
        } } };
      responses: {
        200: { content: { "application/json": {
          count: number;
          more: boolean;
        } } };
        202: { content: { "application/json": {
          retried: number;
          /** deliveries that are unknown, or too old to be sent again */
          skipped: number;
          /** true: more deliveries fit the filter */
          more: boolean;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/replay": {
    /** Send past events of a webhook again, with the same ids, after new ones */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      requestBody: { content: { "application/json": {
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          since: string;
          until?: string | null;
          /** failed (no attempts left; also given_up; the default), missed (never delivered) or all */
          only?: "failed" | "given_up" | "missed" | "all";
          /** true: only count */
          dry_run?: boolean;
        } } };
      responses: {
        200: { content: { "application/json": {
          count: number;
        } } };
        202: { content: { "application/json": ReplayProgress } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** How far the last replay of a webhook is */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      responses: {
        200: { content: { "application/json": ReplayProgress } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Cancel a replay: what waits for its first attempt is not sent */
    delete: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          cancelled: number;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/webhooks/{id}/test": {
    /** Send a test event and wait for the answer, whatever it is */
    post: {
      parameters: {
        path: {
          /** a UUID */
          id: string;
        };
      };
      requestBody?: { content: { "application/json": {
          event_type?: string | null;
        } | null } };
      responses: {
        200: { content: { "application/json": AttemptDetail } };
        202: { content: { "application/json": {
          message: string;
          event_type: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/{id}/test": {
    /** Send a test event and wait for the answer, whatever it is */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      requestBody?: { content: { "application/json": {
          event_type?: string | null;
        } | null } };
      responses: {
        200: { content: { "application/json": AttemptDetail } };
        202: { content: { "application/json": {
          message: string;
          event_type: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/test-urls": {
    /** Make a URL that shows what is sent to it, for an hour */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      responses: {
        201: { content: { "application/json": {
          /** tst_… */
          id: string;
          /** the target_url of a webhook that is tried */
          url: string;
          expires_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/test-urls/{id}": {
    /** Read what was sent to a test URL */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** tst_… */
          id: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          /** tst_… */
          id: string;
          /** the target_url of a webhook that is tried */
          url: string;
          expires_at: string;
          /** the newest 50, newest first */
          requests: Array<{
            id: string;
            received_at: string;
            method: string;
            headers: Record<string, string>;
            /** its beginning, as text */
            body: string;
            /** the length of the whole body */
            body_bytes: number;
            remote_ip: string | null;
          }>;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/events": {
    /** List events, newest first, as webhooks get them */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          /** evt_… */
          id?: string;
          event_type?: string;
          /** the primary key of a row, as text */
          row_key?: string;
          /** RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d */
          since?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<Event>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Write an event of your application */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        header?: {
          /** 1 to 512 bytes; another request with the same key is 422 */
          "Idempotency-Key"?: string;
        };
      };
      requestBody: { content: { "application/json": {
          /** such as payment.received */
          event: string;
          data: unknown;
        } } };
      responses: {
        200: { content: { "application/json": {
          id: string;
        } } };
        201: { content: { "application/json": {
          id: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/events/{id}/explain": {
    /** Why an event is sent to a webhook, or not */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** evt_…, or a number of the outbox */
          id: string;
        };
        query?: {
          /** by default all */
          webhook?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<Explanation>;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/event-types": {
    /** List the event types that a webhook may ask for */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<{
            event_type: string;
            description: string | null;
            /** JSON Schema (2020-12) of data; {}: data may be anything */
            schema: unknown;
            /** made-up data; null: unknown */
            sample: unknown;
          }>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/changes": {
    /** List changes of webhooks, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          webhook?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<WebhookSettingsChange>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/organizations": {
    /** List organizations by id, and how their webhooks do */
    get: {
      parameters: {
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          /** part of an id or name */
          q?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<Organization>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/organizations/{organization}": {
    /** Set the name, the slug and the limits of an organization */
    put: {
      parameters: {
        path: {
          organization: string;
        };
      };
      requestBody: { content: { "application/json": {
          name?: string | null;
          slug?: string | null;
          max_in_flight?: number | null;
          rate_limit_per_second?: number | null;
        } } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          name: string | null;
          slug: string | null;
          max_in_flight: number | null;
          rate_limit_per_second: number | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/status": {
    /** Daemons, lanes, and what waits */
    get: {
      responses: {
        200: { content: { "application/json": Status } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/hooks": {
    /** Subscribe a REST hook */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody: { content: { "application/json": {
          targetUrl: string;
          event: string;
        } } };
      responses: {
        201: { content: { "application/json": {
          id: string;
          secret: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/hooks/sample": {
    /** The newest events of a type, or a made-up one, as a REST hook gets them */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query: {
          event: string;
        };
      };
      responses: {
        200: { content: { "application/json": Array<unknown> } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/hooks/{id}": {
    /** Unsubscribe */
    delete: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/webhooks/zapier/{resource}/poll": {
    /** Events since a time, newest first, 100 at most, for tools that poll */
    get: {
      parameters: {
        path: {
          resource: string;
        };
        query?: {
          /** RFC 3339, or seconds or milliseconds since 1970 */
          since?: string;
        };
      };
      responses: {
        200: { content: { "application/json": Array<unknown> } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/inbound-sources": {
    /** List inbound sources, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<{
            id: string;
            organization_id: string;
            name: string;
            verification: string;
            signature_header: string | null;
            signature_algorithm: string | null;
            signature_encoding: string | null;
            event_name: string | null;
            event_path: string | null;
            event_header: string | null;
            allowed_ips: Array<string> | null;
            /** where the sender posts to */
            url: string;
            previous_secret_expires_at: string | null;
            created_at: string;
            updated_at: string;
          }>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Create an inbound source */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody: { content: { "application/json": {
          name: string;
          verification: "standard_webhooks" | "stripe" | "github" | "shopify" | "slack" | "hmac" | "api_key";
          /** of the sender; by default a new one is made */
          secret?: string;
          signature_header?: string | null;
          signature_algorithm?: string | null;
          signature_encoding?: string | null;
          event_name?: string | null;
          event_path?: string | null;
          event_header?: string | null;
          allowed_ips?: Array<string> | null;
        } } };
      responses: {
        201: { content: { "application/json": {
          id: string;
          organization_id: string;
          name: string;
          verification: string;
          signature_header: string | null;
          signature_algorithm: string | null;
          signature_encoding: string | null;
          event_name: string | null;
          event_path: string | null;
          event_header: string | null;
          allowed_ips: Array<string> | null;
          /** where the sender posts to */
          url: string;
          previous_secret_expires_at: string | null;
          created_at: string;
          updated_at: string;
          /** shown this once */
          secret: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/inbound-sources/{id}": {
    /** Change what the body names */
    patch: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** src_… */
          id: string;
        };
      };
      requestBody: { content: { "application/json": {
          name?: string;
          signature_header?: string | null;
          signature_algorithm?: string | null;
          signature_encoding?: string | null;
          event_name?: string | null;
          event_path?: string | null;
          event_header?: string | null;
          allowed_ips?: Array<string> | null;
        } } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          organization_id: string;
          name: string;
          verification: string;
          signature_header: string | null;
          signature_algorithm: string | null;
          signature_encoding: string | null;
          event_name: string | null;
          event_path: string | null;
          event_header: string | null;
          allowed_ips: Array<string> | null;
          /** where the sender posts to */
          url: string;
          previous_secret_expires_at: string | null;
          created_at: string;
          updated_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
    /** Remove a source: its address answers 410 */
    delete: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** src_… */
          id: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/inbound-sources/{id}/rotate-secret": {
    /** Give a source a new secret. The old one is accepted for a time */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** src_… */
          id: string;
        };
      };
      requestBody?: { content: { "application/json": {
          /** of the sender; by default a new one is made */
          secret?: string;
          /** 86400 by default */
          overlap_seconds?: number;
        } | null } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          organization_id: string;
          name: string;
          verification: string;
          signature_header: string | null;
          signature_algorithm: string | null;
          signature_encoding: string | null;
          event_name: string | null;
          event_path: string | null;
          event_header: string | null;
          allowed_ips: Array<string> | null;
          /** where the sender posts to */
          url: string;
          previous_secret_expires_at: string | null;
          created_at: string;
          updated_at: string;
          /** shown this once */
          secret: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/integration-events": {
    /** List inbound events, newest first */
    get: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
        query?: {
          /** 50 by default */
          limit?: number;
          /** next_cursor of the page before */
          cursor?: string;
          status?: "received" | "processing" | "processed" | "failed";
          event_name?: string;
          source?: string;
        };
      };
      responses: {
        200: { content: { "application/json": {
          data: Array<{
            id: string;
            organization_id: string;
            event_name: string;
            source: string | null;
            /** the text as it came */
            payload: unknown;
            headers: Record<string, string>;
            idempotency_key: string | null;
            /** received, processing, processed or failed */
            status: string;
            attempts: number;
            error_message: string | null;
            received_at: string;
            available_at: string;
            processed_at: string | null;
            remote_ip: string | null;
          }>;
          next_cursor: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/integration-events/claim": {
    /** Claim inbound events for the time of a lease */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody?: { content: { "application/json": {
          event_names?: Array<string> | null;
          /** 10 by default */
          max_count?: number;
          /** 60 by default */
          lease_seconds?: number;
        } | null } };
      responses: {
        200: { content: { "application/json": {
          data: Array<{
            id: string;
            organization_id: string;
            event_name: string;
            source: string | null;
            /** the text as it came */
            payload: unknown;
            headers: Record<string, string>;
            idempotency_key: string | null;
            /** received, processing, processed or failed */
            status: string;
            attempts: number;
            error_message: string | null;
            received_at: string;
            available_at: string;
            processed_at: string | null;
            remote_ip: string | null;
          }>;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/integration-events/{id}/complete": {
    /** An inbound event is processed */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      requestBody?: { content: { "application/json": {
          attempts?: number | null;
        } | null } };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/integration-events/{id}/fail": {
    /** An inbound event was not processed */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      requestBody: { content: { "application/json": {
          error: string;
          retry_in?: number | null;
          attempts?: number | null;
        } } };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/integration-events/{id}/retry": {
    /** Let an inbound event be claimed again */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
          /** a UUID */
          id: string;
        };
      };
      responses: {
        204: { content?: never };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/{org}/outgoing-webhooks/preview": {
    /** Show what a webhook with these settings would send for an event */
    post: {
      parameters: {
        path: {
          /** the id of the organization, percent-encoded; `me` stands for the one of the token */
          org: string;
        };
      };
      requestBody: { content: { "application/json": {
          name?: string;
          target_url?: string;
          /** deal.updated, deal.* or * */
          event_types?: Array<string>;
          /** conditions on the row, such as {"data.stage":"won"}; null: every event */
          filter?: unknown;
          /** nested, flat, cloudevents, slack, discord, teams or template */
          payload_format?: string;
          payload_template?: string | null;
          content_type?: string | null;
          batch_max_events?: number;
          allowed_ips?: Array<string> | null;
          /** its latest event, or one that is made up */
          event_type?: string;
          /** an event of the outbox */
          event_id?: string;
        } } };
      responses: {
        200: { content: { "application/json": {
          event_id: string;
          event_type: string;
          /** true: the webhook wants the event */
          matched: boolean;
          stopped_by: string | null;
          content_type: string;
          body: string | null;
          body_problem: string | null;
          url_problem: string | null;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/webhooks/{event_name}": {
    /** Receive an event, with a key that has the scope inbound */
    post: {
      parameters: {
        path: {
          event_name: string;
        };
        header?: {
          /** the organization; a token that has one needs no such header */
          "X-Tenant-ID"?: string;
          /** names the request: the same again answers the first row */
          "webhook-id"?: string;
          /** the same as webhook-id */
          "Idempotency-Key"?: string;
        };
      };
      requestBody: { content: { "application/json": unknown } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string;
          /** the text as it came */
          payload: unknown;
          /** received; of an event that came before, what it is now */
          status: string;
          received_at: string;
        } } };
        201: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string;
          /** the text as it came */
          payload: unknown;
          /** received; of an event that came before, what it is now */
          status: string;
          received_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/webhooks/receive": {
    /** Receive an event that names itself, with a key that has the scope inbound */
    post: {
      parameters: {
        header?: {
          /** the organization; a token that has one needs no such header */
          "X-Tenant-ID"?: string;
          /** the name of the event; else the body has it as type */
          "X-Webhook-Event"?: string;
          /** names the request: the same again answers the first row */
          "webhook-id"?: string;
          /** the same as webhook-id */
          "Idempotency-Key"?: string;
        };
      };
      requestBody: { content: { "application/json": unknown } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string;
          /** the text as it came */
          payload: unknown;
          /** received; of an event that came before, what it is now */
          status: string;
          received_at: string;
        } } };
        201: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string;
          /** the text as it came */
          payload: unknown;
          /** received; of an event that came before, what it is now */
          status: string;
          received_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
  "/api/v1/webhooks/receive/{source}": {
    /** Receive a signed event of an inbound source */
    post: {
      parameters: {
        path: {
          source: string;
        };
        header?: {
          /** the organization, where the path has the name of a source */
          "X-Tenant-ID"?: string;
        };
      };
      requestBody: { content: { "application/json": unknown } };
      responses: {
        200: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string;
          /** the text as it came */
          payload: unknown;
          /** received; of an event that came before, what it is now */
          status: string;
          received_at: string;
        } } };
        201: { content: { "application/json": {
          id: string;
          tenant_id: string;
          event_name: string;
          /** the text as it came */
          payload: unknown;
          /** received; of an event that came before, what it is now */
          status: string;
          received_at: string;
        } } };
        "4XX": { content: { "application/problem+json": Problem } };
        "5XX": { content: { "application/problem+json": Problem } };
      };
    };
  };
}
