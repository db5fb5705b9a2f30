/**
 * The values that the stages exchange. Each word has one meaning, in tables, types, logs and the
 * command line: docs/README.md, "Words". The code has two more:
 *
 *   window   the changes between two snapshots, or one page of them
 *   lagging  a tenant with more to deliver than its share of memory: it has a position of its own
 *
 * Values that JavaScript would change stay text: ids (bigint), snapshots and payloads (json).
 */

import type { HealthChange, Next, Outcome, OutcomeCode } from './outcome.ts';

/** One row of webhook_outbox. */
export interface Change {
  id: string;
  lane: number;
  tenantId: string;
  /** The watched table. Null: none. Negative: an inbound event, and its hops (payload/hops.ts). */
  sourceId: number | null;
  /** Empty for a change of the tenant's configuration: see changesConfiguration. */
  eventTypes: readonly string[];
  /** Key of the changed row. Its deliveries start in the order of its changes. Null: no order. */
  rowKey: string | null;
  /** Milliseconds since 1970, database clock. */
  occurredAt: number;
  /** JSON text, never parsed on the way to the receiver. Without event types: see ChangedWebhooks. */
  data: string | null;
  previous: string | null;
  /** Why `data` has only key columns: too_large, or an SQLSTATE and its message. Null: it has all. */
  truncated: string | null;
  /** A test event, sent to this webhook only. */
  testWebhookId: string | null;
  /** Why some columns cannot be read as text. They are empty, and the change is not sent. Undefined: all were read. */
  unreadable?: string;
  /** `data` and `previous` are large, and null until a webhook wants them: their stored bytes. Undefined: read. */
  leftOut?: number;
}

/** True for the outbox row that a change of a webhook writes: it has no events. */
export function changesConfiguration({ eventTypes }: Pick<Change, 'eventTypes'>): boolean {
  return eventTypes.length === 0;
}

/** One row of webhook_configurations, ready for use. */
export interface Webhook {
  id: string;
  tenantId: string;
  /** The lane of its tenant. */
  lane: number;
  name: string;
  url: string;
  secret: string;
  /** The secret before a rotation. `expiresAt`: milliseconds since 1970, database clock. */
  previousSecret: { secret: string; expiresAt: number } | null;
  isActive: boolean;
  /** Why rowhook disabled it. Its events are logged as skipped. Null: not disabled by rowhook. */
  disabledReason: string | null;
  /** Why its row cannot be used. Its events are logged as skipped. Null: the row can be used. */
  unusable: string | null;
  /** What it takes in memory, about. */
  bytes: number;
  /** False: nothing is sent to it now, so its texts are not in memory (queue/webhook-queue.ts). */
  hasTexts: boolean;
  settings: WebhookSettings;
}

/** Settings that are equal for most webhooks. Webhooks with equal settings share one object. */
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
  payloadTemplate: string | null;
  contentType: string | null;
  /** Above 1: a request has up to `batchMax` events, and is sent when full or after batchWaitMs. */
  batchMax: number;
  batchWaitMs: number;
  allowedIps: readonly string[] | null;
}

/** payload/formats.ts explains them. */
export type PayloadFormat = 'nested' | 'flat' | 'cloudevents' | TemplateFormat;
export type TemplateFormat = 'slack' | 'discord' | 'teams' | 'template';

export interface RetryPolicy {
  enabled: boolean;
  /** Retries after the first attempt. */
  retriesMax: number;
  strategy: 'exponential' | 'linear';
  delaySeconds: number;
}

/** A tenant and its webhooks, as they were at one point of the tenant's stream. */
export interface TenantConfiguration {
  tenantId: string;
  /** JSON text of the body's organization. */
  organization: string;
  /** Limits for all webhooks of the tenant together. */
  limits: { maxInFlight: number | null; ratePerSecond: number | null } | null;
  /** Limit on the bytes of its webhooks in memory. */
  bytesMax: number;
  webhooks: readonly Webhook[];
}

/** Ids of the webhooks that changed, also as `data` of such a Change. Null: any of the tenant's. */
export type ChangedWebhooks = ReadonlySet<string> | null;

/**
 * One event for one webhook. The first fields, up to `payloadFormat`, make the body. They never
 * change between attempts.
 */
export interface Delivery {
  id: string;
  eventId: string;
  eventType: string;
  /** The event's number among the events of the change. */
  ordinal: number;
  change: Change;
  organization: string;
  webhookId: string;
  webhookName: string;
  /** The hash names the template of `rendered`. Without it, nothing has been rendered. */
  payloadFormat: PayloadFormat | `${TemplateFormat}:${string}`;
  /** What its template made of the event. Undefined: nothing, or not yet. */
  rendered?: { text: string; contentType: string };
  /** The batch in which it was sent. A retry sends the same batch. Null: it was not in a batch. */
  batchId: string | null;
  /** Attempts made so far. */
  attempt: number;
  /** True if it had a row in webhook_deliveries at the last commit. */
  parked: boolean;
  /** True if a replay queued it. It is sent after new deliveries. */
  replayed: boolean;
  /** True if the webhook's filter was not applied yet, because SQL cannot evaluate a filter. */
  unfiltered: boolean;
}

/**
 * What to do with a change that the webhook subscribes to by type. A skipped change is logged with
 * its code. A change that is passed over is not logged.
 */
export type Verdict = 'send' | 'pass_over' | { code: OutcomeCode; error: string };

/** A future row of webhook_logs. It has ages, because only times of the database's clock are stored. */
export interface Attempt {
  delivery: Delivery;
  attempt: number;
  outcome: Outcome;
  /** performance.now() at the start of the attempt. */
  startedAt: number;
  requestMethod: WebhookSettings['httpMethod'];
  /** The values of its query are masked. */
  requestUrl: string;
  /** Secrets are masked. */
  requestHeaders: Record<string, string>;
  /** Milliseconds until the next attempt. Null: there is none. */
  retryInMs: number | null;
  /** True once the attempt's permit was freed (dispatch/in-flight.ts). */
  isPermitFree?: boolean;
}

/** One attempt as it goes to DELIVER. */
export interface Request extends Pick<Webhook, 'tenantId' | 'url'> {
  method: 'POST' | 'PUT' | 'PATCH';
  headers: Record<string, string>;
  body: Buffer;
  /** Limit on the milliseconds from now until the head of the response is complete. */
  timeoutMs: number;
  allowedIps: readonly string[] | null;
}

/** The result of a delivery, for RECORD. Without an attempt, the delivery is parked unchanged. */
export interface Entry {
  delivery: Delivery;
  attempt: Attempt | null;
  next: Next;
  /** True if the row has a key and the webhook has ordering 'row', or had it when it was blocked. */
  ordered: boolean;
  health: HealthChange;
  /** Called when the entry has committed. */
  settle(): void;
}

/** With ordering 'row': the delivery of a row that is next after a commit, or none. */
export interface RowHead {
  /** One of the row's deliveries. */
  delivery: { webhookId: string; change: Pick<Change, 'sourceId' | 'rowKey'> };
  /** The id of the next delivery. Null: there is none. */
  head: string | null;
  /** True if the next delivery waited behind another one and is due now. */
  released: boolean;
}

/**
 * How far a lane has been read. If `to` is set, the position is inside a large window, and
 * everything up to `lastId` is read.
 */
export interface Position {
  from: string;
  to: string | null;
  lastId: string | null;
  /** The time at which it was taken, database clock, as text of timestamptz. */
  at: string;
  /** The sequence's last value, read after the snapshot. */
  sequenceValue: string;
}

export interface Window {
  changes: Change[];
  /** The position after all of `changes` are done. */
  after: Position;
  /** True if there may be more to read at once. */
  more: boolean;
  /** Tenants with so much in this large window that they are read by themselves, from there on. */
  heavy?: LaggingTenant[];
  doorbell?: string; // The value of rowhook.doorbell, if the window ended when it was read.
}

/** A lane that this daemon owns. */
export interface Lane {
  lane: number;
  epoch: string;
  position: Position;
  /** Tenants of the lane that are behind its position. */
  lagging: readonly LaggingTenant[];
}

/** A tenant with more to deliver than its share of memory: read by itself, its lane goes on without it. */
export interface LaggingTenant {
  tenantId: string;
  lane: number;
  position: Position;
}

/** A delivery that MATCH has made from a change. */
export interface Matched {
  delivery: Delivery;
  webhook: Webhook;
  /** Why the delivery is not sent, although the webhook subscribes to it. It is logged. */
  skip: { code: OutcomeCode; error: string } | null;
}
