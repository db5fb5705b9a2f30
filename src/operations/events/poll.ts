/** Events for tools that poll. Returns values only. */
import type pg from 'pg';
import { Conditions, readPage } from '../page.ts';
import { readSample } from './catalog.ts';
import { bodiesOf, OF_OUTBOX, withOrganization } from './events.ts';

/** A poll answers at most this many events. */
export const POLLED_MAX = 100;

/** A sample has at most this many events. */
const SAMPLES_MAX = 3;

/**
 * The event type that a resource stands for: `leads` and `lead` for lead.created, if a watched table
 * has such events; `lead.updated` for itself.
 */
export async function eventTypeOf(client: pg.ClientBase, resource: string): Promise<string> {
  if (resource.includes('.')) return resource;
  const candidates = singularsOf(resource);
  const { rows } = await client.query<{ event_type: string }>(
    `select t.event_type from rowhook.webhook_event_types t
      where t.event_type = any ($1::text[]) order by array_position($1::text[], t.event_type) limit 1`,
    [candidates.map((prefix) => `${prefix}.created`)],
  );
  return rows[0]?.event_type ?? `${candidates[0]}.created`;
}

/** Capture writes what somebody polls for. A poll says so for 8 days, and at most once a day. */
export async function notePoll(client: pg.ClientBase, eventType: string): Promise<void> {
  const { rows } = await client.query<{ is_noted: boolean }>(
    `select exists (select from rowhook.webhook_polls p
                     where p.tenant_id = rowhook.current_tenant() and p.event_type = $1
                       and p.wanted_until > now() + interval '7 days') as is_noted`,
    [eventType],
  );
  if (rows[0]?.is_noted !== true) await client.query('select rowhook._note_poll_own($1)', [eventType]);
}

/** companies → company; boxes → box, boxe; leads → lead. The likeliest first. Pure. */
export function singularsOf(resource: string): string[] {
  const endings: readonly [RegExp, string][] = [
    [/ies$/i, 'y'],
    [/(?<=(s|x|z|ch|sh))es$/i, ''],
    [/(?<!s)s$/i, ''],
  ];
  const singulars = endings.flatMap(([ending, by]) => (ending.test(resource) ? resource.replace(ending, by) : []));
  return [...singulars, resource];
}

/** The newest events of one type, or a made-up one, with the fields of payload_format flat. */
export async function sampleEvents(client: pg.ClientBase, tenantId: string, eventType: string): Promise<string[]> {
  const events = await pollEvents(client, tenantId, eventType, undefined);
  if (events.length > 0) return events.slice(0, SAMPLES_MAX);
  const data = await readSample(client, tenantId, eventType);
  const madeUp = { id: '0', lane: 0, tenant_id: tenantId, source_id: null, row_key: null, occurred_at: Date.now() };
  const row = { ...madeUp, event_types: [eventType], data, previous: null, truncated: null };
  const [found] = await withOrganization(client, tenantId, [{ ...row, test_webhook_id: null }]);
  return found === undefined ? [] : bodiesOf(found, 'flat', () => true);
}

/** Events of one type since a time, newest first, with the fields of payload_format flat. */
export async function pollEvents(
  client: pg.ClientBase,
  tenantId: string,
  eventType: string,
  since: string | undefined,
): Promise<string[]> {
  const { data } = await readPage<Parameters<typeof withOrganization>[2][number]>(
    client,
    {
      ...OF_OUTBOX,
      indexed: new Conditions(),
      filters: [
        ['l.tenant_id = $', tenantId],
        ['$ = any (l.event_types)', eventType],
        ['(l.test_webhook_id is null) = $', true],
        ['l.sort_at > $::timestamptz', since],
      ],
    },
    { limit: POLLED_MAX },
  );
  const rows = await withOrganization(client, tenantId, data);
  return rows.flatMap((row) => bodiesOf(row, 'flat', (type) => type === eventType));
}
