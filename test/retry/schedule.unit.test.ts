import { describe, expect, test } from 'vitest';
import type { RetryPolicy } from '../../src/model.ts';
import type { OutcomeCode } from '../../src/outcome.ts';
import { type FailedAttempt, retryAfterMs, retryInMs } from '../../src/retry/schedule.ts';

const NOW = Date.parse('2025-10-17T19:30:00.000Z');
const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000];

const exponential: RetryPolicy = { enabled: true, retriesMax: 20, strategy: 'exponential', delaySeconds: 60 };
const linear: RetryPolicy = { ...exponential, strategy: 'linear' };
const error500: FailedAttempt = { code: 'http_error', responseStatus: 500, retryAfter: undefined };

/** In the middle of the jitter. */
const next = (policy: RetryPolicy, attempt: number, failed: Partial<FailedAttempt> = {}, random = 0.5) =>
  retryInMs(policy, attempt, { ...error500, ...failed }, NOW, random);

describe('schedules', () => {
  test.each([
    [1, 5 * SECOND],
    [2, 5 * MINUTE],
    [3, 30 * MINUTE],
    [4, 2 * HOUR],
    [5, 5 * HOUR],
    [6, 10 * HOUR],
    [7, 14 * HOUR],
    [8, 14 * HOUR],
    [20, 14 * HOUR],
  ])('exponential: after attempt %i it waits %i ms, and 20 %% less or more', (attempt, ms) => {
    expect(next(exponential, attempt)).toBe(ms);
    expect(next(exponential, attempt, {}, 0)).toBe(0.8 * ms);
    expect(next(exponential, attempt, {}, 0.999999)).toBeCloseTo(1.2 * ms, -3);
  });

  test('linear: 60, 120, 180 s, to the millisecond', () => {
    expect([1, 2, 3].map((attempt) => next(linear, attempt))).toEqual([60_000, 120_000, 180_000]);
    expect([0, 0.9].map((random) => next(linear, 2, {}, random))).toEqual([120_000, 120_000]);
    expect([1, 2, 3].map((attempt) => next({ ...linear, delaySeconds: 1 }, attempt))).toEqual([1_000, 2_000, 3_000]);
  });

  test('neither waits longer than a day', () => {
    expect(next({ ...linear, delaySeconds: 86_400 }, 3)).toBe(24 * HOUR);
  });
});

describe('the end', () => {
  test.each([
    [7, 7, true],
    [7, 8, false],
    [1, 1, true],
    [1, 2, false],
    [0, 1, false],
  ])('with %i retries, attempt %i is followed by another: %s', (retriesMax, attempt, isRetried) => {
    expect(next({ ...exponential, retriesMax }, attempt) !== null).toBe(isRetried);
    expect(next({ ...linear, retriesMax }, attempt) !== null).toBe(isRetried);
  });

  test('comes at once where retries are switched off', () => {
    expect(next({ ...exponential, enabled: false }, 1)).toBeNull();
  });

  test.each<[OutcomeCode, number | null, boolean]>([
    ['http_error', 500, true],
    ['http_error', 400, true],
    ['http_error', 401, true],
    ['http_error', 404, true],
    ['http_error', 408, true],
    ['http_error', 429, true],
    ['redirect_refused', 302, true],
    ['timeout', null, true],
    ['dns_failed', null, true],
    ['connection_refused', null, true],
    ['connection_reset', null, true],
    ['connection_failed', null, true],
    ['tls_failed', null, true],
    ['protocol_error', null, true],
    ['gone', 410, false],
    ['address_refused', null, false],
    ['http_refused', null, false],
    ['proxy_failed', null, true],
  ])('%s %s is tried again: %s', (code, responseStatus, isRetried) => {
    expect(next(exponential, 1, { code, responseStatus }) !== null).toBe(isRetried);
  });
});

describe('Retry-After', () => {
  const at = (ms: number) => new Date(NOW + ms).toUTCString();

  test.each<[string, number | null, string | undefined, number]>([
    ['seconds are waited', 503, '600', 600 * SECOND],
    ['also with 429', 429, '600', 600 * SECOND],
    ['a date is waited for', 503, at(2 * HOUR), 2 * HOUR],
    ['a date in the past is no pause', 503, at(-HOUR), 60 * SECOND],
    ['a shorter one than the schedule changes nothing', 503, '1', 60 * SECOND],
    ['more than a day is a day', 503, '99999999999', 24 * HOUR],
    ['a date beyond a day is a day', 429, at(30 * 24 * HOUR), 24 * HOUR],
    ['other answers have no say', 500, '600', 60 * SECOND],
    ['nonsense is none', 503, 'soon', 60 * SECOND],
    ['a number below zero is none', 503, '-5', 60 * SECOND],
    ['a fraction is none', 503, '1.5', 60 * SECOND],
    ['an empty one is none', 503, '', 60 * SECOND],
    ['without one the schedule holds', 503, undefined, 60 * SECOND],
  ])('%s', (_, responseStatus, retryAfter, ms) => {
    expect(next(linear, 1, { responseStatus, retryAfter })).toBe(ms);
  });

  test('429 is never asked again within a minute, not even where the schedule says so', () => {
    expect(next({ ...linear, delaySeconds: 1 }, 1, { responseStatus: 429 })).toBe(MINUTE);
    expect(next({ ...linear, delaySeconds: 1 }, 1, { responseStatus: 429, retryAfter: '2' })).toBe(MINUTE);
    expect(next({ ...linear, delaySeconds: 1 }, 1, { responseStatus: 503 })).toBe(SECOND);
  });

  test('does not revive what has failed for good', () => {
    expect(next({ ...linear, retriesMax: 1 }, 2, { responseStatus: 503, retryAfter: '5' })).toBeNull();
    expect(next(linear, 1, { code: 'gone', responseStatus: 410, retryAfter: '5' })).toBeNull();
  });

  test.each([
    ['120', 120_000],
    [' 120 ', 120_000],
    ['0', 0],
    // the three forms of RFC 9110
    ['Fri, 17 Oct 2025 19:31:00 GMT', MINUTE],
    ['Friday, 17-Oct-25 19:31:00 GMT', MINUTE],
    // what Date.parse would take, and HTTP does not
    ['2025-10-17T19:31:00Z', undefined],
    ['2026', 2_026_000],
    ['1e3', undefined],
    ['0x10', undefined],
    ['Fri, never', undefined],
  ])('%j is %s ms', (header, ms) => {
    expect(retryAfterMs(header, NOW)).toBe(ms);
  });

  test('asctime has no zone, and means GMT on any machine', () => {
    const zone = process.env.TZ;
    try {
      process.env.TZ = 'America/New_York';
      expect(retryAfterMs('Fri Oct 17 19:31:00 2025', NOW)).toBe(MINUTE);
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });
});
