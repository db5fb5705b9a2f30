/**
 * Other ways to speak of webhooks, for clients that were written for them. Each translates its fields
 * and calls the same operations.
 */
import type { FastifyInstance } from 'fastify';
import { listWebhooks, readWebhook, type WebhookOverview } from '../../operations/webhooks/overview.ts';
import { isHarmless, MASK, maskedUrl } from '../../payload/mask.ts';
import type { Caller } from '../auth.ts';
import { Problem } from '../problem.ts';
import { route } from '../route.ts';
import { closed, Id, idOf, nullable, type Static, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { create, remove, update } from './webhook-writes.ts';

/** Limit on a list without pages, besides BYTES_MAX of a page. */
const LISTED_MAX = 500;

const OfId = Type.Object({ id: Id });
export const gone = { 204: Type.Null() };
const tag = 'dialects';

const shownUrl = ({ url }: WebhookOverview, { scopes }: Caller) => (scopes.includes('write') ? url : maskedUrl(url));
export const hostOf = (url: string) => URL.parse(url)?.host.slice(0, 255) || 'webhook';

/** Errors name the fields as the client wrote them. */
export async function named<T>(fields: Readonly<Record<string, string>>, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Problem) || error.errors.length === 0) throw error;
    const errors = error.errors.map(({ field, message }) => ({ field: fields[field] ?? field, message }));
    throw new Problem(error.code, errors.map(({ field, message }) => `${field} ${message}`).join('; '), { errors });
  }
}

export function addDialects(app: FastifyInstance, service: Service): void {
  addCamel(app, service);
  addSubscriptions(app, service);
}

/** `/api/v1/webhooks`: targetUrl, events, isActive. */
function addCamel(app: FastifyInstance, service: Service): void {
  const path = '/v1/webhooks';
  const fields = {
    name: Type.String(),
    description: nullable(Type.String()),
    targetUrl: Type.String(),
    events: Type.Array(Type.String()),
    headers: Type.Record(Type.String(), Type.String()),
    isActive: Type.Boolean(),
  };
  const Camel = closed({ id: Type.String(), ...fields, createdAt: Time, updatedAt: Time });
  const Made = closed({ ...Camel.properties, secret: Type.String() });
  const Change = closed(Type.Partial(Type.Object(fields)).properties);
  const New = closed({ ...Change.properties, targetUrl: fields.targetUrl, events: fields.events });
  const ignored = ['id', 'createdAt', 'updatedAt', 'secret'];
  const names = { target_url: 'targetUrl', event_types: 'events', is_active: 'isActive' };
  const given = ({ targetUrl, events, isActive, ...rest }: Static<typeof Change>) => ({
    ...rest,
    ...(targetUrl !== undefined && { target_url: targetUrl }),
    ...(events !== undefined && { event_types: events }),
    ...(isActive !== undefined && { is_active: isActive }),
  });
  const json = (row: WebhookOverview, caller: Caller) => ({
    id: row.id,
    name: row.name,
    description: row.description,
    targetUrl: shownUrl(row, caller),
    events: row.event_types,
    headers: Object.fromEntries(
      Object.entries(row.headers).map(([header, value]) => [header, isHarmless(header) ? value : MASK]),
    ),
    isActive: row.is_active,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  });

  const list = { summary: 'List webhooks', response: { 200: Type.Array(Camel) } };
  route(app, service, { method: 'GET', path, tag, ofToken: true, schema: list }, async ({ tx, caller }) =>
    (await listWebhooks(tx, { limit: LISTED_MAX })).webhooks.map((row) => json(row, caller)),
  );
  const creation = { summary: 'Create a webhook', body: New, response: { 201: Made } };
  route(
    app,
    service,
    { method: 'POST', path, tag, ignored, ofToken: true, schema: creation },
    async ({ tx, caller, organization, body, reply }) => {
      const fresh = { name: hostOf(body.targetUrl), ...given(body) };
      const { row, secret } = await named(names, create(tx, organization, fresh, service));
      reply.code(201).header('location', `/api${path}/${row.id}`);
      return { ...json(row, caller), secret };
    },
  );
  const read = { summary: 'Read a webhook', params: OfId, response: { 200: Camel } };
  route(
    app,
    service,
    { method: 'GET', path: `${path}/:id`, tag, ofToken: true, schema: read },
    async ({ tx, caller, params }) => json(await readWebhook(tx, idOf(params, 'webhook')), caller),
  );
  const change = { summary: 'Change what the body names', params: OfId, body: Change, response: { 200: Camel } };
  route(
    app,
    service,
    { method: 'PUT', path: `${path}/:id`, tag, ignored, ofToken: true, schema: change },
    async ({ tx, caller, params, request, body }) =>
      json(await named(names, update(tx, params, request, given(body), service)), caller),
  );
  addRemoval(app, service, path);
}

/** `/api/webhooks/subscriptions`: event_name, target_url, enabled. */
function addSubscriptions(app: FastifyInstance, service: Service): void {
  const path = '/webhooks/subscriptions';
  const Subscription = closed({
    id: Type.String(),
    tenant_id: Type.String(),
    event_name: nullable(Type.String({ description: 'null where there are several' })),
    event_names: Type.Array(Type.String()),
    target_url: Type.String(),
    enabled: Type.Boolean(),
    created_at: Time,
    updated_at: Time,
  });
  const Made = closed({ ...Subscription.properties, secret: Type.String() });
  const Change = closed({
    event_name: Type.Optional(nullable(Type.String())),
    event_names: Type.Optional(Type.Array(Type.String())),
    target_url: Type.Optional(Type.String()),
    enabled: Type.Optional(Type.Boolean()),
  });
  const New = closed({ ...Change.properties, target_url: Type.String() });
  const ignored = ['id', 'tenant_id', 'created_at', 'updated_at', 'secret'];
  const names = { event_types: 'event_name', is_active: 'enabled' };
  const given = ({ event_name, event_names, target_url, enabled }: Static<typeof Change>) => {
    const event_types = event_name ? [event_name] : event_names;
    return {
      ...(event_types !== undefined && { event_types }),
      ...(target_url !== undefined && { target_url }),
      ...(enabled !== undefined && { is_active: enabled }),
    };
  };
  const json = (row: WebhookOverview, caller: Caller) => ({
    id: row.id,
    tenant_id: row.tenant_id,
    event_name: row.event_types.length === 1 ? (row.event_types[0] as string) : null,
    event_names: row.event_types,
    target_url: shownUrl(row, caller),
    enabled: row.is_active,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  });

  const list = { summary: 'List subscriptions', response: { 200: Type.Array(Subscription) } };
  route(app, service, { method: 'GET', path, tag, ofToken: true, schema: list }, async ({ tx, caller }) =>
    (await listWebhooks(tx, { limit: LISTED_MAX })).webhooks.map((row) => json(row, caller)),
  );
  const creation = { summary: 'Subscribe to an event', body: New, response: { 201: Made } };
  route(
    app,
    service,
    { method: 'POST', path, tag, ignored, ofToken: true, schema: creation },
    async ({ tx, caller, organization, body, reply }) => {
      const fresh = { name: hostOf(body.target_url), event_types: [], ...given(body) };
      const { row, secret } = await named(names, create(tx, organization, fresh, service));
      reply.code(201).header('location', `/api${path}/${row.id}`);
      return { ...json(row, caller), secret };
    },
  );
  const read = { summary: 'Read a subscription', params: OfId, response: { 200: Subscription } };
  route(
    app,
    service,
    { method: 'GET', path: `${path}/:id`, tag, ofToken: true, schema: read },
    async ({ tx, caller, params }) => json(await readWebhook(tx, idOf(params, 'subscription')), caller),
  );
  const change = { summary: 'Change what the body names', params: OfId, body: Change, response: { 200: Subscription } };
  route(
    app,
    service,
    { method: 'PATCH', path: `${path}/:id`, tag, ignored, ofToken: true, schema: change },
    async ({ tx, caller, params, request, body }) =>
      json(await named(names, update(tx, params, request, given(body), service)), caller),
  );
  addRemoval(app, service, path);
}

function addRemoval(app: FastifyInstance, service: Service, path: string): void {
  const schema = { summary: 'Delete it', params: OfId, response: gone };
  route(
    app,
    service,
    { method: 'DELETE', path: `${path}/:id`, tag, ofToken: true, schema },
    async ({ tx, params, request, reply }) => {
      await remove(tx, params, request);
      reply.code(204);
      return null;
    },
  );
}
