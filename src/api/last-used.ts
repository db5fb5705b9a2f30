/** When keys were last used: written at most once a minute for each, and never by a request. */
import type pg from 'pg';
import type { Logger } from '../observe/log.ts';
import type { Turnstile } from './turnstile.ts';

const AGAIN_MS = 60_000;

/** Keys that come together are written together. */
const COLLECT_MS = 200;

export class UsedKeys {
  readonly #pool: pg.Pool;
  readonly #turnstile: Turnstile;
  readonly #log: Logger;
  readonly #writtenAt = new Map<string, number>();
  readonly #pending = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(pool: pg.Pool, turnstile: Turnstile, log: Logger) {
    this.#pool = pool;
    this.#turnstile = turnstile;
    this.#log = log;
  }

  add(keyId: string): void {
    const now = performance.now();
    const writtenAt = this.#writtenAt.get(keyId);
    if (writtenAt !== undefined && now - writtenAt < AGAIN_MS) return;
    this.#writtenAt.set(keyId, now);
    this.#pending.add(keyId);
    this.#timer ??= setTimeout(() => void this.write(), COLLECT_MS).unref();
  }

  /** Never rejects: a time that was not written harms nobody. */
  async write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const ids = [...this.#pending];
    this.#pending.clear();
    this.#forgetOld();
    if (ids.length === 0) return;
    try {
      const place = await this.#turnstile.pass('used keys');
      try {
        await this.#pool.query('select rowhook._note_api_keys_used($1)', [ids]);
      } finally {
        place.leave();
      }
    } catch (err) {
      this.#log.debug({ err }, 'last_used_at was not written');
    }
  }

  #forgetOld(): void {
    const since = performance.now() - AGAIN_MS;
    for (const [keyId, writtenAt] of this.#writtenAt) if (writtenAt < since) this.#writtenAt.delete(keyId);
  }
}
