/** Sends one test event to a webhook of the session's tenant, and finds its attempt. Returns values only. */
import type pg from 'pg';

/**
 * Queues a test of `eventType`. Without it, of the first event type that the webhook wants. Resolves
 * to the outbox row, or to undefined if there is no such webhook.
 */
export async function queueOneTest(
  client: pg.ClientBase,
  id: string,
  eventType: string | undefined,
): Promise<{ outboxId: string; eventType: string } | undefined> {
  const { rows } = await client.query<{ type: string }>(
    `select coalesce($2, wanted.type, 'webhook.test') as type
       from rowhook.webhook_configurations w
       left join lateral (
         select case when e.pattern ~ '[*]' then known.type else e.pattern end as type
           from unnest(w.event_types) with ordinality as e (pattern, n)
           left join lateral (
             select min(t.event_type) as type from rowhook.webhook_event_types t
              where e.pattern = any (rowhook._patterns(array[t.event_type]))) as known on true
          where e.pattern !~ '[*]' or known.type is not null
          order by e.n limit 1) as wanted on true
      where w.id = $1`,
    [id, eventType],
  );
  const type = rows[0]?.type;
  if (type === undefined) return undefined;
  const { rows: queued } = await client.query<{ id: string }>(
    'select rowhook._emit_own($1, rowhook._sample($1, rowhook.current_tenant()), $2) as id',
    [type, id],
  );
  return { outboxId: queued[0]?.id as string, eventType: type };
}

/** The id of the log row of a test's first attempt. Undefined: it was not attempted yet. */
export async function findTestAttempt(
  client: pg.ClientBase,
  id: string,
  outboxId: string,
): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string }>(
    `select id from rowhook.webhook_logs
      where webhook_id = $1 and attempted_at > now() - interval '5 minutes'
        and split_part(event_id, '_', 3) = $2 and attempt <= 1
      order by attempted_at limit 1`,
    [id, outboxId],
  );
  return rows[0]?.id;
}
