/**
 * How an attempt ended: a closed list, from error codes, never from message text.
 * `skipped` ones were never sent.
 */
export type OutcomeCode =
  | 'delivered'
  | 'http_error'
  | 'redirect_refused'
  | 'gone'
  | 'timeout'
  | 'dns_failed'
  | 'connection_refused'
  | 'connection_reset'
  | 'connection_failed'
  | 'tls_failed'
  | 'proxy_failed'
  | 'protocol_error'
  | 'address_refused'
  | 'http_refused'
  | 'webhook_inactive'
  | 'webhook_disabled'
  | 'webhook_deleted'
  | 'webhook_unusable'
  | 'filter_failed'
  | 'payload_lost'
  | 'unreadable';

export interface Outcome {
  status: 'success' | 'failed' | 'skipped';
  code: OutcomeCode;
  /** A sentence for the tenant; null on success. */
  error: string | null;
  response: { status: number; headers: Record<string, string>; body: string } | null;
  remoteIp: string | null;
  durationMs: number;
}
