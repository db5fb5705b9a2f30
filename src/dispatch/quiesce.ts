/**
 * Brings lanes to rest, until they are handed over or go on (daemon/handover.ts). Nobody reads
 * these lanes in the meantime. Each part of the dispatcher reports whether it still has deliveries
 * of a lane.
 */

/** A part that may have deliveries of a lane. */
export interface HoldsLanes {
  /**
   * Whether the part has no delivery of `lane` in flight, in memory, or on its way to or from the
   * table.
   */
  isAtRest(lane: number): boolean;
}

/** The part that starts attempts. */
export interface StartsLanes {
  /**
   * Only the webhooks of `lanes` start nothing more while they hang or fail. Replaces the lanes of
   * the call before.
   */
  slowDown(lanes: ReadonlySet<number>): void;
  /** Starts nothing of `lanes`. */
  freeze(lanes: readonly number[]): void;
  /** Undoes freeze(). */
  resume(lanes: readonly number[]): void;
}

export interface QuiesceOptions {
  turns: StartsLanes;
  holders: readonly HoldsLanes[];
  /** Parks the queued deliveries of `lanes`. */
  parkLanes(lanes: readonly number[]): void;
  /** Forgets everything about `lanes`. */
  forgetLanes(lanes: readonly number[]): void;
  /** Lanes with a slow attempt. */
  slowLanes(): ReadonlySet<number>;
}

export class Quiesce {
  readonly #options: QuiesceOptions;

  constructor(options: QuiesceOptions) {
    this.#options = options;
  }

  get slowLanes(): ReadonlySet<number> {
    return this.#options.slowLanes();
  }

  slowDown(lanes: ReadonlySet<number>): void {
    this.#options.turns.slowDown(lanes);
  }

  /** Parks the queued deliveries of `lanes`, and starts nothing of them. */
  freeze(lanes: readonly number[]): void {
    this.#options.turns.freeze(lanes);
    this.#options.parkLanes(lanes);
  }

  /** Whether nothing of this frozen lane is in flight, or moves between memory and table. */
  isAtRest(lane: number): boolean {
    return this.#options.holders.every((holder) => holder.isAtRest(lane));
  }

  /** Undoes freeze(): these lanes are not handed over after all. */
  resume(lanes: readonly number[]): void {
    this.#options.turns.resume(lanes);
  }

  /** Forgets these lanes, which are at rest: another daemon owns them now. */
  forget(lanes: readonly number[]): void {
    this.#options.forgetLanes(lanes);
    this.resume(lanes);
  }
}
