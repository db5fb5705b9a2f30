import { expect, test } from 'vitest';
import type { Delivery } from '../../src/model.ts';
import { Unsettled } from '../../src/queue/unsettled.ts';

const delivery = (tenantId: string, data = '"1"'): Delivery =>
  ({ change: { lane: 3, tenantId, data, previous: null } }) as unknown as Delivery;

test('counts by tenant, and those of tenants that are apart once more', () => {
  const unsettled = new Unsettled();
  const settled: string[] = [];
  const a = unsettled.ticket(delivery('a'), () => settled.push('a'));
  const b = unsettled.ticket(delivery('b'), () => settled.push('b'));
  unsettled.setApart('a', true);
  const again = unsettled.ticket(delivery('a'), () => settled.push('a'));
  expect([unsettled.count, unsettled.size, unsettled.apart]).toEqual([3, 9, { count: 2, size: 6 }]);
  expect(unsettled.ofTenant('a')).toMatchObject({ count: 2, size: 6, queued: 2 });

  a.start?.();
  expect(unsettled.ofTenant('a')).toMatchObject({ count: 2, queued: 1 });
  for (const ticket of [a, a, again]) ticket.settle();
  expect(unsettled.ofTenant('a')).toMatchObject({ count: 0, size: 0, queued: 0 });
  expect([unsettled.count, unsettled.apart]).toEqual([1, { count: 0, size: 0 }]);

  unsettled.setApart('b', true);
  unsettled.setApart('b', true);
  expect(unsettled.apart).toEqual({ count: 1, size: 3 });
  unsettled.setApart('b', false);
  expect(unsettled.apart).toEqual({ count: 0, size: 0 });
  b.settle();
  expect([unsettled.count, unsettled.size, unsettled.isAtRest(3)]).toEqual([0, 0, true]);
  expect(settled).toEqual(['a', 'a', 'b']);
});

test('the pace of a tenant is remembered while it has nothing', () => {
  const unsettled = new Unsettled();
  const unknown = unsettled.ofTenant('a').queuedMax;
  const burst = () => Array.from({ length: unknown }, () => unsettled.ticket(delivery('a'), () => {}));
  for (const ticket of burst()) {
    ticket.start?.();
    ticket.settle();
  }
  expect(unsettled.ofTenant('a').count).toBe(0);
  const [one] = burst();
  expect(one).toBeDefined();
  expect(unsettled.ofTenant('a').queuedMax).toBeGreaterThan(unknown);
});
