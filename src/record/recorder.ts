/**
 * RECORD: outcomes become rows. One transaction per batch writes logs, parked and finished deliveries and positions, fenced
 * by the epoch of every lane it touches: if one of them is not ours any more, nothing is written.
 *
 * Batches follow each other; while one is being written the next one gathers, so their size adapts to the load. A delivery
 * counts as done only once its batch has committed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Entry, Position, RowHead } from '../model.ts';
import type { HearsCommits } from '../roles.ts';
import { isOfValue, isolate, isRefusal, mayBeOfValue, reasonOf } from '../shared/isolate.ts';
import { divide, groupsOf, leavesItsLogOnly, wholeBatches, withoutTexts } from './batches.ts';
import { Charset } from './charset.ts';
import { recordDeliveries } from './delivery-rows.ts';
import { FENCE, type Fence, LanesLost } from './fence.ts';
import { recordHealth } from './health-rows.ts';
import { recordLogs } from './log-rows.ts';
import { recordPositions } from './position-rows.ts';
import { Refused } from './refused.ts';

/** Entries of one batch. */
const BATCH_MAX = 500;

/**
 * How often positions are written: what a crash may make us look through again. Less often under load: beside a transaction that
 * stays open, each write leaves 16 row versions that every later batch steps over: 14,400 of them make a batch 1.2 ms slower.
 */
const POSITION_EVERY_MS = { idle: 1_000, busy: 2_000 };

/** How often to check for moved positions that no batch has written yet. */
const POSITION_LOOK_MS = 500;

/** How soon a batch is tried again that the database has refused. */
const REFUSED_PAUSE_MS = 1_000;

export interface RecorderOptions {
  pool: pg.Pool;
  owner: string;
  /** Epoch of each lane that is held. */
  epochs: ReadonlyMap<number, string>;
  /** It comes after the recorder, which it hands entries to. */
  listener(): HearsCommits;
  /** The positions that may be written now: everything before them is committed. */
  positions(): ReadonlyMap<number, Position>;
  /** Nothing waits to be delivered or recorded. */
  isIdle(): boolean;
  /** A batch was refused, or these alone, of one webhook; they are tried again. */
  onRefused?(error: Error, alone?: readonly Entry[]): void;
  /** All that was refused of this webhook alone has been recorded. */
  onRecorded?(webhookId: string): void;
  onError(error: Error): void;
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #charset: Charset;
  readonly #refused: Refused;
  #entries: Entry[] = [];
  #writing: Promise<void> | undefined;
  #positionsWrittenAt = performance.now();
  #written = new Map<number, Position>();
  /** Of lanes that are given back. */
  #last: { positions: readonly [number, Position][]; written: () => void }[] = [];
  #stopped = false;
  #flushing = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#charset = new Charset(options.pool);
    const onAgain = (entries: readonly Entry[]) => {
      this.#entries.push(...entries);
      this.#schedule();
    };
    this.#refused = new Refused(onAgain, (webhookId) => options.onRecorded?.(webhookId));
  }

  add(entry: Entry): void {
    if (this.#stopped || this.#refused.joins(entry)) return;
    this.#entries.push(entry);
    this.#schedule();
  }

  /** Positions have moved: they are written when they are due, also when no batch comes by. Else no timer wakes the process. */
  positionsMoved(): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#movedPositions().length === 0) return;
      if (this.#arePositionsDue) this.#schedule();
      this.positionsMoved();
    }, POSITION_LOOK_MS);
  }

  /** Writes the last positions of lanes that are given back. Everything of these lanes has committed. */
  writeLast(positions: readonly [number, Position][]): Promise<void> {
    return new Promise((written) => {
      this.#last.push({ positions, written });
      this.#schedule();
    });
  }

  /** Writes what is left, positions too. */
  async flush(): Promise<void> {
    this.#flushing = true;
    await this.#writing;
    this.#positionsWrittenAt = -Infinity;
    if (!this.#stopped) await this.#write();
  }

  /** Drops what is left: after an error nothing of it counts. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#refused.stop();
    this.#entries = [];
  }

  #schedule(): void {
    if (this.#writing) return;
    this.#writing = this.#write()
      .catch((error: Error) => {
        this.stop();
        this.#options.onError(error);
      })
      .finally(() => {
        this.#writing = undefined;
        // what came in while the last batch was being wound up
        if (this.#hasWork) this.#schedule();
      });
  }

  async #write(): Promise<void> {
    // one turn of the loop, so that what finished together is written together
    await new Promise(setImmediate);
    do {
      const entries = this.#entries.splice(0, wholeBatches(this.#entries, BATCH_MAX));
      const positionsDue = this.#arePositionsDue;
      const last = this.#last.splice(0);
      const moved = [...(positionsDue ? this.#movedPositions() : []), ...last.flatMap(({ positions }) => positions)];
      if (entries.length === 0 && moved.length === 0) return;
      // side by side: what only leaves its log must not wait for what failed, of which there is some in nearly every batch
      const { logOnly, rest } = divide(entries);
      const logged = this.#settle(logOnly, []);
      // positions change the rows that the other's fence locks, in another order: beside it, they could wait for each other
      if (moved.length > 0) await logged;
      await Promise.all([logged, this.#settle(rest, moved)]);
      for (const [lane, position] of moved) this.#written.set(lane, position);
      if (positionsDue) this.#positionsWrittenAt = performance.now();
      for (const { written } of last) written();
    } while (this.#hasWork);
  }

  /** What a value among the entries makes impossible is found by halves, and everybody else's is written. */
  async #settle(all: readonly Entry[], moved: readonly [number, Position][]): Promise<void> {
    const entries = all.filter((entry) => !this.#refused.joins(entry));
    let left = moved;
    const write = async (done: readonly Entry[], written = done): Promise<[]> => {
      const heads = await this.#persist(written, left);
      left = [];
      this.#committed(done, heads);
      return [];
    };
    const writeLess = (group: readonly Entry[], error: Error) =>
      isolate(
        [group],
        () => write(group, withoutTexts(group, reasonOf(error))),
        async () => this.#keep(group, error),
      );
    if (entries.length > 0) await isolate(groupsOf(entries), (groups) => write(groups.flat()), writeLess);
    if (left.length > 0) await write([]);
  }

  #committed(entries: readonly Entry[], heads: readonly RowHead[]): void {
    for (const { delivery, next } of entries) if (next.kind !== 'finished') delivery.parked = true;
    this.#refused.committed(entries);
    this.#options.listener().committed(entries, heads);
  }

  /** Not even the bare facts can be written: they are tried again, and meanwhile nothing more is sent to that webhook. */
  #keep(group: readonly Entry[], error: Error): [] {
    this.#refused.keep(group);
    this.#options.onRefused?.(error, group);
    return [];
  }

  get #arePositionsDue(): boolean {
    const everyMs = this.#options.isIdle() ? POSITION_EVERY_MS.idle : POSITION_EVERY_MS.busy;
    return performance.now() - this.#positionsWrittenAt >= everyMs;
  }

  get #hasWork(): boolean {
    return !this.#stopped && (this.#entries.length > 0 || this.#last.length > 0);
  }

  /**
   * What the database refuses to write down has been sent all the same: the next session would send it again, without an end. So the
   * batch is kept, and the slots of its attempts stay taken, until the operator has mended the log's triggers or privileges, or the disk.
   */
  async #persist(entries: readonly Entry[], moved: readonly [number, Position][]): Promise<RowHead[]> {
    for (;;) {
      try {
        return await this.#commit(entries, moved);
      } catch (error) {
        if (this.#stopped || this.#flushing || mayBeOfValue(error) || !isRefusal(error)) throw error;
        this.#options.onRefused?.(error as Error);
        await sleep(REFUSED_PAUSE_MS);
      }
    }
  }

  #movedPositions(): [number, Position][] {
    return [...this.#options.positions()].filter(([lane, position]) => this.#written.get(lane) !== position);
  }

  async #commit(entries: readonly Entry[], moved: readonly [number, Position][]): Promise<RowHead[]> {
    const { pool, owner, epochs } = this.#options;
    const lanes = [
      ...new Set([...entries.map(({ delivery }) => delivery.change.lane), ...moved.map(([lane]) => lane)]),
    ];
    const fence: Fence = [owner, lanes, lanes.map((lane) => epochs.get(lane) ?? '-1')];
    const attempts = await this.#charset.fit(entries.flatMap(({ attempt }) => attempt ?? []));
    // mostly so: a transaction of one statement commits sooner than one of four, and what was sent keeps its slot until then
    if (moved.length === 0 && entries.every(leavesItsLogOnly)) {
      if (!(await recordLogs(pool, attempts, fence))) throw new LanesLost();
      return [];
    }
    const client = await pool.connect();
    try {
      await client.query(BEGIN);
      const held = await client.query(FENCE, [...fence]);
      if (held.rowCount !== lanes.length) throw new LanesLost();
      if (attempts.length > 0) await recordLogs(client, attempts, fence);
      const heads = await recordDeliveries(client, entries);
      await recordHealth(client, entries);
      if (moved.length > 0) await recordPositions(client, moved);
      await client.query('commit');
      client.release();
      return heads;
    } catch (error) {
      // the connection may be the problem: it is not used again then
      client.release(!isOfValue(error) || !(await client.query('rollback').catch(() => false)));
      throw error;
    }
  }
}

// A process that is paused in here holds its lanes' locks, and would keep a successor waiting: the server ends it.
const BEGIN = "begin; set local idle_in_transaction_session_timeout = '2s'";
