// Which errors of a statement say that nothing was written.

import { expect, test } from 'vitest';
import { isRefusal } from '../../src/shared/isolate.ts';

test.each(['22P02', '23505', '40P01', '55P03', '57014', 'XX000'])('%s: the server refused', (code) => {
  expect(isRefusal(Object.assign(new Error('refused'), { code }))).toBe(true);
});

// EPIPE has five letters, as an SQLSTATE does
test.each(['08006', '57P01', '25P03', 'EPIPE', 'ECONNRESET', undefined])('%s: it may be written', (code) => {
  expect(isRefusal(Object.assign(new Error('gone'), { code }))).toBe(false);
});
