// What is read next of lanes and of tenants that lag, and where their positions meet.

import { expect, test } from 'vitest';
import type { LaggingTenant, Position } from '../../src/model.ts';
import { Unsettled } from '../../src/queue/unsettled.ts';
import { Groups } from '../../src/read/groups.ts';
import { OpenWindows } from '../../src/read/progress.ts';
import { ReadAhead } from '../../src/read/read-ahead.ts';
import { allOf } from '../../src/read/scope.ts';
import { isLater } from '../../src/read/windows.ts';

const groups = () => new Groups(new ReadAhead(new Unsettled()));
const at = (from: string, to: string | null = null): Position => ({
  from,
  to,
  lastId: to === null ? null : '1',
  at: '',
  sequenceValue: '1',
});
const laneAt = (lane: number, position: Position, lagging: LaggingTenant[] = []) => ({
  lane,
  epoch: '1',
  position,
  lagging,
});
const busy = (position: Position): LaggingTenant => ({ tenantId: 'busy', lane: 5, position });

test.each([
  ['10:10:', '9:9:', true],
  ['10:10:', '10:10:', false],
  ['8:10:', '8:10:8', true],
  ['8:10:8', '8:10:8,9', true],
  ['8:10:8,9', '8:10:8', false],
  // as text, and as a number of JavaScript, it is the other way round
  ['10000000000000000001:10000000000000000001:', '9999999999999999999:10000000000000000000:9999999999999999999', true],
  ['9007199254740993:9007199254740993:', '9007199254740992:9007199254740992:', true],
])('snapshot %s is later than %s: %s', (a, b, later) => {
  expect(isLater(a, b)).toBe(later);
  if (a !== b) expect(isLater(b, a)).toBe(!later);
});

test('a tenant that lags ends its next window where its lane is', () => {
  const reading = groups();
  reading.join([laneAt(5, at('30:30:'), [busy(at('20:20:'))])]);
  const next = reading.nextLagging();
  expect(next?.group.tenantId).toBe('busy');
  expect(next && reading.endOfNext(next.group, next.lanes)).toEqual(at('30:30:'));
});

test('a tenant that is ahead of its lane waits for it: it never goes back, to send again what it has sent', () => {
  const reading = groups();
  // It has read on, while its lane was inside of a large window. Then the lane was to be given away, or its owner died.
  reading.join([laneAt(5, at('20:20:'), [busy(at('30:30:'))])]);
  expect(reading.nextLagging()).toBeUndefined();
  const [lanes] = reading.lanes;
  if (!lanes) throw new Error('There is no group of lanes.');
  // the lane does not stop at the tenant's position either, which nobody can meet but this tenant
  expect(lanes.excluded).toEqual(['busy']);
  lanes.position = at('40:40:');
  const next = reading.nextLagging();
  expect(next && reading.endOfNext(next.group, next.lanes)).toEqual(at('40:40:'));
});

test('the same inside of its own window: it joins after its lane has passed the end', () => {
  const reading = groups();
  reading.join([laneAt(5, at('20:20:'), [busy(at('25:25:', '30:30:'))])]);
  const next = reading.nextLagging();
  expect(next && reading.endOfNext(next.group, next.lanes)).toBeUndefined();
  if (next) next.group.position = at('30:30:');
  expect(next && reading.joinLane(next.group, next.lanes)).toBe(false);
  expect(reading.nextLagging()).toBeUndefined();
});

test('a lane that leaves takes its tenants with it, and the others stay', () => {
  const reading = groups();
  const other = { tenantId: 'other', lane: 6, position: at('20:20:') };
  reading.join([laneAt(5, at('30:30:'), [busy(at('20:20:'))]), laneAt(6, at('30:30:'), [other])]);
  expect(reading.leave([5])).toEqual(new Map([[5, { position: at('30:30:'), lagging: [busy(at('20:20:'))] }]]));
  expect(reading.lanes.map(({ lanes, excluded }) => ({ lanes, excluded }))).toEqual([
    { lanes: [6], excluded: ['other'] },
  ]);
  expect(reading.caughtUpLanes).toEqual([]);
});

test('a lane that is given back while a tenant lags again keeps its row', () => {
  const windows = new OpenWindows(() => {});
  const first = windows.open(allOf([4, 5]));
  // another lane's delivery, which is not done
  first.expect(1, 0);
  first.close(at('20:20:'), []);
  windows.join(5, 'busy');
  windows.join(5, 'caught up');
  windows.open(allOf([4, 5])).close(at('30:30:'), [busy(at('20:20:', '30:30:'))]);
  expect(windows.forget([5], [busy(at('20:20:', '30:30:'))])).toEqual([
    { lane: 5, tenantId: 'caught up', position: null },
  ]);
  first.settle();
  expect([...windows.done.keys()]).toEqual([4]);
});
