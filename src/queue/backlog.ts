/**
 * What one webhook has in webhook_deliveries ("parked"). This decides where new deliveries go.
 *
 *     flowing ──fallBehind()──▶ backlogged ──readDone(): nothing more is due──▶ joining
 *        ▲                          │  ▲                                           │
 *        │                          │  └──────────────── leave() ──────────────────┤
 *        └──── readDone(): the read saw all that was parked, and nothing more is due
 *
 * flowing     New deliveries go into the queue. Only retries may be parked: a retry waits for its
 *             time, and later deliveries may overtake it.
 *             Entered at the start, and when everything that was parked in order is back.
 *             Left when a new delivery must be parked.
 * backlogged  New deliveries are parked too, behind those that are parked already. So a slow
 *             webhook costs no memory, the position moves on, and its rows start in order.
 *             Left when a read of the table says that nothing more is due.
 * joining     All parked deliveries are back, except some that the recorder has yet to commit.
 *             New deliveries wait here, in memory. They enter the queue after the last parked one.
 *             Without this state, a load that never pauses would keep a webhook backlogged forever.
 *             Left when a read sees all, or when everything in memory is parked again.
 *
 * A read sees all if every park was committed before the read, and no park began during it.
 */
import type { Delivery } from '../model.ts';
import { payloadSizeOf, type Ticket } from './ticket.ts';

/** What one read of due deliveries found in the table. */
export interface Found {
  /** More deliveries are due than came back. */
  moreDue: boolean;
  /** More deliveries of a replay are due than came back. */
  replaysDue: boolean;
  /** Milliseconds until the next parked delivery is due. Null: nothing is parked. */
  nextInMs: number | null;
}

/** The state of the parks at the start of a read. */
export interface ReadMark {
  parks: number;
  isCommitted: boolean;
}

export class Backlog {
  #state: 'flowing' | 'backlogged' | 'joining' = 'flowing';
  /** In state joining: the deliveries that follow the last parked ones. */
  #joining: Ticket[] = [];
  /** Number of parked entries that the recorder has not committed yet. */
  #uncommitted = 0;
  /** Number of parks so far. A read compares it to notice a park that began during the read. */
  #parks = 0;
  /**
   * The time by performance.now() at which the next parked delivery is due. Null: none is known.
   */
  #dueAt: number | null = null;
  #isReading = false;
  #moreDue = false;
  #replaysDue = false;
  /** Parked deliveries that are queued or in flight: ids, with characters of payload. */
  readonly #readBack = new Map<string, number>();
  #sizeReadBack = 0;
  /** Ids in #readBack that belong to a replay. */
  readonly #replays = new Set<string>();

  get state(): 'flowing' | 'backlogged' | 'joining' {
    return this.#state;
  }

  /** Parks all new deliveries from now on. */
  fallBehind(): void {
    if (this.#state === 'flowing') this.#state = 'backlogged';
  }

  /** In state joining: `ticket` is a new delivery and waits for the last parked ones. */
  join(ticket: Ticket): void {
    this.#joining.push(ticket);
  }

  /** Called when everything in memory is parked. Returns the tickets that waited to join. */
  leave(): Ticket[] {
    if (this.#state === 'joining') this.#state = 'backlogged';
    return this.#joining.splice(0);
  }

  /**
   * When the oldest ticket that waits to join was queued, by performance.now(). Infinity: none
   * waits.
   */
  get joiningSince(): number {
    return this.#joining[0]?.queuedAt ?? Infinity;
  }

  /** Counts a delivery that is on its way to the table. */
  parkBegan(): void {
    this.#uncommitted += 1;
    this.#parks += 1;
  }

  /** Counts a delivery that the recorder has committed. */
  parkCommitted(): void {
    this.#uncommitted -= 1;
  }

  get dueAt(): number | null {
    return this.#dueAt;
  }

  /** Records that a parked delivery is due at `at`, by performance.now(). */
  makeDue(at = performance.now()): void {
    this.#dueAt = Math.min(this.#dueAt ?? Infinity, at);
  }

  /**
   * Whether a read is worthwhile. `replayRoom` is how many deliveries of a replay may join the
   * queue.
   */
  isDue(now: number, replayRoom: number): boolean {
    // In state joining: the last parked deliveries are still on their way to the table.
    if (this.#isReading || (this.#state === 'joining' && this.#uncommitted > 0)) return false;
    return (this.#dueAt !== null && this.#dueAt <= now) || (this.#replaysDue && replayRoom > 0);
  }

  /**
   * Whether to read again as soon as there is room. Single retries wait for the dispatcher's tick.
   */
  get isManyDue(): boolean {
    return this.#moreDue || this.#replaysDue;
  }

  /** Whether some of the webhook's deliveries are in the table. */
  get hasParked(): boolean {
    return this.#dueAt !== null || this.#isReading || this.isManyDue || this.#readBack.size > 0;
  }

  get isReading(): boolean {
    return this.#isReading;
  }

  /**
   * Starts a read. The read may miss deliveries that become due from now on, so their times are
   * kept.
   */
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
    // A delivery that was never attempted is always due. So if nothing more is due, all of those
    // are back.
    if (moreDue) return;
    if (sawAll) this.#state = 'flowing';
    else if (this.#state === 'backlogged') this.#state = 'joining';
  }

  /** Notes that some of the replay's deliveries that came back did not fit into the queue. */
  leaveReplaysDue(): void {
    this.#replaysDue = true;
  }

  /**
   * Called after a read, once its deliveries are queued. If the webhook flows again, returns the
   * tickets that waited to join.
   */
  takeJoined(): Ticket[] {
    return this.#state === 'flowing' ? this.#joining.splice(0) : [];
  }

  /** Marks a parked delivery as being in memory, until its outcome has committed. */
  takeBack({ id, replayed, change }: Pick<Delivery, 'id' | 'replayed' | 'change'>): void {
    this.letGo(id);
    const size = payloadSizeOf(change);
    this.#readBack.set(id, size);
    this.#sizeReadBack += size;
    if (replayed) this.#replays.add(id);
  }

  /** Marks a delivery as not in memory any more. Returns false if it was not read back. */
  letGo(deliveryId: string): boolean {
    this.#replays.delete(deliveryId);
    this.#sizeReadBack -= this.#readBack.get(deliveryId) ?? 0;
    return this.#readBack.delete(deliveryId);
  }

  isReadBack(deliveryId: string): boolean {
    return this.#readBack.has(deliveryId);
  }

  get idsReadBack(): string[] {
    return [...this.#readBack.keys()];
  }

  /** Characters of payload of the parked deliveries in memory. */
  get sizeReadBack(): number {
    return this.#sizeReadBack;
  }

  get replaysInMemory(): number {
    return this.#replays.size;
  }

  /** Whether the backlog can be deleted without losing anything. */
  get isEmpty(): boolean {
    return (
      this.#state === 'flowing' &&
      this.#dueAt === null &&
      !this.#isReading &&
      !this.#replaysDue &&
      this.#uncommitted === 0 &&
      // A sent delivery that is not committed yet would be read back once more.
      this.#readBack.size === 0
    );
  }
}
