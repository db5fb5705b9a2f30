/** Rows of webhook_lanes and webhook_lagging_tenants: how far each lane and such a tenant is done. */

import type pg from 'pg';
import type { Position } from '../model.ts';

/** See read/progress.ts. */
export interface DonePosition {
  lane: number;
  tenantId: string | null;
  position: Position | null;
}

/** A position per row; $1 to $7 are its columns. */
const MOVED = `
  unnest($1::smallint[], $2::text[], $3::pg_snapshot[], $4::pg_snapshot[], $5::bigint[], $6::timestamptz[], $7::bigint[])
    as p (lane, tenant_id, from_snapshot, to_snapshot, done_id, at, sequence_value)`;

const LANES = `
  update rowhook.webhook_lanes l
     set from_snapshot = p.from_snapshot, to_snapshot = p.to_snapshot, done_id = p.done_id,
         position_at = p.at, sequence_value = p.sequence_value
    from ${MOVED}
   where l.lane = p.lane`;

const TENANTS = `
  insert into rowhook.webhook_lagging_tenants
         (lane, tenant_id, from_snapshot, to_snapshot, done_id, position_at, sequence_value)
  select * from ${MOVED}
  on conflict (lane, tenant_id) do update
     set from_snapshot = excluded.from_snapshot, to_snapshot = excluded.to_snapshot,
         done_id = excluded.done_id, position_at = excluded.position_at,
         sequence_value = excluded.sequence_value`;

const CAUGHT_UP = `
  delete from rowhook.webhook_lagging_tenants t
   using unnest($1::smallint[], $2::text[]) as gone (lane, tenant_id)
   where (t.lane, t.tenant_id) = (gone.lane, gone.tenant_id)`;

export async function recordPositions(client: pg.ClientBase, moved: readonly DonePosition[]): Promise<void> {
  const lanes = moved.filter(({ tenantId }) => tenantId === null);
  const lagging = moved.filter(({ tenantId, position }) => tenantId !== null && position !== null);
  const caughtUp = moved.filter(({ position }) => position === null);
  if (lanes.length > 0) await client.query(LANES, columnsOf(lanes));
  if (lagging.length > 0) await client.query(TENANTS, columnsOf(lagging));
  if (caughtUp.length > 0) await client.query(CAUGHT_UP, columnsOf(caughtUp).slice(0, 2));
}

function columnsOf(moved: readonly DonePosition[]): unknown[][] {
  const column = (of: (position: Position) => unknown) => moved.map(({ position }) => position && of(position));
  return [
    moved.map(({ lane }) => lane),
    moved.map(({ tenantId }) => tenantId),
    column(({ from }) => from),
    column(({ to }) => to),
    column(({ lastId }) => lastId),
    column(({ at }) => at),
    column(({ sequenceValue }) => sequenceValue),
  ];
}
