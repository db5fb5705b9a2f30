/** Deliveries that wait for their next attempt or were given up: reads them, and sends them again. Returns values only. */
import type pg from 'pg';
import { Conditions, type Key, type Page, readPage } from '../page.ts';

export interface DeliveryFilter {
  webhook?: string;
  tenant?: string;
  state?: string;
}

export interface DeliveryRow {
  delivery_id: string;
  webhook_name: string;
  tenant_id: string;
  event_type: string;
  state: string;
  attempt: number;
  last_code: string | null;
  occurred_at: Date;
  /** Infinity: it waits behind an earlier delivery of the same row. Null: it was given up. */
  next_attempt_at: Date | number | null;
  /** Its time comes while the breaker of its webhook is open, so it waits until the breaker is closed. */
  held_by_breaker: boolean;
  replayed: boolean;
}

/** The newest first. */
export async function readDeliveries(
  client: pg.Client,
  { webhook, tenant, state }: DeliveryFilter,
  rowsMax: number,
): Promise<DeliveryRow[]> {
  const { rows } = await client.query<DeliveryRow>(
    `select delivery_id, webhook_id, webhook_name, tenant_id, event_id, event_type, state, attempt, last_code,
            occurred_at, parked_at, next_attempt_at,
            coalesce(next_attempt_at < greatest(h.open_until, clock_timestamp())
                     and h.open_until is not null, false) as held_by_breaker,
            test, replayed
       from rowhook.webhook_deliveries
       left join rowhook.webhook_health h using (webhook_id)
      where ($1::uuid is null or webhook_id = $1)
        and ($2::text is null or tenant_id = $2)
        and ($3::text is null or state = $3)
      order by occurred_at desc, delivery_id
      limit $4`,
    [webhook, tenant, state, rowsMax],
  );
  return rows;
}

/** A delivery that did not finish, as the API shows it. */
export interface UnfinishedDelivery {
  id: string;
  webhook_id: string;
  webhook_name: string;
  event_id: string;
  event_type: string;
  /** waiting, or failed: no attempts are left. */
  state: 'waiting' | 'failed';
  attempt: number;
  last_code: string | null;
  occurred_at: Date;
  /** Null: it failed, or it waits behind an earlier delivery of its row. */
  next_attempt_at: Date | null;
  replayed: boolean;
  test: boolean;
}

export interface UnfinishedFilter {
  webhook?: string | undefined;
  state?: UnfinishedDelivery['state'] | undefined;
  event_type?: string | undefined;
  since?: string | undefined;
  until?: string | undefined;
}

const STORED_STATE = { waiting: 'waiting', failed: 'given_up' } as const;

const UNFINISHED = `
  d.delivery_id as id, d.webhook_id, d.webhook_name, d.event_id, d.event_type,
  case d.state when 'given_up' then 'failed' else d.state end as state, d.attempt, d.last_code, d.occurred_at,
  nullif(d.next_attempt_at, 'infinity') as next_attempt_at, d.replayed, d.test`;

/** Deliveries of a tenant that wait or failed, newest first. */
export function readUnfinished(
  client: pg.ClientBase,
  tenantId: string,
  filter: UnfinishedFilter,
  page: { limit: number; cursor?: Key | undefined },
): Promise<Page<UnfinishedDelivery>> {
  const { webhook, state, event_type, since, until } = filter;
  return readPage<UnfinishedDelivery>(
    client,
    {
      columns: UNFINISHED,
      from: 'rowhook.webhook_deliveries d',
      indexed: new Conditions()
        .add('d.tenant_id = $', tenantId)
        .add('d.webhook_id = $::uuid', webhook)
        .add('d.state = $', webhook && state && STORED_STATE[state])
        .add('d.occurred_at >= $::timestamptz', since)
        .add('d.occurred_at < $::timestamptz', until),
      time: { column: 'd.occurred_at', isOrder: true },
      id: { column: 'd.delivery_id', type: 'uuid' },
      filters: [
        ['l.state = $', state],
        ['l.event_type = $', event_type],
      ],
    },
    page,
  );
}

/** Limit on deliveries that one request sends again. */
export const RETRIED_MAX = 10_000;

/** The ids of at most RETRIED_MAX deliveries, the newest first, and whether there are more. */
export async function findUnfinished(
  client: pg.ClientBase,
  tenantId: string,
  filter: UnfinishedFilter,
): Promise<{ ids: string[]; more: boolean }> {
  const { data, next_cursor } = await readUnfinished(client, tenantId, filter, { limit: RETRIED_MAX });
  return { ids: data.map(({ id }) => id), more: next_cursor !== null };
}

/** Sends deliveries of the session's tenant again now. Deliveries that cannot be sent again are skipped. */
export async function retryDeliveries(
  client: pg.ClientBase,
  ids: readonly string[],
): Promise<{ retried: number; skipped: number }> {
  const { rows } = await client.query<{ retried: number; skipped: number }>(
    'select retried, skipped from rowhook._retry_own($1::uuid[])',
    [ids],
  );
  return rows[0] ?? { retried: 0, skipped: 0 };
}
