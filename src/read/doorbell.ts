/**
 * Decides when the daemon sleeps. Capture rings (NOTIFY) only while rowhook.doorbell says that
 * every daemon is asleep. The reason: NOTIFY takes a lock on the whole cluster and holds it through
 * the commit's flush. With a 2 ms flush and 32 writers, 12,100 transactions a second fall to 389.
 *
 *   asleep   Every change rings. A safety poll still runs now and then.
 *   awake    Rings came too close together. The daemon has set the doorbell to "awake", and polls
 *            every few milliseconds, more often at higher rates. Nobody rings.
 *   drowsy   Changes are few again. The daemon has set the doorbell to "asleep". An earlier
 *            transaction may still commit without a ring, so the daemon keeps polling, more and
 *            more slowly, until all earlier transactions have ended.
 *
 * While events are rare, each event rings. A ring arrives sooner than a poll would find the event,
 * and it costs less. An app that writes two events a second costs 5 % of a core. It cost 18 % while
 * a daemon stayed awake for a second after each event. Pure except for its queries.
 *
 * While the server's queue of notifications fills up (database/notification-listener.ts), the daemon stays
 * awake, so that no transaction of the app rings and fails because the queue is full.
 */
import type pg from 'pg';
import { isQueueFull } from '../database/notification-listener.ts';
import type { FlushTime } from '../shared/flush-time.ts';
import type { Pulse } from './pulse.ts';
import { parseSnapshot } from './windows.ts';

/**
 * `newsCount` changes within `ms` keep the daemon awake. The same number within `ms / 2` wakes it.
 * Where commits are quicker than CALM_FLUSH_MS, the number is larger.
 */
export interface Calm {
  newsCount: number;
  ms: number;
}

/**
 * With a flush of 2 ms, 32 changes a second keep the daemon awake, and 64 wake it. The lock is held
 * for an eighth of the time at 64. It is held for as long where commits are ten times as quick and
 * rings ten times as many. So the numbers follow the flush, up to 512 and 1,024 a second.
 */
const CALM: Calm = { newsCount: 16, ms: 500 };
const CALM_FLUSH_MS = 2;
const CALM_FACTOR = { min: 1 / 2, max: 16 };

/**
 * An awake daemon polls twice between two changes, within these limits. At 100 changes a second a
 * poll every 2 ms is five polls a change.
 */
const POLL_AWAKE_MS = { min: 2, max: 6 };
const POLL_DROWSY_MS_MAX = 250;
/**
 * A daemon receives no rings with ROWHOOK_WAKE=poll, while the listener's connection is lost, or
 * while it must stay awake. It then polls as if awake for DEAF_SILENCE_MS after news, and every
 * POLL_IDLE_MS after that.
 */
const DEAF_SILENCE_MS = 1_000;
const POLL_IDLE_MS = 50;
export const SAFETY_POLL_MS = 30_000;

/** The value of rowhook.doorbell while a daemon is awake. */
const AWAKE = '1';

export type Mode = 'awake' | 'drowsy' | 'asleep';

export class Doorbell {
  readonly #client: pg.ClientBase;
  readonly #hears: () => boolean;
  readonly #calm: Calm;
  readonly #flush: FlushTime;
  #mode: Mode = 'awake';
  /** By performance.now(). */
  #awakeSince = performance.now();
  /** Times of the latest news by performance.now(), oldest first. */
  readonly #news: number[] = [];
  /** The daemon may sleep once every running transaction has a larger id than this one. */
  #barrier: bigint | null = null;
  #pauseMs = POLL_AWAKE_MS.min;
  #mustStayAwake = false;

  /** `hears` returns whether this daemon would receive a ring now. If not, it may not sleep. */
  constructor(client: pg.ClientBase, hears: () => boolean, flush: FlushTime, calm = CALM) {
    this.#client = client;
    this.#hears = hears;
    this.#flush = flush;
    this.#calm = calm;
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** Until this is called with false, nobody rings. The daemon polls. */
  stayAwake(must: boolean): void {
    this.#mustStayAwake = must;
  }

  /**
   * Records `count` rings, or ids that were taken since the last poll. One poll of a busy daemon
   * finds many ids.
   */
  async noteNews(count: number): Promise<void> {
    if (count === 0) return;
    const now = performance.now();
    const max = Math.ceil(this.#calm.newsCount * CALM_FACTOR.max);
    for (let n = 0; n < Math.min(count, max); n++) this.#news.push(now);
    this.#news.splice(0, this.#news.length - max);
    this.#pauseMs = POLL_AWAKE_MS.min;
    if (this.#mode !== 'awake' && this.#cameWithin(this.#calm.ms / 2)) await this.#wake();
  }

  /**
   * Call this after each poll. While another daemon is awake, nobody rings, so this daemon wakes
   * too.
   */
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
    // The ring is needed: another daemon would otherwise sleep on, while nobody rings for it.
    try {
      await this.#client.query("select setval('rowhook.doorbell', 1), pg_notify('rowhook', '')");
    } catch (error) {
      // The doorbell is set, because setval() is not undone. The other daemons find out by polling.
      if (!isQueueFull(error)) throw error;
    }
  }

  /**
   * Call this after a poll that found nothing. Returns the milliseconds to wait for a ring before
   * the next poll.
   */
  async rest({ snapshot }: Pulse): Promise<number> {
    if (this.#mustStayAwake && this.#mode !== 'awake') await this.#wake();
    if (this.#mustStayAwake || !this.#hears()) {
      const lastNewsAt = this.#news.at(-1) ?? this.#awakeSince;
      return performance.now() - lastNewsAt < DEAF_SILENCE_MS ? this.#pollMs : POLL_IDLE_MS;
    }
    if (this.#mode === 'awake') {
      const isFresh = performance.now() - this.#awakeSince < this.#calm.ms;
      if (isFresh || this.#cameWithin(this.#calm.ms)) return this.#pollMs;
      const { rows } = await this.#client.query(
        "select setval('rowhook.doorbell', 2), pg_current_xact_id()::text as xid",
      );
      this.#barrier = BigInt(rows[0].xid);
      this.#mode = 'drowsy';
      return POLL_AWAKE_MS.min;
    }
    if (this.#mode === 'drowsy' && this.#barrier !== null) {
      if (BigInt(parseSnapshot(snapshot).xmin) > this.#barrier) {
        // The snapshot of this poll saw every change that did not ring, and the poll found nothing.
        this.#mode = 'asleep';
        return SAFETY_POLL_MS;
      }
      this.#pauseMs = Math.min(this.#pauseMs * 1.5, POLL_DROWSY_MS_MAX);
      return this.#pauseMs;
    }
    return SAFETY_POLL_MS;
  }

  /** How long an awake daemon waits between two polls. */
  get #pollMs(): number {
    const since = performance.now() - (this.#news.at(-this.#newsCount) ?? this.#news[0] ?? 0);
    const gapMs = since / Math.min(this.#news.length, this.#newsCount);
    return Math.min(Math.max(gapMs / 2, POLL_AWAKE_MS.min), POLL_AWAKE_MS.max);
  }

  /** How many changes within `ms` of the calm keep the daemon awake on this server. */
  get #newsCount(): number {
    const flushMs = this.#flush.ms ?? CALM_FLUSH_MS;
    const factor = Math.min(Math.max(CALM_FLUSH_MS / flushMs, CALM_FACTOR.min), CALM_FACTOR.max);
    return Math.ceil(this.#calm.newsCount * factor);
  }

  /** Whether the last changes, as many as keep the daemon awake, came within `ms`. */
  #cameWithin(ms: number): boolean {
    const first = this.#news.at(-this.#newsCount);
    return first !== undefined && performance.now() - first < ms;
  }
}
