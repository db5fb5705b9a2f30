/**
 * Hands lanes to another daemon, while all other lanes go on here. The reader stops reading the
 * lane, and its queued deliveries are parked. When its attempts in flight have ended and everything
 * is recorded, its position is written, and the lane is free. So the next owner repeats nothing,
 * and the lane's tenants wait only for moments.
 *
 * An endpoint that hangs must not stop the other endpoints of its lane for long. A lane that does
 * not come to rest within REST_MS is read again, and its handover is retried. Until then, its
 * webhooks that hang or fail start nothing more. The lane therefore comes to rest within one
 * timeout.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import type { Lane } from '../model.ts';
import type { Left } from '../read/groups.ts';
import type { OpenWindows } from '../read/progress.ts';
import type { Reader } from '../read/reader.ts';
import type { Recorder } from '../record/recorder.ts';
import { within } from '../shared/timers.ts';
import type { Lease } from './lease.ts';

/**
 * How long a lane may stand still before it is handed over. Lanes with slow attempts are known
 * beforehand.
 */
const REST_MS = 1_500;

/** How often to check whether a lane has come to rest. */
const LOOK_MS = 10;

export interface HandoverOptions {
  stream: Reader;
  dispatcher: Dispatcher;
  recorder: Recorder;
  windows: OpenWindows;
  lease: Lease;
  /** Epoch of each owned lane. */
  epochs: Map<number, string>;
  /** Continues where earlier owners of these lanes ended. */
  receive(lanes: readonly Lane[]): Promise<void>;
}

export class Handover {
  readonly #options: HandoverOptions;
  #leaving: ReadonlySet<number> = new Set();
  #rebalancing: Promise<void> | undefined;
  #ending = false;

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /**
   * Takes or gives back lanes up to this daemon's fair share. While one call runs, other calls do
   * nothing.
   */
  async rebalance(): Promise<void> {
    if (this.#rebalancing || this.#ending) return;
    this.#rebalancing = this.#rebalance().finally(() => {
      this.#rebalancing = undefined;
    });
    await this.#rebalancing;
  }

  /**
   * Called before an end. Gives back each lane as soon as its attempts have ended, within
   * `deadlineMs`.
   */
  async giveAll(deadlineMs: number): Promise<void> {
    this.#ending = true;
    await within(deadlineMs, this.#rebalancing ?? Promise.resolve());
    await this.#give(this.#options.lease.ownedLanes, deadlineMs);
  }

  async #rebalance(): Promise<void> {
    const { lease, receive } = this.#options;
    if (lease.surplus > 0) return this.#giveSome(lease.surplus);
    this.#slowDown([]);
    const lanes = await lease.take();
    if (lanes.length > 0) await receive(lanes);
  }

  /**
   * Gives back `count` lanes, those without slow attempts first. Gives back fewer if the others do
   * not come to rest now.
   */
  async #giveSome(count: number): Promise<void> {
    const { dispatcher, lease, stream, epochs } = this.#options;
    const hanging = dispatcher.quiesce.slowLanes;
    const reluctance = (lane: number) => (hanging.has(lane) ? (this.#leaving.has(lane) ? 1 : 2) : 0);
    const chosen = [...lease.ownedLanes].sort((a, b) => reluctance(a) - reluctance(b)).slice(0, count);
    this.#slowDown(chosen);
    const restless = await this.#give(
      chosen.filter((lane) => !hanging.has(lane)),
      REST_MS,
    );
    dispatcher.quiesce.resume([...restless.keys()]);
    const lanes = [...restless].map(([lane, left]) => ({ lane, epoch: epochs.get(lane) as string, ...left }));
    if (lanes.length > 0) stream.join(lanes);
    // There are more daemons than lanes, so this daemon stands by.
    if (lease.ownedLanes.length === 0) stream.stop();
  }

  #slowDown(lanes: readonly number[]): void {
    if (lanes.length === 0 && this.#leaving.size === 0) return;
    this.#leaving = new Set(lanes);
    this.#options.dispatcher.quiesce.slowDown(this.#leaving);
  }

  /**
   * Returns the lanes that did not come to rest in time, with the position up to which each was
   * read.
   */
  async #give(lanes: readonly number[], deadlineMs: number): Promise<Map<number, Left>> {
    const { quiesce } = this.#options.dispatcher;
    const left = await this.#options.stream.leave(lanes);
    quiesce.freeze([...left.keys()]);
    const until = performance.now() + deadlineMs;
    for (;;) {
      const atRest = [...left].filter(([lane]) => quiesce.isAtRest(lane));
      if (atRest.length > 0) await this.#release(atRest);
      for (const [lane] of atRest) left.delete(lane);
      if (left.size === 0 || performance.now() > until) return left;
      await sleep(LOOK_MS);
    }
  }

  async #release(left: readonly [number, Left][]): Promise<void> {
    const { dispatcher, recorder, windows, lease, epochs } = this.#options;
    const lanes = left.map(([lane]) => lane);
    const lagging = left.flatMap(([, { lagging }]) => lagging);
    const positions = left.map(([lane, { position }]) => ({ lane, tenantId: null, position }));
    await recorder.writeLast([...positions, ...lagging, ...windows.forget(lanes, lagging)]);
    for (const lane of lanes) epochs.delete(lane);
    dispatcher.quiesce.forget(lanes);
    await lease.give(lanes);
  }
}
