/**
 * Rows that a tenant holds in an open transaction: it deletes or changes its webhook, or replays a delivery, and does not
 * commit. RECORD must not wait for it, because a batch is about all tenants and holds the lanes' locks: one tenant could stop
 * everybody's deliveries. So it takes the locks of its rows first, without waiting, and leaves out the rows that are held.
 * They stay as they were: their delivery is tried again when it is due, as one that a crash left behind.
 */
import type pg from 'pg';

// The locks last until the end of the transaction: what is not returned here can be written without waiting.
const HELD = (table: string, column: string) => `
  with taken as (select ${column} from rowhook.${table} where ${column} = any ($1::uuid[]) for update skip locked)
  select ${column} as id from rowhook.${table} where ${column} = any ($1::uuid[]) except select ${column} from taken`;

const STATEMENTS = {
  deliveries: { name: 'rowhook_held_deliveries', text: HELD('webhook_deliveries', 'delivery_id') },
  health: { name: 'rowhook_held_health', text: HELD('webhook_health', 'webhook_id') },
};

/** Those of the ids whose rows somebody else has locked. */
export async function lockedByOthers(
  client: pg.ClientBase,
  what: keyof typeof STATEMENTS,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const { rows } = await client.query<{ id: string }>({ ...STATEMENTS[what], values: [ids] });
  return new Set(rows.map(({ id }) => id));
}
