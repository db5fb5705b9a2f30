/** Events: what the outbox holds, new ones of applications, and why a webhook gets one or not. */
import type { FastifyInstance } from 'fastify';
import type pg from 'pg';
import type { CodedError } from '../../database/explain-error.ts';
import { readCatalog } from '../../operations/events/catalog.ts';
import { emitOnce } from '../../operations/events/emit.ts';
import { readEvents } from '../../operations/events/events.ts';
import { explainEvent, isInOutbox } from '../../operations/webhooks/explain.ts';
import { visitMembers } from '../../shared/json/json-values.ts';
import { UserError } from '../../shared/user-error.ts';
import { JsonText } from '../body.ts';
import { Event } from '../document/envelope.ts';
import { invalid, notFound, Problem } from '../problem.ts';
import { route } from '../route.ts';
import {
  closed,
  headersOf,
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
import { EventId, keyOfCursor } from './attempts.ts';
import { isEventType, TimeText, timeOf } from './values.ts';

const tag = 'events';
const PATH = '/v1/:org/events';

/** Limit on webhooks that are explained when none is named. */
const EXPLAINED_MAX = 100;

export function addEvents(app: FastifyInstance, service: Service): void {
  const list = {
    summary: 'List events, newest first, as webhooks get them',
    description: 'A page has all events of a change, so it may have a few more than limit.',
    params: OfOrganization,
    querystring: closed({
      ...Page,
      id: Type.Optional(EventId),
      event_type: Type.Optional(Type.String({ maxLength: 128 })),
      row_key: Type.Optional(Type.String({ maxLength: 1_000, description: 'the primary key of a row, as text' })),
      since: Type.Optional(TimeText),
    }),
    response: { 200: listOf(Event) },
  };
  route(
    app,
    service,
    { method: 'GET', path: PATH, tag, schema: list },
    async ({ tx, organization, query: { limit = LIMIT, cursor, id, event_type, row_key, since } }) => {
      const filter = { id, event_type, row_key, since: timeOf('since', since) };
      const page = await readEvents(tx, organization, filter, { limit, cursor: keyOfCursor(cursor, 'number') });
      return { data: page.data.map((text) => new JsonText(text)), next_cursor: page.next_cursor };
    },
  );

  const emit = {
    summary: 'Write an event of your application',
    description: 'With the header Idempotency-Key, the same request writes it once in 7 days.',
    params: OfOrganization,
    headers: headersOf({ 'Idempotency-Key': '1 to 512 bytes; another request with the same key is 422' }),
    body: closed({ event: Type.String({ description: 'such as payment.received' }), data: Type.Any() }),
    response: { 200: closed({ id: Type.String() }), 201: closed({ id: Type.String() }) },
  };
  route(
    app,
    service,
    { method: 'POST', path: PATH, tag, hasData: true, schema: emit },
    async ({ tx, body, request, reply }) => {
      if (!isEventType(body.event))
        throw invalid([{ field: 'event', message: 'is not an event type such as payment.received' }]);
      const key = keyOfRequest(request.headers['idempotency-key']);
      const data = memberText(request.bodyText, 'data');
      const { id, isNew } = await emitOnce(tx, body.event, data, key).catch((error: CodedError) => {
        if (error.code === '54000') throw new Problem('too_large', 'data may have 1 MiB at most.');
        throw error;
      });
      if (id === null)
        throw new Problem('invalid', 'This Idempotency-Key belongs to another request. Choose a new key.', {
          errors: [{ field: 'Idempotency-Key', message: 'belongs to another request' }],
        });
      reply.code(isNew ? 201 : 200);
      return { id };
    },
  );
  addExplain(app, service);
  addEventTypes(app, service);
}

function addEventTypes(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'List the event types that a webhook may ask for',
    description: 'All of them in one answer, by name.',
    params: OfOrganization,
    response: {
      200: listOf(
        closed({
          event_type: Type.String(),
          description: nullable(Type.String()),
          schema: Type.Any({ description: 'JSON Schema (2020-12) of data; {}: data may be anything' }),
          sample: Type.Any({ description: 'made-up data; null: unknown' }),
        }),
      ),
    },
  };
  route(app, service, { method: 'GET', path: '/v1/:org/event-types', tag, schema }, async ({ tx }) => {
    const rows = await readCatalog(tx);
    const data = rows.map(({ event_type, description, schema: text, sample }) => ({
      event_type,
      description,
      schema: new JsonText(text),
      sample: sample === null ? null : new JsonText(sample),
    }));
    return { data, next_cursor: null };
  });
}

function keyOfRequest(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header === 'string' && header !== '' && Buffer.byteLength(header) <= 512) return header;
  throw new Problem('bad_request', 'Idempotency-Key must have 1 to 512 bytes.');
}

/** The text of a member's value. The last one counts, as for JSON.parse. */
function memberText(json: string, wanted: string): string {
  let text = 'null';
  visitMembers(json, (name, _, from, to) => {
    if (name === wanted) text = json.slice(from, to).trim();
  });
  return text;
}

export const Explanation = closed({
  webhook_id: Type.String(),
  webhook_name: Type.String(),
  event_id: Type.String(),
  event_type: Type.String(),
  sent: Type.Boolean({ description: 'whether the webhook wants it as it is configured now' }),
  because: nullable(Type.String({ description: 'what stops it' })),
  delivery_id: Type.String(),
  happened: nullable(
    closed({
      status: Type.String(),
      code: nullable(Type.String()),
      at: nullable(Time),
      next_attempt_at: nullable(Time),
    }),
  ),
});

function addExplain(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'Why an event is sent to a webhook, or not',
    params: Type.Object({ org: Organization, id: Type.String({ description: 'evt_…, or a number of the outbox' }) }),
    querystring: closed({ webhook: Type.Optional(Type.String({ maxLength: 64, description: 'by default all' })) }),
    response: { 200: closed({ data: Type.Array(Explanation) }) },
  };
  route(
    app,
    service,
    { method: 'GET', path: `${PATH}/:id/explain`, tag, schema },
    async ({ tx, params: { id }, query: { webhook } }) => {
      if (!/^(evt_[0-9a-f]{1,32}_\d{1,18}_\d{1,4}|\d{1,18})$/.test(id)) throw notFound('event');
      const webhooks = await webhooksOf(tx, webhook === undefined ? null : idOf({ id: webhook }, 'webhook'));
      if (webhook !== undefined && webhooks.length === 0) throw notFound('event, or webhook');
      if (webhooks.length === 0 && !(await isInOutbox(tx, id))) throw notFound('event');
      const data = [];
      for (const { id: webhookId, name } of webhooks) {
        const { explanations } = await explainEvent(tx, webhookId, id, 'without secrets').catch((error) => {
          throw error instanceof UserError ? notFound('event, or webhook') : error;
        });
        data.push(
          ...explanations.map((one) => ({ webhook_id: webhookId, webhook_name: name, ...explanationJson(one) })),
        );
      }
      return { data };
    },
  );
}

type Explained = Awaited<ReturnType<typeof explainEvent>>['explanations'][number];

function explanationJson({ happened, ...rest }: Explained) {
  if (happened === null) return { ...rest, happened };
  const { status, code, at, next_attempt_at } = happened;
  return {
    ...rest,
    happened: {
      status: status === 'given_up' ? 'failed' : status,
      code,
      at: at?.toISOString() ?? null,
      next_attempt_at: next_attempt_at?.toISOString() ?? null,
    },
  };
}

/** `id` null: all of the organization. */
async function webhooksOf(tx: pg.ClientBase, id: string | null): Promise<{ id: string; name: string }[]> {
  const { rows } = await tx.query<{ id: string; name: string }>(
    `select id, name from rowhook.webhook_configurations
      where $1::uuid is null or id = $1 order by created_at desc, id limit ${EXPLAINED_MAX}`,
    [id],
  );
  return rows;
}
