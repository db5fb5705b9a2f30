/**
 * The windows that were read and are not done yet, in order. They determine the positions that may
 * be written: one for each lane, and one for each tenant that lags.
 */
import type { LaggingTenant, Position } from '../model.ts';
import type { Scope } from './scope.ts';

/** How far a lane is done, or a tenant that lags. */
export interface Done {
  lane: number;
  /** Null: the position is that of the lane. */
  tenantId: string | null;
  /** Null: the tenant has reached its lane's position, and has none of its own any more. */
  position: Position | null;
}

interface OpenWindow {
  lanes: number[];
  /** Null: the window is one of lanes. */
  tenantId: string | null;
  /** What is done when the window is done. Undefined while the window is being matched. */
  done: Done[] | undefined;
  pending: number;
  /** When the window's first event happened. Undefined: the window has no event. */
  occurredAt: number | undefined;
  /** By performance.now(). */
  openedAt: number;
}

/** A window that is being matched. */
export interface Matching {
  /** Adds `count` deliveries, which the window waits for. */
  expect(count: number, occurredAt: number | undefined): void;
  /** Each delivery calls this once, when the window need not wait for it any more. */
  settle(): void;
  /**
   * All deliveries of the window have been added. `after` is its end. The tenants in `cut` begin to
   * lag inside of it, or lag on.
   */
  close(after: Position, cut: readonly LaggingTenant[]): void;
}

export class OpenWindows {
  readonly #onMoved: () => void;
  readonly #open: OpenWindow[] = [];
  readonly #done = new Map<number | string, Done>();

  /** `onMoved` is called when a position has moved forward. */
  constructor(onMoved: () => void) {
    this.#onMoved = onMoved;
  }

  /** How far each lane, and each tenant that lags, is done. */
  get done(): ReadonlyMap<number | string, Done> {
    return this.#done;
  }

  /**
   * When the oldest event happened that is neither delivered nor parked, in milliseconds since
   * 1970. Events of tenants that lag do not count.
   */
  get oldestOccurredAt(): number | undefined {
    return this.#open.find(({ tenantId }) => tenantId === null)?.occurredAt;
  }

  /** How long the oldest open window has been open, in milliseconds. */
  get oldestOpenMs(): number {
    return this.#open[0] ? performance.now() - this.#open[0].openedAt : 0;
  }

  open({ lanes, tenantId }: Scope): Matching {
    const window: OpenWindow = {
      lanes: [...lanes],
      tenantId,
      done: undefined,
      pending: 0,
      occurredAt: undefined,
      openedAt: performance.now(),
    };
    this.#open.push(window);
    const advance = () => {
      if (window.pending === 0 && window.done) this.#advance();
    };
    return {
      expect: (count, occurredAt) => {
        window.pending += count;
        if (count > 0) window.occurredAt ??= occurredAt;
      },
      settle: () => {
        window.pending -= 1;
        advance();
      },
      close: (after, cut) => {
        const whole: Done[] =
          tenantId === null
            ? window.lanes.map((lane) => ({ lane, tenantId: null, position: after }))
            : cut.length > 0
              ? []
              : window.lanes.map((lane) => ({ lane, tenantId, position: after }));
        window.done = [...whole, ...cut];
        advance();
      },
    };
  }

  /**
   * A tenant has been read up to the position of its lane, and is read with it from now on. Its
   * own position is deleted once its windows are done.
   */
  join(lane: number, tenantId: string): void {
    const done = [{ lane, tenantId, position: null }];
    this.#open.push({ lanes: [lane], tenantId, done, pending: 0, occurredAt: undefined, openedAt: performance.now() });
    this.#advance();
  }

  /** The deletion of these tenants' positions was written, so it need not be kept. */
  written(moved: readonly Done[]): void {
    for (const done of moved) {
      const { tenantId, position } = done;
      if (tenantId !== null && position === null && this.#done.get(tenantId) === done) this.#done.delete(tenantId);
    }
  }

  /**
   * Forgets `lanes`, which are given back. Returns the deletions of positions that are still to be
   * written for them. A tenant may lag again since: then it is in `lagging` and keeps its position.
   */
  forget(lanes: readonly number[], lagging: readonly LaggingTenant[]): Done[] {
    const deletions = new Map<string, Done>();
    const note = (done: Done) => {
      if (done.position === null) deletions.set(done.tenantId as string, done);
    };
    for (const [key, done] of this.#done) {
      if (!lanes.includes(done.lane)) continue;
      this.#done.delete(key);
      note(done);
    }
    for (const window of this.#open) {
      for (const done of window.done ?? []) if (lanes.includes(done.lane)) note(done);
      window.lanes = window.lanes.filter((lane) => !lanes.includes(lane));
      window.done = window.done?.filter(({ lane }) => !lanes.includes(lane));
    }
    for (const { tenantId } of lagging) deletions.delete(tenantId);
    return [...deletions.values()];
  }

  #advance(): void {
    let moved = false;
    for (;;) {
      const [first] = this.#open;
      if (!first?.done || first.pending > 0) break;
      this.#open.shift();
      for (const done of first.done) this.#done.set(done.tenantId ?? done.lane, done);
      moved = true;
    }
    if (moved) this.#onMoved();
  }
}
