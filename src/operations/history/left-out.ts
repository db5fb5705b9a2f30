/** Finds what a replay leaves out. */
import type pg from 'pg';
import { theOne } from '../webhooks/webhooks.ts';

export interface Range {
  since: string;
  until: string;
}

export interface LeftOut {
  /** False: rowhook sends nothing, because the webhook is disabled. */
  isActive: boolean;
  /** Deliveries of that time that wait for their next attempt. They are sent without a replay. */
  waiting: number;
  /**
   * When the first of these is due. Null: each waits behind an earlier delivery of its row, or none
   * waits.
   */
  first: string | null;
  firstAt: Date | null;
  /** Deliveries of that time that were given up. */
  givenUp: number;
}

/** Call this before the replay, because the deliveries that it queues wait as well. */
export async function readLeftOut(client: pg.Client, webhookId: string, range: Range): Promise<LeftOut> {
  const { rows } = await client.query<LeftOut>(
    `select w.is_active as "isActive", c.waiting, c.given_up as "givenUp",
            f.delivery_id as first, f.next_attempt_at as "firstAt"
       from rowhook.webhook_configurations w
      cross join (
             select count(*) filter (where state = 'waiting')::int as waiting,
                    count(*) filter (where state = 'given_up')::int as given_up
               from rowhook.webhook_deliveries
              where webhook_id = $1 and occurred_at >= $2 and occurred_at < $3) as c
       left join lateral (
         select delivery_id, next_attempt_at from rowhook.webhook_deliveries
          where webhook_id = $1 and occurred_at >= $2 and occurred_at < $3
            and state = 'waiting' and next_attempt_at < 'infinity'
          order by next_attempt_at limit 1) as f on c.waiting > 0
      where w.id = $1`,
    [webhookId, range.since, range.until],
  );
  return theOne(rows, webhookId);
}
