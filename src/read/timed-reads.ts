/** Reads windows, and knows how late the reader's loop is. */
import type pg from 'pg';
import type { Position, Window } from '../model.ts';
import type { FlushTime } from '../shared/flush-time.ts';
import type { Group } from './lane-groups.ts';
import { READ_MS_MAX } from './statements.ts';
import { type Reading, readAnyWindow } from './unreadable-rows.ts';

/** A read with few changes takes as long as a poll. */
const SMALL_CHANGES = 16;

export class TimedReads {
  readonly #reading: Reading;
  readonly #flushTime: FlushTime;
  /** The time by performance.now() at which the next turn of the loop is due. */
  #nextTurnAt = performance.now();
  /**
   * The time by performance.now() since which the reader waits for a window, or for its first page.
   * Null while it waits for neither.
   */
  #readingSince: number | null = performance.now();

  constructor(client: pg.Client, reading: Omit<Reading, 'client'>, flushTime: FlushTime) {
    this.#reading = { ...reading, client };
    this.#flushTime = flushTime;
  }

  /**
   * Milliseconds by which the loop is late. The time of a window's statement does not count: its
   * own timeout limits it (read/statements.ts).
   */
  get lateMs(): number {
    return this.#readingSince === null ? Math.max(0, performance.now() - this.#nextTurnAt) : 0;
  }

  /**
   * Whether the reader waits for a statement that may take minutes. Such a statement looks up what
   * earlier owners left, or finds the first page of a large window.
   */
  get isSearching(): boolean {
    return this.#readingSince !== null && performance.now() - this.#readingSince > READ_MS_MAX;
  }

  /** The next turn of the loop is due in `ms`. */
  expectTurn(ms: number): void {
    this.#readingSince = null;
    this.#nextTurnAt = performance.now() + ms;
  }

  async read(group: Group, until: Position | undefined): Promise<Window> {
    const startedAt = performance.now();
    this.#readingSince = startedAt;
    try {
      const window = await readAnyWindow(this.#reading, group, group.position, until);
      if (window.changes.length <= SMALL_CHANGES) this.#flushTime.noteRead(performance.now() - startedAt);
      return window;
    } finally {
      this.expectTurn(0);
    }
  }
}
