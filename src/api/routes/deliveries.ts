/** Deliveries: those that wait or failed, one with all of its attempts, and sending them again. */
import type { FastifyInstance } from 'fastify';
import type { CodedError } from '../../database/explain-error.ts';
import { eventOf } from '../../operations/events/events.ts';
import {
  findUnfinished,
  readUnfinished,
  retryDeliveries,
  type UnfinishedDelivery,
} from '../../operations/history/deliveries.ts';
import { findDelivery } from '../../operations/history/delivery.ts';
import { queueDelivery } from '../../operations/history/replay.ts';
import { JsonText } from '../body.ts';
import { Event } from '../document/envelope.ts';
import { invalid, notFound, Problem } from '../problem.ts';
import { route } from '../route.ts';
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
import { AttemptSchema, attemptJson, keyOfCursor } from './attempts.ts';
import { TimeText, timeOf } from './values.ts';

const tag = 'deliveries';
const PATH = '/v1/:org/deliveries';
const OfDelivery = Type.Object({ org: Organization, delivery_id: Id });

const State = Type.Union([Type.Literal('waiting'), Type.Literal('failed')]);
const FILTER = {
  state: Type.Optional(State),
  webhook: Type.Optional(Type.String({ maxLength: 64, description: 'the id of a webhook' })),
  event_type: Type.Optional(Type.String({ maxLength: 128 })),
  since: Type.Optional(TimeText),
  until: Type.Optional(TimeText),
};

export const Unfinished = closed({
  id: Type.String(),
  webhook_id: Type.String(),
  webhook_name: Type.String(),
  event_id: Type.String(),
  event_type: Type.String(),
  state: State,
  attempt: Type.Integer({ description: 'how many attempts were made' }),
  last_code: nullable(Type.String()),
  occurred_at: Time,
  next_attempt_at: nullable(Time),
  replayed: Type.Boolean(),
  test: Type.Boolean(),
});

export const Delivery = closed({
  id: Type.String(),
  webhook_id: Type.String(),
  webhook_name: Type.String(),
  event_id: Type.String(),
  event_type: Type.String(),
  state: Type.String({ description: 'waiting, failed, delivered or skipped' }),
  occurred_at: nullable(Time),
  next_attempt_at: nullable(Time),
  waits_for: nullable(Type.String({ description: 'the earlier delivery of the same row that goes first' })),
  next: Type.String({ description: 'what happens next, as a sentence' }),
  event: nullable(Event),
  attempts: Type.Array(AttemptSchema, { description: 'oldest first' }),
});

function unfinishedJson(row: UnfinishedDelivery) {
  return {
    ...row,
    occurred_at: row.occurred_at.toISOString(),
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
  };
}

interface Filter {
  state?: 'waiting' | 'failed';
  webhook?: string;
  event_type?: string;
  since?: string;
  until?: string;
}

function filterOf({ state, webhook, event_type, since, until }: Filter) {
  const id = webhook === undefined ? undefined : idOf({ id: webhook }, 'webhook');
  return { state, webhook: id, event_type, since: timeOf('since', since), until: timeOf('until', until) };
}

export function addDeliveries(app: FastifyInstance, service: Service): void {
  const list = {
    summary: 'List deliveries that wait or failed, newest first',
    params: OfOrganization,
    querystring: closed({ ...Page, ...FILTER }),
    response: { 200: listOf(Unfinished) },
  };
  route(
    app,
    service,
    { method: 'GET', path: PATH, tag, schema: list },
    async ({ tx, organization, query: { limit = LIMIT, cursor, ...filter } }) => {
      const page = { limit, cursor: keyOfCursor(cursor, 'uuid') };
      const { data, next_cursor } = await readUnfinished(tx, organization, filterOf(filter), page);
      return { data: data.map(unfinishedJson), next_cursor };
    },
  );

  const read = {
    summary: 'Read a delivery with its event, its attempts and what happens next',
    params: OfDelivery,
    response: { 200: Delivery },
  };
  route(
    app,
    service,
    { method: 'GET', path: `${PATH}/:delivery_id`, tag, schema: read },
    async ({ tx, organization, params }) => {
      const found = await findDelivery(tx, idOf({ id: params.delivery_id }, 'delivery'));
      if (found === undefined) throw notFound('delivery');
      const event = await eventOf(tx, organization, found);
      return {
        ...found,
        occurred_at: found.occurred_at?.toISOString() ?? null,
        next_attempt_at: found.next_attempt_at?.toISOString() ?? null,
        event: event === null ? null : new JsonText(event),
        attempts: found.attempts.map(attemptJson),
      };
    },
  );
  addRetries(app, service);
}

/** Limit on ids in one request. */
const IDS_MAX = 1_000;

function addRetries(app: FastifyInstance, service: Service): void {
  const one = {
    summary: 'Send a delivery again now, with the same ids',
    params: OfDelivery,
    body: Type.Optional(nullable(closed({}))),
    response: { 202: closed({ id: Type.String(), retried: Type.Integer() }) },
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:delivery_id/retry`, tag, schema: one },
    async ({ tx, params, reply }) => {
      const id = idOf({ id: params.delivery_id }, 'delivery');
      if ((await findDelivery(tx, id)) === undefined) throw notFound('delivery');
      await queueDelivery(tx, id).catch((error: CodedError) => {
        // It has left the outbox, or its webhook was deleted.
        if (error.code === 'P0002') throw new Problem('conflict', `${error.message}.`);
        throw error;
      });
      reply.code(202);
      return { id, retried: 1 };
    },
  );

  const many = {
    summary: 'Send many deliveries again now',
    description: 'By ids, or those that wait or failed and fit a filter: 10,000 in one request, the newest first.',
    params: OfOrganization,
    body: closed({
      ids: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: IDS_MAX })),
      filter: Type.Optional(closed(FILTER)),
      dry_run: Type.Optional(Type.Boolean()),
    }),
    response: {
      200: closed({ count: Type.Integer(), more: Type.Boolean() }),
      202: closed({
        retried: Type.Integer(),
        skipped: Type.Integer({ description: 'deliveries that are unknown, or too old to be sent again' }),
        more: Type.Boolean({ description: 'true: more deliveries fit the filter' }),
      }),
    },
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/retry`, tag, schema: many },
    async ({ tx, organization, body: { ids, filter, dry_run }, reply }) => {
      if ((ids === undefined) === (filter === undefined))
        throw invalid([{ field: 'ids', message: 'give either ids or filter' }]);
      const chosen =
        ids === undefined
          ? await findUnfinished(tx, organization, filterOf({ ...filter, state: filter?.state ?? 'failed' }))
          : { ids: ids.filter((id) => isUuid(id)), more: false };
      if (dry_run) return { count: chosen.ids.length, more: chosen.more };
      const { retried, skipped } = await retryDeliveries(tx, chosen.ids);
      const unknown = ids === undefined ? 0 : ids.length - chosen.ids.length;
      reply.code(202);
      return { retried, skipped: skipped + unknown, more: chosen.more };
    },
  );
}

function isUuid(id: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
}
