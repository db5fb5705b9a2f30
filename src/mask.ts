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
  const [, scheme = '', user, place = '', query, fragment] = PARTS.exec(url) ?? [];
  return [
    scheme,
    user === undefined ? '' : `${MASK}@`,
    place,
    query === undefined ? '' : `?${query.split('&').map(maskedPair).join('&')}`,
    fragment === undefined ? '' : `#${MASK}`,
  ].join('');
}

/** What `maskedUrl` leaves out of a query, as it stands there and decoded. */
export function querySecrets(url: string): string[] {
  const query = url.includes('?') ? PARTS.exec(url)?.[4] : undefined;
  return (query?.split('&') ?? []).flatMap((pair) => {
    const value = pair.slice(pair.indexOf('=') + 1);
    return [value, ...new URLSearchParams(`value=${value}`).values()];
  });
}

/** Scheme, user and password, host and path, query, fragment. It takes whatever stands in the column, valid or not. */
const PARTS = /^([a-z][a-z0-9+.-]*:\/\/)?(?:([^/?#]*)@)?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/is;

/** `token=abc` keeps its name; a query without a `=` may be nothing but a secret. */
function maskedPair(pair: string): string {
  const at = pair.indexOf('=');
  return pair === '' ? '' : `${pair.slice(0, at + 1)}${MASK}`;
}
