/**
 * When to sleep. Capture rings (NOTIFY) only while rowhook.doorbell says that every daemon sleeps, because NOTIFY takes a lock of
 * the whole cluster through the commit's flush: with a 2 ms flush and 32 writers, 12,100 transactions a second fall to 389.
 *
 *   awake    polls every few milliseconds; nobody rings
 *   drowsy   has set the doorbell to "asleep". A transaction from before may still commit without having rung, so it keeps
 *            polling, slower and slower, until all of them have ended
 *   asleep   nothing can come without a ring; a safety poll now and then all the same
 *
 * The daemon that wakes up sets the doorbell to "awake" and rings for the others. Pure but for the queries it hands in.
 */
import type pg from 'pg';
import { parseSnapshot } from './read.ts';

/** Silence of the whole outbox before it goes to sleep. */
const SILENCE_MS = 1_000;
const POLL_AWAKE_MS = 3;
const POLL_DROWSY_MS_MAX = 250;
/** Where no ring is heard (ROWHOOK_WAKE=poll, or the listener's connection is lost), an idle daemon polls at most so often. */
const POLL_IDLE_MS = 50;
export const SAFETY_POLL_MS = 30_000;

export type Mode = 'awake' | 'drowsy' | 'asleep';

export class Doorbell {
  readonly #client: pg.ClientBase;
  readonly #hears: () => boolean;
  readonly #silenceMs: number;
  #mode: Mode = 'awake';
  #lastNewsAt = performance.now();
  /** The transaction id that every running one must have passed before it may sleep. */
  #barrier: bigint | null = null;
  #pauseMs = POLL_AWAKE_MS;

  /** `hears`: whether a ring would be heard now. Whoever is deaf may not sleep. */
  constructor(client: pg.ClientBase, hears: () => boolean, silenceMs = SILENCE_MS) {
    this.#client = client;
    this.#hears = hears;
    this.#silenceMs = silenceMs;
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** At the start, and whenever something tells that there is work: a ring, or news in the outbox. */
  async wake(): Promise<void> {
    this.#lastNewsAt = performance.now();
    this.#pauseMs = POLL_AWAKE_MS;
    this.#barrier = null;
    if (this.#mode === 'awake') return;
    this.#mode = 'awake';
    await this.setAwake();
  }

  /** Sets the doorbell to "awake" and rings for the other daemons. */
  async setAwake(): Promise<void> {
    // nobody is told in vain: without the ring another daemon would sleep while nobody rings for it
    await this.#client.query("select setval('rowhook.doorbell', 1), pg_notify('rowhook', '')");
  }

  /** After a poll that found nothing: how long to wait for a ring before the next one, in milliseconds. */
  async rest(snapshot: string): Promise<number> {
    const silentMs = performance.now() - this.#lastNewsAt;
    if (!this.#hears()) return silentMs < this.#silenceMs ? POLL_AWAKE_MS : POLL_IDLE_MS;
    if (this.#mode === 'awake') {
      if (silentMs < this.#silenceMs) return POLL_AWAKE_MS;
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
}
