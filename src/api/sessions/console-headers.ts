/** Headers of the pages of the console. The API's own forbid everything. */
import type { FastifyReply } from 'fastify';
import type { ServeSettings } from '../../config/settings.ts';

/** Everything comes from our own server. Nothing that a tenant or a receiver wrote is run. */
export function consolePolicy({ frameAncestors }: Pick<ServeSettings, 'frameAncestors'>): string {
  const ancestors = frameAncestors.length === 0 ? "'none'" : frameAncestors.join(' ');
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    `frame-ancestors ${ancestors}`,
  ].join('; ');
}

/** X-Frame-Options cannot name another origin, so it is left out where the policy names some. */
export function setConsoleHeaders(reply: FastifyReply, settings: Pick<ServeSettings, 'frameAncestors'>): void {
  reply.header('content-security-policy', consolePolicy(settings));
  if (settings.frameAncestors.length === 0) reply.header('x-frame-options', 'DENY');
  else reply.removeHeader('x-frame-options');
}
