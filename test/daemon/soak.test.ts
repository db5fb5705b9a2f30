// A short mixed run of all faults (test/faults), with an order that is the same every time. The long ones: npm run soak.

import { expect, test } from 'vitest';
import { soak } from '../support/soak.ts';

test('half a minute of faults of all kinds loses nothing and repeats little', { timeout: 400_000 }, async () => {
  const { code, output } = await soak('--minutes', '0.4', '--seed', '7');
  console.log(output);
  expect(code, output).toBe(0);
  expect(output).toMatch(/lost 0, unexpected 0/);
});

test('wrong usage says how it is used', { timeout: 60_000 }, async () => {
  expect(await soak('--minutes', 'many')).toEqual({
    code: 2,
    output: 'soak: --minutes: "many" is not a number above 0. Usage: npm run soak -- --minutes 10 --seed 42\n',
  });
  expect((await soak('--hours', '1')).code).toBe(2);
});
