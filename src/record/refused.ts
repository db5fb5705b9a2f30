/**
 * What the database refuses to record of some deliveries, while everybody else's goes on: it was sent, so it is kept, with the slots
 * of its attempts, and tried again. What follows of the same deliveries waits behind it.
 */
import type { Entry } from '../model.ts';

const AGAIN_MS_MIN = 1_000;
const AGAIN_MS_MAX = 30_000;

interface Kept {
  entries: Entry[];
  tries: number;
  /** Of the next try; undefined: it is under way. */
  timer: NodeJS.Timeout | undefined;
}

export class Refused {
  /** By delivery; deliveries of one request have one in common. */
  readonly #kept = new Map<string, Kept>();
  readonly #onAgain: (entries: readonly Entry[]) => void;
  readonly #onRecorded: (webhookId: string) => void;

  /** `onAgain`: they are to be tried again. `onRecorded`: nothing of this webhook is kept any more. */
  constructor(onAgain: (entries: readonly Entry[]) => void, onRecorded: (webhookId: string) => void) {
    this.#onAgain = onAgain;
    this.#onRecorded = onRecorded;
  }

  /** Its delivery waits to be tried again, and so does it from now on. */
  joins(entry: Entry): boolean {
    const kept = this.#kept.get(entry.delivery.id);
    if (!kept?.timer) return false;
    kept.entries.push(entry);
    return true;
  }

  /** All entries of one delivery, or of one request's. */
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
