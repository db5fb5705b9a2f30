/**
 * The cookie of a session. Browsers take a `__Host-` cookie from this server alone, with TLS.
 * Chromium also takes it from http://localhost and http://127.0.0.1, where `rowhook demo` answers.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServeSettings } from '../../config/settings.ts';
import { Problem } from '../problem.ts';

const NAME = '__Host-rowhook';

type Settings = Pick<ServeSettings, 'publicUrl'>;

export function tokenOfCookie({ headers: { cookie = '' } }: FastifyRequest): string | null {
  const [, token] = new RegExp(`(?:^|;) *${NAME}=([^;]*)`).exec(cookie) ?? [];
  return token?.trim() ?? null;
}

/** `token` null removes it. */
export function setCookie(reply: FastifyReply, token: string | null, seconds = 0): void {
  reply.header('set-cookie', `${NAME}=${token ?? ''}; Max-Age=${seconds}; Path=/; HttpOnly; SameSite=Strict; Secure`);
}

/**
 * A page of another site can make a browser send a request, and the browser adds the cookie to it.
 * But it names the page's origin, which no page can forge.
 */
export function requireSameOrigin({ headers, protocol }: FastifyRequest, { publicUrl }: Settings): void {
  const origin = typeof headers.origin === 'string' ? URL.parse(headers.origin) : null;
  const isOurs =
    origin !== null &&
    ((publicUrl !== undefined && origin.origin === URL.parse(publicUrl)?.origin) ||
      (origin.host === headers.host && (origin.protocol === 'https:' || protocol === 'http')));
  if (isOurs) return;
  throw new Problem('forbidden', 'A request with the cookie of a session needs an Origin that is this server.');
}
