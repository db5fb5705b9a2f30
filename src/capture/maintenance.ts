/**
 * Maintains the tables: the log's partitions, the outbox's ring, triggers on new partitions. It
 * never waits for a lock.
 *
 * A slot of the ring is kept while it has unread rows or a transaction has locked it. Retention
 * never wins over an unread event. The outbox grows meanwhile, and the log reports it.
 */
import type pg from 'pg';
import { PATIENT } from '../database/connections.ts';
import type { Logger } from '../observe/log.ts';
import { pinnedSlots, SLOT_SECONDS_MAX } from './pinned-slots.ts';
import { sourceProblems } from './source-problems.ts';
import type { SourceProblem } from './trigger-problems.ts';

/**
 * How soon a new partition is captured, and how soon a slot is retried that could not be emptied.
 */
const EVERY_MS = 60_000;

/**
 * How often to check for slots that cannot be emptied, and to log them. A check may read a whole
 * slot.
 */
const PINNED_EVERY_MS = 3_600_000;

/** How often to log that a watched table is not captured. */
const PROBLEM_EVERY_MS = 3_600_000;

/**
 * Counts all changes to the catalogs that describe watched tables. If the count has not changed,
 * and the last reconcile() had nothing to do and found no problem, reconcile() is skipped.
 * reconcile() takes 20 ms of CPU per table, and was a quarter of a sleeping daemon's cost to PostgreSQL.
 * The server may count up to 10 s late, so a change just before a check may be seen a minute later.
 * Null: the server does not count.
 */
const CATALOG_CHANGES = `
  select case when current_setting('track_counts')::boolean
              then sum(pg_stat_get_tuples_inserted(c)
                       + pg_stat_get_tuples_updated(c)
                       + pg_stat_get_tuples_deleted(c))::text
         end as changes
    from unnest(array[
           'pg_class', 'pg_attribute', 'pg_attrdef', 'pg_index', 'pg_inherits', 'pg_constraint',
           'pg_trigger', 'pg_proc', 'pg_type', 'rowhook.webhook_sources']::regclass[]) as c`;

interface Task {
  name: string;
  sql(retentionDays: number): string;
}

/** If no partition can be created, webhook_logs_default takes the rows. */
const MAKE_LOG_PARTITIONS: Task = {
  name: 'make log partitions',
  sql: () => 'select rowhook._make_log_partitions() as result',
};

/** If no partition can be created, integration_events_default takes the rows. */
const MAKE_INBOUND_PARTITIONS: Task = {
  name: 'make partitions of inbound events',
  sql: () => 'select rowhook._make_inbound_partitions() as result',
};

const TASKS: readonly Task[] = [
  MAKE_LOG_PARTITIONS,
  MAKE_INBOUND_PARTITIONS,
  { name: 'drop old logs', sql: (days) => `select rowhook._drop_old_logs(${days}) as result` },
  { name: 'drop old inbound events', sql: (days) => `select rowhook._drop_old_inbound(${days}) as result` },
  { name: 'delete old rows', sql: (days) => `select rowhook._delete_old_rows(${days})::float8 as result` },
  { name: 'recycle a slot', sql: () => 'select rowhook._recycle_slot() as result' },
];

export class Maintenance {
  readonly everyMs = EVERY_MS;
  readonly #pool: pg.Pool;
  readonly #retentionDays: number;
  readonly #log: Logger;
  #running = false;
  #stopped = false;
  #lookedForPinnedAt = -Infinity;
  /**
   * Problems that keep watched tables from being captured, at the last check. Undefined: not
   * checked yet.
   */
  #problems: readonly SourceProblem[] | undefined;
  /** When each problem was last logged. */
  readonly #loggedAt = new Map<string, number>();
  /** CATALOG_CHANGES at the last check with nothing to reconcile. */
  #reconciledAt: string | null = null;

  constructor(pool: pg.Pool, retentionDays: number, log: Logger) {
    this.#pool = pool;
    this.#retentionDays = retentionDays;
    this.#log = log;
  }

  /** The number of watched tables with a capture problem. Undefined: not checked yet. */
  get sourcesNotCaptured(): number | undefined {
    return this.#problems && new Set(this.#problems.map(({ table }) => table)).size;
  }

  /** Work that must be done before any delivery. */
  async prepare(): Promise<void> {
    await this.#do(MAKE_LOG_PARTITIONS);
  }

  /**
   * Runs each task by itself. A task that fails is logged and retried, and delays no other task.
   */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (const task of TASKS) await this.#do(task);
    await this.#reconcile().catch((error) => this.#warn(error, 'the watched tables could not be checked'));
    this.#logProblems();
    await this.#tellPinned().catch((error) => this.#warn(error, 'the slots of the outbox could not be checked'));
    this.#running = false;
  }

  /**
   * The session ends and closes its pool. No new task starts, and failures are no longer logged.
   */
  stop(): void {
    this.#stopped = true;
  }

  #warn(error: unknown, what: string): void {
    if (!this.#stopped) this.#log.warn({ err: error }, what);
  }

  async #tellPinned(): Promise<void> {
    if (performance.now() - this.#lookedForPinnedAt < PINNED_EVERY_MS) return;
    this.#lookedForPinnedAt = performance.now();
    for (const { what, why, fix } of await pinnedSlots(this.#pool, SLOT_SECONDS_MAX))
      this.#log.warn({ why, fix }, what);
  }

  /**
   * Handles one source per transaction, because its locks last until the transaction ends. Children
   * come before their parents.
   */
  async #reconcile(): Promise<void> {
    const [before] = (await this.#pool.query<{ changes: string | null }>(CATALOG_CHANGES)).rows;
    if (this.#reconciledAt !== null && before?.changes === this.#reconciledAt) return;
    const { rows } = await this.#pool.query<{ id: number }>('select id from rowhook.webhook_sources order by id desc');
    let nothing = true;
    for (const { id } of rows) {
      const task = { name: 'reconcile', sql: () => `select relation, change from rowhook.reconcile(${id})` };
      nothing = (await this.#do(task)) === 0 && nothing;
    }
    this.#problems = await sourceProblems(this.#pool);
    this.#reconciledAt = nothing ? (before?.changes ?? null) : null;
  }

  /** Logs each new problem at once, and again every hour while it lasts. */
  #logProblems(): void {
    const now = performance.now();
    const problems = this.#problems ?? [];
    for (const what of this.#loggedAt.keys())
      if (!problems.some((problem) => problem.what === what)) this.#loggedAt.delete(what);
    for (const { table, what, why, fix } of problems) {
      if (now - (this.#loggedAt.get(what) ?? -Infinity) < PROBLEM_EVERY_MS) continue;
      this.#loggedAt.set(what, now);
      this.#log.warn({ table, why, fix }, what);
    }
  }

  /** Returns the number of affected rows. Undefined: the task failed. */
  async #do({ name, sql }: Task): Promise<number | undefined> {
    if (this.#stopped) return undefined;
    try {
      const { rows } = await this.#pool.query({ text: sql(this.#retentionDays), ...PATIENT });
      for (const row of rows) if (row.result !== 0 && row.result !== null) this.#log.info({ ...row }, name);
      return rows.length;
    } catch (error) {
      this.#warn(error, `${name} failed. It is retried in a minute`);
      return undefined;
    }
  }
}
