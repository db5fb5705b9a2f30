/** The lanes that this session holds: taking them, standing by for them, renewing them, and the database's clock on the way. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { PATIENT } from './db.ts';
import { giveLanesBack, type Lane, LEASE_MS, RENEW_MS, renewLanes, takeLanes } from './lanes.ts';
import type { Logger } from './log.ts';
import { LanesLost } from './record.ts';

/** Nothing is started in the last stretch of a lease: the renewal may be late. */
const MARGIN_MS = 1_000;

/** How long giving lanes back may take. */
const GIVE_BACK_MS = 2_000;

export class Lease {
  readonly owner = randomUUID();
  readonly #pool: pg.Pool;
  readonly #log: Logger;
  #held = 0;
  #standingBy = false;
  #until = 0;
  #clockOffsetMs = 0;

  constructor(pool: pg.Pool, log: Logger) {
    this.#pool = pool;
    this.#log = log;
  }

  /** Lanes that are held. */
  get held(): number {
    return this.#held;
  }

  /** Another daemon holds the lanes. */
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

  /** Stands by until there are lanes to take; none when it is aborted. `predecessor` was this process's owner before: it is gone. */
  async take(predecessor: string | null, signal: AbortSignal): Promise<Lane[]> {
    const { rows } = await this.#pool.query({ text: 'select rowhook._notice_restore() as noticed', ...PATIENT });
    if (rows[0].noticed) {
      this.#log.warn(
        { noticed: rows[0].noticed },
        'the database was restored or moved: going on with what is undelivered',
      );
    }
    while (!signal.aborted) {
      const askedAt = performance.now();
      const lanes = await takeLanes(this.#pool, this.owner, `${hostname()}:${process.pid}`, predecessor);
      if (lanes.length > 0) {
        this.#until = askedAt + LEASE_MS - MARGIN_MS;
        this.#held = lanes.length;
        this.#standingBy = false;
        await this.renew();
        this.#log.info({ lanes: lanes.length }, 'took lanes');
        return lanes;
      }
      if (!this.#standingBy) this.#log.info('standing by: another daemon holds the lanes');
      this.#standingBy = true;
      await sleep(RENEW_MS, undefined, { signal }).catch(() => {});
    }
    return [];
  }

  /** Throws when a lane was lost, or the database does not answer in time. */
  async renew(): Promise<void> {
    const askedAt = performance.now();
    const renewed = await within(LEASE_MS, renewLanes(this.#pool, this.owner));
    if (renewed === undefined || renewed.held < this.#held) throw new LanesLost();
    this.#until = askedAt + LEASE_MS - MARGIN_MS;
    this.#clockOffsetMs = renewed.nowMs - (performance.timeOrigin + (askedAt + performance.now()) / 2);
  }

  /** So that another daemon can take them at once. */
  async giveBack(): Promise<void> {
    this.#held = 0;
    await within(GIVE_BACK_MS, giveLanesBack(this.#pool, this.owner));
  }
}

/** What the promise gives, or undefined when it fails or takes longer. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  return Promise.race([promise.catch(() => undefined), late]).finally(() => clearTimeout(timer));
}
