/**
 * Decides what logs show of a request. Names do not tell which values are secret (X-Pass,
 * X-Session, ?k=). So every value that a tenant chose is masked, except in a few headers that never
 * hold credentials. Pure.
 */

export const MASK = '••••••';

const HARMLESS: ReadonlySet<string> = new Set(
  `accept accept-charset accept-language cache-control pragma priority prefer
  x-team x-source x-environment x-region x-version x-api-version api-version`.split(/\s+/),
);

/** True if a custom header of this name is logged unmasked. */
export function isHarmless(header: string): boolean {
  return HARMLESS.has(header.toLowerCase());
}

/**
 * `https://a.example/b?token=abc` without the values of its query, without user and password, and
 * without its fragment.
 */
export function maskedUrl(url: string): string {
  if (!/[?#@]/.test(url)) return url;
  const { place, query, fragment } = partsOf(url);
  const masked = query?.split('&').map(maskedPair).join('&');
  return `${withoutUser(place)}${masked === undefined ? '' : `?${masked}`}${fragment === undefined ? '' : `#${MASK}`}`;
}

/** The query values that `maskedUrl` removes, as written and decoded. */
export function querySecrets(url: string): string[] {
  const { query } = partsOf(url);
  return (query?.split('&') ?? []).flatMap((pair) => {
    const value = pair.slice(pair.indexOf('=') + 1);
    return /[%+]/.test(value) ? [value, ...new URLSearchParams(`value=${value}`).values()] : [value];
  });
}

/** Splits any text of the column url, even an invalid URL. */
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

/**
 * `token=abc` keeps its name. A part of a query without `=` is masked whole, because it may be a
 * secret.
 */
function maskedPair(pair: string): string {
  const at = pair.indexOf('=');
  return pair === '' ? '' : `${pair.slice(0, at + 1)}${MASK}`;
}
