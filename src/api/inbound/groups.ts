/**
 * Requests that wait at the same time are stored together, by one statement and with one flush. A
 * request waits only while the statements before it run, so one that comes alone is sent at once,
 * and the more requests come, the more of them share a statement.
 */
import type pg from 'pg';
import { type Arrival, type Refused, receive, type Stored } from '../../operations/inbound/receive.ts';
import { isRefusal } from '../../shared/isolate.ts';
import { unavailable } from '../problem.ts';
import type { Turnstile } from '../turnstile.ts';

/** Statements that run at the same time: one is flushed while the other one inserts. */
const RUNNING_MAX = 2;
const REQUESTS_MAX = 64;
/** Nobody waits long for the large bodies of others. */
const CHARACTERS_MAX = 262_144;

interface Waiting {
  arrival: Arrival;
  settle: (answer: Stored | Refused) => void;
  reject: (error: unknown) => void;
  timer: NodeJS.Timeout;
}

export class Groups {
  readonly #pool: pg.Pool;
  readonly #turnstile: Turnstile;
  readonly #waitMs: number;
  /** Whoever has waiting requests takes turns: a flood fills no group alone. */
  readonly #turns = new Map<string, Set<Waiting>>();
  #running = 0;
  #isPlanned = false;

  constructor(pool: pg.Pool, turnstile: Turnstile, waitMs: number) {
    this.#pool = pool;
    this.#turnstile = turnstile;
    this.#waitMs = waitMs;
  }

  get waiting(): number {
    return [...this.#turns.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Resolves once it is committed. `turn`: whose turn it is, a tenant. */
  store(turn: string, arrival: Arrival): Promise<Stored | Refused> {
    return new Promise((settle, reject) => {
      const queue = this.#turns.get(turn) ?? new Set();
      const timer = setTimeout(() => {
        queue.delete(waiting);
        if (queue.size === 0 && this.#turns.get(turn) === queue) this.#turns.delete(turn);
        reject(unavailable('Too many requests wait for the database.'));
      }, this.#waitMs);
      const waiting = { arrival, settle, reject, timer };
      this.#turns.set(turn, queue.add(waiting));
      this.#plan();
    });
  }

  /** Requests that are read from their sockets in the same turn of the event loop go together. */
  #plan(): void {
    if (this.#isPlanned || this.#running >= RUNNING_MAX) return;
    this.#isPlanned = true;
    setImmediate(() => {
      this.#isPlanned = false;
      while (this.#running < RUNNING_MAX && this.#turns.size > 0) void this.#next();
    });
  }

  async #next(): Promise<void> {
    this.#running += 1;
    await this.#run(this.#take());
    this.#running -= 1;
    if (this.#turns.size > 0) this.#plan();
  }

  #take(): Waiting[] {
    const group: Waiting[] = [];
    const keys = new Set<string>();
    const later: [string, Set<Waiting>][] = [];
    let characters = 0;
    // A Map is visited in order of insertion, and what is inserted meanwhile comes last.
    for (const [turn, queue] of this.#turns) {
      const [first] = queue;
      if (first === undefined || group.length === REQUESTS_MAX) break;
      const { arrival, timer } = first;
      characters += arrival.payload.length;
      if (characters > CHARACTERS_MAX && group.length > 0) break;
      this.#turns.delete(turn);
      // Its own statement waits for that of the first one, and answers the same event.
      if (arrival.keys.some((key) => keys.has(key))) {
        later.push([turn, queue]);
        continue;
      }
      for (const key of arrival.keys) keys.add(key);
      clearTimeout(timer);
      queue.delete(first);
      group.push(first);
      if (queue.size > 0) this.#turns.set(turn, queue);
    }
    for (const [turn, queue] of later) this.#turns.set(turn, queue);
    return group;
  }

  /** Never rejects. */
  async #run(group: readonly Waiting[]): Promise<void> {
    try {
      const answers = await this.#statement(group.map(({ arrival }) => arrival));
      for (const [at, { settle }] of group.entries()) settle(answers[at] as Stored | Refused);
    } catch (error) {
      // What is wrong with one of them is the error of that one alone. Nothing was stored.
      if (group.length > 1 && isRefusal(error)) for (const one of group) void this.#run([one]);
      else for (const { reject } of group) reject(error);
    }
  }

  async #statement(arrivals: readonly Arrival[]): Promise<(Stored | Refused)[]> {
    const place = await this.#turnstile.pass('inbound');
    try {
      return await receive(this.#pool, arrivals);
    } finally {
      place.leave();
    }
  }
}
