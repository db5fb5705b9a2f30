// All faults together, for ten minutes; ROWHOOK_TEST_SEED chooses another order.

import { expect, test } from 'vitest';
import { soak } from '../support/soak.ts';

const seed = process.env.ROWHOOK_TEST_SEED || '1';

test('ten minutes of faults of all kinds lose nothing and repeat little', { timeout: 1_200_000 }, async () => {
  const { code, output } = await soak('--minutes', '10', '--seed', seed);
  console.log(output);
  expect(code, output).toBe(0);
  expect(output).toMatch(/lost 0, unexpected 0/);
});
