/** What `GET /v1/status` answers: the values of `rowhook status --json`, which rowhook._status() makes. */
import type { JsonText } from '../body.ts';
import { State } from '../routes/webhook-fields.ts';
import { closed, nullable, Time, Type } from '../schema.ts';

const Seconds = nullable(Type.Number());

const TroubledWebhook = closed({
  id: Type.String(),
  tenant_id: nullable(Type.String()),
  tenant_name: nullable(Type.String()),
  name: nullable(Type.String()),
  state: Type.Union([State, Type.Literal('deleted')]),
  disabled_reason: nullable(Type.String()),
  waiting: Type.Integer(),
  given_up: Type.Integer(),
  oldest_seconds: Seconds,
  breaker: nullable(Type.Union([Type.Literal('closed'), Type.Literal('open'), Type.Literal('probing')])),
  failures: nullable(Type.Integer({ description: 'failed attempts since the last success' })),
  opens_again_seconds: Seconds,
});

const Lane = closed({
  lane: Type.Integer(),
  owner: nullable(Type.String({ description: 'the daemon that delivers the events of the lane' })),
  lease_seconds: Seconds,
  position_age_seconds: Type.Number(),
  events: Type.Integer({ description: 'events that are not delivered yet' }),
  oldest_seconds: Seconds,
  tenants_lagging: Type.Integer(),
  lagging: Type.Array(closed({ tenant_id: Type.String(), events: Type.Integer(), oldest_seconds: Seconds })),
  more: Type.Boolean({ description: 'there are more events than were counted' }),
});

const Inbound = closed({
  pending: Type.Integer(),
  processing: Type.Integer(),
  lease_ended: Type.Integer(),
  failed_24h: Type.Integer(),
  oldest_seconds: Seconds,
  oldest_tenant_id: nullable(Type.String()),
  oldest_event_name: nullable(Type.String()),
  oldest_attempts: nullable(Type.Integer()),
});

const Slot = closed({
  slot: Type.Integer(),
  turn: Type.String({ description: 'current, next or kept' }),
  oldest_seconds: Seconds,
  newest_seconds: Seconds,
  bytes: Type.Integer(),
});

export const Fields = closed({
  at: Time,
  database: Type.String(),
  server: Type.String(),
  schema_version: Type.Integer(),
  environment: nullable(Type.String()),
  oldest_undelivered_seconds: Seconds,
  oldest_waiting_seconds: Seconds,
  waiting: Type.Integer(),
  given_up: Type.Integer(),
  breakers_open: Type.Integer(),
  webhooks: closed({ active: Type.Integer(), off: Type.Integer(), disabled: Type.Integer() }),
  daemons: Type.Array(closed({ name: Type.String(), started_at: Time, lanes: Type.Integer() })),
  lanes: nullable(Type.Array(Lane)),
  troubled: Type.Array(TroubledWebhook, { description: 'the 100 webhooks with most deliveries that failed or wait' }),
  inbound: Inbound,
  slots: Type.Array(Slot),
  sources: closed({
    watched: Type.Integer(),
    problems: Type.Array(closed({ table: Type.String(), what: Type.String(), fix: Type.String() })),
  }),
});

/** PostgreSQL writes the text. */
export const Status = Type.Unsafe<JsonText>(Fields);
