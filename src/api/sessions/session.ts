/** Sessions of the console: a portal link, or an API key, is exchanged for one. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { endSession, hashOfToken, newToken, SESSION_SECONDS_MAX, signIn } from '../../operations/sessions.ts';
import { ANY_SCOPE, type Caller, type Credential } from '../auth.ts';
import { parseBody } from '../body.ts';
import { Problem, unauthorized } from '../problem.ts';
import { route } from '../route.ts';
import { Me, meJson } from '../routes/me.ts';
import { closed, nullable, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { requireSameOrigin, setCookie } from './cookie.ts';

const PATH = '/v1/session';
const tag = 'sessions';

/** Half a day: people sign in once a day. */
const SIGNED_IN_SECONDS = 43_200;

const Start = closed({
  token: Type.Optional(
    Type.String({ description: 'of a portal link, or an API key; without it, the API key of the header' }),
  ),
  bearer: Type.Optional(
    Type.Boolean({ description: 'true: the answer has the token, for a page in an iframe; else it is a cookie' }),
  ),
  expires_in: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: SESSION_SECONDS_MAX,
      description: 'seconds, for an API key; 43200 by default',
    }),
  ),
});

const Session = closed({
  ...Me.properties,
  token: Type.Optional(Type.String({ description: 'only with bearer; send it as Authorization: Bearer' })),
});

export function addSession(app: FastifyInstance, service: Service): void {
  const start = {
    summary: 'Open a portal link, or sign in with an API key',
    description: 'The session is a cookie, which pages cannot read. With bearer, its token is in the answer.',
    body: nullable(Start),
    response: { 201: Session },
  };
  route(
    app,
    service,
    {
      method: 'POST',
      path: PATH,
      tag,
      scopes: ANY_SCOPE,
      noSessions: true,
      credentialOf: credentialOfBody,
      schema: start,
    },
    async ({ tx, caller, credential, body, request, reply }) => {
      const isCookie = body?.bearer !== true;
      if (isCookie && request.headers.origin !== undefined) requireSameOrigin(request, service.settings);
      const session = credential.kind === 'link' ? credential.session : newToken('rhs_');
      let expiresAt = caller.expiresAt;
      if (credential.kind !== 'link') {
        if (credential.kind === 'jwt') throw new Problem('forbidden', 'Sign in with an API key.');
        expiresAt = await signIn(tx, credential.hash, session, body?.expires_in ?? SIGNED_IN_SECONDS);
      }
      if (expiresAt === null) throw unauthorized();
      const seconds = Math.max(1, Math.floor((expiresAt.getTime() - Date.now()) / 1_000));
      if (isCookie) setCookie(reply, session.text, seconds);
      reply.code(201);
      const started: Caller = { ...caller, expiresAt };
      return { ...(await meJson(tx, started)), ...(!isCookie && { token: session.text }) };
    },
  );

  const end = {
    summary: 'End the session of the token',
    response: { 204: Type.Null() },
  };
  route(
    app,
    service,
    { method: 'DELETE', path: PATH, tag, scopes: ANY_SCOPE, schema: end },
    async ({ tx, caller, credential, reply }) => {
      if (caller.sessionId === null || credential.kind !== 'key')
        throw new Problem('conflict', 'The token is not the one of a session. Revoke an API key instead.');
      await endSession(tx, credential.hash);
      setCookie(reply, null);
      reply.code(204);
      return null;
    },
  );
}

/** A larger body has no token: nobody may have it parsed without one. */
const BODY_BYTES_MAX = 16_384;

/** A body with the token of a link, or with an API key, stands for a header. */
function credentialOfBody({ body: bytes }: FastifyRequest): Credential | null {
  const parsed = Buffer.isBuffer(bytes) && bytes.length <= BODY_BYTES_MAX ? parseBody(bytes) : {};
  const body = 'value' in parsed ? parsed.value : undefined;
  const token = typeof body === 'object' && body !== null && 'token' in body ? body.token : undefined;
  if (token === undefined) return null;
  if (typeof token !== 'string' || !/^rh[lk]_[\w-]{20,100}$/.test(token)) throw unauthorized();
  const hash = hashOfToken(token);
  const limitedAs = hash.toString('base64');
  if (token.startsWith('rhk_')) return { kind: 'key', hash, limitedAs };
  return { kind: 'link', hash, session: newToken('rhs_'), limitedAs };
}
