/**
 * Reads the tenants that lag, page by page, between two windows of the lanes. One change of a tenant
 * with many webhooks may take seconds to match. Then the lanes are read on meanwhile.
 */
import type { LaggingTenant, Position, Window } from '../model.ts';
import type { Groups } from './groups.ts';
import { haveMet, type LaggingGroup, laneOf } from './lane-groups.ts';
import type { Scope } from './scope.ts';
import type { TimedReads } from './timed-reads.ts';
import { expectRows } from './windows.ts';

/** How long the lanes wait until one page is taken. Most pages take less. */
const WAIT_MS = 4;

/**
 * A page asks for this many times the rows of the last one that were of use. Twice as many was
 * nearly half of the work for nothing; an end of a page that was whole doubles them.
 */
const MORE_ROWS = 1.25;

export interface TakesPages {
  take(scope: Scope, from: Position, window: Window): Promise<LaggingTenant[]>;
  onJoined(lane: number, tenantId: string): void;
}

export class LaggingPages {
  readonly #groups: Groups;
  readonly #reads: TimedReads;
  readonly #options: TakesPages;
  /** The page that is being taken. */
  #taking: Promise<void> | undefined;
  #error: unknown;

  constructor(groups: Groups, reads: TimedReads, options: TakesPages) {
    this.#groups = groups;
    this.#reads = reads;
    this.#options = options;
  }

  /**
   * Reads one page of the next tenant that lags. Returns false if there is nothing to read now.
   * Throws if an earlier page failed.
   */
  async readNext(): Promise<boolean> {
    if (this.#error !== undefined) throw this.#error;
    if (this.#taking) return false;
    const next = this.#groups.nextLagging();
    if (!next) return false;
    const { group, lanes } = next;
    if (!haveMet(group, lanes)) {
      const window = await this.#reads.read(group, this.#groups.endOfNext(group, lanes));
      this.#taking = this.#take(group, window);
      await this.#wait();
    }
    if (!this.#taking && this.#groups.joinLane(group, lanes)) this.#options.onJoined(laneOf(group), group.tenantId);
    return true;
  }

  /** Waits until no page is being taken. Positions of tenants may be asked for then. */
  async settle(): Promise<void> {
    await this.#taking;
  }

  async #take(group: LaggingGroup, window: Window): Promise<void> {
    try {
      const [cut] = await this.#options.take(group, group.position, window);
      if (cut) {
        const { lastId } = cut.position;
        const used = window.changes.findIndex(({ id }) => BigInt(id) > BigInt(lastId ?? 0));
        expectRows(group, MORE_ROWS * used);
      }
      group.position = cut?.position ?? window.after;
    } catch (error) {
      this.#error = error;
    } finally {
      this.#taking = undefined;
    }
  }

  async #wait(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, WAIT_MS);
    });
    await Promise.race([this.#taking, late]);
    clearTimeout(timer);
    if (this.#error !== undefined) throw this.#error;
  }
}
