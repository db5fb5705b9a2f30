/** Inbound events: listed, claimed, completed, failed, retried. Returns values only. */
import type pg from 'pg';
import { BYTES_MAX, Conditions, type Key, type Page, readPage } from '../page.ts';

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

const columnsOf = (alias: string) =>
  ['id', 'tenant_id', 'event_name', 'source', 'payload', 'headers', 'idempotency_key', 'status', 'attempts']
    .concat('error_message', 'received_at', 'available_at', 'processed_at', 'remote_ip')
    .map((column) => `${alias}.${column}`)
    .join(', ');

/** A payload becomes text only where its row is shown. */
const shownOf = (alias: string) =>
  columnsOf(alias)
    .replace(/(\w+)\.payload/, '$1.payload::text as payload')
    .replace(/(\w+)\.remote_ip/, 'host($1.remote_ip) as remote_ip');

const COLUMNS = shownOf('e');

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
      columns: columnsOf('e'),
      large: { shown: shownOf('l'), bytes: 'octet_length(l.payload::text)' },
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

type NewestFilter = Omit<InboundFilter, 'source'> & { tenant?: string | undefined };

const MATCHES = `($1::text is null or e.tenant_id = $1)
            and ($2::text is null or e.status = $2)
            and ($3::text is null or e.event_name = $3)`;

/** The newest of all tenants, or of one, oldest first. */
export async function readNewest(
  client: pg.ClientBase,
  { tenant, status, event_name }: NewestFilter,
  limit: number,
): Promise<InboundEvent[]> {
  const { rows } = await client.query<InboundEvent>(
    `select * from (
       select ${COLUMNS}
         from rowhook.integration_events e
        where ${MATCHES}
        order by e.received_at desc, e.id desc
        limit $4) as n
      order by n.received_at, n.id`,
    [tenant, status, event_name, limit],
  );
  return rows;
}

/**
 * Seconds between the time of an event and its commit, at most: `rowhook serve` ends a statement
 * before that. An event may commit after others that came later.
 */
const COMMIT_SECONDS_MAX = 30;

/** Limit on a page of new events. */
const PAGE_MAX = 1_000;

/** Yields events as they come, of all tenants or of one; those that are there already are skipped. */
export class NewInboundEvents {
  readonly #client: pg.ClientBase;
  readonly #filter: NewestFilter;
  /** What was seen, as far back as a later look goes: ids and times. */
  readonly #seen = new Map<string, number>();
  /** PostgreSQL's clock at the last look. */
  #lookedAt = '';

  constructor(client: pg.ClientBase, filter: NewestFilter) {
    this.#client = client;
    this.#filter = filter;
  }

  /** Everything that is there now counts as seen. */
  async start(): Promise<void> {
    this.#lookedAt = await this.#now();
    const { rows } = await this.#client.query<Pick<InboundEvent, 'id' | 'received_at'>>(
      `select e.id, e.received_at from rowhook.integration_events e
        where e.received_at > $1::timestamptz - interval '${COMMIT_SECONDS_MAX} s'`,
      [this.#lookedAt],
    );
    this.skip(rows);
  }

  /** These are not new. */
  skip(events: readonly Pick<InboundEvent, 'id' | 'received_at'>[]): void {
    for (const { id, received_at } of events) this.#seen.set(id, received_at.getTime());
  }

  /** The new ones since the last look, oldest first, at most a page: the rest comes next time. */
  async next(): Promise<InboundEvent[]> {
    const { tenant, status, event_name } = this.#filter;
    const now = await this.#now();
    const { rows } = await this.#client.query<InboundEvent>(
      `select ${COLUMNS}
         from rowhook.integration_events e
        where ${MATCHES}
          and e.received_at > $4::timestamptz - interval '${COMMIT_SECONDS_MAX} s'
          and e.id <> all ($5::uuid[])
        order by e.received_at, e.id
        limit ${PAGE_MAX}`,
      [tenant, status, event_name, this.#lookedAt, [...this.#seen.keys()]],
    );
    this.skip(rows);
    // After a full page there may be more as old as these.
    if (rows.length < PAGE_MAX) {
      this.#lookedAt = now;
      this.#forget();
    }
    return rows;
  }

  async #now(): Promise<string> {
    const { rows } = await this.#client.query<{ now: string }>(
      `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as now`,
    );
    return rows[0]?.now as string;
  }

  #forget(): void {
    const from = Date.parse(this.#lookedAt) - (COMMIT_SECONDS_MAX + 1) * 1_000;
    for (const [id, at] of this.#seen) if (at < from) this.#seen.delete(id);
  }
}

/** Limit on events of one statement, which may have 1 MiB each. */
const CLAIMED_AT_ONCE = 10;

/** Fewer than `max`, if there are no more or the payloads have BYTES_MAX. */
export async function claimInboundEvents(
  client: pg.ClientBase,
  eventNames: readonly string[] | null,
  max: number,
  lease: string,
): Promise<InboundEvent[]> {
  const claimed: InboundEvent[] = [];
  for (let bytes = 0; claimed.length < max && bytes < BYTES_MAX; ) {
    const count = Math.min(CLAIMED_AT_ONCE, max - claimed.length);
    const { rows } = await client.query<InboundEvent>(
      `select ${COLUMNS} from rowhook.claim_integration_events($1::text[], $2, $3::interval) as e`,
      [eventNames, count, lease],
    );
    claimed.push(...rows);
    if (rows.length < count) break;
    bytes += rows.reduce((sum, { payload }) => sum + payload.length, 0);
  }
  return claimed;
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
