/**
 * Thin events whose row could not be printed. They are counted, and logged once an hour for each
 * table and reason.
 */
import type { Change } from '../model.ts';
import { truncatedReason } from '../payload/truncated.ts';

const LOGGED_EVERY_MS = 3_600_000;

/**
 * Limit on the remembered tables and reasons. One more clears the memory, and all of them are
 * logged again.
 */
const REMEMBERED_MAX = 1_000;

export class ThinEvents {
  readonly #count: (reason: string) => void;
  readonly #log: (sourceId: number | null, error: string) => void;
  readonly #now: () => number;
  readonly #loggedAt = new Map<string, number>();

  constructor(
    count: (reason: string) => void,
    log: (sourceId: number | null, error: string) => void,
    now: () => number = Date.now,
  ) {
    this.#count = count;
    this.#log = log;
    this.#now = now;
  }

  note({ sourceId, truncated }: Pick<Change, 'sourceId' | 'truncated'>): void {
    if (truncated === null) return;
    this.#count(truncatedReason(truncated));
    if (truncated === 'too_large') return;
    const key = `${sourceId} ${truncated}`;
    const now = this.#now();
    if (now - (this.#loggedAt.get(key) ?? Number.NEGATIVE_INFINITY) < LOGGED_EVERY_MS) return;
    if (this.#loggedAt.size >= REMEMBERED_MAX) this.#loggedAt.clear();
    this.#loggedAt.set(key, now);
    this.#log(sourceId, truncated);
  }
}
