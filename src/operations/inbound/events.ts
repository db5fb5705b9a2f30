/** Inbound events: listed, claimed, completed, failed, retried. Returns values only. */
import type pg from 'pg';
import { Conditions, type Key, type Page, readPage } from '../page.ts';

export interface InboundEvent {
  id: string;
  tenant_id: string;
  event_name: string;
  source: string | null;
  /** JSON text, as it came. */
  payload: string;
  headers: Record<string, string>;
  idempotency_key: string | null;
  status: 'received' | 'processing' | 'processed' | 'failed';
  attempts: number;
  error_message: string | null;
  received_at: Date;
  available_at: Date;
  processed_at: Date | null;
  remote_ip: string | null;
}

const COLUMNS = `e.id, e.tenant_id, e.event_name, e.source, e.payload::text as payload, e.headers, e.idempotency_key,
  e.status, e.attempts, e.error_message, e.received_at, e.available_at, e.processed_at, host(e.remote_ip) as remote_ip`;

export interface InboundFilter {
  status?: string | undefined;
  event_name?: string | undefined;
  source?: string | undefined;
}

/** The inbound events of a tenant, newest first. */
export function readInboundEvents(
  client: pg.ClientBase,
  tenantId: string,
  { status, event_name, source }: InboundFilter,
  page: { limit: number; cursor?: Key | undefined },
): Promise<Page<InboundEvent>> {
  return readPage<InboundEvent>(
    client,
    {
      columns: COLUMNS,
      from: 'rowhook.integration_events e',
      indexed: new Conditions().add('e.tenant_id = $', tenantId),
      time: { column: 'e.received_at', isOrder: true },
      id: { column: 'e.id', type: 'uuid' },
      filters: [
        ['l.status = $', status],
        ['l.event_name = $', event_name],
        ['l.source = $', source],
      ],
    },
    page,
  );
}

/** The newest of all tenants, or of one, oldest first; with `after`, those that came since. */
export async function readNewest(
  client: pg.ClientBase,
  { tenant, status, event_name }: InboundFilter & { tenant?: string | undefined },
  limit: number,
  after?: InboundEvent,
): Promise<InboundEvent[]> {
  const { rows } = await client.query<InboundEvent>(
    `select * from (
       select ${COLUMNS}
         from rowhook.integration_events e
        where ($1::text is null or e.tenant_id = $1)
          and ($2::text is null or e.status = $2)
          and ($3::text is null or e.event_name = $3)
          and ($5::timestamptz is null or (e.received_at, e.id) > ($5, $6::uuid))
        order by e.received_at desc, e.id desc
        limit $4) as n
      order by n.received_at, n.id`,
    [tenant, status, event_name, limit, after?.received_at, after?.id],
  );
  return rows;
}

export async function claimInboundEvents(
  client: pg.ClientBase,
  eventNames: readonly string[] | null,
  max: number,
  lease: string,
): Promise<InboundEvent[]> {
  const { rows } = await client.query<InboundEvent>(
    `select ${COLUMNS} from rowhook.claim_integration_events($1::text[], $2, $3::interval) as e`,
    [eventNames, max, lease],
  );
  return rows;
}

export async function completeInboundEvent(client: pg.ClientBase, id: string, attempts: number | null): Promise<void> {
  await client.query('select rowhook.complete_integration_event($1, $2)', [id, attempts]);
}

export async function failInboundEvent(
  client: pg.ClientBase,
  id: string,
  error: string,
  retryIn: string | null,
  attempts: number | null,
): Promise<void> {
  await client.query('select rowhook.fail_integration_event($1, $2, $3::interval, $4)', [id, error, retryIn, attempts]);
}

export async function retryInboundEvent(client: pg.ClientBase, id: string): Promise<void> {
  await client.query('select rowhook.retry_integration_event($1)', [id]);
}

export interface InboundState {
  waiting: number;
  oldest_seconds: number | null;
  failed_24h: number;
}
