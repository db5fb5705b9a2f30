/**
 * Brings lanes to rest, until they are handed over or go on (daemon/handover.ts). Nobody reads them
 * meanwhile. Each part of the dispatcher answers for what it holds of a lane itself.
 */

/** What holds deliveries of lanes. */
export interface HoldsLanes {
  /** It holds nothing of this lane: in flight, in memory, on its way to the table or from there. */
  isAtRest(lane: number): boolean;
}

/** What starts attempts of lanes. */
export interface StartsLanes {
  /** Webhooks of these lanes, and of no others, start nothing more if they hang or fail. */
  slowDown(lanes: ReadonlySet<number>): void;
  /** Nothing of these lanes starts. */
  freeze(lanes: readonly number[]): void;
  /** Undoes freeze(). */
  resume(lanes: readonly number[]): void;
}

export interface QuiesceOptions {
  turns: StartsLanes;
  holders: readonly HoldsLanes[];
  /** Parks what is queued for these lanes. */
  parkLanes(lanes: readonly number[]): void;
  /** Lets go of everything that is known of these lanes. */
  forgetLanes(lanes: readonly number[]): void;
  /** Lanes with an attempt that takes long. */
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

  /** Parks what is queued for these lanes, and starts nothing of them. */
  freeze(lanes: readonly number[]): void {
    this.#options.turns.freeze(lanes);
    this.#options.parkLanes(lanes);
  }

  /** Nothing of this lane, which is frozen, is in flight or moves between memory and table. */
  isAtRest(lane: number): boolean {
    return this.#options.holders.every((holder) => holder.isAtRest(lane));
  }

  /** These lanes are not handed over after all. */
  resume(lanes: readonly number[]): void {
    this.#options.turns.resume(lanes);
  }

  /** These lanes, which are at rest, belong to another daemon now. */
  forget(lanes: readonly number[]): void {
    this.#options.forgetLanes(lanes);
    this.resume(lanes);
  }
}
