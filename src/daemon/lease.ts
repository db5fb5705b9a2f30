/** The lanes that this daemon holds: taking them, standing by for them, renewing them, and the database's clock on the way. */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { PATIENT } from '../database/connections.ts';
import type { Lane } from '../model.ts';
import type { Logger } from '../observe/log.ts';
import { LanesLost } from '../record/fence.ts';
import { within } from '../shared/timers.ts';
import { forgetDaemon, freeLanes, LEASE_MS, RENEW_MS, type Renewal, renewLanes, takeLanes } from './lane-rows.ts';

/** Nothing is started in the last stretch of a lease: the renewal may be late. */
const MARGIN_MS = 1_000;

/** How long giving lanes back may take. */
const GIVE_BACK_MS = 2_000;

export class Lease {
  readonly owner: string;
  readonly #name = `${hostname()}:${process.pid}`;
  readonly #pool: pg.Pool;
  readonly #log: Logger;
  readonly #held = new Set<number>();
  #share = 0;
  #schemaVersion: number | undefined;
  #standingBy = false;
  #isLeaving = false;
  #hasEnded = false;
  #renewals: Promise<unknown> = Promise.resolve();
  #until = 0;
  #clockOffsetMs = 0;

  /** `owner` is one uuid for all sessions of a daemon. */
  constructor(owner: string, pool: pg.Pool, log: Logger) {
    this.owner = owner;
    this.#pool = pool;
    this.#log = log;
  }

  get ownedLanes(): readonly number[] {
    return [...this.#held];
  }

  /** Lanes above the fair share; negative: lanes that it should hold too. */
  get surplus(): number {
    return this.#held.size - this.#share;
  }

  /** Of the database, when it was last seen. */
  get schemaVersion(): number | undefined {
    return this.#schemaVersion;
  }

  /** Other daemons hold the lanes. */
  get standingBy(): boolean {
    return this.#standingBy;
  }

  /** False once it may have run out. */
  get isValid(): boolean {
    return performance.now() < this.#until;
  }

  /** Milliseconds since 1970 on the database's clock. */
  now(): number {
    return performance.timeOrigin + performance.now() + this.#clockOffsetMs;
  }

  /** Stands by until there are lanes to take; none when it is aborted. */
  async begin(signal: AbortSignal): Promise<Lane[]> {
    const { rows } = await this.#pool.query({ text: 'select rowhook._notice_restore() as noticed', ...PATIENT });
    if (rows[0].noticed) {
      this.#log.warn(
        { noticed: rows[0].noticed },
        'the database was restored or moved: going on with what is undelivered',
      );
    }
    // those of a session before this one: what is above our share now would stay ours, and nobody would read it
    await freeLanes(this.#pool, this.owner, 'all');
    while (!signal.aborted) {
      await this.renew();
      const lanes = await this.take();
      if (lanes.length > 0) {
        this.#standingBy = false;
        return lanes;
      }
      if (!this.#standingBy) this.#log.info('standing by: other daemons hold the lanes');
      this.#standingBy = true;
      await sleep(RENEW_MS, undefined, { signal }).catch(() => {});
    }
    return [];
  }

  /** Says that we are here. Throws when a lane was lost, or the database refuses, or does not answer in time. */
  async renew(): Promise<void> {
    // one that came after the last word would list us again
    if (this.#hasEnded) return;
    const renewal = this.#renew();
    // without their results: each would hold those of all before it, 8 MB a day
    this.#renewals = Promise.allSettled([this.#renewals, renewal]).then(() => {});
    await renewal;
  }

  async #renew(): Promise<void> {
    const [askedAt, before] = [performance.now(), this.ownedLanes];
    let problem = new Error(
      `the lease could not be renewed within ${LEASE_MS / 1_000} s: the database does not answer`,
    );
    const renewed = await within<Renewal>(
      LEASE_MS,
      renewLanes(this.#pool, this.owner, this.#name, this.#isLeaving, before.length > 0).catch((error: Error) => {
        problem = error;
        throw error;
      }),
    );
    if (renewed === undefined) throw problem;
    // what was given back meanwhile is not lost
    if (before.some((lane) => this.#held.has(lane) && !renewed.lanes.includes(lane))) throw new LanesLost();
    this.#until = askedAt + LEASE_MS - MARGIN_MS;
    this.#clockOffsetMs = renewed.nowMs - (performance.timeOrigin + (askedAt + performance.now()) / 2);
    this.#share = renewed.share;
    this.#schemaVersion = renewed.schemaVersion;
  }

  /** Takes what is free of the lanes that are missing for the fair share. */
  async take(): Promise<Lane[]> {
    if (this.surplus >= 0) return [];
    const lanes = await takeLanes(this.#pool, this.owner, this.ownedLanes, -this.surplus);
    for (const { lane } of lanes) this.#held.add(lane);
    if (lanes.length > 0) this.#log.info({ lanes: lanes.length, held: this.#held.size }, 'took lanes');
    return lanes;
  }

  /** So that another daemon can take them at once. Everything of them is recorded. */
  async give(lanes: readonly number[]): Promise<void> {
    for (const lane of lanes) this.#held.delete(lane);
    await freeLanes(this.#pool, this.owner, lanes);
    this.#log.info({ lanes: lanes.length, held: this.#held.size }, 'gave lanes');
  }

  /** Before an orderly end: our share is for the others to take. */
  async leave(): Promise<void> {
    this.#isLeaving = true;
    await this.renew();
  }

  /** Gives back whatever is left, if the database answers; `forGood` when no session follows. */
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
