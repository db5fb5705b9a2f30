import type pg from 'pg';
import { UserError } from '../shared/user-error.ts';

/** What becomes of the events that are undelivered here. */
export type Undelivered = 'deliver' | 'discard';

/**
 * Makes a copied or renamed database belong to an environment, so that daemons of it may deliver. A copy of production holds
 * production's undelivered events: whether they go out from here as well is for a person to say. Either way the copy begins
 * an incarnation of its own, since both databases hand out the same outbox ids from where they parted. Resolves to the
 * number of parked deliveries that were discarded.
 */
export async function adoptDatabase(client: pg.Client, environment: string, undelivered: Undelivered): Promise<number> {
  // by itself: what it stamps with its transaction's id as undelivered, a snapshot of the same transaction cannot tell
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
