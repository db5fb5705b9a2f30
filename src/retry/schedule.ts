/** When a delivery is retried: a pure function of policy, attempt, outcome and random number. */
import type { RetryPolicy } from '../model.ts';
import type { OutcomeCode } from '../outcome.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Delay after the 1st, 2nd … failed attempt. The last delay repeats. The delays span a receiver's
 * deployment, its outage, and its weekend.
 */
const EXPONENTIAL_MS = [
  5 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
];

/** Spreads the retries after one outage. */
const JITTER = 0.2;

/** Limit on the pause that a receiver may ask for, and on every delay of a schedule. */
const DELAY_MS_MAX = 24 * HOUR_MS;

/** Minimum delay after a response with status 429. */
const TOO_MANY_REQUESTS_MS_MIN = MINUTE_MS;

/** Outcomes that a retry cannot change. */
const FINAL: ReadonlySet<OutcomeCode> = new Set([
  'gone',
  'address_refused',
  'http_refused',
  'webhook_inactive',
  'webhook_deleted',
]);

export interface FailedAttempt {
  code: OutcomeCode;
  responseStatus: number | null;
  /** The response's Retry-After header, unparsed. */
  retryAfter: string | undefined;
}

/**
 * Milliseconds from `now` to the next attempt, or null when the delivery is given up.
 * `attempt` counts from 1, `random` is in [0, 1).
 */
export function retryInMs(
  policy: RetryPolicy,
  attempt: number,
  failed: FailedAttempt,
  now: number,
  random: number,
): number | null {
  if (!policy.enabled || attempt > policy.retriesMax || FINAL.has(failed.code)) return null;
  const scheduled =
    policy.strategy === 'linear'
      ? policy.delaySeconds * SECOND_MS * attempt
      : (EXPONENTIAL_MS[Math.min(attempt, EXPONENTIAL_MS.length) - 1] as number) * (1 - JITTER + 2 * JITTER * random);
  const busy = failed.responseStatus === 429 || failed.responseStatus === 503;
  const asked = busy ? (retryAfterMs(failed.retryAfter, now) ?? 0) : 0;
  const floor = failed.responseStatus === 429 ? TOO_MANY_REQUESTS_MS_MIN : 0;
  return Math.round(Math.min(Math.max(scheduled, asked, floor), DELAY_MS_MAX));
}

/**
 * Parses Retry-After, which is a number of seconds or an HTTP date. Returns undefined for any other
 * text.
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d+$/.test(text)) return Number(text) * SECOND_MS;
  // Date.parse accepts many texts that are not HTTP dates. All three forms of HTTP dates begin with
  // a weekday.
  const isDate = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text);
  // The oldest form ends with the year and names no time zone. Date.parse would use the zone of
  // this machine.
  const at = isDate ? Date.parse(/ \d{4}$/.test(text) ? `${text} GMT` : text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
