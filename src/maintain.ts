/**
 * What keeps the tables in shape: the log's partitions, the outbox's ring, triggers on new partitions. Waits for no lock.
 *
 * A slot of the ring that is not read whole, or that somebody's transaction holds, stays: retention never wins over an unread
 * event. The outbox grows then, and the log says so.
 */
import type pg from 'pg';
import { PATIENT } from './db.ts';
import { LIMITS } from './doctor/remark.ts';
import { pinnedSlots } from './doctor/ring.ts';
import type { Logger } from './log.ts';

/** How soon a new partition is captured, or a slot is tried again that could not be recycled. */
const EVERY_MS = 60_000;

/** How often it is looked, and said, whether a slot cannot be emptied. To look may mean to read all of it. */
const PINNED_EVERY_MS = 3_600_000;

interface Task {
  name: string;
  sql(retentionDays: number): string;
}

/** Without today's partition nothing can be recorded. */
const MAKE_LOG_PARTITIONS: Task = {
  name: 'make log partitions',
  sql: () => 'select rowhook._make_log_partitions() as result',
};

const TASKS: readonly Task[] = [
  MAKE_LOG_PARTITIONS,
  { name: 'drop old logs', sql: (days) => `select rowhook._drop_old_logs(${days}) as result` },
  { name: 'recycle a slot', sql: () => 'select rowhook._recycle_slot() as result' },
];

export class Maintenance {
  readonly everyMs = EVERY_MS;
  readonly #pool: pg.Pool;
  readonly #retentionDays: number;
  readonly #log: Logger;
  #running = false;
  #lookedForPinnedAt = -Infinity;

  constructor(pool: pg.Pool, retentionDays: number, log: Logger) {
    this.#pool = pool;
    this.#retentionDays = retentionDays;
    this.#log = log;
  }

  /** What must be done before anything is delivered. */
  prepare(): Promise<void> {
    return this.#do(MAKE_LOG_PARTITIONS);
  }

  /** Each task by itself: one that fails is told and tried again, and holds up none of the others. */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (const task of TASKS) await this.#do(task);
    await this.#reconcile().catch((error) => this.#log.warn({ err: error }, 'what is watched could not be read'));
    await this.#tellPinned().catch((error) => this.#log.warn({ err: error }, 'the slots could not be looked at'));
    this.#running = false;
  }

  async #tellPinned(): Promise<void> {
    if (performance.now() - this.#lookedForPinnedAt < PINNED_EVERY_MS) return;
    this.#lookedForPinnedAt = performance.now();
    for (const { what, why, mend } of await pinnedSlots(this.#pool, LIMITS.slotSeconds))
      this.#log.warn({ why, mend }, what);
  }

  /** One source for each transaction, whose locks would stay until its end. What inherits comes before its parent. */
  async #reconcile(): Promise<void> {
    const { rows } = await this.#pool.query<{ id: number }>('select id from rowhook.webhook_sources order by id desc');
    for (const { id } of rows)
      await this.#do({ name: 'reconcile', sql: () => `select relation, change from rowhook.reconcile(${id})` });
  }

  async #do({ name, sql }: Task): Promise<void> {
    try {
      const { rows } = await this.#pool.query({ text: sql(this.#retentionDays), ...PATIENT });
      for (const row of rows) if (row.result !== 0 && row.result !== null) this.#log.info({ ...row }, name);
    } catch (error) {
      this.#log.warn({ err: error }, `${name} failed: it is tried again in a minute`);
    }
  }
}
