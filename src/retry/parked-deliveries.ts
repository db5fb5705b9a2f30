/**
 * The parked deliveries, which wait in webhook_deliveries. Only the owner of their lane reads them.
 * A lane has one owner, so no delivery needs a claim.
 */
import type pg from 'pg';
import { COSTLY } from '../database/lent-session.ts';
import type { Delivery } from '../model.ts';
import { isolate } from '../shared/isolate.ts';
import { readTexts, type Texts } from './parked-texts.ts';

export interface DueQuery {
  webhookId: string;
  tenantId: string;
  limit: number;
  /** The limit on deliveries of replays, which follow all others. */
  replays: number;
  /** Ids of the webhook's deliveries that are in memory already. */
  inMemory: readonly string[];
}

export interface Due {
  webhookId: string;
  deliveries: Delivery[];
  /**
   * More deliveries are due now. A delivery that was never attempted is always due. So if this is
   * false, none of those is left.
   */
  moreDue: boolean;
  /** More deliveries of replays are due than the query asked for. */
  replaysDue: boolean;
  /** Milliseconds until the next delivery after these is due. Null: there is none. */
  nextInMs: number | null;
}

/** The deliveries that wait for webhook q, of replays or not, ordered by their time. */
const WAITING = (replayed: 'd.replayed' | 'not d.replayed') => `
          from rowhook.webhook_deliveries d
         where d.lane = rowhook._lane(q.tenant_id)
           and d.webhook_id = q.webhook_id
           and d.state = 'waiting'
           and ${replayed}
           and d.next_attempt_at < 'infinity'
           and d.delivery_id <> all (q.in_memory)
         order by d.next_attempt_at, d.outbox_id, d.ordinal`;

/**
 * Reads waiting deliveries in order, due or not, and one more than `limit`. The first batch is read
 * completely, even if it is larger than `limit`. A first attempt never waits for a minute: if its
 * time is further away, the clock was ahead, and has since been corrected.
 */
const PARKED = (replayed: 'd.replayed' | 'not d.replayed', limit: string, texts: string) => `
        select d.delivery_id, d.outbox_id::text as outbox_id,
               (extract(epoch from occurred_at) * 1000)::float8 as occurred_at,
               source_id, attempt, lane, ordinal, truncated, test, replayed,
               replayed and last_code is null as unfiltered,
               event_id, payload_format, batch_id, has_payload,
               encode(body, 'base64') as body, content_type, ${texts}
               case when not attempted and next_attempt_at > clock_timestamp() + interval '1 minute' then 0
                    else ((extract(epoch from next_attempt_at)
                           - extract(epoch from clock_timestamp())) * 1000)::float8 end as due_in_ms
          ${WAITING(replayed)}
         limit 1 + case when ${limit} = 0 then 0 else greatest(${limit}, (
           select count(*) from rowhook.webhook_deliveries b
            where b.state = 'waiting' and b.batch_id = (select d.batch_id ${WAITING(replayed)} limit 1))) end`;

const FROM_QUERIES =
  'from jsonb_to_recordset($1::jsonb) as q (webhook_id uuid, tenant_id text, take int, replays int, in_memory uuid[])';
const BOTH = (texts: string) =>
  `((${PARKED('not d.replayed', 'q.take', texts)}) union all (${PARKED('d.replayed', 'q.replays', texts)})) as d`;

const DUE = `
     select q.webhook_id, d.*,
            coalesce(d.parked_data, o.data)::text as data,
            coalesce(d.parked_previous, o.previous)::text as previous
       ${FROM_QUERIES}
      cross join lateral ${BOTH(`d.tenant_id, event_type, row_key, organization::text as organization, webhook_name,
               d.data as parked_data, d.previous as parked_previous,`)}
       -- Row by row. The planner expects a tenth of all waiting deliveries. Without the limit it
       -- would read the whole outbox: 75 ms instead of 2.
       left join lateral (select o.data, o.previous from rowhook.webhook_outbox o
                           where not d.has_payload
                             and d.due_in_ms <= 0
                             and o.id = d.outbox_id::bigint
                             and o.tenant_id = d.tenant_id
                           limit 1) as o on true`;

/** The same as DUE, without any text that people wrote. */
const DUE_WITHOUT_TEXTS = `select q.webhook_id, q.tenant_id, d.* ${FROM_QUERIES} cross join lateral ${BOTH('')}`;

/**
 * Reads the next due deliveries of each webhook, earliest first. Deliveries that were parked
 * together come in the order of their events.
 */
export async function readDue(pool: pg.Pool, queries: readonly DueQuery[]): Promise<Due[]> {
  const rows = await isolate(
    queries,
    (some) => readRows<DueRow>(pool, DUE, some),
    async (query) => readTexts(pool, await readRows<BareRow>(pool, DUE_WITHOUT_TEXTS, [query])),
  );
  return queries.map(({ webhookId, limit, replays }) => {
    const own = rows.filter((row) => row.webhook_id === webhookId);
    const [live, asked] = [own.filter((row) => !row.replayed), own.filter((row) => row.replayed)];
    const [next, nextReplay] = [dueOf(live, limit), dueOf(asked, replays)];
    // A due replay waits for free permits, not for a time.
    const times = [next.inMs, nextReplay.inMs === 0 ? null : nextReplay.inMs].filter((inMs) => inMs !== null);
    return {
      webhookId,
      deliveries: [...next.due, ...nextReplay.due].map(toDelivery),
      moreDue: next.inMs === 0,
      replaysDue: nextReplay.inMs === 0,
      nextInMs: times.length > 0 ? Math.min(...times) : null,
    };
  });
}

async function readRows<Row extends BareRow>(
  pool: pg.Pool,
  text: string,
  queries: readonly DueQuery[],
): Promise<Row[]> {
  const asked = queries.map((q) => ({
    webhook_id: q.webhookId,
    tenant_id: q.tenantId,
    take: q.limit,
    replays: q.replays,
    in_memory: q.inMemory,
  }));
  return (await pool.query<Row>({ ...COSTLY, text, values: [JSON.stringify(asked)] })).rows;
}

/** Returns the due deliveries, and the milliseconds until the next one after them is due. */
function dueOf(rows: DueRow[], limit: number): { due: DueRow[]; inMs: number | null } {
  const batch = rows[0]?.batch_id ?? null;
  const first = batch === null ? 0 : rows.filter(({ batch_id }) => batch_id === batch).length;
  const due = withoutPartsOfBatches(rows, limit === 0 ? 0 : Math.max(limit, first));
  const next = rows[due.length];
  return { due, inMs: next ? Math.max(0, next.due_in_ms) : null };
}

/**
 * Returns the due rows among the first `limit`. A batch is sent as a whole. Nothing is taken of a
 * batch that `limit` cut, or whose rows became due one by one during the read. If somebody gave its
 * rows different times by hand, sending parts of the batch is better than never sending it.
 */
function withoutPartsOfBatches(rows: DueRow[], limit: number): DueRow[] {
  const isTaken = (row: DueRow, i: number) => i < limit && row.due_in_ms <= 0;
  const left = new Set(rows.filter((row, i) => !isTaken(row, i)).map(({ batch_id }) => batch_id));
  const taken = rows.filter(isTaken);
  const whole = taken.filter(({ batch_id }) => batch_id === null || !left.has(batch_id));
  return whole.length > 0 || (rows[0]?.due_in_ms ?? 1) > 0 ? whole : taken;
}

/** The row of a parked delivery, without any text that people wrote. */
export interface BareRow {
  webhook_id: string;
  delivery_id: string;
  outbox_id: string;
  occurred_at: number;
  source_id: number | null;
  attempt: number;
  lane: number;
  ordinal: number;
  truncated: string | null;
  test: boolean;
  replayed: boolean;
  unfiltered: boolean;
  tenant_id: string;
  event_id: string;
  payload_format: Delivery['payloadFormat'];
  batch_id: string | null;
  /** What its template made, in base64. Null: nothing, or not yet. */
  body: string | null;
  content_type: string | null;
  due_in_ms: number;
}

type DueRow = BareRow & Texts;

const JSON_TYPE = 'application/json';

function toDelivery(row: DueRow): Delivery {
  return {
    id: row.delivery_id,
    eventId: row.event_id,
    eventType: row.event_type,
    ordinal: row.ordinal,
    change: {
      id: row.outbox_id,
      lane: row.lane,
      tenantId: row.tenant_id,
      sourceId: row.source_id,
      eventTypes: [row.event_type],
      rowKey: row.row_key,
      occurredAt: Math.floor(row.occurred_at),
      data: row.data,
      previous: row.previous,
      truncated: row.truncated,
      testWebhookId: row.test ? row.webhook_id : null,
      ...(row.unreadable === undefined ? {} : { unreadable: row.unreadable }),
    },
    organization: row.organization,
    webhookId: row.webhook_id,
    webhookName: row.webhook_name,
    payloadFormat: row.payload_format,
    ...(row.body !== null && {
      rendered: { text: Buffer.from(row.body, 'base64').toString(), contentType: row.content_type ?? JSON_TYPE },
    }),
    batchId: row.batch_id,
    attempt: row.attempt,
    parked: true,
    replayed: row.replayed,
    unfiltered: row.unfiltered,
  };
}
