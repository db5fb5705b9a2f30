/**
 * Asks the database for undelivered events, on its own connection. So the answer does not depend on
 * the session's own view, and also comes while sessions fail or none starts. A daemon is therefore
 * never healthy while no event is delivered.
 *
 * An event counts as undelivered until the position stored in the database has passed it. At that
 * point it is delivered or parked.
 */
import type pg from 'pg';
import { openPool, type PoolerMode } from '../database/connections.ts';
import { COSTLY } from '../database/lent-session.ts';
import { within } from '../shared/timers.ts';
import { COUNT_EVERY_MS, type Counts, readCounts } from './counts.ts';
import type { Logger } from './log.ts';

/** How often to check the positions, and the limit on a check. */
const LOOK_EVERY_MS = 10_000;
const LOOK_MS_MAX = 10_000;

/** Limit on closing the connection. */
const CLOSE_MS = 2_000;

/**
 * A lane is stuck if it has an event older than this and its position has not moved for as long.
 */
export const STUCK_MS = 60_000;

/** One lane, or one of its tenants that lags, at one check. */
interface Lane {
  lane: number;
  /** Null: the lane itself. */
  tenant: string | null;
  /** Null: no owner, or the owner's lease has expired. */
  owner: string | null;
  position: string;
  /** Seconds since its oldest undelivered event happened. Null: there is none. */
  age: number | null;
}

/**
 * Decides which lanes this daemon answers for: lanes of its session, and free lanes unless it is
 * standing by for them.
 */
export interface Responsible {
  owner: string | undefined;
  standingBy: boolean;
  /**
   * The session waits for a statement that may take minutes. A restart would run it again from the
   * beginning.
   */
  isSearching: boolean;
}

// Lanes at the same position are checked together, with the index that READ's windows use. A tenant
// that lags is checked by itself. Inside a large window, the unread rest is older than all later
// events. The query takes 2 ms, with a million unread events or none.
const IS_OF = `lane = any (p.lanes)
          and (p.tenant_id is null
               and (lane, tenant_id) not in (select lane, tenant_id from rowhook.webhook_lagging_tenants)
               or tenant_id = p.tenant_id)`;
const LOOK = `
  select p.lanes, p.owners, p.tenant_id as tenant, p.position,
         extract(epoch from clock_timestamp() - min(o.occurred_at))::float8 as age
    from (select array_agg(lane) as lanes, array_agg(o.owner::text) as owners, tenant_id,
                 concat_ws('/', from_snapshot, to_snapshot, done_id) as position,
                 min(from_snapshot::text)::pg_snapshot as s1, min(to_snapshot::text)::pg_snapshot as s2,
                 min(done_id) as done_id
            from (select lane, null as tenant_id, from_snapshot, to_snapshot, done_id from rowhook.webhook_lanes
                  union all
                  select lane, tenant_id, from_snapshot, to_snapshot, done_id
                    from rowhook.webhook_lagging_tenants) as l
            left join rowhook.webhook_lane_owners o using (lane)
           group by tenant_id, concat_ws('/', from_snapshot, to_snapshot, done_id)) as p
    left join lateral (
      (select occurred_at from rowhook.webhook_outbox
        where p.done_id is null and xid >= pg_snapshot_xmax(p.s1) and ${IS_OF} order by xid, id limit 1)
      union all
      (select occurred_at from rowhook.webhook_outbox
        where p.done_id is null and xid = any (array(select pg_snapshot_xip(p.s1))) and ${IS_OF}
        order by xid, id limit 1)
      union all
      (select occurred_at from rowhook.webhook_outbox
        where id > p.done_id and not pg_visible_in_snapshot(xid, p.s1) and ${IS_OF} order by id limit 1)
    ) as o on true
   group by p.lanes, p.owners, p.tenant_id, p.position`;

// The query is planned once, because planning takes ten times as long as the query. The plan must
// also fit an outbox that was empty at planning time and is full later.
const LOOK_SETTINGS = 'set enable_seqscan = off; set enable_bitmapscan = off';

export class StuckLaneWatcher {
  readonly #pool: pg.Pool;
  readonly #log: Logger;
  readonly #stuckMs: number;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #lanes: Lane[] = [];
  /**
   * For each lane or lagging tenant: its position, and since when (performance.now()) it has been
   * there.
   */
  #since = new Map<number | string, { position: string; at: number }>();
  #lookedAt = -Infinity;
  #countedAt = -Infinity;
  #counts: Counts | undefined;
  #failing = false;

  constructor(databaseUrl: string, sessions: PoolerMode, log: Logger, stuckMs = STUCK_MS) {
    this.#pool = openPool(databaseUrl, {
      applicationName: 'rowhook watcher',
      max: 1,
      sessions,
      settings: LOOK_SETTINGS,
    });
    this.#log = log;
    this.#stuckMs = stuckMs;
  }

  /** Checks now, and then every few seconds until close(). */
  start(): void {
    this.#timer = setInterval(() => void this.look(), Math.min(LOOK_EVERY_MS, this.#stuckMs / 2));
    void this.look();
  }

  /**
   * Seconds since the oldest undelivered event of all lanes happened, without the tenants that lag.
   * 0: there is none. Undefined: not known, because no check has succeeded within the last minute.
   * A known age goes on without the database, so that its alert fires.
   */
  get oldestSeconds(): number | undefined {
    return this.#oldestSeconds(false);
  }

  /** The same for the tenants that lag. */
  get oldestLaggingSeconds(): number | undefined {
    return this.#oldestSeconds(true);
  }

  #oldestSeconds(ofLagging: boolean): number | undefined {
    const unfinished = this.#lanes.filter(({ tenant }) => (tenant !== null) === ofLagging);
    const oldest = Math.max(0, ...unfinished.map(({ age }) => age ?? 0));
    const passedMs = performance.now() - this.#lookedAt;
    if (oldest === 0) return passedMs > this.#stuckMs ? undefined : 0;
    return oldest + passedMs / 1_000;
  }

  /** Tenants that lag, in all lanes. Undefined: not known. */
  get tenantsLagging(): number | undefined {
    if (performance.now() - this.#lookedAt > this.#stuckMs) return undefined;
    return this.#lanes.filter(({ tenant }) => tenant !== null).length;
  }

  /** Undefined: not known yet. */
  get counts(): Counts | undefined {
    return this.#counts;
  }

  /** A sentence that names a stuck lane. Null: no lane is known to be stuck. */
  problem({ owner, standingBy, isSearching }: Responsible): string | null {
    const now = performance.now();
    // Without answers from the database nothing is known, and a restart would not help.
    if (isSearching || now - this.#lookedAt > this.#stuckMs) return null;
    const stuck = this.#lanes.filter(
      (lane) =>
        (lane.owner === null ? !standingBy : lane.owner === owner) &&
        (lane.age ?? 0) * 1_000 > this.#stuckMs &&
        now - (this.#since.get(lane.tenant ?? lane.lane)?.at ?? now) > this.#stuckMs,
    );
    if (stuck.length === 0) return null;
    const seconds = Math.round(Math.max(...stuck.map(({ age }) => age ?? 0)));
    const which = `the positions of ${stuck.length} lanes do not move`;
    return `events are stuck: the oldest undelivered event is ${seconds} s old, and ${which}`;
  }

  /** Runs one check, unless one is running. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .then(() => {
        this.#failing = false;
      })
      .catch((error: Error) => {
        if (!this.#failing) this.#log.warn({ err: error }, 'the positions of the lanes could not be checked');
        this.#failing = true;
      })
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await within(CLOSE_MS, this.#pool.end());
  }

  async #look(): Promise<void> {
    const { rows } = await this.#pool.query({
      ...COSTLY,
      name: 'rowhook_look',
      text: LOOK,
      query_timeout: LOOK_MS_MAX,
    } as pg.QueryConfig);
    const now = performance.now();
    this.#lanes = rows.flatMap(({ lanes, owners, tenant, position, age }) =>
      (lanes as number[]).map((lane, i) => ({ lane, owner: owners[i] as string | null, tenant, position, age })),
    );
    const before = this.#since;
    this.#since = new Map(
      this.#lanes.map(({ lane, tenant, position }) => {
        const known = before.get(tenant ?? lane);
        return [tenant ?? lane, known?.position === position ? known : { position, at: now }];
      }),
    );
    this.#lookedAt = now;
    if (now - this.#countedAt < COUNT_EVERY_MS) return;
    this.#countedAt = now;
    this.#counts = await readCounts(this.#pool, LOOK_MS_MAX);
  }
}
