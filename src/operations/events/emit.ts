/** Writes events of applications that do not speak SQL. Returns values only. */
import { hash } from 'node:crypto';
import type pg from 'pg';

export interface Emitted {
  /** Null: the key belongs to another request, and nothing was written. */
  id: string | null;
  /** False: an earlier request with this key wrote the event. */
  isNew: boolean;
}

/**
 * Writes an event of the session's tenant, in the transaction of `client`. `data` is JSON text and
 * stays as it is. With a key, the event is written once in 7 days.
 */
export async function emitOnce(
  client: pg.ClientBase,
  event: string,
  data: string,
  key: string | undefined,
): Promise<Emitted> {
  const { rows } = await client.query<{ event_id: string | null; is_new: boolean }>(
    'select event_id, is_new from rowhook._emit_once_own($1, $2::json, $3, $4)',
    [event, data, key, hash('sha256', `${event}\n${data}`, 'buffer')],
  );
  return { id: rows[0]?.event_id ?? null, isNew: rows[0]?.is_new === true };
}
