// Which errors mean that the database is away, and which are faults of ours.

import { expect, test } from 'vitest';
import { toProblem } from '../../src/api/problem.ts';

const statusOf = (code: string) => toProblem(Object.assign(new Error('it failed'), { code })).status;

test.each(['ECONNREFUSED', 'ECONNRESET', 'EAI_AGAIN', '08006', '57P01'])('%s: the database is away', (code) => {
  expect(statusOf(code)).toBe(503);
});

test.each(['ERR_MODULE_NOT_FOUND', 'ERR_INVALID_ARG_TYPE', '42601', ''])('%s: a fault of ours', (code) => {
  expect(statusOf(code)).toBe(500);
});
