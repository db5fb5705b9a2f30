import { expect, test } from 'vitest';
import { Limiter } from '../../src/queue/limiter.ts';

/** When attempts start that end at once and are always waiting, if the queue is woken at these times. */
function starts(limiter: Limiter, wakeUps: readonly number[]): number[] {
  const times: number[] = [];
  for (const now of wakeUps) {
    while (limiter.mayStart(now)) {
      limiter.start(now);
      limiter.end();
      times.push(now);
    }
  }
  return times;
}

const every = (ms: number, from: number, to: number) =>
  Array.from({ length: Math.floor((to - from) / ms) }, (_, n) => from + n * ms);

test.each<[string, number[]]>([
  ['every 10 ms', every(10, 1_000, 11_000)],
  ['every 97 ms', every(97, 1_000, 11_000)],
  ['every 10 ms, but for a pause of 5 s', [...every(10, 1_000, 3_000), ...every(10, 8_000, 11_000)]],
  ['every 450 ms', every(450, 1_000, 11_000)],
])('a rate of 20 per second holds in every second: woken %s', (_, wakeUps) => {
  const times = starts(new Limiter(100, 20), wakeUps);
  const counts = times.map((start) => times.filter((at) => at >= start && at < start + 1_000).length);
  // 20, and what the tolerance of 100 ms lets through early
  expect(Math.max(...counts)).toBeLessThanOrEqual(24);
});

test('a rate of 20 per second is used up by who is woken often enough', () => {
  expect(starts(new Limiter(100, 20), every(10, 1_000, 11_000)).length).toBeGreaterThanOrEqual(200);
});
