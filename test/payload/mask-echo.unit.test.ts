// A tenant chooses the values that are masked, and the response in which they are searched. Everybody waits meanwhile.

import { expect, test } from 'vitest';
import type { Outcome } from '../../src/outcome.ts';
import { MASK } from '../../src/payload/mask.ts';
import { withoutEcho } from '../../src/payload/mask-echo.ts';

function outcome(headers: Record<string, string>, body: string): Outcome {
  return {
    status: 'failed',
    code: 'http_error',
    error: null,
    response: { status: 500, headers, body },
    remoteIp: null,
    durationMs: 1,
  };
}

const withToken = (token: string, headers: Record<string, string>, body: string) =>
  withoutEcho(
    outcome(headers, body),
    { url: 'http://a.test/', headers: { authorization: `Bearer ${token}` } },
    { authorization: MASK },
  ).response;

test('a long value is masked as one, in any place and spelling, also where it is cut', () => {
  const token = Array.from({ length: 300 }, (_, i) => `${i}+`).join('');
  const spelled = token.replaceAll('+', '%2B');
  expect(withToken(token, { a: `"${token}"`, b: spelled }, `a ${token} b ${spelled} c`)).toEqual({
    status: 500,
    headers: { a: `"${MASK}"`, b: MASK },
    body: `a ${MASK} b ${MASK} c`,
  });
  for (const length of [10, 100, 500, 1_000])
    expect(withToken(token, {}, `a ${token.slice(0, length)}…`)?.body).toBe(`a ${MASK}…`);
});

test('nothing is masked across two texts', () => {
  expect(withToken('abcd', { a: 'ab', b: 'cd', 'retry-after': 'abcd' }, 'ab')).toEqual({
    status: 500,
    headers: { a: 'ab', b: 'cd', 'retry-after': 'abcd' },
    body: 'ab',
  });
});

test('of a response that takes long to search, nothing is kept', () => {
  const url = `http://a.test/?${Array.from({ length: 300 }, (_, i) => `value${i}`).join('&')}`;
  const headers = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`h${i}`, 'x'.repeat(10)]));
  const response = withoutEcho(outcome(headers, 'body'), { url, headers: {} }, {}).response;
  expect([response?.body, ...new Set(Object.values(response?.headers ?? {}))]).toEqual([MASK, MASK]);
});
