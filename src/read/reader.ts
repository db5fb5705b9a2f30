/**
 * The only loop that reads. It reads the outbox of its lanes window by window, and pauses for as
 * long as the doorbell says.
 *
 * Lanes at the same position are read together, as a group. Lanes that come from different owners
 * begin at different positions. Each group reads its own windows. A group that is behind ends its
 * next window at the position of the first group, and then joins that group.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type pg from 'pg';
import type { Lane, Position, Window } from '../model.ts';
import { withinHeap } from '../shared/memory.ts';
import { type Calm, Doorbell, SAFETY_POLL_MS } from './doorbell.ts';
import { type Group, groupByPosition, isBetween, merge } from './lane-groups.ts';
import { READ_MS_MAX } from './statements.ts';
import { type Reading, readAnyWindow } from './unreadable-rows.ts';
import { type Pulse, readPulse } from './windows.ts';

/** Nothing more is read while this number of deliveries, or of payload characters, is in memory. */
const READ_AHEAD_MAX = 1_000;
const READ_AHEAD_SIZE_MAX = withinHeap(32 * 1024 * 1024, 1 / 32);

/** How often to check whether there is room in memory again. */
const FULL_PAUSE_MS = 2;

type Seen = Pick<Pulse, 'snapshot' | 'sequenceValue'>;
const NOTHING_SEEN: Seen = { snapshot: '', sequenceValue: '' };

export interface StreamOptions extends Omit<Reading, 'client'> {
  /** Whether this daemon would receive a ring now. */
  hears(): boolean;
  /** See read/doorbell.ts. Tests set it to let the reader sleep often. */
  calm?: Calm;
  /** How many deliveries are in memory, and the characters of their payloads. */
  pending(): { count: number; size: number };
  take(lanes: readonly number[], window: Window): Promise<void>;
  /** `take` has received every change that was committed before `lanes` joined the reader. */
  onCaughtUp(lanes: readonly number[]): void;
  /** The safety poll found this number of changes that nobody had rung for. */
  onUnrung(changes: number): void;
}

export class Reader {
  readonly #client: pg.Client;
  readonly #doorbell: Doorbell;
  readonly #options: StreamOptions;
  #groups: Group[] = [];
  #stamps = 0;
  /** Work to do between two windows. */
  #errands: (() => void)[] = [];
  /** Rings since the last read. */
  #rings = 0;
  #stopping = false;
  #ended = false;
  #wake: () => void = () => {};
  /** The time by performance.now() at which the next turn of the loop is due. */
  #nextTurnAt = performance.now();
  /**
   * The time by performance.now() since which the reader waits for a window, or for its first page.
   * Null while it waits for neither.
   */
  #readingSince: number | null = performance.now();

  constructor(client: pg.Client, options: StreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#doorbell = new Doorbell(client, options.hears, options.calm);
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

  /** Tells the reader that there is something to read. */
  ring(): void {
    // An awake reader polls soon anyway, and any user of the database may NOTIFY at any rate.
    if (this.#doorbell.mode === 'awake') return;
    this.#rings += 1;
    this.#wake();
  }

  stop(): void {
    this.#stopping = true;
    this.#wake();
  }

  /** Reads `lanes` as well, from their positions on. */
  join(lanes: readonly Lane[]): void {
    this.#betweenWindows(() => {
      // The positions of `lanes` are newer than any snapshot of this reader. So the other groups
      // catch up with the new groups, not the reverse.
      const stamp = ++this.#stamps;
      for (const group of groupByPosition(lanes)) this.#groups.push({ ...group, stamp });
    });
  }

  /** Stops reading `lanes`, and returns how far each of them was read. */
  leave(lanes: readonly number[]): Promise<Map<number, Position>> {
    return new Promise((resolve) => {
      this.#betweenWindows(() => {
        const positions = new Map<number, Position>();
        for (const group of this.#groups)
          for (const lane of group.lanes) if (lanes.includes(lane)) positions.set(lane, group.position);
        this.#groups = this.#groups
          .map((group) => ({ ...group, lanes: group.lanes.filter((lane) => !positions.has(lane)) }))
          .filter((group) => group.lanes.length > 0);
        resolve(positions);
      });
    });
  }

  #betweenWindows(errand: () => void): void {
    this.#errands.push(errand);
    if (this.#ended) this.#runErrands();
    else this.#wake();
  }

  #runErrands(): void {
    for (const errand of this.#errands.splice(0)) errand();
  }

  /** Reads until stop(). */
  async run(): Promise<void> {
    this.#readingSince = null;
    await this.#doorbell.setAwake();
    let seen: Seen = NOTHING_SEEN;
    let unrung = false;
    while (!this.#stopping) {
      this.#nextTurnAt = performance.now();
      this.#runErrands();
      const pending = this.#options.pending();
      if (pending.count >= READ_AHEAD_MAX || pending.size >= READ_AHEAD_SIZE_MAX) {
        await this.#pause(FULL_PAUSE_MS);
        continue;
      }
      if (this.#rings > 0) {
        // A ring means that something was committed, so the reader reads without a poll first.
        const rings = this.#rings;
        this.#rings = 0;
        unrung = false;
        await this.#readAll(false);
        seen = this.#seen;
        await this.#doorbell.noteNews(rings);
        continue;
      }
      const pulse = await readPulse(this.#client);
      await this.#doorbell.heed(pulse);
      const written = idsBetween(seen, pulse);
      const moved = pulse.snapshot !== seen.snapshot;
      seen = pulse;
      if (written > 0 || moved || this.#groups.length > 1) {
        // The window is read with a later snapshot than this poll. So the reader polls once more
        // after news.
        const news = await this.#readAll(unrung);
        // Ids of other daemons' lanes count too, because all daemons share one doorbell.
        if (written > 0) await this.#doorbell.noteNews(this.#doorbell.mode === 'awake' ? written : 1);
        if (news) {
          unrung = false;
          seen = this.#seen;
          continue;
        }
      }
      const restMs = await this.#doorbell.rest(pulse);
      const waited = this.#rings === 0 && (await this.#pause(restMs));
      unrung = waited && restMs === SAFETY_POLL_MS;
    }
    this.#ended = true;
    this.#runErrands();
    // Another daemon may be asleep, and nobody would ring for it.
    if (this.#doorbell.mode !== 'awake') await this.#doorbell.setAwake();
  }

  /** The snapshot and sequence value up to which every group has read. */
  get #seen(): Seen {
    const [head, ...others] = this.#groups;
    if (!head || others.length > 0 || !isBetween(head)) return NOTHING_SEEN;
    return { snapshot: head.position.from, sequenceValue: head.position.sequenceValue };
  }

  /** Reads one window of each group. Returns true if there was news, or if there may be more. */
  async #readAll(unrung: boolean): Promise<boolean> {
    const [head] = this.#groups;
    let more = this.#groups.length > 1;
    let changes = 0;
    for (const group of this.#groups) {
      const joins =
        head !== undefined && group !== head && isBetween(head) && isBetween(group) && head.stamp > group.stamp;
      if (isBetween(group)) group.stamp = joins ? head.stamp : ++this.#stamps;
      const window = await this.#readWindow(group, joins ? head?.position : undefined);
      await this.#options.take(group.lanes, window);
      group.position = window.after;
      changes += window.changes.length;
      more ||= window.more;
    }
    if (unrung) this.#options.onUnrung(changes);
    // Undici writes its requests in the next turn of the event loop. The next poll is sent after
    // them.
    if (changes > 0) await nextTurn();
    this.#groups = merge(this.#groups);
    if (!more) this.#options.onCaughtUp(this.#groups.flatMap(({ lanes }) => lanes));
    return more || changes > 0;
  }

  async #readWindow({ lanes, position }: Group, until?: Position): Promise<Window> {
    this.#readingSince = performance.now();
    try {
      return await readAnyWindow({ ...this.#options, client: this.#client }, lanes, position, until);
    } finally {
      this.#readingSince = null;
      this.#nextTurnAt = performance.now();
    }
  }

  /** Waits up to `ms` for a ring or a stop. Returns false if one came. */
  async #pause(ms: number): Promise<boolean> {
    if (this.#stopping || this.#errands.length > 0) return false;
    this.#nextTurnAt = performance.now() + ms;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }
}

/** Number of outbox ids taken between two polls. The first poll counts as 1. */
function idsBetween(seen: Seen, { sequenceValue }: Seen): number {
  if (seen === NOTHING_SEEN) return 1;
  return Number(BigInt(sequenceValue) - BigInt(seen.sequenceValue));
}
