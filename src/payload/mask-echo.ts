/**
 * Receivers that echo requests, as test endpoints do, would put a webhook's credentials into its log, where whoever may read
 * the log could read what is write-only in the webhook. So what was masked in the request is masked in the response.
 */

import type { Request } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import { MASK, querySecrets } from './mask.ts';

/** Shorter values are found in any text. */
const LENGTH_MIN = 4;

/** Says when to try again, and is read after this. */
const KEPT = 'retry-after';

export function withoutEcho(
  outcome: Outcome,
  { url, headers: sent }: Pick<Request, 'url' | 'headers'>,
  logged: Record<string, string>,
): Outcome {
  const { response } = outcome;
  if (!response || (sent === logged && !url.includes('?'))) return outcome;
  const masked = Object.entries(sent).filter(([name, value]) => logged[name] !== value);
  const secrets = [...masked.flatMap(([, value]) => credentialsOf(value)), ...querySecrets(url)]
    .flatMap((value) => [value, JSON.stringify(value).slice(1, -1)])
    .filter((value) => value.length >= LENGTH_MIN)
    // one may be a part of another
    .sort((a, b) => b.length - a.length);
  if (secrets.length === 0) return outcome;
  const hide = (text: string) => secrets.reduce((rest, secret) => rest.replaceAll(secret, MASK), text);
  const headers = Object.entries(response.headers).map(([name, value]) => [name, name === KEPT ? value : hide(value)]);
  return { ...outcome, response: { ...response, headers: Object.fromEntries(headers), body: hide(response.body) } };
}

/** A header's value whole, without its scheme, and the password of Basic. */
function credentialsOf(value: string): string[] {
  const bare = value.replace(/^(Bearer|Basic) /, '');
  if (!value.startsWith('Basic ')) return [value, bare];
  const pair = Buffer.from(bare, 'base64').toString();
  return [value, bare, pair, pair.slice(pair.indexOf(':') + 1)];
}
