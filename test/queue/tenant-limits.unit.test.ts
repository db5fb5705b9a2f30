// What one tenant may have in flight, whatever its webhooks may.

import { expect, test } from 'vitest';
import type { TenantConfiguration } from '../../src/model.ts';
import { TenantLimits } from '../../src/queue/tenant-limits.ts';

const withLimits = (limits: TenantConfiguration['limits']): TenantConfiguration => ({
  tenantId: 'acme',
  organization: '{}',
  limits,
  bytesMax: 0,
  webhooks: [],
});

test('a batch counts as many times as it has deliveries, and others are not concerned', () => {
  const limits = new TenantLimits(128);
  const ends = [limits.start('acme', 100, 0), limits.start('acme', 27, 0)];
  expect(limits.mayStart('acme', 0)).toBe(true);
  ends.push(limits.start('acme', 100, 0));
  expect(limits.mayStart('acme', 0)).toBe(false);
  expect(limits.mayStart('other', 0)).toBe(true);
  ends[0]?.();
  expect(limits.mayStart('acme', 0)).toBe(true);
});

test('limits of its own count requests, and go when they are deleted', () => {
  const limits = new TenantLimits(128);
  limits.configure([withLimits({ maxInFlight: 2, ratePerSecond: null })]);
  const ends = [limits.start('acme', 50, 0), limits.start('acme', 50, 0)];
  expect(limits.mayStart('acme', 0)).toBe(false);
  limits.configure([withLimits(null)]);
  expect(limits.mayStart('acme', 0)).toBe(true);
  for (const end of ends) end();
  limits.configure([withLimits({ maxInFlight: null, ratePerSecond: 1 })]);
  limits.start('acme', 1, 0)();
  expect(limits.mayStart('acme', 0)).toBe(false);
  expect(limits.mayStart('acme', 1_000)).toBe(true);
});
