/** Rows of webhook_lanes: how far each lane is done. */

import type pg from 'pg';
import type { Position } from '../model.ts';

const POSITIONS = `
  update rowhook.webhook_lanes l
     set from_snapshot = p.from_snapshot, to_snapshot = p.to_snapshot, done_id = p.done_id,
         position_at = p.at, sequence_value = p.sequence_value
    from unnest($1::smallint[], $2::pg_snapshot[], $3::pg_snapshot[], $4::bigint[], $5::timestamptz[], $6::bigint[])
         as p (lane, from_snapshot, to_snapshot, done_id, at, sequence_value)
   where l.lane = p.lane`;

export async function recordPositions(client: pg.ClientBase, moved: readonly [number, Position][]): Promise<void> {
  const column = <T>(of: (position: Position) => T) => moved.map(([, position]) => of(position));
  await client.query(POSITIONS, [
    moved.map(([lane]) => lane),
    column(({ from }) => from),
    column(({ to }) => to),
    column(({ lastId }) => lastId),
    column(({ at }) => at),
    column(({ sequenceValue }) => sequenceValue),
  ]);
}
