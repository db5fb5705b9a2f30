/**
 * Receivers that echo requests, as test endpoints do, would put a webhook's credentials into its log, where whoever may read
 * the log could read what is write-only in the webhook. So what was masked in the request is masked in the response.
 */
import { MASK } from './envelope.ts';
import type { Outcome } from './model.ts';

/** Shorter values are found in any text. */
const LENGTH_MIN = 4;

export function withoutEcho(outcome: Outcome, sent: Record<string, string>, logged: Record<string, string>): Outcome {
  const { response } = outcome;
  if (!response || sent === logged) return outcome;
  const credentials = Object.entries(sent)
    .filter(([name, value]) => logged[name] !== value)
    .flatMap(([, value]) => [value, value.replace(/^(Bearer|Basic) /, '')])
    .filter((value) => value.length >= LENGTH_MIN);
  if (credentials.length === 0) return outcome;
  const hide = (text: string) => credentials.reduce((rest, credential) => rest.replaceAll(credential, MASK), text);
  const headers = Object.entries(response.headers).map(([name, value]) => [name, hide(value)]);
  return { ...outcome, response: { ...response, headers: Object.fromEntries(headers), body: hide(response.body) } };
}
