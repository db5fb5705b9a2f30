/**
 * The only loop that reads. It follows the outbox of its lanes window by window, and rests when the doorbell says so.
 *
 * Lanes at the same position are read together. Lanes that come from different owners begin at different positions: each
 * group reads on by itself, and a group that is behind reads its next window up to where the first one is, to join it there.
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

/** Deliveries in memory, and characters of their payloads, above which nothing more is read. */
const READ_AHEAD_MAX = 1_000;
const READ_AHEAD_SIZE_MAX = withinHeap(32 * 1024 * 1024, 1 / 32);

/** How often to check whether there is room in memory again. */
const FULL_PAUSE_MS = 2;

type Seen = Pick<Pulse, 'snapshot' | 'sequenceValue'>;
const NOTHING_SEEN: Seen = { snapshot: '', sequenceValue: '' };

export interface StreamOptions extends Omit<Reading, 'client'> {
  /** A ring would be heard now. */
  hears(): boolean;
  /** See read/doorbell.ts; for tests that let it sleep often. */
  calm?: Calm;
  /** Deliveries in memory, and characters of their payloads. */
  pending(): { count: number; size: number };
  take(lanes: readonly number[], window: Window): Promise<void>;
  /** Everything of these lanes that was committed when they joined the stream has been taken. */
  onCaughtUp(lanes: readonly number[]): void;
  /** The safety poll found so many changes that nobody had rung for. */
  onUnrung(changes: number): void;
}

export class Reader {
  readonly #client: pg.Client;
  readonly #doorbell: Doorbell;
  readonly #options: StreamOptions;
  #groups: Group[] = [];
  #stamps = 0;
  /** To be done between two windows. */
  #errands: (() => void)[] = [];
  /** Since the last read. */
  #rings = 0;
  #stopping = false;
  #ended = false;
  #wake: () => void = () => {};
  /** performance.now() by which the loop must have turned again. */
  #nextTurnAt = performance.now();
  /** Since when it waits for a window, or for its beginning; by performance.now(). */
  #readingSince: number | null = performance.now();

  constructor(client: pg.Client, options: StreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#doorbell = new Doorbell(client, options.hears, options.calm);
  }

  /** How long ago the loop should have turned, in milliseconds. A window may take as long as its statement may (read/windows.ts). */
  get lateMs(): number {
    return this.#readingSince === null ? Math.max(0, performance.now() - this.#nextTurnAt) : 0;
  }

  /** It waits for a statement that may take minutes: what is left from before is looked up, or where a large window begins. */
  get isSearching(): boolean {
    return this.#readingSince !== null && performance.now() - this.#readingSince > READ_MS_MAX;
  }

  /** Somebody says that there is something to read. */
  ring(): void {
    // who is awake polls soon anyway, and anybody may NOTIFY, as often as he likes
    if (this.#doorbell.mode === 'awake') return;
    this.#rings += 1;
    this.#wake();
  }

  stop(): void {
    this.#stopping = true;
    this.#wake();
  }

  /** Reads these lanes too. */
  join(lanes: readonly Lane[]): void {
    this.#betweenWindows(() => {
      // their positions are newer than any snapshot of ours: the others come to them, and not the other way round
      const stamp = ++this.#stamps;
      for (const group of groupByPosition(lanes)) this.#groups.push({ ...group, stamp });
    });
  }

  /** Reads these lanes no more, and tells how far they were read. */
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
        // whoever rings has committed: there is no need to ask first
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
        // what is read comes with a later snapshot than this pulse, so after news there is always one more look
        const news = await this.#readAll(unrung);
        // also of lanes that are not ours: all daemons share one doorbell
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
    // another daemon may be asleep: nobody would ring for it
    if (this.#doorbell.mode !== 'awake') await this.#doorbell.setAwake();
  }

  /** As far as everything has been read. */
  get #seen(): Seen {
    const [head, ...others] = this.#groups;
    if (!head || others.length > 0 || !isBetween(head)) return NOTHING_SEEN;
    return { snapshot: head.position.from, sequenceValue: head.position.sequenceValue };
  }

  /** One window of each group. Returns whether there was news, or may be more. */
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
    // undici writes its requests in the next turn of the loop: the poll that follows goes behind them
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

  /** Waits for a ring or a stop, this long at most; false: one came. */
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

/** Ids of the outbox that were taken in between; at first 1, whatever it was. */
function idsBetween(seen: Seen, { sequenceValue }: Seen): number {
  if (seen === NOTHING_SEEN) return 1;
  return Number(BigInt(sequenceValue) - BigInt(seen.sequenceValue));
}
