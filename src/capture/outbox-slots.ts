/** The ring of the outbox: the contents of its eight slots. */
import type pg from 'pg';

export interface Slot {
  slot: number;
  /** current: today's slot. next: to be emptied before its turn at midnight UTC. kept: history. */
  turn: 'current' | 'next' | 'kept';
  /** Ages of the oldest and the newest row. Null: the slot is empty. */
  oldestSeconds: number | null;
  newestSeconds: number | null;
  bytes: number;
}

export async function readSlots(client: pg.ClientBase | pg.Pool): Promise<Slot[]> {
  const { rows } = await client.query<Slot>(
    `select n as slot,
            case n when today.slot then 'current' when (today.slot + 1) % 8 then 'next' else 'kept' end as turn,
            extract(epoch from clock_timestamp() - (
              select o.occurred_at from rowhook.webhook_outbox o
               where o.slot = n order by o.id limit 1))::float8 as "oldestSeconds",
            extract(epoch from clock_timestamp() - (
              select o.occurred_at from rowhook.webhook_outbox o
               where o.slot = n order by o.id desc limit 1))::float8 as "newestSeconds",
            pg_total_relation_size(to_regclass('rowhook.webhook_outbox_' || n))::float8 as bytes
       from generate_series(0, 7) as n,
            (select (floor(extract(epoch from clock_timestamp()) / 86400)::bigint % 8)::int as slot) as today
      order by n`,
  );
  return rows;
}
