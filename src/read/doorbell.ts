/**
 * When to sleep. Capture rings (NOTIFY) only while rowhook.doorbell says that every daemon sleeps, because NOTIFY takes a lock of
 * the whole cluster through the commit's flush: with a 2 ms flush and 32 writers, 12,100 transactions a second fall to 389.
 *
 *   asleep   nothing can come without a ring; a safety poll now and then all the same
 *   awake    rings came too close together: it has set the doorbell to "awake", polls every few milliseconds, and nobody rings
 *   drowsy   calm again, it has set the doorbell to "asleep". A transaction from before may still commit without having rung, so
 *            it keeps polling, slower and slower, until all of them have ended
 *
 * Few events are rung for, one by one. That is sooner there than a poll, and an app that writes two events a second costs 5 % of a core
 * and not 18, as it did while a daemon stayed awake for a second after each. Pure but for the queries it hands in.
 */
import type pg from 'pg';
import { type Pulse, parseSnapshot } from './windows.ts';

/**
 * `newsCount` changes within `ms` keep the daemon awake. The same number within `ms / 2` wakes it up.
 */
export interface Calm {
  newsCount: number;
  ms: number;
}

/** 32 and 64 a second: there a ring and a poll cost as much CPU, and with a flush of 2 ms the lock is held for an eighth of the time. */
const CALM: Calm = { newsCount: 16, ms: 500 };
const POLL_AWAKE_MS = 2;
const POLL_DROWSY_MS_MAX = 250;
/** Where no ring is heard (ROWHOOK_WAKE=poll, or the listener's connection is lost), it polls as if awake for so long after news, */
const DEAF_SILENCE_MS = 1_000;
/** and then at most so often. */
const POLL_IDLE_MS = 50;
export const SAFETY_POLL_MS = 30_000;

/** What rowhook.doorbell says while somebody is awake. */
const AWAKE = '1';

export type Mode = 'awake' | 'drowsy' | 'asleep';

export class Doorbell {
  readonly #client: pg.ClientBase;
  readonly #hears: () => boolean;
  readonly #calm: Calm;
  #mode: Mode = 'awake';
  /** By performance.now(). */
  #awakeSince = performance.now();
  /** The same of the latest news, the last one last. */
  readonly #news: number[] = [];
  /** The transaction id that every running one must have passed before it may sleep. */
  #barrier: bigint | null = null;
  #pauseMs = POLL_AWAKE_MS;

  /** `hears`: whether a ring would be heard now. Whoever is deaf may not sleep. */
  constructor(client: pg.ClientBase, hears: () => boolean, calm = CALM) {
    this.#client = client;
    this.#hears = hears;
    this.#calm = calm;
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** It rang so often, or so many ids were taken since the last poll: one of a busy daemon finds many at once. */
  async noteNews(count: number): Promise<void> {
    const now = performance.now();
    for (let n = 0; n < Math.min(count, this.#calm.newsCount); n++) this.#news.push(now);
    this.#news.splice(0, this.#news.length - this.#calm.newsCount);
    this.#pauseMs = POLL_AWAKE_MS;
    if (this.#mode !== 'awake' && this.#cameWithin(this.#calm.ms / 2)) await this.#wake();
  }

  /** After a poll. While another daemon is awake nobody rings, for us neither. */
  async heed({ doorbell }: Pulse): Promise<void> {
    if (this.#mode !== 'awake' && doorbell === AWAKE) await this.#wake();
  }

  async #wake(): Promise<void> {
    this.#mode = 'awake';
    this.#awakeSince = performance.now();
    this.#barrier = null;
    await this.setAwake();
  }

  /** Sets the doorbell to "awake" and rings for the other daemons. */
  async setAwake(): Promise<void> {
    // nobody is told in vain: without the ring another daemon would sleep while nobody rings for it
    await this.#client.query("select setval('rowhook.doorbell', 1), pg_notify('rowhook', '')");
  }

  /** After a poll that found nothing: how long to wait for a ring before the next one, in milliseconds. */
  async rest({ snapshot }: Pulse): Promise<number> {
    if (!this.#hears()) {
      const lastNewsAt = this.#news.at(-1) ?? this.#awakeSince;
      return performance.now() - lastNewsAt < DEAF_SILENCE_MS ? POLL_AWAKE_MS : POLL_IDLE_MS;
    }
    if (this.#mode === 'awake') {
      const isFresh = performance.now() - this.#awakeSince < this.#calm.ms;
      if (isFresh || this.#cameWithin(this.#calm.ms)) return POLL_AWAKE_MS;
      const { rows } = await this.#client.query(
        "select setval('rowhook.doorbell', 2), pg_current_xact_id()::text as xid",
      );
      this.#barrier = BigInt(rows[0].xid);
      this.#mode = 'drowsy';
      return POLL_AWAKE_MS;
    }
    if (this.#mode === 'drowsy' && this.#barrier !== null) {
      if (BigInt(parseSnapshot(snapshot).xmin) > this.#barrier) {
        // this poll's snapshot saw all that never rang, and it found nothing
        this.#mode = 'asleep';
        return SAFETY_POLL_MS;
      }
      this.#pauseMs = Math.min(this.#pauseMs * 1.5, POLL_DROWSY_MS_MAX);
      return this.#pauseMs;
    }
    return SAFETY_POLL_MS;
  }

  /** All the news that it keeps in mind. */
  #cameWithin(ms: number): boolean {
    return this.#news.length === this.#calm.newsCount && performance.now() - (this.#news[0] as number) < ms;
  }
}
