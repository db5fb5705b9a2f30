/**
 * The cookie of a session. Browsers refuse a `__Host-` cookie from a server without TLS. On a
 * loopback address without TLS, as in `rowhook demo`, the session is in a second cookie as well.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServeSettings } from '../../config/settings.ts';
import { Problem } from '../problem.ts';

const NAME = '__Host-rowhook';
const LOOPBACK_NAME = 'rowhook-loopback';
const ATTRIBUTES = 'Path=/; HttpOnly; SameSite=Strict';

type Settings = Pick<ServeSettings, 'publicUrl'>;

export function tokenOfCookie(request: FastifyRequest, settings: Settings): string | null {
  const given = new Map<string, string>();
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [name = '', value = ''] = part.trim().split('=');
    if (!given.has(name)) given.set(name, value);
  }
  return given.get(NAME) ?? (isPlainLoopback(request, settings) ? given.get(LOOPBACK_NAME) : undefined) ?? null;
}

/** `token` null removes it. */
export function setCookie(
  reply: FastifyReply,
  request: FastifyRequest,
  settings: Settings,
  token: string | null,
  seconds = 0,
): void {
  const value = `${token ?? ''}; Max-Age=${seconds}; ${ATTRIBUTES}`;
  reply.header('set-cookie', `${NAME}=${value}; Secure`);
  if (isPlainLoopback(request, settings)) reply.header('set-cookie', `${LOOPBACK_NAME}=${value}`);
}

/** A proxy on the same machine is also on a loopback address: it names itself, or the public URL does. */
function isPlainLoopback({ headers, protocol }: FastifyRequest, { publicUrl }: Settings): boolean {
  const isForwarded = Object.keys(headers).some((name) => /^(forwarded|via|x-forwarded-.*|x-real-ip)$/.test(name));
  const url = URL.parse(publicUrl ?? `${protocol}://${headers.host ?? ''}`);
  return !isForwarded && url?.protocol === 'http:' && /^(localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname);
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
