/**
 * RECORD: outcomes become rows. One transaction per batch writes logs, parked and finished
 * deliveries, and positions. It is fenced by the epochs of its lanes: if this daemon has lost one
 * of them, nothing is written. While a batch is written, the next one collects entries, so its size
 * adapts to the load. A delivery counts as done only when its batch has committed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Entry, RowHead } from '../model.ts';
import type { HearsCommits } from '../roles.ts';
import { isOfValue, isolate, isRefusal, mayBeOfValue, reasonOf } from '../shared/isolate.ts';
import { divide, groupsOf, leavesItsLogOnly, wholeBatches, withoutTexts } from './batches.ts';
import { Charset } from './charset.ts';
import { Counts, type CountsOptions } from './counts.ts';
import { recordDeliveries } from './delivery-rows.ts';
import { FENCE, type Fence, LanesLost } from './fence.ts';
import { recordHealth } from './health-rows.ts';
import { recordLogs } from './log-rows.ts';
import { type DonePosition, recordPositions } from './position-rows.ts';
import { Positions, type PositionsOptions } from './positions.ts';
import { Refused } from './refused.ts';
import { Together } from './together.ts';

const BATCH_MAX = 500;
/** A batch of so few entries takes as long as one of one entry. */
const SMALL_BATCH = 16;
/** How often to check for moved positions that no batch has written yet. */
const POSITION_LOOK_MS = 500;
/** Pause before a refused batch is retried. */
const REFUSED_PAUSE_MS = 1_000;

export interface RecorderOptions extends PositionsOptions, CountsOptions {
  /** The listener is created after the recorder, and adds entries to it. */
  listener(): HearsCommits;
  maxInFlight: number;
  /** A few log rows were written and committed within `ms`. */
  onWritten?(ms: number): void;
  /** A batch was refused, or only the entries `alone` of one webhook. Both are retried. */
  onRefused?(error: Error, alone?: readonly Entry[]): void;
  /** Every entry that was refused for this webhook alone has been recorded. */
  onRecorded?(webhookId: string): void;
  onError(error: Error): void;
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #charset: Charset;
  readonly #refused: Refused;
  #entries: Entry[] = [];
  #writing: Promise<void> | undefined;
  readonly #positions: Positions;
  readonly #counts: Counts;
  /** Last positions of lanes that are given back. */
  #last: { positions: readonly DonePosition[]; written: () => void }[] = [];
  #stopped = false;
  #flushing = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #together: Together;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#together = new Together(options.maxInFlight, () => this.#schedule());
    this.#charset = new Charset(options.pool);
    this.#positions = new Positions(options);
    this.#counts = new Counts(options, () => this.#schedule());
    const onAgain = (entries: readonly Entry[]) => {
      this.#entries.push(...entries);
      this.#schedule();
    };
    this.#refused = new Refused(onAgain, (webhookId) => options.onRecorded?.(webhookId));
  }

  add(entry: Entry): void {
    if (this.#stopped || this.#refused.joins(entry)) return;
    this.#entries.push(entry);
    this.#together.added(entry, this.#entries.length);
  }

  /** Moved positions are written when due, even without a batch. If none moves, no timer runs. */
  positionsMoved(): void {
    if (this.#stopped) return;
    this.#counts.look();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#positions.moved.length === 0) return;
      if (this.#positions.areDue) this.#schedule();
      this.positionsMoved();
    }, POSITION_LOOK_MS);
  }

  /** Writes the last positions of lanes that are given back. All entries of them have committed. */
  writeLast(positions: readonly DonePosition[]): Promise<void> {
    return new Promise((written) => {
      this.#last.push({ positions, written });
      this.#schedule();
    });
  }

  /** Writes all remaining entries and positions. */
  async flush(): Promise<void> {
    this.#flushing = true;
    await this.#writing;
    this.#positions.makeDue();
    if (!this.#stopped) await this.#write();
    if (!this.#stopped) await this.#counts.write();
  }

  /** Drops all remaining entries: after an error, none of them counts. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#together.end();
    this.#refused.stop();
    this.#counts.stop();
    this.#entries = [];
  }

  #schedule(): void {
    this.#together.end();
    if (this.#writing || this.#stopped) return;
    this.#writing = this.#write()
      .catch((error: Error) => {
        this.stop();
        this.#options.onError(error);
      })
      .finally(() => {
        this.#writing = undefined;
        // Entries may have come in while the last batch ended.
        if (this.#hasWork) this.#schedule();
      });
  }

  async #write(): Promise<void> {
    // Wait one turn of the event loop: outcomes that arrive together are written together.
    await new Promise(setImmediate);
    do {
      // Nothing is being written at this point, see counts.ts.
      if (this.#last.length > 0) await this.#counts.write();
      else await this.#counts.writeIfDue();
      const entries = this.#entries.splice(0, wholeBatches(this.#entries, BATCH_MAX));
      const positionsDue = this.#positions.areDue;
      const last = this.#last.splice(0);
      const moved = [...(positionsDue ? this.#positions.moved : []), ...last.flatMap(({ positions }) => positions)];
      if (entries.length === 0 && moved.length === 0) return;
      // In parallel: entries that only leave a log must not wait for failed deliveries. Nearly
      // every batch contains some failed ones.
      const { logOnly, rest } = divide(entries);
      const logged = this.#settle(logOnly, []);
      // Positions update rows that the fence of the other write locks in another order. In
      // parallel, the two writes could wait for each other.
      if (moved.length > 0) await logged;
      await Promise.all([logged, this.#settle(rest, moved)]);
      this.#positions.noteWritten(moved, positionsDue);
      for (const { written } of last) written();
    } while (this.#hasWork);
  }

  /** Finds by bisection the entries with values that cannot be written, and writes all others. */
  async #settle(all: readonly Entry[], moved: readonly DonePosition[]): Promise<void> {
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
    this.#counts.add(entries);
    this.#options.listener().committed(entries, heads);
  }

  /** Even the bare facts are refused. They are retried, and their webhook is blocked meanwhile. */
  #keep(group: readonly Entry[], error: Error): [] {
    this.#refused.keep(group);
    this.#options.onRefused?.(error, group);
    return [];
  }

  get #hasWork(): boolean {
    return !this.#stopped && (this.#entries.length > 0 || this.#last.length > 0);
  }

  /**
   * The requests of a refused batch were sent already. If the session ended, the next one would
   * send them again, without end. So the batch is kept, and its attempts keep their permits, until
   * the operator has repaired the log's triggers, its privileges, or the disk.
   */
  async #persist(entries: readonly Entry[], moved: readonly DonePosition[]): Promise<RowHead[]> {
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

  async #commit(entries: readonly Entry[], moved: readonly DonePosition[]): Promise<RowHead[]> {
    const { pool, owner, epochs } = this.#options;
    const lanes = [
      ...new Set([...entries.map(({ delivery }) => delivery.change.lane), ...moved.map(({ lane }) => lane)]),
    ];
    const fence: Fence = [owner, lanes, lanes.map((lane) => epochs.get(lane) ?? '-1')];
    const attempts = await this.#charset.fit(entries.flatMap(({ attempt }) => attempt ?? []));
    // The usual case. A transaction of one statement commits sooner than one of four, and the
    // attempts keep their permits until the commit.
    if (moved.length === 0 && entries.every(leavesItsLogOnly)) {
      const startedAt = performance.now();
      if (!(await recordLogs(pool, attempts, fence))) throw new LanesLost();
      if (attempts.length <= SMALL_BATCH) this.#options.onWritten?.(performance.now() - startedAt);
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
      // The connection may have caused the error. Then it is not used again.
      client.release(!isOfValue(error) || !(await client.query('rollback').catch(() => false)));
      throw error;
    }
  }
}

// If this process is paused here, the server ends its session: a successor needs its lanes' locks.
const BEGIN = "begin; set local idle_in_transaction_session_timeout = '2s'";
