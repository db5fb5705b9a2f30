/** Reads deliveries that wait for their next attempt or were given up. Returns values only. */
import type pg from 'pg';

export interface DeliveryFilter {
  webhook?: string;
  tenant?: string;
  state?: string;
}

export interface DeliveryRow {
  delivery_id: string;
  webhook_name: string;
  tenant_id: string;
  event_type: string;
  state: string;
  attempt: number;
  last_code: string | null;
  occurred_at: Date;
  /** Infinity: it waits behind an earlier delivery of the same row. Null: it was given up. */
  next_attempt_at: Date | number | null;
  replayed: boolean;
}

/** The newest first. */
export async function readDeliveries(
  client: pg.Client,
  { webhook, tenant, state }: DeliveryFilter,
  rowsMax: number,
): Promise<DeliveryRow[]> {
  const { rows } = await client.query<DeliveryRow>(
    `select delivery_id, webhook_id, webhook_name, tenant_id, event_id, event_type, state, attempt, last_code,
            occurred_at, parked_at, next_attempt_at, test, replayed
       from rowhook.webhook_deliveries
      where ($1::uuid is null or webhook_id = $1)
        and ($2::text is null or tenant_id = $2)
        and ($3::text is null or state = $3)
      order by occurred_at desc, delivery_id
      limit $4`,
    [webhook, tenant, state, rowsMax],
  );
  return rows;
}
