/** Lanes at the same position are read by one statement; groups of them that come to the same place become one. */
import type { Lane, Position } from '../model.ts';

/** `stamp` counts snapshots: a larger one was taken later. */
export interface Group {
  lanes: number[];
  position: Position;
  stamp: number;
}

/** It is not inside a large window. */
export function isBetween({ position }: Group): boolean {
  return position.to === null;
}

/** Groups that have come to where the first one is join it. */
export function merge(groups: Group[]): Group[] {
  const [head, ...others] = groups;
  if (!head) return [];
  const met = (group: Group) => isBetween(group) && isBetween(head) && group.position.from === head.position.from;
  head.lanes = [...head.lanes, ...others.filter(met).flatMap(({ lanes }) => lanes)];
  return [head, ...others.filter((group) => !met(group))];
}

/** Lanes at the same position are read by one statement. */
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
