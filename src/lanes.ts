/**
 * Lanes: which daemon reads which tenants. PostgreSQL is the only coordinator, and its clock the only one that counts.
 *
 * A lease is taken for LEASE_MS and renewed three times as often. Taking a lane counts its epoch up, and everything that its
 * owner writes is fenced by that epoch (record.ts): a paused process that wakes up after its lease changes nothing.
 */
import type pg from 'pg';
import type { Position } from './model.ts';

/** A dead daemon's lanes are free after this long; a standby looks every RENEW_MS. Together under 10 s. */
export const LEASE_MS = 6_000;
export const RENEW_MS = 2_000;

export interface Lane {
  lane: number;
  epoch: string;
  position: Position;
}

/**
 * Takes all lanes when nobody holds one of them, and none else: of two daemons that start at the same moment one gets
 * everything, and the other stands by for everything. `predecessor` is the owner that this process was before: it is gone.
 */
export async function takeLanes(
  client: pg.ClientBase | pg.Pool,
  owner: string,
  ownerName: string,
  predecessor: string | null = null,
): Promise<Lane[]> {
  const { rows } = await client.query(
    `with seen as (
       select lane, owner is null or owner = $4 or lease_expires_at < clock_timestamp() as free
         from rowhook.webhook_lanes
        where not exists (select from rowhook.webhook_lanes where owner <> coalesce($4, $1) and lease_expires_at >= clock_timestamp())
        order by lane for update)
     update rowhook.webhook_lanes l
        set owner = $1, owner_name = $2, epoch = l.epoch + 1, lease_expires_at = clock_timestamp() + make_interval(secs => $3)
       from seen
      where l.lane = seen.lane and (select bool_and(free) from seen)
  returning l.lane, l.epoch::text, l.from_snapshot::text as "from", l.to_snapshot::text as "to", l.done_id::text as "lastId",
            l.position_at::text as at, l.sequence_value::text as "sequenceValue"`,
    [owner, ownerName, LEASE_MS / 1000, predecessor],
  );
  return rows.map(({ lane, epoch, ...position }) => ({ lane, epoch, position }));
}

/** Renews this owner's leases and returns the lanes that are still its own, and the database's time. */
export async function renewLanes(
  client: pg.ClientBase | pg.Pool,
  owner: string,
): Promise<{ held: number; nowMs: number }> {
  const { rows } = await client.query(
    `with renewed as (
       update rowhook.webhook_lanes set lease_expires_at = clock_timestamp() + make_interval(secs => $2)
        where owner = $1 and lease_expires_at > clock_timestamp() returning lane)
     select count(*)::int as held, (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms from renewed`,
    [owner, LEASE_MS / 1000],
  );
  return { held: rows[0].held, nowMs: rows[0].now_ms };
}

/** Gives all lanes back, so that another daemon can take them at once. */
export async function giveLanesBack(client: pg.ClientBase | pg.Pool, owner: string): Promise<void> {
  await client.query(
    'update rowhook.webhook_lanes set owner = null, owner_name = null, lease_expires_at = null where owner = $1',
    [owner],
  );
}

/** Lanes at the same position are read by one statement. */
export function groupByPosition(lanes: readonly Lane[]): { lanes: number[]; position: Position }[] {
  const groups = new Map<string, { lanes: number[]; position: Position }>();
  for (const { lane, position } of lanes) {
    const key = JSON.stringify([position.from, position.to, position.lastId]);
    const group = groups.get(key);
    if (group) group.lanes.push(lane);
    else groups.set(key, { lanes: [lane], position });
  }
  return [...groups.values()];
}
