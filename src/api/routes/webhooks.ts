/** Outgoing webhooks: list, create, read, change, delete. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type pg from 'pg';
import { listWebhooks, readWebhook, type WebhookOverview } from '../../operations/webhooks/overview.ts';
import { judgeUrl, webhookProblems } from '../../operations/webhooks/problems.ts';
import {
  type Columns,
  changeWebhook,
  insertWebhook,
  makeNewSecret,
  removeWebhook,
} from '../../operations/webhooks/webhooks.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { type FieldError, fieldOf, invalid, Problem } from '../problem.ts';
import { type Call, type RouteSchema, route } from '../route.ts';
import { closed, Id, idOf, LIMIT, listOf, nullable, OfOrganization, Organization, Page, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import {
  columnsOf,
  DEFAULTS,
  NewWebhook,
  READ_ONLY,
  Webhook,
  WebhookChange,
  WebhookWithSecret,
  webhookJson,
} from './webhook-fields.ts';

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
    { method: 'GET', path: PATH, tag, schema: { ...list, response: { 200: listOf(Webhook) } } },
    async ({ tx, caller, query: { limit = LIMIT, cursor, q, event_type: eventType, is_active: isActive } }) => {
      const rows = await listWebhooks(tx, { limit, after: placeOf(cursor), q, eventType, isActive });
      const shown = rows.slice(0, limit);
      const last = rows.length > limit ? shown.at(-1) : undefined;
      return {
        data: shown.map((row) => webhookJson(row, caller)),
        next_cursor: last ? cursorOf({ at: last.created_us, id: last.id }) : null,
      };
    },
  );

  const create = { summary: 'Create a webhook', params: OfOrganization, body: NewWebhook };
  route(
    app,
    service,
    {
      method: 'POST',
      path: PATH,
      tag,
      ignored: READ_ONLY,
      schema: { ...create, response: { 201: WebhookWithSecret } },
    },
    async ({ tx, caller, organization, body, reply }) => {
      const columns: Columns = [['tenant_id', organization], ...columnsOf(body, null)];
      await requireGood(tx, null, columns, service);
      const { id, secret } = await insertWebhook(tx, columns, 'webhooks');
      const row = await readWebhook(tx, id);
      reply.code(201).headers({ location: `/api/v1/${encodeURIComponent(organization)}/outgoing-webhooks/${id}` });
      return { ...answer(row, caller, reply), secret };
    },
  );

  const read = { summary: 'Read a webhook', params: OfWebhook, response: { 200: Webhook } };
  route(
    app,
    service,
    { method: 'GET', path: `${PATH}/:id`, tag, schema: read },
    async ({ tx, caller, params, reply }) => answer(await readWebhook(tx, idOf(params, 'webhook')), caller, reply),
  );

  const change = { params: OfWebhook, response: { 200: Webhook } };
  route(
    app,
    service,
    {
      method: 'PATCH',
      path: `${PATH}/:id`,
      tag,
      ignored: READ_ONLY,
      schema: { ...change, summary: 'Change what the body names', body: WebhookChange },
    },
    (call) => update(call, call.body, service),
  );
  route(
    app,
    service,
    {
      method: 'PUT',
      path: `${PATH}/:id`,
      tag,
      ignored: READ_ONLY,
      schema: { ...change, summary: 'Replace all settings, except secrets that the body leaves out', body: NewWebhook },
    },
    (call) => update(call, { ...DEFAULTS, ...call.body }, service),
  );
  const remove = {
    summary: 'Delete a webhook and its unfinished deliveries',
    params: OfWebhook,
    response: { 204: Type.Null() },
  };
  route(
    app,
    service,
    { method: 'DELETE', path: `${PATH}/:id`, tag, schema: remove },
    async ({ tx, params, request, reply }) => {
      const id = idOf(params, 'webhook');
      requireMatch(request, await readWebhook(tx, id, true));
      await removeWebhook(tx, id, 'webhooks');
      reply.code(204);
      return null;
    },
  );
  for (const [name, isActive] of [
    ['enable', true],
    ['disable', false],
  ] as const) {
    const schema = { ...change, summary: `Switch a webhook ${isActive ? 'on' : 'off'}` };
    route(app, service, { method: 'POST', path: `${PATH}/:id/${name}`, tag, schema }, (call) =>
      update(call, { is_active: isActive }, service),
    );
  }
  addRotation(app, service);
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

async function update(
  { tx, caller, params, request, reply }: Changed,
  body: Parameters<typeof columnsOf>[0],
  service: Service,
) {
  const id = idOf(params, 'webhook');
  const stored = await readWebhook(tx, id, true);
  requireMatch(request, stored);
  const columns = columnsOf(body, stored);
  await requireGood(tx, stored, columns, service);
  if (columns.length > 0) await changeWebhook(tx, id, columns, 'webhooks');
  return answer(await readWebhook(tx, id), caller, reply);
}

function answer(row: WebhookOverview, caller: Call<RouteSchema>['caller'], reply: FastifyReply) {
  reply.header('etag', `"${row.version}"`);
  return webhookJson(row, caller);
}

/** If-Match is optional. With it, a change of a webhook that somebody else changed is refused. */
function requireMatch({ headers }: FastifyRequest, { version }: WebhookOverview): void {
  const wanted = headers['if-match'];
  if (wanted === undefined || wanted.trim() === '*') return;
  if (wanted.split(',').some((tag) => tag.trim() === `"${version}"`)) return;
  throw new Problem('precondition_failed', 'The webhook was changed since you read it. Read it again.');
}

/** All problems at once: those of the database's rules, and of the daemon's address guard. */
async function requireGood(tx: pg.ClientBase, stored: WebhookOverview | null, columns: Columns, { settings }: Service) {
  const given = new Map<string, unknown>(columns);
  const errors: FieldError[] = (await webhookProblems(tx, stored?.id ?? null, columns)).map(({ column, message }) => ({
    field: fieldOf(column),
    message,
  }));
  const url = given.get('url');
  if (typeof url === 'string' && url !== stored?.url && !errors.some(({ field }) => field === 'target_url')) {
    const allowedIps = (given.get('allowed_ips') ?? stored?.allowed_ips) as string[] | null | undefined;
    const problem = judgeUrl(url, settings, allowedIps);
    if (problem) errors.push({ field: 'target_url', message: problem });
  }
  if (errors.length > 0) throw invalid(errors);
}
