/**
 * Entries that the database refuses to record, while those of all other deliveries are written.
 * Their requests were sent, so the entries are kept, and recording them is retried. Later entries
 * of the same deliveries wait behind them.
 */
import type { Entry } from '../model.ts';

const AGAIN_MS_MIN = 1_000;
const AGAIN_MS_MAX = 30_000;

interface Kept {
  entries: Entry[];
  tries: number;
  /** Timer of the next try. Undefined: a try is running. */
  timer: NodeJS.Timeout | undefined;
}

export class Refused {
  /** By delivery id. All deliveries of one request share one value. */
  readonly #kept = new Map<string, Kept>();
  readonly #onAgain: (entries: readonly Entry[]) => void;
  readonly #onRecorded: (webhookId: string) => void;

  /**
   * `onAgain` is called with entries to retry. `onRecorded` is called when nothing of a webhook is
   * kept any more.
   */
  constructor(onAgain: (entries: readonly Entry[]) => void, onRecorded: (webhookId: string) => void) {
    this.#onAgain = onAgain;
    this.#onRecorded = onRecorded;
  }

  /** If the delivery of `entry` waits for a retry, keeps `entry` too and returns true. */
  joins(entry: Entry): boolean {
    const kept = this.#kept.get(entry.delivery.id);
    if (!kept?.timer) return false;
    kept.entries.push(entry);
    return true;
  }

  /** Keeps all entries of one delivery, or of all deliveries of one request. */
  keep(entries: readonly Entry[]): void {
    const tries = Math.max(0, ...entries.map(({ delivery }) => this.#kept.get(delivery.id)?.tries ?? 0));
    const kept: Kept = { entries: [...entries], tries: tries + 1, timer: undefined };
    for (const { delivery } of entries) this.#kept.set(delivery.id, kept);
    kept.timer = setTimeout(
      () => {
        kept.timer = undefined;
        this.#onAgain(kept.entries);
      },
      Math.min(AGAIN_MS_MIN * 2 ** tries, AGAIN_MS_MAX),
    );
  }

  committed(entries: readonly Entry[]): void {
    if (this.#kept.size === 0) return;
    for (const { delivery } of entries) {
      if (!this.#kept.delete(delivery.id)) continue;
      const others = [...this.#kept.values()].flatMap((kept) => kept.entries);
      if (!others.some((other) => other.delivery.webhookId === delivery.webhookId))
        this.#onRecorded(delivery.webhookId);
    }
  }

  stop(): void {
    for (const { timer } of this.#kept.values()) clearTimeout(timer);
    this.#kept.clear();
  }
}
