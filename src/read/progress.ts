/** The windows that were read and are not done yet, in order; and from them, the position that each lane may write. */
import type { Position } from '../model.ts';

interface OpenWindow {
  lanes: number[];
  after: Position;
  pending: number;
  /** When its first event happened; undefined: it has none. */
  occurredAt: number | undefined;
  /** performance.now() */
  openedAt: number;
}

export class OpenWindows {
  readonly #onMoved: () => void;
  readonly #open: OpenWindow[] = [];
  readonly #done = new Map<number, Position>();

  /** `onMoved`: some lane is done further than before. */
  constructor(onMoved: () => void) {
    this.#onMoved = onMoved;
  }

  /** How far each lane is done. */
  get done(): ReadonlyMap<number, Position> {
    return this.#done;
  }

  /** When the oldest event that is neither delivered nor parked happened, in milliseconds since 1970. */
  get oldestOccurredAt(): number | undefined {
    return this.#open[0]?.occurredAt;
  }

  /** For how long the oldest open window has been open, in milliseconds. */
  get oldestOpenMs(): number {
    return this.#open[0] ? performance.now() - this.#open[0].openedAt : 0;
  }

  /** A window of `count` deliveries was read. Returns what each of them calls once it need not be waited for. */
  open(lanes: readonly number[], after: Position, count: number, occurredAt: number | undefined): () => void {
    const window = { lanes: [...lanes], after, pending: count, occurredAt, openedAt: performance.now() };
    this.#open.push(window);
    this.#advance();
    return () => {
      window.pending -= 1;
      if (window.pending === 0) this.#advance();
    };
  }

  /** These lanes are given back: their positions are another's now. */
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
