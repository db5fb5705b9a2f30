/** Inbound events over HTTP, for workers that do not speak SQL. */
import type { FastifyInstance } from 'fastify';
import {
  claimInboundEvents,
  completeInboundEvent,
  failInboundEvent,
  type InboundEvent,
  readInboundEvents,
  retryInboundEvent,
} from '../../operations/inbound/events.ts';
import { JsonText } from '../body.ts';
import { route } from '../route.ts';
import { keyOfCursor } from '../routes/attempts.ts';
import {
  closed,
  Id,
  idOf,
  LIMIT,
  listOf,
  nullable,
  OfOrganization,
  Organization,
  Page,
  Time,
  Type,
} from '../schema.ts';
import type { Service } from '../service.ts';

const tag = 'inbound';
const PATH = '/v1/:org/integration-events';
const OfEvent = Type.Object({ org: Organization, id: Id });
const scopes = ['inbound', 'write'] as const;
const done = { 204: Type.Null() };

const Event = closed({
  id: Type.String(),
  organization_id: Type.String(),
  event_name: Type.String(),
  source: nullable(Type.String()),
  payload: Type.Any({ description: 'the text as it came' }),
  headers: Type.Record(Type.String(), Type.String()),
  idempotency_key: nullable(Type.String()),
  status: Type.String({ description: 'received, processing, processed or failed' }),
  attempts: Type.Integer(),
  error_message: nullable(Type.String()),
  received_at: Time,
  available_at: Time,
  processed_at: nullable(Time),
  remote_ip: nullable(Type.String()),
});

const Attempts = Type.Optional(nullable(Type.Integer({ description: 'those of the claim: a stale one is 409' })));
const Name = Type.String({ minLength: 1, maxLength: 120 });

function json({ tenant_id, payload, ...event }: InboundEvent) {
  return {
    ...event,
    organization_id: tenant_id,
    payload: new JsonText(payload),
    received_at: event.received_at.toISOString(),
    available_at: event.available_at.toISOString(),
    processed_at: event.processed_at?.toISOString() ?? null,
  };
}

export function addInboundEvents(app: FastifyInstance, service: Service): void {
  const Status = Type.Union(['received', 'processing', 'processed', 'failed'].map((each) => Type.Literal(each)));
  const list = {
    summary: 'List inbound events, newest first',
    params: OfOrganization,
    querystring: closed({
      ...Page,
      status: Type.Optional(Status),
      event_name: Type.Optional(Name),
      source: Type.Optional(Type.String({ maxLength: 100 })),
    }),
    response: { 200: listOf(Event) },
  };
  route(
    app,
    service,
    { method: 'GET', path: PATH, tag, scopes: ['read', 'inbound'], schema: list },
    async ({ tx, organization, query: { limit = LIMIT, cursor, ...filter } }) => {
      const page = await readInboundEvents(tx, organization, filter, { limit, cursor: keyOfCursor(cursor, 'uuid') });
      return { data: page.data.map(json), next_cursor: page.next_cursor };
    },
  );

  const claim = {
    summary: 'Claim inbound events for the time of a lease',
    description: 'An event that is neither completed nor failed in this time can be claimed again.',
    params: OfOrganization,
    body: nullable(
      closed({
        event_names: Type.Optional(nullable(Type.Array(Name, { maxItems: 100 }))),
        max_count: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: '10 by default' })),
        lease_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400, description: '60 by default' })),
      }),
    ),
    response: { 200: closed({ data: Type.Array(Event) }) },
  };
  route(app, service, { method: 'POST', path: `${PATH}/claim`, tag, scopes, schema: claim }, async ({ tx, body }) => {
    const { event_names = null, max_count = 10, lease_seconds = 60 } = body ?? {};
    return { data: (await claimInboundEvents(tx, event_names, max_count, `${lease_seconds} seconds`)).map(json) };
  });

  const complete = {
    summary: 'An inbound event is processed',
    params: OfEvent,
    body: nullable(closed({ attempts: Attempts })),
    response: done,
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:id/complete`, tag, scopes, schema: complete },
    async ({ tx, params, body, reply }) => {
      await completeInboundEvent(tx, idOf(params, 'inbound event'), body?.attempts ?? null);
      reply.code(204);
      return null;
    },
  );

  const fail = {
    summary: 'An inbound event was not processed',
    description: 'With retry_in (seconds) it can be claimed again after that time, 10 times at most.',
    params: OfEvent,
    body: closed({
      error: Type.String({ maxLength: 5_000 }),
      retry_in: Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: 2_592_000 }))),
      attempts: Attempts,
    }),
    response: done,
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:id/fail`, tag, scopes, schema: fail },
    async ({ tx, params, body: { error, retry_in, attempts }, reply }) => {
      const retryIn = retry_in === undefined || retry_in === null ? null : `${retry_in} seconds`;
      await failInboundEvent(tx, idOf(params, 'inbound event'), error, retryIn, attempts ?? null);
      reply.code(204);
      return null;
    },
  );

  const retry = { summary: 'Let an inbound event be claimed again', params: OfEvent, response: done };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:id/retry`, tag, schema: retry },
    async ({ tx, params, reply }) => {
      await retryInboundEvent(tx, idOf(params, 'inbound event'));
      reply.code(204);
      return null;
    },
  );
}
