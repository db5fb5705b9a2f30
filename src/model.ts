/**
 * The words, one meaning each, the same in tables, types, logs and the command line.
 *
 *   tenant     who owns rows and webhooks
 *   change     one row of the outbox: what happened to one row of a watched table, or an emitted event
 *   event      something that happened, `deal.updated`; one change can be several events
 *   webhook    one row of webhook_configurations
 *   delivery   one event for one webhook
 *   attempt    one HTTP try of a delivery, one row of webhook_logs
 *   lane       fixed hash partition of tenants, owned by one daemon at a time
 *   position   how far a lane has been read and finished: a snapshot
 *   window     the changes between two snapshots, or one page of them
 *   park       to write an unfinished delivery into webhook_deliveries, so that the position can move on
 *
 * Values of the database that JavaScript would bend stay text: ids (bigint), snapshots, payloads (json).
 */

import type { Outcome, OutcomeCode } from './outcome.ts';

/** One row of webhook_outbox. */
export interface Change {
  id: string;
  lane: number;
  tenantId: string;
  sourceId: number | null;
  /** Empty: the tenant's configuration changed here. */
  eventTypes: readonly string[];
  /** The changed row's key; deliveries of one row start in the order of its changes. Null: no order to keep. */
  rowKey: string | null;
  /** Milliseconds since 1970, database clock. */
  occurredAt: number;
  /** JSON text, never parsed on the way to the receiver. */
  data: string | null;
  previous: string | null;
  /** Why `data` holds the key columns only: too_large, or an SQLSTATE and its message. Null: it is whole. */
  truncated: string | null;
  /** A test event for this webhook only. */
  testWebhookId: string | null;
  /** It cannot be sent, as some of it cannot be read as text, and why; what cannot be read is empty. Undefined: all of it was read. */
  unreadable?: string;
}

/** One row of webhook_configurations, ready for use. */
export interface Webhook {
  id: string;
  tenantId: string;
  /** Of its tenant. */
  lane: number;
  name: string;
  url: string;
  secret: string;
  /** The one before a rotation, until it expires: milliseconds since 1970, database clock. */
  previousSecret: { secret: string; expiresAt: number } | null;
  isActive: boolean;
  /** Disabled by rowhook: what it wants is logged as skipped. Null: it is not. */
  disabledReason: string | null;
  /** Why its row cannot be used: what it wants is logged as skipped. Null: it can. */
  unusable: string | null;
  settings: WebhookSettings;
}

/** What most webhooks say alike: those that do hold it in common. */
export interface WebhookSettings {
  httpMethod: 'POST' | 'PUT' | 'PATCH';
  eventTypes: readonly string[];
  filter: string | null; // JSON text; null sends everything
  headers: Readonly<Record<string, string>>;
  authType: 'none' | 'bearer' | 'basic' | 'api_key';
  authConfig: Readonly<Record<string, string>>;
  retry: RetryPolicy;
  timeoutMs: number;
  maxInFlight: number;
  ratePerSecond: number | null;
  ordering: 'none' | 'row';
  payloadFormat: PayloadFormat;
  /** Above 1: requests carry up to so many events, sent when full or after batchWaitMs. */
  batchMax: number;
  batchWaitMs: number;
  allowedIps: readonly string[] | null;
}

/** nested: the row under `data`. flat: its fields on the top level, for tools that cannot map nested ones. */
export type PayloadFormat = 'nested' | 'flat';

export interface RetryPolicy {
  enabled: boolean;
  /** Retries after the first attempt. */
  retriesMax: number;
  strategy: 'exponential' | 'linear';
  delaySeconds: number;
}

/** What is known of a tenant and its webhooks, as of one moment of its stream. */
export interface TenantConfiguration {
  tenantId: string;
  /** JSON text of the body's organization. */
  organization: string;
  /** Limits over all of the tenant's webhooks. */
  limits: { maxInFlight: number | null; ratePerSecond: number | null } | null;
  webhooks: readonly Webhook[];
}

/** One event for one webhook. The first fields are what the body is made of: they never change between attempts. */
export interface Delivery {
  id: string;
  eventId: string;
  eventType: string;
  /** Which of the change's events it is. */
  ordinal: number;
  change: Change;
  organization: string;
  webhookId: string;
  webhookName: string;
  payloadFormat: PayloadFormat;
  /** It was sent in this batch, and will be again. */
  batchId: string | null;
  /** Attempts made so far. */
  attempt: number;
  /** It has a row in webhook_deliveries, as far as the last commit tells. */
  parked: boolean;
  /** A replay asked for it: it goes behind what is new. */
  replayed: boolean;
  /** Its webhook's filter is still to be asked, as SQL cannot evaluate one. */
  unfiltered: boolean;
}

/** What a webhook's configuration says of a change that it wants by type: skipped ones are logged, passed over ones are not. */
export type Verdict = 'send' | 'pass_over' | { code: OutcomeCode; error: string };

/** One row of webhook_logs to be. Ages instead of times: the database's clock is the only one that is stored. */
export interface Attempt {
  delivery: Delivery;
  attempt: number;
  outcome: Outcome;
  /** performance.now() when it started. */
  startedAt: number;
  requestMethod: WebhookSettings['httpMethod'];
  /** With the values of its query masked. */
  requestUrl: string;
  /** With secrets masked. */
  requestHeaders: Record<string, string>;
  /** Milliseconds until the next attempt; null when there is none. */
  retryInMs: number | null;
  isPermitFree?: boolean;
}

/** One attempt as it goes to DELIVER. */
export interface Request {
  url: string;
  method: 'POST' | 'PUT' | 'PATCH';
  headers: Record<string, string>;
  body: Buffer;
  /** Milliseconds from now to the last byte of the response; its head must be there by then. */
  timeoutMs: number;
  allowedIps: readonly string[] | null;
}

/** What becomes of a delivery next. */
export type Next =
  /** It is due in so many milliseconds. */
  | { kind: 'retry'; inMs: number }
  /** It is parked without a time, until the head of its row is done. */
  | { kind: 'behindRowHead' }
  /** It failed, and is not tried again. Its row stays. */
  | { kind: 'givenUp' }
  /** It needs no row in webhook_deliveries any more. */
  | { kind: 'finished' };

/** One object for all: most deliveries finish at their first attempt. */
export const FINISHED = { kind: 'finished' } as const;

/** What an attempt says of its webhook's health. */
export type HealthChange = { kind: 'unchanged' } | { kind: 'healthy' } | { kind: 'failing'; health: Health };

export const UNCHANGED = { kind: 'unchanged' } as const;

/** What happened to a delivery, for RECORD. Without an attempt it is parked as it is. */
export interface Entry {
  delivery: Delivery;
  attempt: Attempt | null;
  next: Next;
  /** Its row has a key, and its webhook asks for ordering 'row', or did when the row was blocked. */
  ordered: boolean;
  health: HealthChange;
  /** Called when this has committed. */
  settle(): void;
}

/** What a commit left of a row of a webhook with ordering 'row': the delivery that goes next, or none. */
export interface RowHead {
  /** One of the row's deliveries. */
  delivery: { webhookId: string; change: Pick<Change, 'sourceId' | 'rowKey'> };
  /** Delivery id. */
  head: string | null;
  /** It waited behind another and is due now. */
  released: boolean;
}

/** One row of webhook_health; a healthy webhook has none. Times in milliseconds since 1970, database clock. */
export interface Health {
  /** Of the webhook's tenant. */
  lane: number;
  /** Failed attempts since the last success. */
  failures: number;
  failingSince: number;
  /** Null: the breaker is closed. */
  openUntil: number | null;
  /** How often it opened since the last success. */
  openings: number;
}

/** How far a lane has been read. With `to`, it is inside a large window: everything up to `lastId` is read. */
export interface Position {
  from: string;
  to: string | null;
  lastId: string | null;
  /** When it was taken, database clock, as text of timestamptz. */
  at: string;
  /** The sequence's last value, read after the snapshot. */
  sequenceValue: string;
}

export interface Window {
  changes: Change[];
  /** The position once all of `changes` is done. */
  after: Position;
  /** There may be more to read right away. */
  more: boolean;
}

/** A lane that this daemon owns. */
export interface Lane {
  lane: number;
  epoch: string;
  position: Position;
}

/** A delivery that MATCH has made of a change. */
export interface Matched {
  delivery: Delivery;
  webhook: Webhook;
  /** Wanted, but not to be sent, and why; it is logged. */
  skip: { code: OutcomeCode; error: string } | null;
}
