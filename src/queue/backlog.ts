/**
 * What one webhook has in webhook_deliveries ("parked"), and where its new deliveries go because of it.
 *
 *     flowing ──fallBehind()──▶ backlogged ──readDone(): nothing more is due──▶ joining
 *        ▲                          │  ▲                                           │
 *        │                          │  └──────────────── leave() ──────────────────┤
 *        └──── readDone(): the read saw all that was parked, and nothing more is due
 *
 * flowing     New deliveries go into the queue. Parked ones may exist, but only retries: a retry
 *             waits for its time and may be overtaken.
 *             Entered at the start, and when everything that was parked in order is back.
 *             Left when a new delivery must be parked.
 * backlogged  New deliveries are parked too, behind those that are parked already. So a slow
 *             webhook costs no memory and no position, and its rows start in order.
 *             Left when a read of the table says that nothing more is due.
 * joining     All parked deliveries are back, except some that the recorder has yet to commit.
 *             New deliveries wait here, in memory, and follow the last of those into the queue.
 *             Without this state, a load that never pauses would keep a webhook backlogged forever.
 *             Left when a read sees all, or when everything in memory is parked again.
 *
 * A read sees all when no park was uncommitted before it and none began during it.
 */
import type { Delivery } from '../model.ts';
import type { Ticket } from './ticket.ts';

/** What the table answered to one read of due deliveries. */
export interface Found {
  /** More deliveries are due than came back. */
  moreDue: boolean;
  /** More deliveries of a replay are due than came back. */
  replaysDue: boolean;
  /** Milliseconds until the next parked delivery is due; null: there is none. */
  nextInMs: number | null;
}

/** The parks at the start of a read. */
export interface ReadMark {
  parks: number;
  isCommitted: boolean;
}

export class Backlog {
  #state: 'flowing' | 'backlogged' | 'joining' = 'flowing';
  /** In state joining: what follows the last parked deliveries. */
  #joining: Ticket[] = [];
  /** Parked entries that the recorder has not committed yet. */
  #uncommitted = 0;
  /** Counts parks, so that a read can tell whether one came in between. */
  #parks = 0;
  /** performance.now() at which the next parked delivery is due; null: none is known. */
  #dueAt: number | null = null;
  #isReading = false;
  #moreDue = false;
  #replaysDue = false;
  /** Ids of parked deliveries that are queued or in flight. */
  readonly #readBack = new Set<string>();
  /** Those of them that a replay asked for. */
  readonly #replays = new Set<string>();

  get state(): 'flowing' | 'backlogged' | 'joining' {
    return this.#state;
  }

  /** From now on new deliveries are parked. */
  fallBehind(): void {
    if (this.#state === 'flowing') this.#state = 'backlogged';
  }

  /** In state joining: a new delivery waits for the last parked ones. */
  join(ticket: Ticket): void {
    this.#joining.push(ticket);
  }

  /** Everything in memory is to be parked: hands out what waited to join. */
  leave(): Ticket[] {
    if (this.#state === 'joining') this.#state = 'backlogged';
    return this.#joining.splice(0);
  }

  /** performance.now() of the oldest delivery that waits to join; Infinity: none does. */
  get joiningSince(): number {
    return this.#joining[0]?.queuedAt ?? Infinity;
  }

  /** A delivery is on its way to the table. */
  parkBegan(): void {
    this.#uncommitted += 1;
    this.#parks += 1;
  }

  /** The recorder has committed it. */
  parkCommitted(): void {
    this.#uncommitted -= 1;
  }

  get dueAt(): number | null {
    return this.#dueAt;
  }

  /** A parked delivery is due at this time, by performance.now(), or at once. */
  makeDue(at = performance.now()): void {
    this.#dueAt = Math.min(this.#dueAt ?? Infinity, at);
  }

  /** A read is worthwhile. `replayRoom` is how many deliveries of a replay may join the queue. */
  isDue(now: number, replayRoom: number): boolean {
    // the last parked deliveries are still on their way to the table
    if (this.#isReading || (this.#state === 'joining' && this.#uncommitted > 0)) return false;
    return (this.#dueAt !== null && this.#dueAt <= now) || (this.#replaysDue && replayRoom > 0);
  }

  /** The next ones are read as soon as there is room. Single retries wait for the dispatcher's tick. */
  get isManyDue(): boolean {
    return this.#moreDue || this.#replaysDue;
  }

  /** Some of the webhook's deliveries are in the table. */
  get hasParked(): boolean {
    return this.#dueAt !== null || this.#isReading || this.isManyDue || this.#readBack.size > 0;
  }

  get isReading(): boolean {
    return this.#isReading;
  }

  /** Whatever becomes due from here on may not be seen by the read, and is kept in mind. */
  startReading(): ReadMark {
    this.#isReading = true;
    this.#dueAt = null;
    return { parks: this.#parks, isCommitted: this.#uncommitted === 0 };
  }

  readDone({ moreDue, replaysDue, nextInMs }: Found, before: ReadMark): void {
    const sawAll = before.isCommitted && before.parks === this.#parks;
    this.#isReading = false;
    this.#moreDue = moreDue;
    this.#replaysDue = replaysDue;
    if (nextInMs !== null) this.makeDue(performance.now() + nextInMs);
    else if (!sawAll) this.makeDue();
    // a delivery that was never attempted is always due, so "nothing more" includes all of those
    if (moreDue) return;
    if (sawAll) this.#state = 'flowing';
    else if (this.#state === 'backlogged') this.#state = 'joining';
  }

  /** Not all of the replay's deliveries that came back fit into the queue. */
  leaveReplaysDue(): void {
    this.#replaysDue = true;
  }

  /** After a read, behind what it brought: what waited to join, if the webhook flows again. */
  takeJoined(): Ticket[] {
    return this.#state === 'flowing' ? this.#joining.splice(0) : [];
  }

  /** A parked delivery is in memory, until what becomes of it has committed. */
  takeBack({ id, replayed }: Pick<Delivery, 'id' | 'replayed'>): void {
    this.#readBack.add(id);
    if (replayed) this.#replays.add(id);
  }

  /** It is not in memory any more. Returns false if it was not read back. */
  letGo(deliveryId: string): boolean {
    this.#replays.delete(deliveryId);
    return this.#readBack.delete(deliveryId);
  }

  isReadBack(deliveryId: string): boolean {
    return this.#readBack.has(deliveryId);
  }

  get idsReadBack(): string[] {
    return [...this.#readBack];
  }

  get replaysInMemory(): number {
    return this.#replays.size;
  }

  /** Nothing would be lost with it. */
  get isEmpty(): boolean {
    return (
      this.#state === 'flowing' &&
      this.#dueAt === null &&
      !this.#isReading &&
      !this.#replaysDue &&
      this.#uncommitted === 0 &&
      // what was sent, but not committed yet, would be read back once more
      this.#readBack.size === 0
    );
  }
}
