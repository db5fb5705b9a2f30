/**
 * The windows that were read and are not done yet, in order. They determine the position that each
 * lane may write.
 */
import type { Position } from '../model.ts';

interface OpenWindow {
  lanes: number[];
  after: Position;
  pending: number;
  /** When the window's first event happened. Undefined: the window has no event. */
  occurredAt: number | undefined;
  /** By performance.now(). */
  openedAt: number;
}

export class OpenWindows {
  readonly #onMoved: () => void;
  readonly #open: OpenWindow[] = [];
  readonly #done = new Map<number, Position>();

  /** `onMoved` is called when the position of a lane has moved forward. */
  constructor(onMoved: () => void) {
    this.#onMoved = onMoved;
  }

  /** How far each lane is done. */
  get done(): ReadonlyMap<number, Position> {
    return this.#done;
  }

  /**
   * When the oldest event happened that is neither delivered nor parked, in milliseconds since
   * 1970.
   */
  get oldestOccurredAt(): number | undefined {
    return this.#open[0]?.occurredAt;
  }

  /** How long the oldest open window has been open, in milliseconds. */
  get oldestOpenMs(): number {
    return this.#open[0] ? performance.now() - this.#open[0].openedAt : 0;
  }

  /**
   * Adds a window of `count` deliveries. Each delivery calls the returned function when the window
   * need not wait for it any more.
   */
  open(lanes: readonly number[], after: Position, count: number, occurredAt: number | undefined): () => void {
    const window = { lanes: [...lanes], after, pending: count, occurredAt, openedAt: performance.now() };
    this.#open.push(window);
    this.#advance();
    return () => {
      window.pending -= 1;
      if (window.pending === 0) this.#advance();
    };
  }

  /** Forgets `lanes`, which are given back: their next owner writes their positions now. */
  forget(lanes: readonly number[]): void {
    for (const lane of lanes) this.#done.delete(lane);
    for (const window of this.#open) window.lanes = window.lanes.filter((lane) => !lanes.includes(lane));
  }

  #advance(): void {
    let moved = false;
    while (this.#open[0]?.pending === 0) {
      const { lanes, after } = this.#open.shift() as OpenWindow;
      for (const lane of lanes) this.#done.set(lane, after);
      moved = true;
    }
    if (moved) this.#onMoved();
  }
}
