/** Inbound sources over HTTP. A secret is answered once, by what makes it. */
import type { FastifyInstance } from 'fastify';
import { VERIFICATIONS } from '../../inbound/source.ts';
import {
  createSource,
  listSources,
  removeSource,
  rotateSource,
  type Source,
  updateSource,
} from '../../operations/inbound/sources.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { notFound } from '../problem.ts';
import { route } from '../route.ts';
import { closed, LIMIT, listOf, nullable, OfOrganization, Organization, Page, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';

const tag = 'inbound';
const PATH = '/v1/:org/inbound-sources';
const OfSource = Type.Object({ org: Organization, id: Type.String({ description: 'src_…' }) });

const Text = nullable(Type.String());
const own = {
  signature_header: Text,
  signature_algorithm: Text,
  signature_encoding: Text,
  event_name: Text,
  event_path: Text,
  event_header: Text,
  allowed_ips: nullable(Type.Array(Type.String({ pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$' }))),
};
const Json = closed({
  id: Type.String(),
  organization_id: Type.String(),
  name: Type.String(),
  verification: Type.String(),
  ...own,
  url: Type.String({ description: 'where the sender posts to' }),
  previous_secret_expires_at: nullable(Time),
  created_at: Time,
  updated_at: Time,
});
const WithSecret = closed({ ...Json.properties, secret: Type.String({ description: 'shown this once' }) });

const Secret = Type.Optional(Type.String({ description: 'of the sender; by default a new one is made' }));
const optional = Type.Partial(Type.Object(own)).properties;
const New = closed({
  name: Type.String(),
  verification: Type.Union(VERIFICATIONS.map((each) => Type.Literal(each))),
  secret: Secret,
  ...optional,
});
const Change = closed({ name: Type.Optional(Type.String()), ...optional });
const READ_ONLY = ['id', 'organization_id', 'url', 'previous_secret_expires_at', 'created_at', 'updated_at'];

export function addInboundSources(app: FastifyInstance, service: Service): void {
  const json = ({ tenant_id, ...source }: Source) => ({
    ...source,
    organization_id: tenant_id,
    url: `${service.settings.publicUrl?.replace(/\/$/, '') ?? ''}/api/v1/webhooks/receive/${source.id}`,
    previous_secret_expires_at: source.previous_secret_expires_at?.toISOString() ?? null,
    created_at: source.created_at.toISOString(),
    updated_at: source.updated_at.toISOString(),
  });

  const list = {
    summary: 'List inbound sources, newest first',
    params: OfOrganization,
    querystring: closed(Page),
    response: { 200: listOf(Json) },
  };
  route(
    app,
    service,
    { method: 'GET', path: PATH, tag, schema: list },
    async ({ tx, organization, query: { limit = LIMIT, cursor } }) => {
      const rows = await listSources(tx, organization, limit + 1, placeOf(cursor));
      const shown = rows.slice(0, limit);
      const last = rows.length > limit ? shown.at(-1) : undefined;
      return {
        data: shown.map(({ created_us: _, ...row }) => json(row)),
        next_cursor: last ? cursorOf({ at: last.created_us, id: last.id }) : null,
      };
    },
  );

  const create = { summary: 'Create an inbound source', params: OfOrganization, body: New };
  route(
    app,
    service,
    { method: 'POST', path: PATH, tag, ignored: READ_ONLY, schema: { ...create, response: { 201: WithSecret } } },
    async ({ tx, organization, body: { secret: given, ...fields }, reply }) => {
      const { source, secret } = await createSource(tx, organization, fields, given);
      reply.code(201).header('location', `/api/v1/${encodeURIComponent(organization)}/inbound-sources/${source.id}`);
      return { ...json(source), secret };
    },
  );

  const change = { summary: 'Change what the body names', params: OfSource, body: Change, response: { 200: Json } };
  route(
    app,
    service,
    { method: 'PATCH', path: `${PATH}/:id`, tag, ignored: [...READ_ONLY, 'verification'], schema: change },
    async ({ tx, params, body }) => json(await updateSource(tx, sourceId(params), body)),
  );

  const rotate = {
    summary: 'Give a source a new secret. The old one is accepted for a time',
    params: OfSource,
    body: nullable(
      closed({
        secret: Secret,
        overlap_seconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 604_800, description: '86400 by default' })),
      }),
    ),
    response: { 200: WithSecret },
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:id/rotate-secret`, tag, schema: rotate },
    async ({ tx, params, body }) => {
      const overlap = `${body?.overlap_seconds ?? 86_400} seconds`;
      const { source, secret } = await rotateSource(tx, sourceId(params), overlap, body?.secret);
      return { ...json(source), secret };
    },
  );

  const remove = {
    summary: 'Remove a source: its address answers 410',
    params: OfSource,
    response: { 204: Type.Null() },
  };
  route(app, service, { method: 'DELETE', path: `${PATH}/:id`, tag, schema: remove }, async ({ tx, params, reply }) => {
    await removeSource(tx, sourceId(params));
    reply.code(204);
    return null;
  });
}

function sourceId({ id }: { id: string }): string {
  if (/^src_[A-Za-z0-9]{24}$/.test(id)) return id;
  throw notFound('inbound source');
}
