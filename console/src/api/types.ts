/** What the API answers, as /api/openapi.json describes it. */

export interface Me {
  organization_id: string | null;
  name: string;
  scopes: string[];
  read_only: boolean;
  expires_at: string | null;
}

export type WebhookState = 'active' | 'failing' | 'circuit_open' | 'disabled' | 'off';

export interface Webhook {
  id: string;
  organization_id: string;
  name: string;
  description: string | null;
  target_url: string;
  http_method: string;
  event_types: string[];
  filter: unknown;
  headers: Record<string, string>;
  auth_type: string;
  auth_config: Record<string, string | null>;
  is_active: boolean;
  retry_enabled: boolean;
  retry_attempts: number;
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: number | null;
  ordering: string;
  payload_format: string;
  payload_template?: string | null;
  content_type?: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: string[] | null;
  state: WebhookState;
  waiting: number;
  disabled_reason: string | null;
  disabled_at: string | null;
  created_at: string;
  updated_at: string;
}

export interface WebhookInList extends Webhook {
  stats_24h: { success: number; failed: number; skipped: number };
  sparkline: number[];
  last_attempt_at: string | null;
}

export interface Attempt {
  id: string;
  delivery_id: string;
  event_id: string;
  event_type: string;
  attempt: number;
  status: string;
  code: string;
  response_status: number | null;
  duration_ms: number | null;
  attempted_at: string;
  next_attempt_at: string | null;
  error: string | null;
  remote_ip: string | null;
  user_agent: string | null;
}

export interface LiveAttempt extends Attempt {
  webhook_id: string;
}

export interface AttemptDetail extends Attempt {
  webhook_id: string;
  webhook_name: string | null;
  request: {
    method: string;
    url: string;
    headers: Record<string, string> | null;
    body: string | null;
    note: string | null;
  };
  response: { status: number; headers: Record<string, string> | null; body: string | null } | null;
  curl: string | null;
}

export interface Delivery {
  id: string;
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  state: string;
  occurred_at: string | null;
  next_attempt_at: string | null;
  waits_for: string | null;
  next: string;
  attempts: Attempt[];
}

export interface UnfinishedDelivery {
  id: string;
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  state: 'waiting' | 'failed';
  attempt: number;
  last_code: string | null;
  occurred_at: string;
  next_attempt_at: string | null;
  replayed: boolean;
  test: boolean;
}

export interface Bucket {
  at: string;
  success: number;
  failed: number;
  skipped: number;
  p50: number | null;
  p95: number | null;
}

export interface Replay {
  since: string;
  until: string;
  only: string;
  total: number;
  left: number;
  is_running: boolean;
  started_at: string;
  cancelled_at: string | null;
}

export interface Explanation {
  webhook_id: string;
  event_id: string;
  event_type: string;
  sent: boolean;
  because: string | null;
  delivery_id: string;
  happened: { status: string; code: string | null; at: string | null; next_attempt_at: string | null } | null;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  scopes: string[];
  allowed_ips: string[] | null;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
}

export interface Change {
  id: string;
  changed_at: string;
  webhook_id: string;
  webhook_name: string;
  action: string;
  changed_by: string;
  changes: Record<string, { old: unknown; new: unknown }>;
}

export interface OrganizationRow {
  id: string;
  name: string | null;
  slug: string | null;
  max_in_flight: number | null;
  rate_limit_per_second: number | null;
  webhooks: number;
  active: number;
  failing: number;
  disabled: number;
  waiting: number;
  failed: number;
}

export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}
