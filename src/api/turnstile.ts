/**
 * Lets as many requests through as there are connections. The others wait, for a time.
 *
 * Connections are shared by turns: an organization, or the network of an address whose token is not
 * verified yet. A turn has at most half of the connections, and turns are served in rotation. When
 * all requests stood in one line, an organization whose requests were slow held every connection,
 * and those of others failed after their time.
 */
import { unavailable } from './problem.ts';

/** Share of one turn. At least one place. */
const SHARE = 1 / 2;

/** A turn may have this many times of the places that are free, so two turns do not take them all. */
const TIMES_FREE = 4;

/** Other turns have names that are words. */
export const turnOfTenant = (tenantId: string) => `=${tenantId}`;
export const turnOfNetwork = (network: string) => `@${network}`;

export interface Place {
  /**
   * Counts the place for another turn from now on: the token is verified. False: that turn has its
   * share already, or has requests that wait.
   */
  move(turn: string): boolean;
  leave(): void;
}

type Go = () => void;

export class Turnstile {
  readonly #places: number;
  readonly #waitMs: number;
  /** In the order of their turns. None of them is empty. */
  readonly #waiting = new Map<string, Set<Go>>();
  readonly #held = new Map<string, number>();
  #free: number;

  constructor(places: number, waitMs: number) {
    this.#places = places;
    this.#free = places;
    this.#waitMs = waitMs;
  }

  get waiting(): number {
    return [...this.#waiting.values()].reduce((sum, { size }) => sum + size, 0);
  }

  async pass(turn: string): Promise<Place> {
    if (!this.#waiting.has(turn) && this.#mayPass(turn)) this.#take(turn);
    else await this.#turn(turn);
    let holder: string | undefined = turn;
    return {
      move: (to) => {
        if (holder === undefined || holder === to) return true;
        this.#give(holder);
        const mayMove = !this.#waiting.has(to) && this.#mayPass(to);
        if (mayMove) holder = to;
        this.#take(holder);
        this.#next();
        return mayMove;
      },
      leave: () => {
        if (holder === undefined) return;
        this.#give(holder);
        holder = undefined;
        this.#next();
      },
    };
  }

  #mayPass(turn: string): boolean {
    if (this.#free <= 0) return false;
    const most = Math.min(Math.ceil(SHARE * this.#places), TIMES_FREE * this.#free);
    return (this.#held.get(turn) ?? 0) < most;
  }

  #take(turn: string): void {
    this.#free -= 1;
    this.#held.set(turn, (this.#held.get(turn) ?? 0) + 1);
  }

  #give(turn: string): void {
    this.#free += 1;
    const left = (this.#held.get(turn) ?? 1) - 1;
    if (left === 0) this.#held.delete(turn);
    else this.#held.set(turn, left);
  }

  /** Turns that are skipped hold places, so there are never more of them than places. */
  #next(): void {
    for (const [turn, queue] of this.#waiting) {
      if (this.#free <= 0) return;
      if (!this.#mayPass(turn)) continue;
      const [go] = queue;
      // It goes to the end, where this loop meets it again.
      this.#waiting.delete(turn);
      this.#waiting.set(turn, queue);
      this.#take(turn);
      go?.();
    }
  }

  /** Within a turn: first come, first served. */
  #turn(turn: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.#waiting.get(turn) ?? new Set();
      const end = () => {
        clearTimeout(timer);
        queue.delete(go);
        if (queue.size === 0) this.#waiting.delete(turn);
      };
      const go = () => {
        end();
        resolve();
      };
      const timer = setTimeout(() => {
        end();
        reject(unavailable('Too many requests wait for the database.'));
      }, this.#waitMs);
      this.#waiting.set(turn, queue.add(go));
    });
  }
}
