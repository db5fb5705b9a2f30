/**
 * What of a request stands in logs. Names do not tell which values are secret (X-Pass, X-Session, ?k=), so every value that a
 * tenant chose is masked, except the values of a few headers that nobody keeps a credential in. Pure.
 */

export const MASK = '••••••';

const HARMLESS: ReadonlySet<string> = new Set(
  `accept accept-charset accept-language cache-control pragma priority prefer
  x-team x-source x-environment x-region x-version x-api-version api-version`.split(/\s+/),
);

/** A custom header of this name is logged as it is. */
export function isHarmless(header: string): boolean {
  return HARMLESS.has(header.toLowerCase());
}

/** `https://a.example/b?token=abc` without the values of its query, without a user and a password, and without a fragment. */
export function maskedUrl(url: string): string {
  if (!/[?#@]/.test(url)) return url;
  const { place, query, fragment } = partsOf(url);
  const masked = query?.split('&').map(maskedPair).join('&');
  return `${withoutUser(place)}${masked === undefined ? '' : `?${masked}`}${fragment === undefined ? '' : `#${MASK}`}`;
}

/** What `maskedUrl` leaves out of a query, as it stands there and decoded. */
export function querySecrets(url: string): string[] {
  const { query } = partsOf(url);
  return (query?.split('&') ?? []).flatMap((pair) => {
    const value = pair.slice(pair.indexOf('=') + 1);
    return /[%+]/.test(value) ? [value, ...new URLSearchParams(`value=${value}`).values()] : [value];
  });
}

/** Of whatever stands in the column, a valid URL or not. */
function partsOf(url: string): { place: string; query?: string; fragment?: string } {
  const [rest, fragment] = cut(url, '#');
  const [place, query] = cut(rest, '?');
  return { place, ...(query !== undefined && { query }), ...(fragment !== undefined && { fragment }) };
}

function cut(text: string, at: string): [string, string?] {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}

function withoutUser(place: string): string {
  const start = place.includes('://') ? place.indexOf('://') + 3 : 0;
  const path = place.indexOf('/', start);
  const at = place.lastIndexOf('@', path < 0 ? place.length : path);
  return at < start ? place : `${place.slice(0, start)}${MASK}${place.slice(at)}`;
}

/** `token=abc` keeps its name; a query without a `=` may be nothing but a secret. */
function maskedPair(pair: string): string {
  const at = pair.indexOf('=');
  return pair === '' ? '' : `${pair.slice(0, at + 1)}${MASK}`;
}
