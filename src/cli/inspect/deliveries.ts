import type pg from 'pg';
import { type Out, printTable } from '../../shared/terminal.ts';

export interface DeliveriesOptions {
  webhook?: string;
  tenant?: string;
  state?: string;
  limit: number;
  json?: boolean;
}

interface DeliveryRow {
  delivery_id: string;
  webhook_name: string;
  tenant_id: string;
  event_type: string;
  state: string;
  attempt: number;
  last_code: string | null;
  occurred_at: Date;
  /** Infinity: when the delivery before it of the same row is done; null: it was given up. */
  next_attempt_at: Date | number | null;
  replayed: boolean;
}

/** What did not finish at once: waiting for its next attempt, or given up. */
export async function deliveries(client: pg.Client, options: DeliveriesOptions, out: Out): Promise<void> {
  const { rows } = await client.query<DeliveryRow>(
    `select delivery_id, webhook_id, webhook_name, tenant_id, event_id, event_type, state, attempt, last_code,
            occurred_at, parked_at, next_attempt_at, test, replayed
       from rowhook.webhook_deliveries
      where ($1::uuid is null or webhook_id = $1)
        and ($2::text is null or tenant_id = $2)
        and ($3::text is null or state = $3)
      order by occurred_at desc, delivery_id
      limit $4`,
    [options.webhook, options.tenant, options.state, options.limit + 1],
  );
  const shown = rows.slice(0, options.limit);
  if (options.json) {
    for (const row of shown) out.print(JSON.stringify({ ...row, next_attempt_at: nextOf(row, 'infinity') }));
  } else if (rows.length === 0) {
    out.print('No unfinished deliveries: "rowhook logs" shows what was delivered.');
  } else {
    printTable(
      out,
      ['delivery id', 'webhook', 'tenant', 'event', 'state', 'attempts', 'last', 'next'],
      shown.map((row) => [
        row.delivery_id,
        row.webhook_name,
        row.tenant_id,
        row.event_type,
        row.state === 'given_up'
          ? { text: 'given up', style: 'red' }
          : { text: row.replayed ? 'waiting (replay)' : 'waiting', style: 'yellow' },
        row.attempt,
        row.last_code,
        nextOf(row, 'behind its row'),
      ]),
    );
    if (rows.length > shown.length)
      out.print(out.paint('dim', `more than ${options.limit}: narrow with a flag, or raise --limit`));
  }
}

function nextOf({ next_attempt_at: at }: DeliveryRow, behind: string): string | null {
  return at instanceof Date ? at.toISOString() : at === null ? null : behind;
}
