/** Rows of webhook_health: webhooks that fail. */

import type pg from 'pg';
import type { Entry } from '../model.ts';
import type { HealthChange } from '../outcome.ts';
import { lockedByOthers } from './locked-rows.ts';

const HEALTH = `
  insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
  select webhook_id, lane, failures, to_timestamp(failing_since / 1000.0), to_timestamp(open_until / 1000.0), openings
    from json_to_recordset($1::json) as r (
      webhook_id uuid, lane smallint, failures int, failing_since float8, open_until float8, openings int)
   where exists (select from rowhook.webhook_configurations w where w.id = r.webhook_id)
  on conflict (webhook_id) do update
     set failures = excluded.failures, failing_since = excluded.failing_since, open_until = excluded.open_until,
         openings = excluded.openings, updated_at = now()`;

/**
 * Writes nothing for webhooks that keep succeeding. Only failing and just recovered ones cost a
 * query.
 */
export async function recordHealth(client: pg.ClientBase, entries: readonly Entry[]): Promise<void> {
  const last = new Map<string, { lane: number; change: HealthChange }>();
  for (const { delivery, health } of entries) {
    if (health.kind !== 'unchanged') last.set(delivery.webhookId, { lane: delivery.change.lane, change: health });
  }
  if (last.size === 0) return;
  for (const id of await lockedByOthers(client, 'health', [...last.keys()])) last.delete(id);
  const healthy = [...last].filter(([, { change }]) => change.kind === 'healthy').map(([id]) => id);
  const failing = [...last].flatMap(([webhook_id, { lane, change }]) =>
    change.kind !== 'failing'
      ? []
      : [
          {
            webhook_id,
            lane,
            failures: change.health.failures,
            failing_since: change.health.failingSince,
            open_until: change.health.openUntil,
            openings: change.health.openings,
          },
        ],
  );
  if (healthy.length > 0)
    await client.query('delete from rowhook.webhook_health where webhook_id = any ($1::uuid[])', [healthy]);
  if (failing.length > 0) await client.query(HEALTH, [JSON.stringify(failing)]);
}
