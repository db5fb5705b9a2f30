/** What a replay leaves out, why, and the command that is right for it. */
import type pg from 'pg';
import type { Out } from '../../shared/terminal.ts';

export interface Range {
  since: string;
  until: string;
}

export interface LeftOut {
  /** Deliveries of that time that wait for their next attempt: they are sent without a replay. */
  waiting: number;
  /** Of those the one that is due first. Null: each waits behind an earlier one of its row, or none waits. */
  first: string | null;
  firstAt: Date | null;
  /** Deliveries of that time that were given up. */
  givenUp: number;
}

/** Ask before the replay: what it queues waits as well. */
export async function readLeftOut(client: pg.Client, webhookId: string, range: Range): Promise<LeftOut> {
  const { rows } = await client.query<LeftOut>(
    `select c.waiting, c.given_up as "givenUp", f.delivery_id as first, f.next_attempt_at as "firstAt"
       from (select count(*) filter (where state = 'waiting')::int as waiting,
                    count(*) filter (where state = 'given_up')::int as given_up
               from rowhook.webhook_deliveries
              where webhook_id = $1 and occurred_at >= $2 and occurred_at < $3) as c
       left join lateral (
         select delivery_id, next_attempt_at from rowhook.webhook_deliveries
          where webhook_id = $1 and occurred_at >= $2 and occurred_at < $3
            and state = 'waiting' and next_attempt_at < 'infinity'
          order by next_attempt_at limit 1) as f on c.waiting > 0`,
    [webhookId, range.since, range.until],
  );
  return rows[0] as LeftOut;
}

const NOTHING: Readonly<Record<string, string>> = {
  given_up: 'no delivery of that time was given up',
  missed: 'no event of that time was missed',
  all: 'no event of that time',
};

export function printNothing(id: string, only: string, range: Range, left: LeftOut, out: Out): void {
  out.print(`Nothing to replay: ${NOTHING[only]}.`);
  if (only === 'missed' && left.givenUp > 0) {
    const command = `rowhook replay ${id} --since ${range.since} --until ${range.until} --only given_up`;
    out.print(`${left.givenUp} of that time ${were(left.givenUp)} given up. To send ${them(left.givenUp)}: ${command}`);
  }
}

export function printWaiting(id: string, { waiting, first, firstAt }: LeftOut, out: Out): void {
  if (waiting === 0) return;
  const next = firstAt === null ? '' : `, the first at ${firstAt.toISOString()}`;
  out.print(
    `Left out: ${waiting} that ${waiting === 1 ? 'waits' : 'wait'} for the next attempt, which comes without a replay${next}: rowhook deliveries --webhook ${id} --state waiting`,
  );
  if (first !== null) out.print(`To send the first of them now: rowhook replay --delivery ${first}`);
}

function were(count: number): string {
  return count === 1 ? 'was' : 'were';
}

function them(count: number): string {
  return count === 1 ? 'it' : 'them';
}
