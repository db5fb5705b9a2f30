/** Parsers for the settings of `rowhook serve`, with verdicts as in config/parse.ts. */
import { cidrs } from './parse.ts';

/** A base for links, without a slash at its end. */
export function publicUrl(text: string): string {
  const url = URL.parse(text);
  const isPlain = url && !url.search && !url.hash && !url.username && !url.password;
  if (isPlain && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, '');
  throw new Error('is not a web address. Write it as https://hooks.example.com, without a query');
}

/**
 * Proxies in front of us, whose X-Forwarded-For is believed: a number of hops, or their addresses.
 * Everybody can send that header, so `true` is refused.
 */
export function trustProxy(text: string): number | string[] {
  if (/^\d{1,2}$/.test(text) && Number(text) >= 1) return Number(text);
  try {
    return cidrs(text);
  } catch {
    throw new Error('is not a number of proxies or a list of their addresses. Write it as 1, or as 10.0.0.0/8');
  }
}

/** Web origins, such as https://app.example.com. */
export function origins(text: string): string[] {
  return text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((part) => {
      const url = URL.parse(part);
      if (url && /^https?:$/.test(url.protocol) && url.origin === part.replace(/\/$/, '')) return url.origin;
      throw new Error('has a part that is not a web origin. Write it as https://app.example.com, without a path');
    });
}

/** The message does not quote the secret. A short one can be guessed from a single token. */
export function jwtSecret(text: string): string {
  if (Buffer.byteLength(text) >= 32) return text;
  throw new Error('is shorter than 32 bytes. Generate one: openssl rand -base64 48');
}

/** Whoever can answer for an address without TLS could make keys of their own. */
export function jwksUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === 'https:' && !url.username && !url.password) return url.href;
  throw new Error('is not an https:// URL. Write it as https://auth.example.com/.well-known/jwks.json');
}

export function claimName(text: string): string {
  if (/^[\w.:/-]{1,200}$/.test(text)) return text;
  throw new Error('is not the name of a claim. Write it as organization_id');
}

/** Where a token may come from, or who it is for. */
export function anyText(text: string): string {
  return text;
}
