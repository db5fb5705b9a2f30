/** Counts for the first lines of `rowhook start`. Returns values only. */
import type pg from 'pg';

export interface Overview {
  /** Active webhooks. */
  webhooks: number;
  /** Watched tables. A table that is watched because it inherits from another one does not count. */
  tables: number;
}

export async function readOverview(client: pg.ClientBase): Promise<Overview> {
  const { rows } = await client.query<Overview>(
    `select (select count(*)::int from rowhook.webhook_configurations where is_active)  as webhooks,
            (select count(*)::int from rowhook.webhook_sources where parent_id is null) as tables`,
  );
  return rows[0] as Overview;
}
