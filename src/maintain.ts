/** What keeps the tables in shape: the log's partitions, the outbox's ring, triggers on new partitions. Waits for no lock. */
import type pg from 'pg';
import { PATIENT } from './db.ts';
import type { Logger } from './log.ts';

/** How soon a new partition is captured, or a slot is tried again that could not be recycled. */
const EVERY_MS = 60_000;

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
  { name: 'reconcile', sql: () => 'select relation, change from rowhook.reconcile()' },
];

export class Maintenance {
  readonly everyMs = EVERY_MS;
  readonly #pool: pg.Pool;
  readonly #retentionDays: number;
  readonly #log: Logger;
  #running = false;

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
    this.#running = false;
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
