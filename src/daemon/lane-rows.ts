/**
 * Lanes: which daemon reads which tenants. PostgreSQL is the only coordinator, and only its clock
 * counts.
 *
 * Every daemon has a lease of LEASE_MS and renews it every RENEW_MS. It owns its fair share of the
 * 16 lanes: 16 divided by the number of daemons. If a remainder is left, the first daemons by id
 * own one lane more. All daemons see the same list, so the shares add up to 16 without messages
 * between daemons. Taking a lane increases its epoch. Everything that the lane's owner writes is
 * fenced by that epoch (record/recorder.ts). A paused process that wakes up after its lease has run
 * out therefore changes nothing.
 */
import type pg from 'pg';
import { isQueueFull } from '../database/notification-listener.ts';
import type { LaggingTenant, Lane } from '../model.ts';

/**
 * A dead daemon's lanes are free after LEASE_MS. The other daemons check every RENEW_MS. Together
 * this takes less than 10 s.
 */
export const LEASE_MS = 6_000;
export const RENEW_MS = 2_000;

export interface Renewal {
  /** The lanes that the daemon still owns. */
  lanes: number[];
  /** How many lanes the daemon should own. */
  share: number;
  /** Milliseconds since 1970 on the database's clock. */
  nowMs: number;
  schemaVersion: number;
  /** Share of the server's queue of notifications that is in use. Asking also empties it. */
  queueUsage: number;
}

/**
 * Renews this daemon's lease. A daemon that is leaving has no share. If the daemon owns lanes and
 * its lease has run out or is about to, the lease is lost: another daemon may be taking the lanes
 * at this moment.
 */
export async function renewLanes(
  client: pg.ClientBase | pg.Pool,
  owner: string,
  ownerName: string,
  isLeaving: boolean,
  ownsLanes: boolean,
): Promise<Renewal> {
  // A named statement is planned once. A new plan every 2 s would be most of what a sleeping daemon
  // costs PostgreSQL. schema_version() is stable, so a prepared plan sees its replacement.
  const { rows } = await client.query({
    name: 'rowhook_renew',
    text: `with gone as (
       delete from rowhook.webhook_daemons
        where id <> $1 and lease_expires_at < clock_timestamp() - interval '1 minute'),
     here as (
       insert into rowhook.webhook_daemons (id, name, lease_expires_at, is_leaving)
       values ($1, $2, clock_timestamp() + make_interval(secs => $3), $4)
       on conflict (id) do update set lease_expires_at = excluded.lease_expires_at, is_leaving = excluded.is_leaving
        where not $5 or webhook_daemons.lease_expires_at > clock_timestamp() + interval '1 s'
       returning id),
     daemons as (
       select 1 + count(*)::int as count, (count(*) filter (where id < $1))::int as before
         from rowhook.webhook_daemons where id <> $1 and not is_leaving and lease_expires_at > clock_timestamp()
          -- A later time means that the clock was set back. webhook_lane_owners does the same.
          and lease_expires_at < clock_timestamp() + interval '1 minute'),
     lanes as (select count(*)::int as count from rowhook.webhook_lanes)
     select array(select lane::int from rowhook.webhook_lanes where owner = (select id from here)) as lanes,
            lanes.count / daemons.count + (daemons.before < lanes.count % daemons.count)::int as share,
            (extract(epoch from clock_timestamp()) * 1000)::float8 as "nowMs",
            rowhook.schema_version() as "schemaVersion",
            pg_notification_queue_usage() as "queueUsage"
       from daemons, lanes`,
    values: [owner, ownerName, LEASE_MS / 1000, isLeaving, ownsLanes],
  });
  return rows[0];
}

/**
 * Takes up to `count` lanes that nobody owns. Lanes of `owner` that are not in `mine` are free too:
 * they belonged to an earlier session of this process, which has ended. A lane whose row is locked
 * is skipped until the next call.
 */
export async function takeLanes(
  client: pg.ClientBase | pg.Pool,
  owner: string,
  mine: readonly number[],
  count: number,
): Promise<Lane[]> {
  const { rows } = await client.query(
    `with free as (
       select lane from rowhook.webhook_lanes l
        where lane <> all ($2::smallint[])
          -- Checks the owner in the locked row. If another daemon has taken the lane since this
          -- statement began, PostgreSQL checks again with the new owner. The view
          -- webhook_lane_owners would still show the old owner, and two would own the lane.
          and (owner is null or owner = $1
               or not exists (select from rowhook.webhook_daemons d
                               where d.id = l.owner
                                 and d.lease_expires_at between clock_timestamp()
                                                            and clock_timestamp() + interval '1 minute'))
        order by lane limit $3 for update of l skip locked)
     update rowhook.webhook_lanes l set owner = $1, epoch = l.epoch + 1
       from free where l.lane = free.lane
  returning l.lane, l.epoch::text, l.from_snapshot::text as "from", l.to_snapshot::text as "to",
            l.done_id::text as "lastId", l.position_at::text as at, l.sequence_value::text as "sequenceValue"`,
    [owner, mine, count],
  );
  const lagging = await readLagging(
    client,
    rows.map(({ lane }) => lane),
  );
  return rows.map(({ lane, epoch, ...position }) => ({
    lane,
    epoch,
    position,
    lagging: lagging.filter((tenant) => tenant.lane === lane),
  }));
}

/** The tenants that lag in lanes which this daemon owns, so that nobody else writes them. */
async function readLagging(client: pg.ClientBase | pg.Pool, lanes: readonly number[]): Promise<LaggingTenant[]> {
  if (lanes.length === 0) return [];
  const { rows } = await client.query(
    `select lane, tenant_id as "tenantId", from_snapshot::text as "from", to_snapshot::text as "to",
            done_id::text as "lastId", position_at::text as at, sequence_value::text as "sequenceValue"
       from rowhook.webhook_lagging_tenants where lane = any ($1::smallint[]) order by position_at`,
    [lanes],
  );
  return rows.map(({ lane, tenantId, ...position }) => ({ lane, tenantId, position }));
}

/** Frees `lanes` of `owner`, or all its lanes, and rings for the daemons that may take them. */
export async function freeLanes(
  client: pg.ClientBase | pg.Pool,
  owner: string,
  lanes: readonly number[] | 'all',
): Promise<void> {
  const free = (rings: boolean) =>
    client.query(
      `with freed as (
         update rowhook.webhook_lanes set owner = null
          where owner = $1 and ($2::smallint[] is null or lane = any ($2)) returning lane)
       select pg_notify('rowhook', 'lanes') from freed where $3 limit 1`,
      [owner, lanes === 'all' ? null : lanes, rings],
    );
  await free(true).catch((error) => {
    // Other daemons find the lanes with their next renewal.
    if (isQueueFull(error)) return free(false);
    throw error;
  });
}

/** Deletes the row of a daemon that owns no lanes any more. */
export async function forgetDaemon(client: pg.ClientBase | pg.Pool, owner: string): Promise<void> {
  await client.query('delete from rowhook.webhook_daemons where id = $1', [owner]);
}
