/**
 * Finds event types that active webhooks subscribe to and nothing produces, such as after a table
 * was unwatched or got another prefix.
 */

import type pg from 'pg';
import { editDistance, nearNames } from '../shared/spelling.ts';

export interface Unproduced {
  id: string;
  tenantId: string;
  name: string;
  /** All event types that the webhook subscribes to. */
  eventTypes: string[];
  /** Those event types that nothing produces. */
  unproduced: string[];
  /** A produced event type that differs from `unproduced[0]` by one or two letters. */
  near: string | null;
}

/** Limit on webhooks that get a suggestion. With 10,000 webhooks, nobody reads more. */
const COMPARED_MAX = 100;

/**
 * emit() may produce any event type. So types that a webhook received in the last week count as
 * produced, unless `countReceived` is false: a table may have produced them until now. Reads one
 * tenant, or all.
 */
export async function readUnproduced(
  client: pg.ClientBase,
  tenantId: string | null,
  { countReceived = true } = {},
): Promise<Unproduced[]> {
  const { rows } = await client.query<Omit<Unproduced, 'near'>>(
    `with produced as materialized (
       select array_agg(distinct p.pattern) as patterns
         from (select event_type from rowhook.webhook_event_types
                union select event_type from rowhook.event_definitions
                union select unnest('{webhook.disabled,webhook.failing}'::text[])) as e
        cross join unnest(rowhook._patterns(array[e.event_type])) as p (pattern)
     ), unproduced as (
       select c.id, c.tenant_id, c.name, c.event_types, array_agg(w.pattern order by w.number) as patterns
         from rowhook.webhook_configurations c
        cross join unnest(c.event_types) with ordinality as w (pattern, number)
        where c.is_active and ($1::text is null or c.tenant_id = $1)
          and w.pattern <> '*' and w.pattern <> all ((select p.patterns from produced p)::text[])
          and not exists (
                select from rowhook.webhook_logs l
                 where $2 and l.tenant_id = c.tenant_id and l.webhook_id = c.id and l.attempted_at > now() - interval '7 days'
                   and (l.event_type = w.pattern
                        or right(w.pattern, 2) = '.*' and starts_with(l.event_type, left(w.pattern, -1))))
        group by c.id
     )
     select u.id, u.tenant_id as "tenantId", u.name, u.event_types as "eventTypes", u.patterns as unproduced
       from unproduced u
      order by u.tenant_id, u.name, u.id`,
    [tenantId, countReceived],
  );
  const produced = rows.length === 0 ? [] : await readEventTypes(client);
  return rows.map((row, index) => {
    const [first = ''] = row.unproduced;
    return { ...row, near: index < COMPARED_MAX ? nearEventType(first, produced) : null };
  });
}

/** Event types of watched tables and of definitions. */
export async function readEventTypes(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ event_type: string }>(
    `select event_type from rowhook.webhook_event_types
      union select event_type from rowhook.event_definitions order by event_type`,
  );
  return rows.map(({ event_type }) => event_type);
}

/**
 * The event type that a misspelt one probably means. For a pattern, and for a prefix without `.*`,
 * a pattern. Null: none is near.
 */
export function nearEventType(wanted: string, produced: readonly string[]): string | null {
  const isWhole = wanted.includes('.') && !wanted.endsWith('.*');
  if (isWhole) return nearNames(wanted, produced, 1)[0] ?? null;
  const prefix = wanted.replace(/\.\*$/, '');
  const prefixes = produced.map((event) => event.slice(0, event.lastIndexOf('.')));
  const [near] = nearNames(prefix, [...new Set(prefixes)], 1);
  // Prefixes are short. One letter in three may differ.
  const isNear = near !== undefined && editDistance(prefix.toLowerCase(), near.toLowerCase()) <= prefix.length / 3;
  return isNear ? `${near}.*` : null;
}
