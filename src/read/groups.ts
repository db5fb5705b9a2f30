/**
 * All that one reader reads: its lanes in groups, and the tenants that lag. The tenants take turns:
 * one page of one tenant is read between two windows of the lanes, as far as its share of memory
 * has room.
 */
import type { LaggingTenant, Lane, Position } from '../model.ts';
import {
  type Group,
  groupByPosition,
  haveMet,
  isBetween,
  type LaggingGroup,
  laggingGroup,
  laneOf,
  mayJoin,
  merge,
} from './lane-groups.ts';
import type { ReadAhead } from './read-ahead.ts';

/** How far a lane was read, and those of its tenants that lag. */
export type Left = Pick<Lane, 'position' | 'lagging'>;

export class Groups {
  readonly #ahead: ReadAhead;
  #lanes: Group[] = [];
  /** The tenant whose turn is next comes first. */
  #lagging: LaggingGroup[] = [];

  constructor(ahead: ReadAhead) {
    this.#ahead = ahead;
  }

  get lanes(): readonly Group[] {
    return this.#lanes;
  }

  get hasLagging(): boolean {
    return this.#lagging.length > 0;
  }

  /** Lanes that have been read completely, with all of their tenants. */
  get caughtUpLanes(): number[] {
    const behind = new Set(this.#lagging.map(laneOf));
    return this.#lanes.flatMap(({ lanes }) => lanes.filter((lane) => !behind.has(lane)));
  }

  join(lanes: readonly Lane[]): void {
    for (const group of groupByPosition(lanes)) this.#lanes.push({ ...group, tenantId: null, excluded: [] });
    for (const lane of lanes) for (const tenant of lane.lagging) this.#begin(tenant);
    this.#exclude();
  }

  leave(lanes: readonly number[]): Map<number, Left> {
    const left = new Map<number, { position: Position; lagging: LaggingTenant[] }>();
    for (const group of this.#lanes)
      for (const lane of group.lanes)
        if (lanes.includes(lane)) left.set(lane, { position: group.position, lagging: [] });
    for (const group of this.#lagging.filter((one) => left.has(laneOf(one)))) {
      const { tenantId, position } = group;
      left.get(laneOf(group))?.lagging.push({ tenantId, lane: laneOf(group), position });
      this.#end(group);
    }
    this.#lanes = this.#lanes
      .map((group) => ({ ...group, lanes: group.lanes.filter((lane) => !left.has(lane)) }))
      .filter((group) => group.lanes.length > 0);
    this.#exclude();
    return left;
  }

  /** Where the next window of `group` ends, to meet `ahead` there. Undefined: it ends now. */
  endOfNext(group: Group, ahead: Group | undefined): Position | undefined {
    return ahead !== undefined && mayJoin(group, ahead) ? ahead.position : undefined;
  }

  /** Groups of lanes that have met become one. `cut` are the tenants that lag from now on. */
  meet(cut: readonly LaggingTenant[]): void {
    for (const tenant of cut) this.#begin(tenant);
    this.#lanes = merge(this.#lanes);
    this.#exclude();
  }

  /**
   * The next tenant to read, and the group of its lane. Undefined: none has room in memory and more
   * to read.
   */
  nextLagging(): { group: LaggingGroup; lanes: Group } | undefined {
    for (const group of this.#lagging) {
      const lanes = this.#lanes.find((one) => one.lanes.includes(laneOf(group)));
      if (!lanes || !this.#ahead.hasRoomFor(group.tenantId) || !hasMoreToRead(group, lanes)) continue;
      this.#lagging = [...this.#lagging.filter((one) => one !== group), group];
      return { group, lanes };
    }
    return undefined;
  }

  /** If the tenant has reached its lane, it is read with it from now on. Returns whether it is. */
  joinLane(group: LaggingGroup, lanes: Group): boolean {
    if (!haveMet(group, lanes) || !this.#ahead.hasRoomFor(group.tenantId)) return false;
    this.#end(group);
    this.#exclude();
    return true;
  }

  #begin(tenant: LaggingTenant): void {
    this.#lagging.push(laggingGroup(tenant));
    this.#ahead.beginLag(tenant.tenantId);
  }

  #end(group: LaggingGroup): void {
    this.#lagging = this.#lagging.filter((one) => one !== group);
    this.#ahead.endLag(group.tenantId);
  }

  /** Leaves the tenants that lag out of the windows of their lanes. */
  #exclude(): void {
    for (const group of this.#lanes)
      group.excluded = this.#lagging.filter((one) => group.lanes.includes(laneOf(one))).map(({ tenantId }) => tenantId);
  }
}

/**
 * Between two windows, a tenant waits until its lane has moved on. While the lane is inside of a
 * large window, the tenant reads on without it.
 */
function hasMoreToRead(group: LaggingGroup, lanes: Group): boolean {
  return !isBetween(group) || !isBetween(lanes) || mayJoin(group, lanes) || haveMet(group, lanes);
}
