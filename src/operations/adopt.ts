import type pg from 'pg';
import { UserError } from '../shared/user-error.ts';

/** What to do with the undelivered events of this database. */
export type Undelivered = 'deliver' | 'discard';

/**
 * Assigns a copied or renamed database to an environment, so that the environment's daemons may
 * deliver from it. A copy of production holds production's undelivered events. A person must decide
 * whether this copy sends them too. In both cases the copy begins a new incarnation, because both
 * databases assign the same outbox ids after the copy. Resolves to the number of discarded parked
 * deliveries.
 */
export async function adoptDatabase(client: pg.Client, environment: string, undelivered: Undelivered): Promise<number> {
  // This runs in its own transaction. It stamps undelivered rows with its transaction's id, and a
  // later snapshot of the same transaction would treat that id as done.
  await client.query('select rowhook._notice_restore()');
  await client.query('begin');
  try {
    await client.query('select from rowhook.webhook_lanes order by lane for update');
    const { rows: owned } = await client.query('select from rowhook.webhook_lane_owners');
    if (owned.length > 0) throw new UserError('adopt: a daemon is delivering from this database. Stop it first.');
    await client.query('select rowhook._begin_incarnation()');
    let discarded = 0;
    if (undelivered === 'discard') {
      const { rowCount } = await client.query("delete from rowhook.webhook_deliveries where state = 'waiting'");
      discarded = rowCount ?? 0;
      await client.query('delete from rowhook.webhook_lagging_tenants');
      await client.query(
        `update rowhook.webhook_lanes
            set epoch = epoch + 1, owner = null, from_snapshot = pg_current_snapshot(),
                to_snapshot = null, done_id = null, position_at = now(),
                sequence_value = coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0)`,
      );
    }
    await client.query('update rowhook.webhook_installation set environment = $1, recorded_at = now()', [environment]);
    await client.query('commit');
    return discarded;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}
