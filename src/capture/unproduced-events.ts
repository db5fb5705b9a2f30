/**
 * Event types that active webhooks ask for and nothing produces: after a table was unwatched, or got
 * another prefix.
 */

import type pg from 'pg';

export interface Unproduced {
  id: string;
  tenantId: string;
  name: string;
  /** All that it asks for. */
  eventTypes: string[];
  /** Those of them that nothing produces. */
  unproduced: string[];
  /** An event type that is produced and differs from the first of these by a letter or two. */
  near: string | null;
}

/** To compare one name with 100 takes 20 ms. */
const COMPARED_MAX = 20;

/** emit() may produce any event type, so what a webhook was sent in the last week counts as produced. Of one tenant, or of all. */
export async function readUnproduced(client: pg.ClientBase, tenantId: string | null): Promise<Unproduced[]> {
  const { rows } = await client.query<Unproduced>(
    `with produced as materialized (
       select array_agg(distinct p.pattern) as patterns, array_agg(distinct e.event_type) as event_types
         from (select event_type from rowhook.webhook_event_types union all select 'webhook.disabled') as e
        cross join unnest(rowhook._patterns(array[e.event_type])) as p (pattern)
     ), unproduced as (
       select c.id, c.tenant_id, c.name, c.event_types, array_agg(w.pattern order by w.number) as patterns
         from rowhook.webhook_configurations c
        cross join unnest(c.event_types) with ordinality as w (pattern, number)
        where c.is_active and ($1::text is null or c.tenant_id = $1)
          and w.pattern <> '*' and w.pattern <> all ((select p.patterns from produced p)::text[])
          and not exists (
                select from rowhook.webhook_logs l
                 where l.tenant_id = c.tenant_id and l.webhook_id = c.id and l.attempted_at > now() - interval '7 days'
                   and (l.event_type = w.pattern or right(w.pattern, 2) = '.*' and starts_with(l.event_type, left(w.pattern, -1))))
        group by c.id
     )
     select u.id, u.tenant_id as "tenantId", u.name, u.event_types as "eventTypes", u.patterns as unproduced,
            case when row_number() over (order by u.tenant_id, u.name, u.id) <= ${COMPARED_MAX} then
              (select m.e from (select e, rowhook._edit_distance(u.patterns[1], e) as distance
                                  from produced p cross join unnest(p.event_types) as e where abs(length(e) - length(u.patterns[1])) <= 2) as m
                where m.distance <= 2 order by m.distance, m.e limit 1) end as near
       from unproduced u
      order by u.tenant_id, u.name, u.id`,
    [tenantId],
  );
  return rows;
}
