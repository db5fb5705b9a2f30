/** Reads what the outbox holds of a tenant. Each event is the body that a webhook would get. */
import type pg from 'pg';
import { findChange, parseEventId } from '../../capture/stored-events.ts';
import type { Change, Delivery, PayloadFormat } from '../../model.ts';
import { bodyOf } from '../../payload/body.ts';
import { eventId } from '../../payload/ids.ts';
import { Conditions, type Key, type Page, readPage } from '../page.ts';

export interface EventFilter {
  /** Of an event: evt_… */
  id?: string | undefined;
  event_type?: string | undefined;
  row_key?: string | undefined;
  since?: string | undefined;
}

/** One row of the outbox, with the events in it. */
export interface OutboxRow {
  change: Change;
  incarnation: string;
  organization: string;
}

export interface StoredRow {
  id: string;
  lane: number;
  tenant_id: string;
  source_id: number | null;
  event_types: string[];
  row_key: string | null;
  occurred_at: number;
  data: string | null;
  previous: string | null;
  truncated: string | null;
  test_webhook_id: string | null;
  incarnation: string;
  organization: string;
}

/** How a page reads the outbox: data becomes text only where a row is shown. */
export const OF_OUTBOX = {
  columns: `o.id, o.lane, o.tenant_id, o.source_id, o.event_types, o.row_key, o.occurred_at, o.data, o.previous,
            o.truncated, o.test_webhook_id`,
  large: {
    shown: `l.id::text as id, l.lane, l.tenant_id, l.source_id, l.event_types, l.row_key,
            floor(extract(epoch from l.occurred_at) * 1000)::float8 as occurred_at, l.data::text as data,
            l.previous::text as previous, l.truncated, l.test_webhook_id`,
    bytes: 'coalesce(octet_length(l.data::text), 0) + coalesce(octet_length(l.previous::text), 0)',
  },
  from: 'rowhook.webhook_outbox o',
  time: { column: 'o.occurred_at', isOrder: false },
  id: { column: 'o.id', type: 'bigint' },
} as const;

/**
 * The events of a tenant, newest first. A page has all events of a change, so it may have a few more
 * than `limit`. No index leads from a tenant to its events: a page looks at some rows of all tenants.
 */
export async function readEvents(
  client: pg.ClientBase,
  tenantId: string,
  { id, event_type, row_key, since }: EventFilter,
  page: { limit: number; cursor?: Key | undefined },
): Promise<Page<string>> {
  const { data, next_cursor } = await readPage<StoredRow>(
    client,
    {
      ...OF_OUTBOX,
      indexed: new Conditions().add('o.id = $', id && parseEventId(id).outboxId),
      filters: [
        ['l.tenant_id = $', tenantId],
        ['l.event_types <> $::text[]', []],
        ['$ = any (l.event_types)', event_type],
        ['l.row_key = $', row_key],
        ['l.sort_at >= $::timestamptz', since],
      ],
    },
    page,
  );
  const changes = await withOrganization(client, tenantId, data);
  return {
    data: changes.flatMap((row) =>
      bodiesOf(row, 'nested', (type, event) => (event_type ?? type) === type && (id ?? event) === event),
    ),
    next_cursor,
  };
}

/** Adds what a body has besides the change: the organization, and the incarnation of the event ids. */
export async function withOrganization(
  client: pg.ClientBase,
  tenantId: string,
  rows: readonly Omit<StoredRow, 'incarnation' | 'organization'>[],
): Promise<OutboxRow[]> {
  if (rows.length === 0) return [];
  const { rows: found } = await client.query<{ organization: string; incarnations: (string | null)[] }>(
    `select rowhook._organization($1)::text as organization,
            array(select split_part(rowhook._event_id(i.id, 0), '_', 2)
                    from unnest($2::bigint[]) with ordinality as i (id, n) order by n) as incarnations`,
    [tenantId, rows.map(({ id }) => id)],
  );
  const { organization, incarnations } = found[0] as (typeof found)[number];
  return rows.map((row, n) => ({
    organization,
    // The id of a made-up event is 0, which is of no incarnation.
    incarnation: incarnations[n] ?? '0',
    change: {
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
    },
  }));
}

const NO_WEBHOOK = { id: '', webhookId: '', webhookName: '', batchId: null, attempt: 0 };

/** The JSON texts of the events of one change. No webhook is in them, so they have no `metadata`. Pure. */
export function bodiesOf(
  { change, incarnation, organization }: OutboxRow,
  payloadFormat: PayloadFormat,
  isWanted: (eventType: string, event: string) => boolean,
  firstOrdinal = 0,
): string[] {
  return change.eventTypes.flatMap((eventType, n) => {
    const ordinal = firstOrdinal + n;
    const event = eventId(incarnation, change.id, ordinal);
    if (!isWanted(eventType, event)) return [];
    const delivery: Delivery = {
      ...NO_WEBHOOK,
      eventId: event,
      eventType,
      ordinal,
      change,
      organization,
      payloadFormat,
      parked: false,
      replayed: false,
      unfiltered: false,
    };
    return bodyOf(delivery, 'nobody');
  });
}

/** The JSON text of one delivery's event. Null: it has left the outbox, which keeps 7 days. */
export async function eventOf(
  client: pg.ClientBase,
  tenantId: string,
  { event_id, event_type, webhook_id }: { event_id: string; event_type: string; webhook_id: string },
): Promise<string | null> {
  const { outboxId, incarnation } = parseEventId(event_id);
  const change = await findChange(client, outboxId, webhook_id);
  if (!change || change.incarnation !== incarnation) return null;
  const { rows } = await client.query<{ organization: string }>(
    'select rowhook._organization($1)::text as organization',
    [tenantId],
  );
  const organization = rows[0]?.organization as string;
  const row = { change, incarnation, organization };
  return bodiesOf(row, 'nested', (type) => type === event_type, change.firstOrdinal)[0] ?? null;
}
