/** Lets as many requests through as there are connections. The others wait, for a time. */
import { unavailable } from './problem.ts';

export class Turnstile {
  readonly #waitMs: number;
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(places: number, waitMs: number) {
    this.#free = places;
    this.#waitMs = waitMs;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves to a function that gives the place back. */
  async pass(): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await this.#turn();
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const [next] = this.#waiting;
      if (next === undefined) this.#free++;
      else next();
    };
  }

  /** The place goes from hand to hand, first come, first served. */
  #turn(): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        this.#waiting.delete(go);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(go);
        reject(unavailable('Too many requests wait for the database.'));
      }, this.#waitMs);
      this.#waiting.add(go);
    });
  }
}
