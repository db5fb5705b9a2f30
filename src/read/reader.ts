/**
 * The only loop that reads. It reads the outbox of its lanes window by window, and pauses for as
 * long as the doorbell says.
 *
 * Lanes at the same position are read together, as a group. Lanes that come from different owners
 * begin at different positions. Each group reads its own windows. A group that is behind ends its
 * next window at the position of the first group, and then joins that group.
 *
 * A tenant with more changes than its share of memory lags: the rest of its window, and all that
 * follows, is left out of its lane's windows, and read by itself as memory allows
 * (read/lagging-pages.ts). A tenant that has caught up joins its lane.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type pg from 'pg';
import type { LaggingTenant, Lane, Position, Window } from '../model.ts';
import { FlushTime } from '../shared/flush-time.ts';
import { type Calm, Doorbell, SAFETY_POLL_MS } from './doorbell.ts';
import { Groups, type Left } from './groups.ts';
import { LaggingPages } from './lagging-pages.ts';
import { isBetween } from './lane-groups.ts';
import { idsBetween, NOTHING_SEEN, type Pulse, pulseOf, readPulse, type Seen } from './pulse.ts';
import type { ReadAhead } from './read-ahead.ts';
import type { Scope } from './scope.ts';
import { TimedReads } from './timed-reads.ts';
import type { Reading } from './unreadable-rows.ts';

/** How often to check whether there is room in memory again. */
const FULL_PAUSE_MS = 2;

/** What the reader has found. */
interface Look {
  /** There were changes, or there may be more of them at once. */
  hasNews: boolean;
  /** Undefined: the reader looks again at once. */
  pulse: Pulse | undefined;
}

export interface StreamOptions extends Omit<Reading, 'client'> {
  /** Whether this daemon would receive a ring now. */
  hears(): boolean;
  /** See read/doorbell.ts. Tests set it to let the reader sleep often. */
  calm?: Calm;
  /** What is in memory limits how far is read ahead. */
  ahead: ReadAhead;
  /**
   * Takes the changes of a window that began at `from`. Returns the tenants that had no room for
   * all of theirs, each with the position from which on it is to be read by itself.
   */
  take(scope: Scope, from: Position, window: Window): Promise<LaggingTenant[]>;
  /** A tenant that lagged is read with its lane again. */
  onJoined(lane: number, tenantId: string): void;
  /** `take` has received every change that was committed before `lanes` joined the reader. */
  onCaughtUp(lanes: readonly number[]): void;
  /** The safety poll found this number of changes that nobody had rung for. */
  onUnrung(changes: number): void;
}

export class Reader {
  readonly #client: pg.Client;
  readonly #options: StreamOptions;
  readonly #doorbell: Doorbell;
  readonly #groups: Groups;
  readonly reads: TimedReads;
  readonly flushTime = new FlushTime();
  readonly #lagging: LaggingPages;
  /** Work to do between two windows. */
  #errands: (() => void)[] = [];
  /** Rings since the last read. */
  #rings = 0;
  #seen: Seen = NOTHING_SEEN;
  #stopping = false;
  #ended = false;
  #wake: () => void = () => {};
  constructor(client: pg.Client, options: StreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#groups = new Groups(options.ahead);
    this.reads = new TimedReads(client, options, this.flushTime);
    this.#lagging = new LaggingPages(this.#groups, this.reads, options);
    this.#doorbell = new Doorbell(client, options.hears, this.flushTime, options.calm);
  }

  /** Tells the reader that there is something to read. */
  ring(): void {
    // An awake reader polls soon anyway, and any user of the database may NOTIFY at any rate.
    if (this.#doorbell.mode === 'awake') return;
    this.#rings += 1;
    this.#wake();
  }

  /** See read/doorbell.ts. */
  stayAwake(must: boolean): void {
    this.#doorbell.stayAwake(must);
    if (must && this.#doorbell.mode !== 'awake') this.#wake();
  }

  stop(): void {
    this.#stopping = true;
    this.#wake();
  }

  /** Reads `lanes` as well, from their positions on. */
  join(lanes: readonly Lane[]): void {
    this.#betweenWindows(() => this.#groups.join(lanes));
  }

  /** Stops reading `lanes`, and returns how far each of them, and of their tenants, was read. */
  leave(lanes: readonly number[]): Promise<Map<number, Left>> {
    return new Promise((resolve) => {
      this.#betweenWindows(() => resolve(this.#groups.leave(lanes)));
    });
  }

  #betweenWindows(errand: () => void): void {
    this.#errands.push(errand);
    if (this.#ended) void this.#runErrands();
    else this.#wake();
  }

  async #runErrands(): Promise<void> {
    if (this.#errands.length > 0) await this.#lagging.settle();
    for (const errand of this.#errands.splice(0)) errand();
  }

  /** Reads until stop(). */
  async run(): Promise<void> {
    this.reads.expectTurn(0);
    await this.#doorbell.setAwake();
    let unrung = false;
    let readsFirst = false;
    while (!this.#stopping) {
      this.reads.expectTurn(0);
      await this.#runErrands();
      const hasReadLagging = await this.#lagging.readNext();
      if (!this.#options.ahead.hasRoom) {
        if (!hasReadLagging) await this.#pause(FULL_PAUSE_MS);
        continue;
      }
      const rings = this.#rings;
      this.#rings = 0;
      // A ring means that something was committed, and after news there is probably more of it. So
      // the reader reads without a poll first.
      const look: Look = rings > 0 || readsFirst ? await this.#look(rings) : await this.#poll(unrung);
      unrung = false;
      readsFirst = look.hasNews;
      if (!look.pulse) continue;
      const restMs = await this.#doorbell.rest(look.pulse);
      const waited = this.#rings === 0 && (await this.#rest(restMs));
      unrung = waited && restMs === SAFETY_POLL_MS;
      // A safety poll counts what nobody rang for.
      readsFirst &&= !unrung;
    }
    await this.#runErrands();
    this.#ended = true;
    await this.#runErrands();
    // Another daemon may be asleep, and nobody would ring for it.
    if (this.#doorbell.mode !== 'awake') await this.#doorbell.setAwake();
  }

  /** Reads. `rings`: how many rings are the reason. */
  async #look(rings: number): Promise<Look> {
    const before = this.#seen;
    const { hasNews, pulse, changes } = await this.#readAll(false);
    this.#seen = this.#read;
    if (pulse) await this.#doorbell.heed(pulse);
    const found = pulse ? idsBetween(before, pulse) : changes;
    await this.#doorbell.noteNews(rings || (this.#doorbell.mode === 'awake' ? found : Math.min(found, 1)));
    return { hasNews, pulse };
  }

  /** Polls, and reads if there is something to read. */
  async #poll(unrung: boolean): Promise<Look> {
    const pulse = await readPulse(this.#client);
    await this.#doorbell.heed(pulse);
    const written = idsBetween(this.#seen, pulse);
    const moved = pulse.snapshot !== this.#seen.snapshot;
    this.#seen = pulse;
    if (written === 0 && !moved && this.#groups.lanes.length <= 1) return { hasNews: false, pulse };
    const look = await this.#readAll(unrung);
    // Ids of other daemons' lanes count too, because all daemons share one doorbell.
    if (written > 0) await this.#doorbell.noteNews(this.#doorbell.mode === 'awake' ? written : 1);
    if (!look.hasNews) return { hasNews: false, pulse };
    // The window was read with a later snapshot than the poll's.
    this.#seen = this.#read;
    return look;
  }

  /** The snapshot and sequence value up to which every group has read. */
  get #read(): Seen {
    const [head, ...others] = this.#groups.lanes;
    if (!head || others.length > 0 || !isBetween(head)) return NOTHING_SEEN;
    return { snapshot: head.position.from, sequenceValue: head.position.sequenceValue };
  }

  /** Reads one window of each group. */
  async #readAll(unrung: boolean): Promise<Look & { changes: number }> {
    const [head, ...others] = this.#groups.lanes;
    let more = others.length > 0;
    let changes = 0;
    let pulse: Pulse | undefined;
    const cut: LaggingTenant[] = [];
    for (const group of this.#groups.lanes) {
      const window = await this.reads.read(group, this.#groups.endOfNext(group, head));
      const from = group.position;
      group.position = window.after;
      pulse = pulseOf(window);
      cut.push(...(await this.#options.take(group, from, window)));
      changes += window.changes.length;
      more ||= window.more;
    }
    if (unrung) this.#options.onUnrung(changes);
    // Undici writes its requests in the next turn of the event loop. The next poll is sent after
    // them.
    if (changes > 0) await nextTurn();
    this.#groups.meet(cut);
    if (!more) this.#options.onCaughtUp(this.#groups.caughtUpLanes);
    return { hasNews: more || changes > 0, pulse: more ? undefined : pulse, changes };
  }

  /**
   * Waits up to `ms` for a ring or a stop, and reads on for tenants that lag. Returns false if a
   * ring or a stop came.
   */
  async #rest(ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    for (;;) {
      // A ring may have come while the last page of a tenant was read.
      if (this.#stopping || this.#errands.length > 0 || this.#rings > 0) return false;
      const leftMs = until - performance.now();
      if (leftMs <= 0) return true;
      if (!this.#groups.hasLagging) return this.#pause(leftMs);
      if (await this.#lagging.readNext()) continue;
      if (!(await this.#pause(Math.min(FULL_PAUSE_MS, leftMs)))) return false;
    }
  }

  /** Waits up to `ms` for a ring or a stop. Returns false if one came. */
  async #pause(ms: number): Promise<boolean> {
    if (this.#stopping || this.#errands.length > 0) return false;
    this.reads.expectTurn(ms);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }
}
