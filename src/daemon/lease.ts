/**
 * The lanes that this daemon owns: takes them, stands by for them, and renews the lease. Each
 * renewal also reads the database's clock.
 */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { PATIENT } from '../database/connections.ts';
import type { Lane } from '../model.ts';
import type { Logger } from '../observe/log.ts';
import { LanesLost } from '../record/fence.ts';
import { ranges } from '../shared/text.ts';
import { within } from '../shared/timers.ts';
import { forgetDaemon, freeLanes, LEASE_MS, RENEW_MS, type Renewal, renewLanes, takeLanes } from './lane-rows.ts';
import { NotifyQueueWatch } from './notify-queue-watch.ts';

/** Nothing starts in the last MARGIN_MS of a lease, because the renewal may be late. */
const MARGIN_MS = 1_000;

/** Limit on the time for giving lanes back. */
const GIVE_BACK_MS = 2_000;

export class Lease {
  readonly owner: string;
  readonly #name = `${hostname()}:${process.pid}`;
  readonly #pool: pg.Pool;
  readonly #log: Logger;
  readonly #queueWatch: NotifyQueueWatch;
  readonly #held = new Set<number>();
  #share = 0;
  #schemaVersion: number | undefined;
  #queueUsage: number | undefined;
  #standingBy = false;
  #isLeaving = false;
  #hasEnded = false;
  #renewals: Promise<unknown> = Promise.resolve();
  #until = 0;
  #clockOffsetMs = 0;

  /** `owner` is a uuid, the same for all sessions of a daemon. */
  constructor(owner: string, pool: pg.Pool, log: Logger) {
    this.owner = owner;
    this.#pool = pool;
    this.#log = log;
    this.#queueWatch = new NotifyQueueWatch(log);
  }

  get ownedLanes(): readonly number[] {
    return [...this.#held];
  }

  /** Number of owned lanes above the fair share. Negative: number of lanes below it. */
  get surplus(): number {
    return this.#held.size - this.#share;
  }

  /** Schema version of the database at the last renewal. */
  get schemaVersion(): number | undefined {
    return this.#schemaVersion;
  }

  /** Share of the server's queue of notifications that was in use at the last renewal. */
  get queueUsage(): number | undefined {
    return this.#queueUsage;
  }

  /** Whether that queue fills up, so that nobody should ring. */
  get isQueueFilling(): boolean {
    return this.#queueWatch.isFilling;
  }

  /** Whether this daemon owns no lanes, because other daemons own them all. */
  get standingBy(): boolean {
    return this.#standingBy;
  }

  /** False once the lease may have run out. */
  get isValid(): boolean {
    return performance.now() < this.#until;
  }

  /** Milliseconds since 1970 on the database's clock. */
  now(): number {
    return performance.timeOrigin + performance.now() + this.#clockOffsetMs;
  }

  /** Stands by until there are lanes to take. Returns none if `signal` is aborted. */
  async begin(signal: AbortSignal): Promise<Lane[]> {
    const { rows } = await this.#pool.query({ text: 'select rowhook._notice_restore() as noticed', ...PATIENT });
    if (rows[0].noticed) {
      const what =
        rows[0].noticed === 'moved'
          ? 'the database was restored or moved. The daemon continues with the undelivered events'
          : 'the server has another timeline, or does not tell it and was restarted. Event ids get a new incarnation';
      this.#log.warn({ noticed: rows[0].noticed }, what);
    }
    // Free the lanes of an earlier session. Lanes above the current share would otherwise stay
    // owned, and nobody would read them.
    await freeLanes(this.#pool, this.owner, 'all');
    while (!signal.aborted) {
      await this.renew();
      const lanes = await this.take();
      if (lanes.length > 0) {
        this.#standingBy = false;
        return lanes;
      }
      if (!this.#standingBy) this.#log.info('standing by, because other daemons own all lanes');
      this.#standingBy = true;
      await sleep(RENEW_MS, undefined, { signal }).catch(() => {});
    }
    return [];
  }

  /**
   * Renews the lease. Throws if a lane was lost, or if the database refuses or does not answer in
   * time.
   */
  async renew(): Promise<void> {
    // A renewal after the end would list this daemon again.
    if (this.#hasEnded) return;
    const renewal = this.#renew();
    // Drop the results: each promise would keep the results of all earlier ones, 8 MB a day.
    this.#renewals = Promise.allSettled([this.#renewals, renewal]).then(() => {});
    await renewal;
  }

  async #renew(): Promise<void> {
    const [askedAt, before] = [performance.now(), this.ownedLanes];
    let problem = new Error(
      `the lease could not be renewed within ${LEASE_MS / 1_000} s, because the database does not answer`,
    );
    const renewed = await within<Renewal>(
      LEASE_MS,
      renewLanes(this.#pool, this.owner, this.#name, this.#isLeaving, before.length > 0).catch((error: Error) => {
        problem = error;
        throw error;
      }),
    );
    if (renewed === undefined) throw problem;
    // A lane that was given back during the renewal is not lost.
    if (before.some((lane) => this.#held.has(lane) && !renewed.lanes.includes(lane))) throw new LanesLost();
    this.#until = askedAt + LEASE_MS - MARGIN_MS;
    this.#clockOffsetMs = renewed.nowMs - (performance.timeOrigin + (askedAt + performance.now()) / 2);
    this.#share = renewed.share;
    this.#schemaVersion = renewed.schemaVersion;
    this.#queueUsage = renewed.queueUsage;
    this.#queueWatch.note(renewed.queueUsage);
  }

  /** Takes free lanes, up to the fair share. */
  async take(): Promise<Lane[]> {
    if (this.surplus >= 0) return [];
    const lanes = await takeLanes(this.#pool, this.owner, this.ownedLanes, -this.surplus);
    for (const { lane } of lanes) this.#held.add(lane);
    if (lanes.length > 0)
      this.#logLanes(
        lanes.map(({ lane }) => lane),
        'now delivering',
      );
    return lanes;
  }

  /** Gives lanes back, and another daemon can take them at once. All their entries are recorded. */
  async give(lanes: readonly number[]): Promise<void> {
    for (const lane of lanes) this.#held.delete(lane);
    await freeLanes(this.#pool, this.owner, lanes);
    this.#logLanes(lanes, 'handed over');
  }

  #logLanes(lanes: readonly number[], verb: string): void {
    const numbers = ranges(lanes.toSorted((a, b) => a - b));
    this.#log.info({ lanes: lanes.length, held: this.#held.size }, `${verb} lanes ${numbers}`);
  }

  /** Called before an orderly end. The other daemons share the lanes of this one. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    await this.renew();
  }

  /** Gives back all remaining lanes, if the database answers. `forGood`: no session follows. */
  async end(forGood: boolean): Promise<void> {
    const lanes = this.ownedLanes;
    this.#held.clear();
    this.#hasEnded = true;
    await within(
      GIVE_BACK_MS,
      (async () => {
        await this.#renewals;
        if (lanes.length > 0) await freeLanes(this.#pool, this.owner, lanes);
        if (forGood) await forgetDaemon(this.#pool, this.owner);
      })(),
    );
  }
}
