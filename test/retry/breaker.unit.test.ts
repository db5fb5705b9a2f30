import { expect, test } from 'vitest';
import type { Health } from '../../src/outcome.ts';
import { afterFailure, Breakers, shouldDisable } from '../../src/retry/breaker.ts';

const day = 86_400_000;

function failTimes(times: number, now: number, health?: Health): Health {
  let last = health;
  for (let i = 0; i < times; i++) last = afterFailure(last, 3, now);
  return last as Health;
}

test('nine failures in a row leave the breaker closed, the tenth opens it for 5 s', () => {
  expect(failTimes(9, 1_000).openUntil).toBeNull();
  expect(failTimes(10, 1_000).openUntil).toBe(6_000);
});

test('what was in flight when it opened does not keep it open longer', () => {
  const opened = failTimes(10, 0);
  expect(failTimes(20, 4_000, opened)).toMatchObject({ failures: 30, openUntil: 5_000, openings: 1 });
});

test('each failed probe doubles the pause, up to ten minutes', () => {
  let health = failTimes(10, 0);
  const pauses: number[] = [];
  for (let i = 0; i < 9; i++) {
    const now = health.openUntil as number;
    health = afterFailure(health, 3, now);
    pauses.push((health.openUntil as number) - now);
  }
  expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600].map((seconds) => seconds * 1_000));
});

test('a clock that was an hour ahead when it opened does not keep it open for an hour', () => {
  const breakers = new Breakers({ failures: 50, days: 3 });
  for (let i = 0; i < 10; i++) breakers.failed({ id: 'w', lane: 3 }, 3_600_000);
  expect(breakers.state('w', 3_600_000)).toBe('open');
  expect(breakers.state('w', 0)).toBe('probing');
});

test('a webhook is disabled only when it fails both often enough and for long enough', () => {
  const policy = { failures: 50, days: 3 };
  const health = (failures: number) => ({ lane: 3, failures, failingSince: 0, openUntil: null, openings: 0 });
  expect(shouldDisable(health(1_000), policy, 3 * day - 1)).toBe(false);
  expect(shouldDisable(health(49), policy, 30 * day)).toBe(false);
  expect(shouldDisable(health(50), policy, 3 * day)).toBe(true);
});

test('a success forgets every failure, and says so only when there was one', () => {
  const breakers = new Breakers({ failures: 50, days: 3 });
  expect(breakers.succeeded('w')).toEqual({ kind: 'unchanged' });
  for (let i = 0; i < 10; i++) breakers.failed({ id: 'w', lane: 3 }, 0);
  expect(breakers.state('w', 4_999)).toBe('open');
  expect(breakers.state('w', 5_000)).toBe('probing');
  expect(breakers.succeeded('w')).toEqual({ kind: 'healthy' });
  expect(breakers.state('w', 5_000)).toBe('closed');
  expect(breakers.failed({ id: 'w', lane: 3 }, 40_000).health).toMatchObject({
    failures: 1,
    failingSince: 40_000,
    openings: 0,
  });
});

test('what is known of a webhook goes with its lane', () => {
  const breakers = new Breakers({ failures: 50, days: 3 });
  for (let i = 0; i < 10; i++) {
    breakers.failed({ id: 'goes', lane: 3 }, 0);
    breakers.failed({ id: 'stays', lane: 4 }, 0);
  }
  breakers.forgetLanes([3]);
  expect([breakers.state('goes', 0), breakers.state('stays', 0)]).toEqual(['closed', 'open']);
});
