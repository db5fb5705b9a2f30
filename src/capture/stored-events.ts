/**
 * Finds what the database still holds of an event: its change in the outbox, or the copy with a
 * parked delivery.
 */
import type pg from 'pg';
import type { Change } from '../model.ts';

export interface StoredChange extends Change {
  incarnation: string;
  /**
   * The position of the first of `eventTypes` among the change's events. A copy holds only one
   * event.
   */
  firstOrdinal: number;
}

/** Undefined: the change has left the outbox, which keeps 7 days. */
export async function findChange(
  client: pg.ClientBase,
  outboxId: string,
  webhookId: string,
): Promise<StoredChange | undefined> {
  const { rows } = await client.query<StoredRow>(
    `select o.id::text as id, o.lane, o.tenant_id, o.source_id, o.event_types, o.row_key, o.data::text as data,
            o.previous::text as previous, o.truncated, o.test_webhook_id, 0 as first_ordinal,
            floor(extract(epoch from o.occurred_at) * 1000)::float8 as occurred_at,
            split_part(rowhook._event_id(o.id, 0), '_', 2) as incarnation
       from rowhook.webhook_outbox o
      where o.id = $1
     union all
     select d.outbox_id::text, d.lane, d.tenant_id, d.source_id, array[d.event_type], d.row_key, d.data::text,
            d.previous::text, d.truncated, case when d.test then d.webhook_id end, d.ordinal,
            floor(extract(epoch from d.occurred_at) * 1000)::float8, split_part(d.event_id, '_', 2)
       from rowhook.webhook_deliveries d
      where d.webhook_id = $2 and d.outbox_id = $1 and d.has_payload
      limit 1`,
    [outboxId, webhookId],
  );
  const [row] = rows;
  return row && toChange(row);
}

interface StoredRow {
  id: string;
  lane: number;
  tenant_id: string;
  source_id: number | null;
  event_types: string[];
  row_key: string | null;
  data: string | null;
  previous: string | null;
  truncated: string | null;
  test_webhook_id: string | null;
  first_ordinal: number;
  occurred_at: number;
  incarnation: string;
}

function toChange(row: StoredRow): StoredChange {
  return {
    id: row.id,
    lane: row.lane,
    tenantId: row.tenant_id,
    sourceId: row.source_id,
    eventTypes: row.event_types,
    rowKey: row.row_key,
    occurredAt: row.occurred_at,
    data: row.data,
    previous: row.previous,
    truncated: row.truncated,
    testWebhookId: row.test_webhook_id,
    incarnation: row.incarnation,
    firstOrdinal: row.first_ordinal,
  };
}

/**
 * An event's id is evt_<incarnation>_<outbox id>_<n>. A number alone is an outbox id and means all
 * events of that change.
 */
export function parseEventId(text: string): { outboxId: string; incarnation: string | null; ordinal: number | null } {
  const [first = '', incarnation = null, outboxId, ordinal] = text.split('_');
  return outboxId === undefined
    ? { outboxId: first, incarnation: null, ordinal: null }
    : { outboxId, incarnation, ordinal: Number(ordinal) };
}
