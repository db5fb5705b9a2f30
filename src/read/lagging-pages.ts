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
 * Pages that are taken at a time, one for each tenant. A change of a tenant with 1,000 webhooks and
 * slow filters takes seconds to match. When one page was taken at a time, another tenant that lagged
 * got 784 of 10,000 events in 25 s. They take 5 s now, and 1.4 s without such a neighbour.
 */
const TAKING_MAX = 4;

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
  readonly #reads: Pick<TimedReads, 'read'>;
  readonly #options: TakesPages;
  /** The pages that are being taken. */
  readonly #taking = new Map<LaggingGroup, Promise<void>>();
  #error: unknown;

  constructor(groups: Groups, reads: Pick<TimedReads, 'read'>, options: TakesPages) {
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
    if (this.#taking.size >= TAKING_MAX) return false;
    const next = this.#groups.nextLagging((group) => this.#taking.has(group));
    if (!next) return false;
    const { group, lanes } = next;
    if (!haveMet(group, lanes)) {
      const window = await this.#reads.read(group, this.#groups.endOfNext(group, lanes));
      const taking = this.#take(group, window).finally(() => this.#taking.delete(group));
      this.#taking.set(group, taking);
      await this.#wait(taking);
    }
    if (!this.#taking.has(group) && this.#groups.joinLane(group, lanes))
      this.#options.onJoined(laneOf(group), group.tenantId);
    return true;
  }

  /** Waits until no page is being taken. Positions of tenants may be asked for then. */
  async settle(): Promise<void> {
    await Promise.all(this.#taking.values());
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
    }
  }

  async #wait(taking: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, WAIT_MS);
    });
    await Promise.race([taking, late]);
    clearTimeout(timer);
    if (this.#error !== undefined) throw this.#error;
  }
}
