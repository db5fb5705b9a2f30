/** The windows that were read and are not done yet, in order; and from them, the position that each lane may write. */
import type { Position } from './model.ts';

interface OpenWindow {
  lanes: readonly number[];
  after: Position;
  pending: number;
}

export class OpenWindows {
  readonly #open: OpenWindow[] = [];
  readonly #done = new Map<number, Position>();

  /** How far each lane is done. */
  get done(): ReadonlyMap<number, Position> {
    return this.#done;
  }

  get size(): number {
    return this.#open.length;
  }

  /** A window of `count` deliveries was read. Returns what each of them calls once it need not be waited for. */
  open(lanes: readonly number[], after: Position, count: number): () => void {
    // while nothing is open, an empty window moves the position at once
    const window = { lanes: [...lanes], after, pending: count };
    this.#open.push(window);
    this.#advance();
    return () => {
      window.pending -= 1;
      if (window.pending === 0) this.#advance();
    };
  }

  #advance(): void {
    while (this.#open[0]?.pending === 0) {
      const { lanes, after } = this.#open.shift() as OpenWindow;
      for (const lane of lanes) this.#done.set(lane, after);
    }
  }
}
