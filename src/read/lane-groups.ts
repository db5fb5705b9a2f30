/**
 * Groups: what one statement reads. Usually that is all lanes at the same position. Groups that
 * reach the same position become one group. A tenant that lags is a group of its own, until it has
 * reached the position of its lane.
 */
import type { LaggingTenant, Lane, Position } from '../model.ts';
import type { Scope } from './scope.ts';
import { isLater } from './windows.ts';

export interface Group extends Scope {
  lanes: number[];
  excluded: string[];
  position: Position;
}

export interface LaggingGroup extends Group {
  tenantId: string;
}

export function laggingGroup({ tenantId, lane, position }: LaggingTenant): LaggingGroup {
  return { lanes: [lane], tenantId, excluded: [], position };
}

export function laneOf({ lanes: [lane] }: LaggingGroup): number {
  return lane as number;
}

/** Whether the group is between two windows, and not inside a large one. */
export function isBetween({ position }: Group): boolean {
  return position.to === null;
}

/** Whether both groups have reached the same position. */
export function haveMet(a: Group, b: Group): boolean {
  return isBetween(a) && isBetween(b) && a.position.from === b.position.from;
}

/**
 * Whether the next window of `group` may end at the position of `ahead`, to meet it there. Never
 * backwards: a tenant that reads on while its lane is inside of a large window is ahead of it.
 */
export function mayJoin(group: Group, ahead: Group): boolean {
  return isBetween(ahead) && isBetween(group) && isLater(ahead.position.from, group.position.from);
}

/** Merges the groups that have reached the position of the first one into it. */
export function merge(groups: Group[]): Group[] {
  const [head, ...others] = groups;
  if (!head) return [];
  const met = others.filter((group) => haveMet(group, head));
  head.lanes = [...head.lanes, ...met.flatMap(({ lanes }) => lanes)];
  head.excluded = [...head.excluded, ...met.flatMap(({ excluded }) => excluded)];
  return [head, ...others.filter((group) => !met.includes(group))];
}

/** Groups lanes by position, because one statement reads all lanes at the same position. */
export function groupByPosition(
  lanes: readonly Pick<Lane, 'lane' | 'position'>[],
): { lanes: number[]; position: Position }[] {
  const groups = new Map<string, { lanes: number[]; position: Position }>();
  for (const { lane, position } of lanes) {
    const key = JSON.stringify([position.from, position.to, position.lastId]);
    const group = groups.get(key);
    if (group) group.lanes.push(lane);
    else groups.set(key, { lanes: [lane], position });
  }
  return [...groups.values()];
}
