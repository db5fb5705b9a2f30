/**
 * One statement reads all lanes of a group. Groups that reach the same position become one group.
 */
import type { Lane, Position } from '../model.ts';

/** `stamp` is the number of a snapshot. A snapshot with a larger number was taken later. */
export interface Group {
  lanes: number[];
  position: Position;
  stamp: number;
}

/** Whether the group is between two windows, and not inside a large one. */
export function isBetween({ position }: Group): boolean {
  return position.to === null;
}

/** Merges the groups that have reached the position of the first one into it. */
export function merge(groups: Group[]): Group[] {
  const [head, ...others] = groups;
  if (!head) return [];
  const met = (group: Group) => isBetween(group) && isBetween(head) && group.position.from === head.position.from;
  head.lanes = [...head.lanes, ...others.filter(met).flatMap(({ lanes }) => lanes)];
  return [head, ...others.filter((group) => !met(group))];
}

/** Groups lanes by position, because one statement reads all lanes at the same position. */
export function groupByPosition(lanes: readonly Lane[]): { lanes: number[]; position: Position }[] {
  const groups = new Map<string, { lanes: number[]; position: Position }>();
  for (const { lane, position } of lanes) {
    const key = JSON.stringify([position.from, position.to, position.lastId]);
    const group = groups.get(key);
    if (group) group.lanes.push(lane);
    else groups.set(key, { lanes: [lane], position });
  }
  return [...groups.values()];
}
