/** The events of previews: of the outbox, or made up as the sample of the catalog. */
import type pg from 'pg';
import { findChange, parseEventId } from '../../capture/stored-events.ts';
import { wants } from '../../match/event-patterns.ts';
import type { Change, Webhook } from '../../model.ts';
import { eventId } from '../../payload/ids.ts';
import { visitMembers } from '../../shared/json/json-values.ts';
import { UserError } from '../../shared/user-error.ts';
import { readSample } from '../events/catalog.ts';
import { OF_OUTBOX, type StoredRow, withOrganization } from '../events/events.ts';
import { Conditions, readPage } from '../page.ts';

/** An event of the outbox, or one that is made up. */
export interface PreviewedEvent {
  change: Change;
  eventType: string;
  eventId: string;
  ordinal: number;
  organization: string;
}

/** `event`: the id of an event, or the number of an outbox row: then its first event. */
export async function findStoredEvent(client: pg.ClientBase, webhook: Webhook, event: string): Promise<PreviewedEvent> {
  const { outboxId, incarnation, ordinal } = parseEventId(event);
  const change = /^\d{1,18}$/.test(outboxId) ? await findChange(client, outboxId, webhook.id) : undefined;
  const at = (ordinal ?? change?.firstOrdinal ?? 0) - (change?.firstOrdinal ?? 0);
  const eventType = change?.eventTypes[at];
  if (!change || change.tenantId !== webhook.tenantId || eventType === undefined)
    throw new UserError(`event ${event} is not in the outbox, which keeps events for 7 days.`);
  if (incarnation !== null && incarnation !== change.incarnation)
    throw new UserError(`event ${event} is not in the outbox: it was restored from a copy.`);
  const number = change.firstOrdinal + at;
  const [row] = await withOrganization(client, webhook.tenantId, [storedRow(change)]);
  return eventOf(change, eventType, eventId(change.incarnation, change.id, number), number, row?.organization ?? '{}');
}

/** The latest event of a type or a pattern, else one that is made up as the catalog's sample. */
export async function findEventOfType(
  client: pg.ClientBase,
  tenantId: string,
  eventType: string,
): Promise<PreviewedEvent> {
  const { data } = await readPage<StoredRow>(
    client,
    {
      ...OF_OUTBOX,
      indexed: new Conditions(),
      filters: [
        ['l.tenant_id = $', tenantId],
        ['l.event_types <> $::text[]', []],
        ['(l.test_webhook_id is null) = $', true],
      ],
    },
    { limit: LATEST_MAX },
  );
  const rows = await withOrganization(client, tenantId, data);
  for (const { change, incarnation, organization } of rows) {
    const at = change.eventTypes.findIndex((type) => wants([eventType], type));
    const found = change.eventTypes[at];
    if (found) return eventOf(change, found, eventId(incarnation, change.id, at), at, organization);
  }
  return madeUp(client, tenantId, (await nameOf(client, eventType)) ?? 'webhook.test');
}

/** Events that are looked at, the latest first. */
const LATEST_MAX = 100;

/** An event type, or the first of a watched table that a pattern stands for. */
async function nameOf(client: pg.ClientBase, pattern: string): Promise<string | null> {
  if (!pattern.endsWith('*')) return pattern;
  const { rows } = await client.query<{ type: string | null }>(
    `select min(event_type) as type
       from rowhook.webhook_event_types
      where $1 = any (rowhook._patterns(array[event_type]))`,
    [pattern],
  );
  return rows[0]?.type ?? null;
}

async function madeUp(client: pg.ClientBase, tenantId: string, eventType: string): Promise<PreviewedEvent> {
  const data = await readSample(client, tenantId, eventType);
  const members = membersOf(data);
  const id = members.get('id');
  const last = [...members].at(-1);
  const change: Change = {
    id: '0',
    lane: 0,
    tenantId,
    sourceId: null,
    eventTypes: [eventType],
    rowKey: id === undefined ? null : id.replaceAll('"', ''),
    occurredAt: Date.now(),
    data,
    // One column has changed, and nobody knows from what.
    previous: eventType.endsWith('.updated') && last ? `{${JSON.stringify(last[0])}:${last[1]}}` : null,
    truncated: null,
    testWebhookId: null,
  };
  const [row] = await withOrganization(client, tenantId, [storedRow(change)]);
  return eventOf(change, eventType, `evt_${row?.incarnation ?? '0'}_0_0`, 0, row?.organization ?? '{}');
}

/** The members of a JSON object, each with its text. Of another value, none. */
function membersOf(json: string): Map<string, string> {
  const members = new Map<string, string>();
  visitMembers(json, (name, _, from, to) => members.set(name, json.slice(from, to).trim()));
  return members;
}

function eventOf(change: Change, eventType: string, id: string, ordinal: number, organization: string): PreviewedEvent {
  return { change, eventType, eventId: id, ordinal, organization };
}

function storedRow(change: Change): Omit<StoredRow, 'incarnation' | 'organization'> {
  const { id, lane, tenantId, sourceId, eventTypes, rowKey, occurredAt, data, previous, truncated, testWebhookId } =
    change;
  return {
    ...{ id, lane, tenant_id: tenantId, source_id: sourceId, event_types: [...eventTypes], row_key: rowKey },
    ...{ occurred_at: occurredAt, data, previous, truncated, test_webhook_id: testWebhookId },
  };
}
