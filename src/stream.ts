/**
 * The only loop that reads. It follows the outbox of its lanes window by window, and rests when the doorbell says so.
 *
 * Lanes at the same position are read together. Lanes that come from different owners begin at different positions: each
 * group reads on by itself, and a group that is behind reads its next window up to where the first one is, to join it there.
 */
import type pg from 'pg';
import { Doorbell } from './doorbell.ts';
import { groupByPosition, type Lane } from './lanes.ts';
import type { Position, Window } from './model.ts';
import { type Pulse, readPulse, readWindow } from './read.ts';

/** Deliveries in memory, and characters of their payloads, above which nothing more is read. */
const READ_AHEAD_MAX = 1_000;
const READ_AHEAD_SIZE_MAX = 32 * 1024 * 1024;

/** How soon it is looked whether there is room again. */
const FULL_PAUSE_MS = 2;

/** Lanes at the same position. `stamp` counts snapshots: a larger one was taken later. */
interface Group {
  lanes: number[];
  position: Position;
  stamp: number;
}

export interface StreamOptions {
  wake: 'notify' | 'poll';
  /** Deliveries in memory, and characters of their payloads. */
  pending(): { count: number; size: number };
  take(lanes: readonly number[], window: Window): Promise<void>;
  /** Everything that was committed when the stream began has been taken. */
  onCaughtUp(): void;
}

export class Stream {
  readonly #client: pg.Client;
  readonly #doorbell: Doorbell;
  readonly #options: StreamOptions;
  #groups: Group[];
  #stamps = 0;
  #rang = false;
  #stopping = false;
  #wake: () => void = () => {};
  /** performance.now() by which the loop must have turned again, but for the time that a query takes. */
  #nextTurnAt = performance.now();

  constructor(client: pg.Client, lanes: readonly Lane[], options: StreamOptions) {
    this.#client = client;
    this.#options = options;
    this.#doorbell = new Doorbell(client, options.wake);
    this.#groups = groupByPosition(lanes).map((group) => ({ ...group, stamp: 0 }));
  }

  /** How long ago the loop should have turned, in milliseconds. */
  get lateMs(): number {
    return Math.max(0, performance.now() - this.#nextTurnAt);
  }

  /** Somebody says that there is something to read. */
  ring(): void {
    this.#rang = true;
    this.#wake();
  }

  stop(): void {
    this.#stopping = true;
    this.#wake();
  }

  /** Reads until stop(). */
  async run(): Promise<void> {
    await this.#doorbell.setAwake();
    let pulse: Pulse = { snapshot: '', sequenceValue: '' };
    while (!this.#stopping) {
      this.#nextTurnAt = performance.now();
      if (this.#rang) {
        this.#rang = false;
        await this.#doorbell.wake();
      }
      const pending = this.#options.pending();
      if (pending.count >= READ_AHEAD_MAX || pending.size >= READ_AHEAD_SIZE_MAX) {
        await this.#pause(FULL_PAUSE_MS);
        continue;
      }
      const before = pulse;
      pulse = await readPulse(this.#client);
      const written = pulse.sequenceValue !== before.sequenceValue;
      if (written) await this.#doorbell.wake();
      if (written || pulse.snapshot !== before.snapshot || this.#groups.length > 1) {
        // what is read comes with a later snapshot than this pulse, so after news there is always one more look
        if (await this.#readAll()) {
          pulse = { snapshot: '', sequenceValue: pulse.sequenceValue };
          continue;
        }
      }
      await this.#pause(await this.#doorbell.rest(pulse.snapshot));
    }
    // another daemon may be asleep: nobody would ring for it
    if (this.#doorbell.mode !== 'awake') await this.#doorbell.setAwake();
  }

  /** One window of each group. Returns whether there was news, or may be more. */
  async #readAll(): Promise<boolean> {
    const [head] = this.#groups as [Group];
    let more = this.#groups.length > 1;
    let changes = 0;
    for (const group of this.#groups) {
      const joins = group !== head && isBetween(head) && isBetween(group) && head.stamp > group.stamp;
      if (isBetween(group)) group.stamp = joins ? head.stamp : ++this.#stamps;
      const window = await readWindow(this.#client, group.lanes, group.position, joins ? head.position : undefined);
      await this.#options.take(group.lanes, window);
      group.position = window.after;
      changes += window.changes.length;
      more ||= window.more;
    }
    this.#groups = merge(this.#groups);
    if (!more) this.#options.onCaughtUp();
    return more || changes > 0;
  }

  /** Waits for a ring or a stop, this long at most. */
  async #pause(ms: number): Promise<void> {
    if (this.#rang || this.#stopping) return;
    this.#nextTurnAt = performance.now() + ms;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** It is not inside a large window. */
function isBetween({ position }: Group): boolean {
  return position.to === null;
}

/** Groups that have come to where the first one is join it. */
function merge(groups: Group[]): Group[] {
  const [head, ...others] = groups as [Group, ...Group[]];
  const met = (group: Group) => isBetween(group) && isBetween(head) && group.position.from === head.position.from;
  head.lanes = [...head.lanes, ...others.filter(met).flatMap(({ lanes }) => lanes)];
  return [head, ...others.filter((group) => !met(group))];
}
