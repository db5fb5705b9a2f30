/**
 * Measures how far lanes are behind: committed events that no position covers yet. Positions are
 * written once a second, every 2 s under load. So a working daemon also shows events that it
 * delivered in the last seconds.
 */
import type pg from 'pg';
import type { LaggingTenant, Lane, Position } from '../model.ts';
import { groupByPosition } from '../read/lane-groups.ts';
import { asReader } from '../read/windows.ts';

/**
 * Limit on rows counted for one position, because a backlog of millions must not make the query
 * expensive.
 */
const CHANGES_MAX = 100_000;

/** Limit on lagging tenants whose events are counted. Those that are furthest behind are counted. */
const TENANTS_MAX = 20;

/** A tenant that is read by itself, because it has more than its share (read/read-ahead.ts). */
export interface TenantLag {
  tenantId: string;
  /** Events that its position does not cover, at least. */
  events: number;
  /** Age of the oldest such event. Null: there is none. */
  oldestSeconds: number | null;
}

export interface LaneLag {
  lane: number;
  /** `host:pid` of the daemon that holds an unexpired lease. Null: no daemon. */
  owner: string | null;
  /** Seconds until the lease ends. Null: no lease. */
  leaseSeconds: number | null;
  /** Seconds since the position was written. */
  positionAgeSeconds: number;
  /**
   * Events that no position covers, at least. In a large backlog only the first 100,000 changes are
   * counted.
   */
  events: number;
  /** Age of the oldest such event. Null: there is none. */
  oldestSeconds: number | null;
  /** Number of tenants of the lane that are read by themselves. */
  tenantsLagging: number;
  /** Those of them whose events were counted: the furthest behind of all lanes. */
  lagging: TenantLag[];
  /** True if there are more changes than were counted. */
  more: boolean;
}

interface LaneRow extends Omit<Lane, 'lagging'> {
  owner: string | null;
  leaseSeconds: number | null;
  positionAgeSeconds: number;
}

/**
 * Uses the planner settings of the daemon's reads. Otherwise PostgreSQL would scan a full outbox.
 */
export function readLag(client: pg.ClientBase): Promise<LaneLag[]> {
  return asReader(client, async () => {
    const lanes = await readLanes(client);
    const lagging = await readLaggingTenants(client);
    const lags = new Map(
      lanes.map(({ lane, owner, leaseSeconds, positionAgeSeconds }) => {
        const tenantsLagging = lagging.filter((tenant) => tenant.lane === lane).length;
        const own = { lane, owner, leaseSeconds, positionAgeSeconds, events: 0, oldestSeconds: null };
        return [lane, { ...own, tenantsLagging, lagging: [], more: false } as LaneLag];
      }),
    );
    const add = ({ byLane, more }: Unread, of: readonly number[]) => {
      for (const lane of of) {
        const lag = lags.get(lane) as LaneLag;
        const own = byLane.get(lane);
        lag.more ||= more;
        lag.events += own?.events ?? 0;
        if (own) lag.oldestSeconds = Math.max(own.oldestSeconds, lag.oldestSeconds ?? 0);
      }
    };
    const counted = lagging.slice(0, TENANTS_MAX);
    for (const lag of lags.values())
      lag.more = counted.filter(({ lane }) => lane === lag.lane).length < lag.tenantsLagging;
    for (const { lanes: together, position } of groupByPosition(lanes))
      add(await countUnread(client, { lanes: together, position }), together);
    for (const { lane, tenantId, position } of counted) {
      const unread = await countUnread(client, { lanes: [lane], tenantId, position });
      const { events, oldestSeconds } = unread.byLane.get(lane) ?? { events: 0, oldestSeconds: null };
      lags.get(lane)?.lagging.push({ tenantId, events, oldestSeconds });
      add(unread, [lane]);
    }
    return [...lags.values()].sort((a, b) => a.lane - b.lane);
  });
}

/** The furthest behind first. */
async function readLaggingTenants(client: pg.ClientBase): Promise<LaggingTenant[]> {
  const { rows } = await client.query(
    `select lane, tenant_id as "tenantId", from_snapshot::text as "from", to_snapshot::text as "to",
            done_id::text as "lastId", position_at::text as at, sequence_value::text as "sequenceValue"
       from rowhook.webhook_lagging_tenants
      order by coalesce(done_id, sequence_value)`,
  );
  return rows.map(({ lane, tenantId, ...position }) => ({ lane, tenantId, position }));
}

/**
 * True if the position of the tenant's lane covers all changes of the tenant that `snapshot` sees.
 */
export function isCovered(client: pg.ClientBase, tenantId: string, snapshot: string): Promise<boolean> {
  const unread = `
    select from rowhook.webhook_outbox o
     where o.lane = l.lane and o.tenant_id = $1 and pg_visible_in_snapshot(o.xid, $2::pg_snapshot)`;
  return asReader(client, async () => {
    const { rows } = await client.query<{ covered: boolean }>(
      `select not exists (${unread} and o.xid >= pg_snapshot_xmax(l.from_snapshot))
          and not exists (${unread} and o.xid = any (array(select pg_snapshot_xip(l.from_snapshot)))) as covered
         from (select l.lane, coalesce(t.from_snapshot, l.from_snapshot) as from_snapshot
                 from rowhook.webhook_lanes l
                 left join rowhook.webhook_lagging_tenants t on t.lane = l.lane and t.tenant_id = $1
                where l.lane = rowhook._lane($1)) as l`,
      [tenantId, snapshot],
    );
    return rows[0]?.covered === true;
  });
}

async function readLanes(client: pg.ClientBase): Promise<LaneRow[]> {
  const { rows } = await client.query(
    `select lane, epoch::text, from_snapshot::text as "from", to_snapshot::text as "to", done_id::text as "lastId",
            position_at::text as at, sequence_value::text as "sequenceValue",
            o.owner_name as owner, extract(epoch from o.lease_expires_at - clock_timestamp())::float8 as "leaseSeconds",
            extract(epoch from clock_timestamp() - position_at)::float8 as "positionAgeSeconds"
       from rowhook.webhook_lanes
       left join rowhook.webhook_lane_owners o using (lane)
      order by lane`,
  );
  return rows.map(({ lane, epoch, owner, leaseSeconds, positionAgeSeconds, ...position }) => ({
    lane,
    epoch,
    position,
    owner,
    leaseSeconds,
    positionAgeSeconds,
  }));
}

interface Unread {
  byLane: Map<number, { events: number; oldestSeconds: number }>;
  more: boolean;
}

/** Oldest first, because the index is by transaction and id. */
async function countUnread(
  client: pg.ClientBase,
  { lanes, tenantId, position }: { lanes: readonly number[]; tenantId?: string; position: Position },
): Promise<Unread> {
  const unread = `
    select lane, event_types, occurred_at from rowhook.webhook_outbox
     where lane = any ($2::smallint[]) and (done.last_id is null or id > done.last_id or not pg_visible_in_snapshot(xid, done.until))
       and case when $5::text is null
                then (lane, tenant_id) not in (select lane, tenant_id from rowhook.webhook_lagging_tenants)
                else tenant_id = $5 end`;
  const { rows } = await client.query<{ lane: number; events: number; changes: number; oldestSeconds: number }>(
    `select u.lane, sum(cardinality(u.event_types))::float8 as events, count(*)::float8 as changes,
            extract(epoch from clock_timestamp() - min(u.occurred_at))::float8 as "oldestSeconds"
       from (select $3::pg_snapshot as until, $4::bigint as last_id) as done
      cross join lateral (
        (${unread} and xid >= pg_snapshot_xmax($1::pg_snapshot)
         union all
         ${unread} and xid = any (array(select pg_snapshot_xip($1::pg_snapshot))))
        limit ${CHANGES_MAX}) as u
      where u.event_types <> '{}'
      group by u.lane`,
    [position.from, lanes, position.to, position.lastId, tenantId ?? null],
  );
  const byLane = new Map(rows.map(({ lane, events, oldestSeconds }) => [lane, { events, oldestSeconds }]));
  return { byLane, more: rows.reduce((sum, { changes }) => sum + changes, 0) >= CHANGES_MAX };
}
