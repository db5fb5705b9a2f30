/**
 * How an attempt ended, and what follows for the delivery and its webhook.
 *
 * The codes are a closed list. A code comes from an error's code, never from its message.
 * A skipped delivery was never sent.
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
  | 'loop_cut'
  | 'payload_lost'
  | 'template_failed'
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

/** Durations are counted in buckets: up to so many milliseconds each, and one more for all longer ones. */
export const BUCKETS_MS = [
  1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000,
  15_000, 20_000, 30_000,
] as const;

export function bucketOf(durationMs: number): number {
  let bucket = 0;
  while (bucket < BUCKETS_MS.length && durationMs > (BUCKETS_MS[bucket] as number)) bucket += 1;
  return bucket;
}

/** What happens to a delivery next. */
export type Next =
  /** The delivery is parked and due in `inMs` milliseconds. */
  | { kind: 'retry'; inMs: number }
  /** The delivery is parked without a time, until the head of its row is done. */
  | { kind: 'behindRowHead' }
  /** The delivery failed and is not retried. Its row stays. */
  | { kind: 'givenUp' }
  /** The delivery needs no row in webhook_deliveries any more. */
  | { kind: 'finished' };

/** One shared object, because most deliveries finish at their first attempt. */
export const FINISHED = { kind: 'finished' } as const;

/** How an attempt changes the health of its webhook. */
export type HealthChange = { kind: 'unchanged' } | { kind: 'healthy' } | { kind: 'failing'; health: Health };

export const UNCHANGED = { kind: 'unchanged' } as const;

/**
 * One row of webhook_health. A healthy webhook has no row. Times are in milliseconds since 1970,
 * database clock.
 */
export interface Health {
  /** The lane of the webhook's tenant. */
  lane: number;
  /** Failed attempts since the last success. */
  failures: number;
  failingSince: number;
  /** Null: the breaker is closed. */
  openUntil: number | null;
  /** How often the breaker opened since the last success. */
  openings: number;
}
