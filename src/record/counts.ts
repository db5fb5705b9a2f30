/**
 * Counts the attempts that RECORD has committed, for webhook_minutes. The counts are written every
 * few seconds, beside the batches, so no batch waits for them.
 *
 * A crash loses no count. The last log id that is counted is stored for each lane, in the
 * transaction that adds the counts. It is taken while no batch is being written: at that moment all
 * attempts of this daemon up to that id have committed, and all later ones get higher ids. A lane
 * that this daemon has just received, or whose counts could not be written, is counted from the log
 * once, from the stored id on.
 */
import type pg from 'pg';
import type { Entry } from '../model.ts';
import { BUCKETS_MS, bucketOf } from '../outcome.ts';
import type { LeaseClock } from '../roles.ts';
import type { Fence } from './fence.ts';
import { lastLogId, type MinuteCount, recordMinutes } from './minute-rows.ts';

const EVERY_MS = 5_000;
/** Limit on counts in memory, of 0.5 kB each. Above it, they are written at once. */
const COUNTS_MAX = 5_000;

export interface CountsOptions {
  pool: pg.Pool;
  owner: string;
  /** Epoch of each owned lane. */
  epochs: ReadonlyMap<number, string>;
  clock: Pick<LeaseClock, 'now'>;
  /** Counts could not be written. They are taken from the log later. */
  onUncounted?(error: Error): void;
}

/** A webhook's minutes. Nearly always there is only one. */
type Minutes = Map<string, MinuteCount[]>;

export class Counts {
  readonly #options: CountsOptions;
  /** Called when counts are due. */
  readonly #onDue: () => void;
  /** Lanes that are counted in memory, with their epochs. All other lanes are counted from the log. */
  #lanes = new Map<number, { epoch: string; minutes: Minutes }>();
  #size = 0;
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;
  #writing: Promise<void> | undefined;
  #stopped = false;

  constructor(options: CountsOptions, onDue: () => void) {
    this.#options = options;
    this.#onDue = onDue;
  }

  /** `entries` have committed. */
  add(entries: readonly Entry[]): void {
    const sinceStart = this.#options.clock.now() - performance.now();
    for (const { delivery, attempt } of entries) {
      const minutes = attempt && this.#lanes.get(delivery.change.lane)?.minutes;
      if (!minutes) continue;
      const startedAt = sinceStart + attempt.startedAt;
      const count = this.#countOf(
        minutes,
        delivery.webhookId,
        delivery.change.tenantId,
        Math.floor(startedAt / 60_000),
      );
      const { status, durationMs } = attempt.outcome;
      count[status] += 1;
      if (status === 'skipped') continue;
      const bucket = bucketOf(durationMs);
      count.durations[bucket] = (count.durations[bucket] as number) + 1;
      count.lastAt = Math.max(count.lastAt, startedAt);
    }
    this.look();
  }

  #countOf(minutes: Minutes, webhookId: string, tenantId: string, minute: number): MinuteCount {
    const all = minutes.get(webhookId) ?? [];
    if (all.length === 0) minutes.set(webhookId, all);
    let count = all.find((one) => one.minute === minute);
    if (!count) {
      const durations = new Array<number>(BUCKETS_MS.length + 1).fill(0);
      count = { tenantId, minute, success: 0, failed: 0, skipped: 0, durations, lastAt: 0 };
      all.push(count);
      this.#size += 1;
    }
    return count;
  }

  /** Makes counts due after a while, if there are some. If nothing happens, no timer runs. */
  look(): void {
    if (this.#size >= COUNTS_MAX) this.#isDue = true;
    if (this.#timer !== undefined || this.#stopped || !(this.#size > 0 || this.#unknownLanes.length > 0)) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isDue = true;
      this.#onDue();
    }, EVERY_MS);
  }

  get #unknownLanes(): number[] {
    return [...this.#options.epochs].flatMap(([lane, epoch]) => (this.#lanes.get(lane)?.epoch === epoch ? [] : lane));
  }

  /** Call this while no batch is being written. Resolves when the next batch may be written. */
  async writeIfDue(): Promise<void> {
    if (this.#isDue && this.#writing === undefined) await this.#begin();
  }

  /** Writes all counts. Call this while no batch is being written, before lanes are given back. */
  async write(): Promise<void> {
    await this.#writing;
    await this.#begin();
    await this.#writing;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#lanes.clear();
  }

  async #begin(): Promise<void> {
    const { pool, owner, epochs } = this.#options;
    this.#isDue = false;
    const unknown = this.#unknownLanes;
    if (epochs.size === 0 || (this.#size === 0 && unknown.length === 0)) return;
    const logId = await lastLogId(pool);
    const before = this.#lanes;
    const current = new Map([...epochs].map(([lane, epoch]) => [lane, { epoch, minutes: new Map() }]));
    this.#lanes = current;
    this.#size = 0;
    for (const lane of unknown) before.delete(lane);
    const counts = [...before]
      .filter(([lane]) => epochs.has(lane))
      .flatMap(([, { minutes }]) => [...minutes])
      .flatMap(([webhookId, minutes]) => minutes.map((minute) => ({ webhookId, ...minute })));
    const fence: Fence = [owner, [...epochs.keys()], [...epochs.values()]];
    const forget = (error?: Error) => {
      for (const lane of current.keys()) current.delete(lane);
      this.#size = 0;
      if (error && !this.#stopped) this.#options.onUncounted?.(error);
    };
    this.#writing = recordMinutes(pool, { fence, logId, counts, fromLog: unknown })
      .then((written) => written || forget(), forget)
      .then(() => {
        this.#writing = undefined;
        this.look();
      });
  }
}
