import { expect, test } from 'vitest';
import { Pace } from '../../src/queue/pace.ts';

/** As many deliveries as may be queued wait, and one after another starts after `ms`. */
function go(pace: Pace, starts: number, ms: number): void {
  for (let n = 0; n < starts; n++) pace.noteStart(pace.queuedMax, ms, 10_000);
}

test('grows while what is queued starts quickly, to a limit', () => {
  const pace = new Pace();
  const start = pace.queuedMax;
  expect(pace.isKnown).toBe(false);
  go(pace, start, 10);
  expect(pace.queuedMax).toBe(2 * start);
  expect(pace.isKnown).toBe(true);
  go(pace, 10_000, 10);
  expect(pace.queuedMax).toBe(1_000);
});

test('a queue that is mostly empty says nothing', () => {
  const pace = new Pace();
  for (let n = 0; n < 1_000; n++) pace.noteStart(1, 0, n);
  expect(pace.isKnown).toBe(false);
});

test('halves once for all that waited together, and keeps a least', () => {
  const pace = new Pace();
  go(pace, 10_000, 10);
  go(pace, 500, 2_000);
  expect(pace.queuedMax).toBe(500);
  const slow = new Pace();
  slow.noteWait(1_000, 5_000);
  expect(slow.queuedMax).toBe(32);
});

test('what is parked at once is not a start', () => {
  const pace = new Pace();
  for (let n = 0; n < 1_000; n++) pace.noteWait(5, n);
  expect(pace.isKnown).toBe(false);
});

test('stays where it is in between', () => {
  const pace = new Pace();
  go(pace, 100, 300);
  expect(pace.isKnown).toBe(false);
});
