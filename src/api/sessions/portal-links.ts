/** Portal links: they open the console for one organization, without an API key. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { makePortalLinkWithin, newToken, portalUrl, SESSION_SECONDS_MAX } from '../../operations/sessions.ts';
import { Problem } from '../problem.ts';
import { route } from '../route.ts';
import { closed, nullable, OfOrganization, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';

const SECONDS = 3_600;

/** A visitor makes no keys and no further links. */
const GIVEN = ['read', 'write', 'inbound'] as const;

const NewLink = closed({
  expires_in: Type.Optional(
    Type.Integer({ minimum: 1, maximum: SESSION_SECONDS_MAX, description: 'seconds; 3600 by default' }),
  ),
  read_only: Type.Optional(Type.Boolean({ description: 'true: the visitor changes nothing' })),
});

const Link = closed({
  url: Type.String({ description: 'shown this once; it can be opened once, within 5 minutes' }),
  expires_at: Type.Unsafe<string>({ ...Time, description: 'when the session ends' }),
});

export function addPortalLinks(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'Make a link that opens the console for this organization',
    description:
      'It gives the scopes of the token, except keys, and ends no later than the token. ' +
      'It can be opened from every address: allowed_ips of the token says where links are made.',
    params: OfOrganization,
    body: nullable(NewLink),
    response: { 201: Link },
  };
  const scopes = ['keys', 'operator'] as const;
  route(
    app,
    service,
    { method: 'POST', path: '/v1/:org/portal-links', tag: 'sessions', scopes, noSessions: true, schema },
    async ({ tx, caller, body, request, reply }) => {
      const given = body?.read_only ? (['read'] as const) : GIVEN;
      const scopes = given.filter((scope) => caller.scopes.includes(scope));
      if (scopes.length === 0)
        throw new Problem('forbidden', 'The token has no scope that a portal link could give, such as read.');
      const token = newToken('rhl_');
      const at = await makePortalLinkWithin(tx, caller, token, { scopes, seconds: body?.expires_in ?? SECONDS });
      reply.code(201);
      return { url: portalUrl(baseUrl(request, service), token), expires_at: at.toISOString() };
    },
  );
}

/** Without ROWHOOK_PUBLIC_URL, links work on this machine only. They are never made from `Host`. */
export function baseUrl({ socket }: FastifyRequest, { settings: { publicUrl, apiHost } }: Service): string {
  if (publicUrl !== undefined) return publicUrl;
  const host = /^(127\.|::1$)/.test(apiHost) ? apiHost : 'localhost';
  return `http://${host.includes(':') ? `[${host}]` : host}:${socket.localPort}`;
}
