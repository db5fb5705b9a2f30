/** API keys of an organization. Nobody gives more than they have. */
import type { FastifyInstance } from 'fastify';
import {
  type ApiKey,
  findKey,
  listKeys,
  makeKeyWithin,
  revokeKey,
  rotateKeyWithin,
} from '../../operations/api-keys.ts';
import { cursorOf, placeOf } from '../cursor.ts';
import { invalid } from '../problem.ts';
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

const PATH = '/v1/:org/api-keys';
const tag = 'api keys';
const scopes = ['keys', 'operator'] as const;
const OfKey = Type.Object({ org: Organization, id: Id });

export const Key = closed({
  id: Type.String(),
  organization_id: nullable(Type.String()),
  name: Type.String(),
  prefix: Type.String({ description: 'how the token begins' }),
  scopes: Type.Array(Type.String()),
  allowed_ips: nullable(Type.Array(Type.String())),
  created_at: Time,
  expires_at: nullable(Time),
  revoked_at: nullable(Time),
  last_used_at: nullable(Time),
});
export const KeyWithToken = closed({ ...Key.properties, token: Type.String({ description: 'shown this once' }) });

export const NewKey = closed({
  name: Type.String({ minLength: 1, maxLength: 255 }),
  scopes: Type.Optional(
    Type.Array(Type.String(), { description: 'read, write, inbound, keys; default read and write' }),
  ),
  allowed_ips: Type.Optional(nullable(Type.Array(Type.String({ pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$' })))),
  expires_at: Type.Optional(nullable(Type.String({ description: 'RFC 3339' }))),
});

export function addApiKeys(app: FastifyInstance, service: Service): void {
  const list = { summary: 'List API keys, newest first', params: OfOrganization, querystring: closed(Page) };
  route(
    app,
    service,
    { method: 'GET', path: PATH, tag, scopes, schema: { ...list, response: { 200: listOf(Key) } } },
    async ({ tx, organization, query: { limit = LIMIT, cursor } }) => {
      const rows = await listKeys(tx, organization, limit + 1, placeOf(cursor));
      const shown = rows.slice(0, limit);
      const last = rows.length > limit ? shown.at(-1) : undefined;
      return { data: shown.map(json), next_cursor: last ? cursorOf({ at: last.created_us, id: last.id }) : null };
    },
  );

  const create = { summary: 'Make an API key, with scopes that the maker has', params: OfOrganization, body: NewKey };
  route(
    app,
    service,
    {
      method: 'POST',
      path: PATH,
      tag,
      scopes,
      noSessions: true,
      schema: { ...create, response: { 201: KeyWithToken } },
    },
    async ({ tx, caller, organization, body, reply }) => {
      const expiresAt = timeOf(body.expires_at);
      const { id, token } = await makeKeyWithin(tx, caller, {
        name: body.name,
        scopes: body.scopes ?? ['read', 'write'],
        allowedIps: body.allowed_ips,
        expiresAt,
      });
      reply.code(201).headers({ location: `/api/v1/${encodeURIComponent(organization)}/api-keys/${id}` });
      return { ...json(await findKey(tx, id)), token };
    },
  );

  const rotate = {
    summary: 'Give a key a new token. The old one works for a time',
    params: OfKey,
    body: nullable(closed({ overlap_seconds: Type.Optional(Type.Integer({ minimum: 0, maximum: 604_800 })) })),
    response: { 200: KeyWithToken },
  };
  route(
    app,
    service,
    { method: 'POST', path: `${PATH}/:id/rotate`, tag, scopes, noSessions: true, schema: rotate },
    async ({ tx, caller, params, body }) => {
      const id = idOf(params, 'API key');
      const seconds = body?.overlap_seconds ?? 86_400;
      const token = await rotateKeyWithin(tx, caller, id, `${seconds} seconds`);
      return { ...json(await findKey(tx, id)), token };
    },
  );

  const revoke = { summary: 'Revoke a key, at once', params: OfKey, response: { 204: Type.Null() } };
  route(
    app,
    service,
    { method: 'DELETE', path: `${PATH}/:id`, tag, scopes, schema: revoke },
    async ({ tx, params, reply }) => {
      await revokeKey(tx, idOf(params, 'API key'), true);
      reply.code(204);
      return null;
    },
  );
}

/** A time without a zone would depend on the session. */
function timeOf(text: string | null | undefined): string | null {
  if (text === undefined || text === null) return null;
  const time = new Date(text);
  const isFull = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/i.test(text);
  if (isFull && time.getTime() > Date.now()) return time.toISOString();
  throw invalid([{ field: 'expires_at', message: 'must be a time in the future, such as 2030-01-31T12:00:00Z' }]);
}

function json({ created_us: _, tenant_id, ...key }: ApiKey) {
  return {
    ...key,
    organization_id: tenant_id,
    created_at: key.created_at.toISOString(),
    expires_at: key.expires_at?.toISOString() ?? null,
    revoked_at: key.revoked_at?.toISOString() ?? null,
    last_used_at: key.last_used_at?.toISOString() ?? null,
  };
}
