/** Outgoing webhooks: list, create, read, change, delete. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import { type Activity, activityOf } from '../../operations/history/stats.ts';
import { listWebhooks, readWebhook, type WebhookOverview } from '../../operations/webhooks/overview.ts';
import { filterNotes, makeNewSecret } from '../../operations/webhooks/webhooks.ts';
import type { Caller } from '../auth.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { type Call, type RouteSchema, route } from '../route.ts';
import {
  closed,
  headersOf,
  Id,
  idOf,
  LIMIT,
  listOf,
  nullable,
  OfOrganization,
  Organization,
  Page,
  Type,
} from '../schema.ts';
import type { Service } from '../service.ts';
import {
  type Change,
  ChangedWebhook,
  DEFAULTS,
  NewWebhook,
  READ_ONLY,
  Webhook,
  WebhookChange,
  WebhookInList,
  WebhookWithSecret,
  webhookJson,
} from './webhook-fields.ts';
import { create, etagOf, remove, update } from './webhook-writes.ts';

const PATH = '/v1/:org/outgoing-webhooks';
const OfWebhook = Type.Object({ org: Organization, id: Id });
const tag = 'outgoing webhooks';

const Query = closed({
  ...Page,
  q: Type.Optional(Type.String({ maxLength: 255, description: 'part of a name, a description or a URL' })),
  event_type: Type.Optional(Type.String({ maxLength: 128, description: 'only webhooks that want this event' })),
  is_active: Type.Optional(Type.Boolean()),
});

export function addWebhooks(app: FastifyInstance, service: Service): void {
  const list = { summary: 'List webhooks, newest first', params: OfOrganization, querystring: Query };
  route(
    app,
    service,
    { method: 'GET', path: PATH, tag, schema: { ...list, response: { 200: listOf(WebhookInList) } } },
    async ({ tx, caller, query: { limit = LIMIT, cursor, q, event_type: eventType, is_active: isActive } }) => {
      const found = await listWebhooks(tx, { limit, after: placeOf(cursor), q, eventType, isActive });
      const shown = found.webhooks;
      const last = found.more ? shown.at(-1) : undefined;
      const activities = await activityOf(
        tx,
        shown.map(({ id }) => id),
      );
      return {
        data: shown.map((row) => ({ ...webhookJson(row, caller), ...activityJson(activities.get(row.id)) })),
        next_cursor: last ? cursorOf({ at: last.created_us, id: last.id }) : null,
      };
    },
  );

  const creation = { summary: 'Create a webhook', params: OfOrganization, body: NewWebhook };
  route(
    app,
    service,
    {
      method: 'POST',
      path: PATH,
      tag,
      ignored: READ_ONLY,
      schema: { ...creation, response: { 201: WebhookWithSecret } },
    },
    async ({ tx, caller, organization, body, reply }) => {
      const { row, secret } = await create(tx, organization, body, service);
      const location = `/api/v1/${encodeURIComponent(organization)}/outgoing-webhooks/${row.id}`;
      reply.code(201).headers({ location });
      return { ...answer(row, caller, reply), secret, notes: await filterNotes(tx, row.id, 'webhooks') };
    },
  );

  const read = { summary: 'Read a webhook', params: OfWebhook, response: { 200: Webhook } };
  route(
    app,
    service,
    { method: 'GET', path: `${PATH}/:id`, tag, schema: read },
    async ({ tx, caller, params, reply }) => answer(await readWebhook(tx, idOf(params, 'webhook')), caller, reply),
  );

  const headers = headersOf({ 'If-Match': 'the ETag of the webhook as you read it; 412 if it was changed since' });
  const one = { params: OfWebhook, headers, response: { 200: ChangedWebhook } };
  route(
    app,
    service,
    {
      method: 'PATCH',
      path: `${PATH}/:id`,
      tag,
      ignored: READ_ONLY,
      schema: { ...one, summary: 'Change what the body names', body: WebhookChange },
    },
    (call) => change(call, call.body, service),
  );
  route(
    app,
    service,
    {
      method: 'PUT',
      path: `${PATH}/:id`,
      tag,
      ignored: READ_ONLY,
      schema: { ...one, summary: 'Replace all settings, except secrets that the body leaves out', body: NewWebhook },
    },
    (call) => change(call, { ...DEFAULTS, ...call.body }, service),
  );
  const removal = {
    summary: 'Delete a webhook and its unfinished deliveries',
    params: OfWebhook,
    headers,
    response: { 204: Type.Null() },
  };
  route(
    app,
    service,
    { method: 'DELETE', path: `${PATH}/:id`, tag, schema: removal },
    async ({ tx, params, request, reply }) => {
      await remove(tx, params, request);
      reply.code(204);
      return null;
    },
  );
  for (const [name, isActive] of [
    ['enable', true],
    ['disable', false],
  ] as const) {
    const schema = { ...one, summary: `Switch a webhook ${isActive ? 'on' : 'off'}` };
    route(app, service, { method: 'POST', path: `${PATH}/:id/${name}`, tag, schema }, (call) =>
      change(call, { is_active: isActive }, service),
    );
  }
  addRotation(app, service);
}

function activityJson(activity: Activity | undefined) {
  const { stats_24h, sparkline, last_attempt_at } = activity as Activity;
  return { stats_24h, sparkline, last_attempt_at: last_attempt_at?.toISOString() ?? null };
}

function addRotation(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'Make a new signing secret. The old one also signs for a time',
    params: OfWebhook,
    body: nullable(closed({ overlap_seconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 604_800 })) })),
    response: { 200: closed({ id: Type.String(), secret: Type.String(), overlap_seconds: Type.Integer() }) },
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:id/rotate-secret`, tag, schema },
    async ({ tx, params, body }) => {
      const id = idOf(params, 'webhook');
      const seconds = body?.overlap_seconds ?? 86_400;
      const { secret } = await makeNewSecret(tx, id, `${seconds} seconds`);
      return { id, secret, overlap_seconds: seconds };
    },
  );
}

type Changed = Pick<Call<RouteSchema>, 'tx' | 'caller' | 'request' | 'reply'> & { params: { id: string } };

async function change({ tx, caller, params, request, reply }: Changed, body: Change, service: Service) {
  const row = await update(tx, params, request, body, service);
  return { ...answer(row, caller, reply), notes: await filterNotes(tx, row.id, 'webhooks') };
}

function answer(row: WebhookOverview, caller: Caller, reply: FastifyReply) {
  reply.header('etag', etagOf(row));
  return webhookJson(row, caller);
}
