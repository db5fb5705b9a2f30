/**
 * What keeps the tables in shape: the log's partitions, the outbox's ring, triggers on new partitions. Waits for no lock.
 *
 * A slot of the ring that is not read whole, or that somebody's transaction holds, stays: retention never wins over an unread
 * event. The outbox grows then, and the log says so.
 */
import type pg from 'pg';
import { PATIENT } from '../database/connections.ts';
import type { Logger } from '../observe/log.ts';
import { pinnedSlots, SLOT_SECONDS_MAX } from './pinned-slots.ts';
import { type SourceProblem, sourceProblems } from './source-problems.ts';

/** How soon a new partition is captured, or a slot is tried again that could not be recycled. */
const EVERY_MS = 60_000;

/** How often it is looked, and said, whether a slot cannot be emptied. To look may mean to read all of it. */
const PINNED_EVERY_MS = 3_600_000;

/** How often it is logged that a watched table is not captured. */
const PROBLEM_EVERY_MS = 3_600_000;

/**
 * Counts all changes to the catalogs that say how watched tables look. While it stays the same, and reconcile() had nothing to do or to
 * complain of, there is no need to ask: it takes 5 ms a table, and was a quarter of what a sleeping daemon costs PostgreSQL. The
 * server may count up to 10 s late, so what comes just before a look is seen a minute later. Null: the server does not count.
 */
const CATALOG_CHANGES = `
  select case when current_setting('track_counts')::boolean
              then sum(pg_stat_get_tuples_inserted(c) + pg_stat_get_tuples_updated(c) + pg_stat_get_tuples_deleted(c))::text
         end as changes
    from unnest('{pg_class,pg_attribute,pg_attrdef,pg_index,pg_inherits,pg_constraint,pg_trigger,pg_proc,pg_type,rowhook.webhook_sources}'::regclass[]) as c`;

interface Task {
  name: string;
  sql(retentionDays: number): string;
}

/** Where they cannot be made, webhook_logs_default takes what is recorded. */
const MAKE_LOG_PARTITIONS: Task = {
  name: 'make log partitions',
  sql: () => 'select rowhook._make_log_partitions() as result',
};

const TASKS: readonly Task[] = [
  MAKE_LOG_PARTITIONS,
  { name: 'drop old logs', sql: (days) => `select rowhook._drop_old_logs(${days}) as result` },
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
  /** What keeps watched tables from being captured, as of the last look; undefined: not known yet. */
  #problems: readonly SourceProblem[] | undefined;
  /** When each of them was last logged. */
  readonly #loggedAt = new Map<string, number>();
  /** CATALOG_CHANGES when there was nothing to reconcile. */
  #reconciledAt: string | null = null;

  constructor(pool: pg.Pool, retentionDays: number, log: Logger) {
    this.#pool = pool;
    this.#retentionDays = retentionDays;
    this.#log = log;
  }

  /** Watched tables that are not captured as they should be; undefined: not known yet. */
  get sourcesNotCaptured(): number | undefined {
    return this.#problems && new Set(this.#problems.map(({ table }) => table)).size;
  }

  /** What must be done before anything is delivered. */
  async prepare(): Promise<void> {
    await this.#do(MAKE_LOG_PARTITIONS);
  }

  /** Each task by itself: one that fails is told and tried again, and holds up none of the others. */
  async run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (const task of TASKS) await this.#do(task);
    await this.#reconcile().catch((error) => this.#warn(error, 'what is watched could not be read'));
    this.#logProblems();
    await this.#tellPinned().catch((error) => this.#warn(error, 'the slots could not be looked at'));
    this.#running = false;
  }

  /** The session ends, and its pool with it: nothing more is begun, and what fails now is not worth a word. */
  stop(): void {
    this.#stopped = true;
  }

  #warn(error: unknown, what: string): void {
    if (!this.#stopped) this.#log.warn({ err: error }, what);
  }

  async #tellPinned(): Promise<void> {
    if (performance.now() - this.#lookedForPinnedAt < PINNED_EVERY_MS) return;
    this.#lookedForPinnedAt = performance.now();
    for (const { what, why, mend } of await pinnedSlots(this.#pool, SLOT_SECONDS_MAX))
      this.#log.warn({ why, mend }, what);
  }

  /** One source for each transaction, whose locks would stay until its end. What inherits comes before its parent. */
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

  /** Each of them at once, and once an hour while it stays. */
  #logProblems(): void {
    const now = performance.now();
    const problems = this.#problems ?? [];
    for (const what of this.#loggedAt.keys())
      if (!problems.some((problem) => problem.what === what)) this.#loggedAt.delete(what);
    for (const { table, what, why, mend } of problems) {
      if (now - (this.#loggedAt.get(what) ?? -Infinity) < PROBLEM_EVERY_MS) continue;
      this.#loggedAt.set(what, now);
      this.#log.warn({ table, why, mend }, what);
    }
  }

  /** Returns how many rows came of it; undefined: it failed. */
  async #do({ name, sql }: Task): Promise<number | undefined> {
    if (this.#stopped) return undefined;
    try {
      const { rows } = await this.#pool.query({ text: sql(this.#retentionDays), ...PATIENT });
      for (const row of rows) if (row.result !== 0 && row.result !== null) this.#log.info({ ...row }, name);
      return rows.length;
    } catch (error) {
      this.#warn(error, `${name} failed: it is tried again in a minute`);
      return undefined;
    }
  }
}
