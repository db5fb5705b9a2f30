/**
 * Rows that a tenant has locked in an open transaction. The tenant deletes or changes its webhook,
 * or replays a delivery, and does not commit. RECORD must not wait for that transaction, because a
 * batch is about all tenants and locks the lanes. One tenant could stop everybody's deliveries. So
 * RECORD first locks its rows without waiting, and leaves out the locked ones. These rows stay as
 * they were. Their deliveries are retried when they are due, like deliveries that a crash left
 * behind.
 */
import type pg from 'pg';

// The locks last until the end of the transaction. Rows that are not returned can be written
// without waiting.
const HELD = (table: string, column: string) => `
  with taken as (select ${column} from rowhook.${table} where ${column} = any ($1::uuid[]) for update skip locked)
  select ${column} as id from rowhook.${table} where ${column} = any ($1::uuid[]) except select ${column} from taken`;

const STATEMENTS = {
  deliveries: { name: 'rowhook_held_deliveries', text: HELD('webhook_deliveries', 'delivery_id') },
  health: { name: 'rowhook_held_health', text: HELD('webhook_health', 'webhook_id') },
};

/** Returns the ids whose rows are locked by other transactions. */
export async function lockedByOthers(
  client: pg.ClientBase,
  what: keyof typeof STATEMENTS,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const { rows } = await client.query<{ id: string }>({ ...STATEMENTS[what], values: [ids] });
  return new Set(rows.map(({ id }) => id));
}
