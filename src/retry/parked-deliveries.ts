/** The parked deliveries: what waits in webhook_deliveries, read by the owner of its lane. No claims: a lane has one owner. */
import type pg from 'pg';
import type { Delivery, PayloadFormat } from '../model.ts';
import { isolate } from '../shared/isolate.ts';
import { readTexts, type Texts } from './parked-texts.ts';

export interface DueQuery {
  webhookId: string;
  tenantId: string;
  limit: number;
  /** The same for what a replay asked for, which goes behind. */
  replays: number;
  /** Deliveries of it that are in memory already. */
  inMemory: readonly string[];
}

export interface Due {
  webhookId: string;
  deliveries: Delivery[];
  /** More than these are due now. What was never attempted is always due, so without more, none of it is left. */
  moreDue: boolean;
  /** More of a replay is due than was asked for. */
  replaysDue: boolean;
  /** Milliseconds until the next one after these is due; null when there is none. */
  nextInMs: number | null;
}

/** What waits for webhook q, of a replay or not, by its time. */
const WAITING = (replayed: 'd.replayed' | 'not d.replayed') => `
          from rowhook.webhook_deliveries d
         where d.lane = rowhook._lane(q.tenant_id) and d.webhook_id = q.webhook_id and d.state = 'waiting' and ${replayed}
            and d.next_attempt_at < 'infinity' and d.delivery_id <> all (q.in_memory)
         order by d.next_attempt_at, d.outbox_id, d.ordinal`;

/**
 * Due or not, in order, and one more; the batch that comes first is read whole, however few are asked for. A first attempt waits
 * for no minute: the clock was ahead, and has been set right.
 */
const PARKED = (replayed: 'd.replayed' | 'not d.replayed', limit: string, texts: string) => `
        select d.delivery_id, d.outbox_id::text as outbox_id, (extract(epoch from occurred_at) * 1000)::float8 as occurred_at,
               source_id, attempt, lane, ordinal, truncated, test, replayed, replayed and last_code is null as unfiltered,
               event_id, payload_format, batch_id, has_payload, ${texts}
               case when not attempted and next_attempt_at > clock_timestamp() + interval '1 minute' then 0
                    else ((extract(epoch from next_attempt_at) - extract(epoch from clock_timestamp())) * 1000)::float8 end as due_in_ms
          ${WAITING(replayed)}
         limit 1 + case when ${limit} = 0 then 0 else greatest(${limit}, (
           select count(*) from rowhook.webhook_deliveries b
            where b.state = 'waiting' and b.batch_id = (select d.batch_id ${WAITING(replayed)} limit 1))) end`;

const FROM_QUERIES =
  'from jsonb_to_recordset($1::jsonb) as q (webhook_id uuid, tenant_id text, take int, replays int, in_memory uuid[])';
const BOTH = (texts: string) =>
  `((${PARKED('not d.replayed', 'q.take', texts)}) union all (${PARKED('d.replayed', 'q.replays', texts)})) as d`;

const DUE = `
     select q.webhook_id, d.*, coalesce(d.parked_data, o.data)::text as data, coalesce(d.parked_previous, o.previous)::text as previous
       ${FROM_QUERIES}
      cross join lateral ${BOTH(`d.tenant_id, event_type, row_key, organization::text as organization, webhook_name,
               d.data as parked_data, d.previous as parked_previous,`)}
       -- row by row: the planner expects a tenth of all that waits, and would read the whole outbox (75 ms instead of 2)
       left join lateral (select o.data, o.previous from rowhook.webhook_outbox o
                           where not d.has_payload and d.due_in_ms <= 0 and o.id = d.outbox_id::bigint and o.tenant_id = d.tenant_id limit 1) as o on true`;

/** The same without anything that people wrote. */
const DUE_WITHOUT_TEXTS = `select q.webhook_id, q.tenant_id, d.* ${FROM_QUERIES} cross join lateral ${BOTH('')}`;

/** The next due deliveries of each webhook, earliest first; those parked together in the order of their events. */
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
    // a replay that is due waits for room, not for a time
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
  return (await pool.query<Row>(text, [JSON.stringify(asked)])).rows;
}

/** Those due, and in how many milliseconds the next one after them is. */
function dueOf(rows: DueRow[], limit: number): { due: DueRow[]; inMs: number | null } {
  const batch = rows[0]?.batch_id ?? null;
  const first = batch === null ? 0 : rows.filter(({ batch_id }) => batch_id === batch).length;
  const due = withoutPartsOfBatches(rows, limit === 0 ? 0 : Math.max(limit, first));
  const next = rows[due.length];
  return { due, inMs: next ? Math.max(0, next.due_in_ms) : null };
}

/**
 * Those due of the first `limit`. A batch goes out whole: nothing is taken of one that the limit cut, or that became due row by
 * row while it was read. Should its rows have got different times, as by hand, its parts are better than none for ever.
 */
function withoutPartsOfBatches(rows: DueRow[], limit: number): DueRow[] {
  const isTaken = (row: DueRow, i: number) => i < limit && row.due_in_ms <= 0;
  const left = new Set(rows.filter((row, i) => !isTaken(row, i)).map(({ batch_id }) => batch_id));
  const taken = rows.filter(isTaken);
  const whole = taken.filter(({ batch_id }) => batch_id === null || !left.has(batch_id));
  return whole.length > 0 || (rows[0]?.due_in_ms ?? 1) > 0 ? whole : taken;
}

/** Without what people wrote. */
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
  payload_format: PayloadFormat;
  batch_id: string | null;
  due_in_ms: number;
}

type DueRow = BareRow & Texts;

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
    batchId: row.batch_id,
    attempt: row.attempt,
    parked: true,
    replayed: row.replayed,
    unfiltered: row.unfiltered,
  };
}
