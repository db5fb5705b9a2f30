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
import { expectRows, isLater } from './windows.ts';

/** Tenants that are looked at in one turn. Among thousands, most have no room. */
const LOOKS_MAX = 100;

/** Rows of the first page of a tenant that lags: what is queued of a tenant that nothing is known of. */
const FIRST_ROWS = 64;

/** How far a lane was read, and those of its tenants that lag. */
export type Left = Pick<Lane, 'position' | 'lagging'>;

/**
 * While tenants lag, the end of a window is kept every CHECKPOINT_IDS. The windows of these tenants
 * end there, so that finding the first row of such a window never takes long. One window for all
 * that was written in an hour would stop the reader for seconds.
 */
const CHECKPOINT_IDS = 20_000n;
const CHECKPOINTS_MAX = 1_000;

export class Groups {
  readonly #ahead: ReadAhead;
  /** Oldest first. */
  #checkpoints: Position[] = [];
  #lanes: Group[] = [];
  /** The tenant whose turn is next comes first. */
  readonly #lagging = new Set<LaggingGroup>();

  constructor(ahead: ReadAhead) {
    this.#ahead = ahead;
  }

  get lanes(): readonly Group[] {
    return this.#lanes;
  }

  get hasLagging(): boolean {
    return this.#lagging.size > 0;
  }

  /** Lanes that have been read completely, with all of their tenants. */
  get caughtUpLanes(): number[] {
    const behind = new Set([...this.#lagging].map(laneOf));
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
    for (const group of [...this.#lagging].filter((one) => left.has(laneOf(one)))) {
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

  /**
   * Where the next window of `group` ends: at a checkpoint, or where it meets `ahead`. Undefined: it
   * ends now.
   */
  endOfNext(group: Group, ahead: Group | undefined): Position | undefined {
    if (!isBetween(group)) return undefined;
    const checkpoint = group.tenantId === null ? undefined : this.#checkpointAfter(group.position);
    return checkpoint ?? (ahead && mayJoin(group, ahead) ? ahead.position : undefined);
  }

  /** They are in order, and there may be a thousand. */
  #checkpointAfter({ from }: Position): Position | undefined {
    let [low, high] = [0, this.#checkpoints.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isLater((this.#checkpoints[middle] as Position).from, from)) high = middle;
      else low = middle + 1;
    }
    return this.#checkpoints[low];
  }

  #keepCheckpoint(): void {
    if (!this.hasLagging) this.#checkpoints = [];
    const [head] = this.#lanes;
    if (!this.hasLagging || !head || !isBetween(head)) return;
    const { position } = head;
    const last = this.#checkpoints.at(-1);
    const ids = BigInt(position.sequenceValue) - BigInt(last?.sequenceValue ?? 0);
    if (last && (ids < CHECKPOINT_IDS || !isLater(position.from, last.from))) return;
    this.#checkpoints.push(position);
    if (this.#checkpoints.length > CHECKPOINTS_MAX) this.#checkpoints = this.#checkpoints.filter((_, i) => i % 2 === 1);
  }

  /** Groups of lanes that have met become one. `cut` are the tenants that lag from now on. */
  meet(cut: readonly LaggingTenant[]): void {
    for (const tenant of cut) this.#begin(tenant);
    this.#lanes = merge(this.#lanes);
    this.#exclude();
    this.#keepCheckpoint();
  }

  /**
   * The next tenant to read, and the group of its lane. Undefined: none has room in memory and more
   * to read. `isBusy`: a page of the tenant is being taken.
   */
  nextLagging(
    isBusy: (group: LaggingGroup) => boolean = () => false,
  ): { group: LaggingGroup; lanes: Group } | undefined {
    if (!this.#ahead.hasRoomForLagging) return undefined;
    let looks = Math.min(LOOKS_MAX, this.#lagging.size);
    for (const group of this.#lagging) {
      if (looks-- === 0) return undefined;
      this.#lagging.delete(group);
      this.#lagging.add(group);
      if (isBusy(group) || !this.#ahead.hasRoomFor(group.tenantId)) continue;
      const lanes = this.#lanes.find((one) => one.lanes.includes(laneOf(group)));
      if (lanes && hasMoreToRead(group, lanes)) return { group, lanes };
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
    const group = laggingGroup(tenant);
    expectRows(group, FIRST_ROWS);
    this.#lagging.add(group);
    this.#ahead.beginLag(tenant.tenantId);
  }

  #end(group: LaggingGroup): void {
    this.#lagging.delete(group);
    this.#ahead.endLag(group.tenantId);
  }

  /** Leaves the tenants that lag out of the windows of their lanes. */
  #exclude(): void {
    const byLane = new Map<number, string[]>();
    for (const group of this.#lagging) {
      const tenants = byLane.get(laneOf(group));
      if (tenants) tenants.push(group.tenantId);
      else byLane.set(laneOf(group), [group.tenantId]);
    }
    for (const group of this.#lanes) group.excluded = group.lanes.flatMap((lane) => byLane.get(lane) ?? []);
  }
}

/**
 * Between two windows, a tenant waits until its lane has moved on. While the lane is inside of a
 * large window, the tenant reads on without it.
 */
function hasMoreToRead(group: LaggingGroup, lanes: Group): boolean {
  return !isBetween(group) || !isBetween(lanes) || mayJoin(group, lanes) || haveMet(group, lanes);
}
