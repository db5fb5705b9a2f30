/** One delivery: its attempts, and what happens to it next. Returns values only. */
import type pg from 'pg';
import { type Attempt, attemptsOf } from './attempts.ts';

export interface DeliveryView {
  id: string;
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  /** failed: no attempts are left. */
  state: 'waiting' | 'failed' | 'delivered' | 'skipped';
  /** When the change was captured. Null: the delivery did not have to wait, so nothing says it. */
  occurred_at: Date | null;
  /** Null: there is none, or it waits behind another delivery. */
  next_attempt_at: Date | null;
  /** With ordering `row`: the earlier delivery of its row that it waits for. */
  waits_for: string | null;
  /** What happens next, as a sentence. */
  next: string;
  /** Oldest first. */
  attempts: Attempt[];
}

interface StoredDelivery {
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  state: 'waiting' | 'given_up';
  attempt: number;
  replayed: boolean;
  occurred_at: Date;
  next_attempt_at: Date | null;
  is_behind: boolean;
  waits_for: string | null;
  is_active: boolean | null;
  open_until: Date | null;
}

/** Undefined: the session's tenant has no such delivery. */
export async function findDelivery(client: pg.ClientBase, id: string): Promise<DeliveryView | undefined> {
  const stored = await findStored(client, id);
  const found = await attemptsOf(client, id);
  const known = stored ?? found.at(-1);
  if (known === undefined) return undefined;
  const last = found.at(-1);
  const state = stored ? (stored.state === 'waiting' ? 'waiting' : 'failed') : stateAfter(last?.status);
  return {
    id,
    webhook_id: known.webhook_id,
    webhook_name: known.webhook_name,
    event_id: known.event_id,
    event_type: known.event_type,
    state,
    occurred_at: stored?.occurred_at ?? null,
    next_attempt_at: stored?.next_attempt_at ?? null,
    waits_for: stored?.waits_for ?? null,
    next: nextOf(state, stored),
    attempts: found.map(({ webhook_id, webhook_name, ...attempt }) => attempt),
  };
}

async function findStored(client: pg.ClientBase, id: string): Promise<StoredDelivery | undefined> {
  const { rows } = await client.query<StoredDelivery>(
    `select d.webhook_id, d.webhook_name, d.event_id, d.event_type, d.state, d.attempt, d.replayed, d.occurred_at,
            nullif(d.next_attempt_at, 'infinity') as next_attempt_at,
            coalesce(d.next_attempt_at = 'infinity', false) as is_behind, head.delivery_id as waits_for,
            c.is_active, case when h.open_until > now() then h.open_until end as open_until
       from rowhook.webhook_deliveries d
       left join rowhook.webhook_configurations c on c.id = d.webhook_id
       left join rowhook.webhook_health h on h.webhook_id = d.webhook_id
       left join lateral (
         select e.delivery_id from rowhook.webhook_deliveries e
          where d.next_attempt_at = 'infinity'
            and e.webhook_id = d.webhook_id
            and hashtext(e.row_key) = hashtext(d.row_key)
            and e.row_key = d.row_key
            and e.source_id is not distinct from d.source_id
            and e.state = 'waiting' and e.ordered
          order by e.outbox_id, e.ordinal limit 1) as head on true
      where d.delivery_id = $1`,
    [id],
  );
  return rows[0];
}

function stateAfter(status: string | undefined): DeliveryView['state'] {
  return status === 'success' ? 'delivered' : status === 'skipped' ? 'skipped' : 'failed';
}

function nextOf(state: DeliveryView['state'], stored: StoredDelivery | undefined): string {
  if (state === 'delivered') return 'Nothing: the receiver has it. A retry sends it once more, with the same ids.';
  if (state === 'skipped') return 'Nothing: it was not sent. A retry sends it.';
  if (state === 'failed' || !stored) return 'Nothing: no attempts are left. A retry begins again.';
  if (stored.is_active === false) return 'It waits until the webhook is enabled.';
  if (stored.is_behind) return 'It waits for an earlier delivery of the same row.';
  if (stored.open_until !== null && stored.open_until > (stored.next_attempt_at ?? 0))
    return `The webhook keeps failing. Its next attempt is at ${stored.open_until.toISOString()}.`;
  const due = stored.next_attempt_at as Date;
  if (due.getTime() <= Date.now()) return 'It is due, and is sent as soon as the webhook has a free request.';
  return `Attempt ${stored.attempt + 1} is at ${due.toISOString()}.`;
}
