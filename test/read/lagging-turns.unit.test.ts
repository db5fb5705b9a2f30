import { expect, test } from 'vitest';
import type { Delivery, LaggingTenant, Lane, Position } from '../../src/model.ts';
import { Unsettled } from '../../src/queue/unsettled.ts';
import { Groups } from '../../src/read/groups.ts';
import { LaggingPages } from '../../src/read/lagging-pages.ts';
import type { Group } from '../../src/read/lane-groups.ts';
import { ReadAhead } from '../../src/read/read-ahead.ts';

const position = (sequence: number): Position => ({
  from: `${sequence}:${sequence}:`,
  to: null,
  lastId: null,
  at: '2025-10-17',
  sequenceValue: String(sequence),
});
const tenant = (tenantId: string): LaggingTenant => ({ tenantId, lane: 0, position: position(1) });

function groupsWith(lagging: readonly string[]): { groups: Groups; unsettled: Unsettled } {
  const unsettled = new Unsettled();
  const groups = new Groups(new ReadAhead(unsettled));
  groups.join([{ lane: 0, epoch: '1', position: position(1), lagging: lagging.map(tenant) } as Lane]);
  return { groups, unsettled };
}

/** The lanes read a window up to this value of the sequence. */
function readOn(groups: Groups, sequence: number): Group {
  const [lanes] = groups.lanes as [Group];
  groups.endOfNext(lanes, lanes);
  lanes.position = position(sequence);
  groups.meet([]);
  return lanes;
}

test('the windows of a tenant that lags end every 20,000 ids, and the last one where its lane is', () => {
  const { groups } = groupsWith(['a']);
  for (let sequence = 1_000; sequence <= 100_000; sequence += 1_000) readOn(groups, sequence);
  readOn(groups, 100_500);
  const ends: number[] = [];
  for (;;) {
    const next = groups.nextLagging();
    if (!next) throw new Error('it has more to read');
    const { group, lanes } = next;
    if (groups.joinLane(group, lanes)) break;
    const end = groups.endOfNext(group, lanes);
    if (!end) throw new Error('it would read up to now');
    ends.push(Number(end.sequenceValue));
    group.position = end;
  }
  expect(ends).toEqual([1_000, 21_000, 41_000, 61_000, 81_000, 100_500]);
  expect(groups.hasLagging).toBe(false);
});

test('tenants that lag take turns, whether others have room or not', () => {
  const names = Array.from({ length: 1_000 }, (_, n) => `tenant ${n}`);
  const { groups, unsettled } = groupsWith(names);
  readOn(groups, 5);
  const full = new Set(names.filter((_, n) => n % 10 !== 0));
  for (const tenantId of full) {
    const delivery = { change: { lane: 0, tenantId, data: null, previous: null } } as unknown as Delivery;
    unsettled.setApart(tenantId, false);
    for (let n = 0; n < 16; n++) unsettled.ticket(delivery, () => {});
  }
  const seen = new Set<string>();
  for (let turn = 0; turn < 100; turn++) seen.add(groups.nextLagging()?.group.tenantId ?? 'nobody');
  expect(seen.size).toBe(100);
  expect([...seen].filter((tenantId) => full.has(tenantId))).toEqual([]);
});

test('a page that takes long keeps no other tenant waiting, and no tenant has two pages at a time', async () => {
  const { groups } = groupsWith(['slow', 'quick']);
  for (let sequence = 20_000; sequence <= 100_000; sequence += 20_000) readOn(groups, sequence);
  const taken: (string | null)[] = [];
  const joined: string[] = [];
  const reads = {
    read: async (_: unknown, until?: Position) => ({ changes: [], after: until as Position, more: false }),
  };
  const pages = new LaggingPages(groups, reads, {
    take: ({ tenantId }) => {
      taken.push(tenantId);
      return tenantId === 'slow' ? new Promise(() => {}) : Promise.resolve([]);
    },
    onJoined: (_, tenantId) => joined.push(tenantId),
  });
  while (await pages.readNext()) expect(taken.length).toBeLessThan(20);
  expect([taken.filter((tenantId) => tenantId === 'slow').length, joined]).toEqual([1, ['quick']]);
});

test('nothing is read for tenants that lag while they fill their memory together', () => {
  const names = Array.from({ length: 1_000 }, (_, n) => `tenant ${n}`);
  const { groups, unsettled } = groupsWith(names);
  readOn(groups, 5);
  expect(groups.nextLagging()).toBeDefined();
  for (const tenantId of names)
    unsettled.ticket({ change: { lane: 0, tenantId, data: null, previous: null } } as unknown as Delivery, () => {});
  expect(groups.nextLagging()).toBeUndefined();
});

test('a tenant has at most half of a page of a large window, and what its pace allows', () => {
  const unsettled = new Unsettled();
  const ahead = new ReadAhead(unsettled);
  expect(ahead.mayTake('a', 249)).toBe(true);
  expect(ahead.mayTake('a', 250)).toBe(false);
  const delivery = { change: { lane: 0, tenantId: 'a', data: null, previous: null } } as unknown as Delivery;
  const tickets = Array.from({ length: 64 }, () => unsettled.ticket(delivery, () => {}));
  expect(ahead.mayTake('a', 0)).toBe(false);
  expect(ahead.mayTake('b', 0)).toBe(true);
  ahead.beginLag('a');
  for (const ticket of tickets.slice(0, 33)) ticket.start?.();
  // more is read once half of it is free, and then all of it is used
  expect([ahead.hasRoomFor('a'), ahead.mayTake('a', 0)]).toEqual([true, true]);
});

test.each([
  [1, 500],
  [10, 91],
])('%i busy tenants have up to %i deliveries each in memory, and there is room for one more', (tenants, each) => {
  const unsettled = new Unsettled();
  const ahead = new ReadAhead(unsettled);
  const taken = Array.from({ length: tenants }, () => 0);
  for (let turn = 0; turn < 1_000; turn++)
    for (let n = 0; n < tenants; n++) {
      const tenantId = `tenant ${n}`;
      if (!ahead.mayTake(tenantId, 0)) continue;
      const delivery = { change: { lane: 0, tenantId, data: null, previous: null } } as unknown as Delivery;
      // what has started is in memory, but not queued
      unsettled.ticket(delivery, () => {}).start?.();
      taken[n] = (taken[n] as number) + 1;
    }
  expect(Math.max(...taken)).toBe(each);
  expect([ahead.hasRoom, ahead.mayTake('quiet', 0), ahead.mayAdd('quiet', { count: 1, size: 1_000 })]).toEqual([
    true,
    true,
    true,
  ]);
});

test('one change that is large for many webhooks is taken by itself, and a change of a quiet tenant never', () => {
  const ahead = new ReadAhead(new Unsettled());
  const mib = 1024 * 1024;
  expect(ahead.mayAdd('busy', { count: 60, size: 60 * mib })).toBe(false);
  expect(ahead.mayAdd('busy', { count: 600, size: 600 })).toBe(false);
  ahead.beginLag('busy');
  expect(ahead.mayAdd('busy', { count: 600, size: 60 * mib })).toBe(true);
  expect(ahead.mayAdd('quiet', { count: 1, size: mib })).toBe(true);
});
