/** What RECORD writes, statement by statement; record/recorder.ts puts them into fenced transactions. */
import type pg from 'pg';
import type { Attempt, Delivery, Entry, Health, Position, RowHead } from '../model.ts';
import { USER_AGENT } from '../payload/body.ts';
import { heldByOthers } from './locked-rows.ts';

/** The owner, its lanes, and the epoch of each. */
export type Fence = readonly [owner: string, lanes: number[], epochs: string[]];

/** The lanes that are still the owner's, who keeps them until the transaction ends. */
export const FENCE = `
  select l.lane from rowhook.webhook_lanes l
    join unnest($2::smallint[], $3::bigint[]) as mine (lane, epoch) using (lane, epoch)
   where l.owner = $1 order by l.lane for share of l`;

/** A column of webhook_logs: what it is made of, and how; $ stands for it, as text. */
interface LogColumn {
  name: string;
  from: string;
  value(attempt: Attempt, now: number): string | number | null;
}

/** Text of others may hold anything, so it travels as JSON; ids, codes and numbers hold no control characters. */
const TEXT = "$::json #>> '{}'";

const LOG_COLUMNS: readonly LogColumn[] = [
  column(
    'attempted_at',
    'clock_timestamp() - make_interval(secs => $::float8 / 1000)',
    ({ startedAt }, now) => now - startedAt,
  ),
  column('tenant_id', TEXT, ({ delivery }) => JSON.stringify(delivery.change.tenantId)),
  column('webhook_id', '$::uuid', ({ delivery }) => delivery.webhookId),
  column('delivery_id', '$::uuid', ({ delivery }) => delivery.id),
  column('event_id', '$', ({ delivery }) => delivery.eventId),
  column('event_type', TEXT, ({ delivery }) => JSON.stringify(delivery.eventType)),
  column('attempt', '$::int', ({ attempt }) => attempt),
  column('status', '$', ({ outcome }) => outcome.status),
  column('code', '$', ({ outcome }) => outcome.code),
  column('response_status', '$::int', ({ outcome }) => outcome.response?.status ?? null),
  column('response_body', TEXT, ({ outcome }) => JSON.stringify(outcome.response?.body ?? null)),
  column('response_headers', '$::jsonb', ({ outcome }) => outcome.response && JSON.stringify(outcome.response.headers)),
  column('request_url', TEXT, ({ requestUrl }) => JSON.stringify(requestUrl)),
  column('request_headers', '$::jsonb', ({ requestHeaders }) => requestHeaders && JSON.stringify(requestHeaders)),
  column('remote_ip', '$::inet', ({ outcome }) => outcome.remoteIp),
  column('duration_ms', '$::int', ({ outcome }) => outcome.durationMs),
  column(
    'next_attempt_at',
    'clock_timestamp() + make_interval(secs => $::float8 / 1000)',
    ({ retryInMs }) => retryInMs,
  ),
  column('error', TEXT, ({ outcome }) => JSON.stringify(outcome.error)),
  column('lane', '$::smallint', ({ delivery }) => delivery.change.lane),
  column('request_method', '$', ({ requestMethod }) => requestMethod),
  // what the body is made of, besides the event; organization is JSON text that the server may have printed with line breaks
  column('organization', `(${TEXT})::json`, ({ delivery }) => JSON.stringify(delivery.organization)),
  column('webhook_name', TEXT, ({ delivery }) => JSON.stringify(delivery.webhookName)),
  column('payload_format', '$', ({ delivery }) => delivery.payloadFormat),
];

function column(name: string, from: string, value: LogColumn['value']): LogColumn {
  return { name, from, value };
}

const RECORD_END = '\x1e';
const FIELD_END = '\x1f';

// All rows are one text, fields and records apart by the control characters that ASCII has for it. As a JSON array of objects
// a row took PostgreSQL 31 us, of which 21 were json_to_recordset; so it takes 20. As one array for each column it took the
// daemon, which is the first to be full, 10 more. OFFSET 0: a row is split once, and not for every column.
const LOGS = `
  with held as materialized (${FENCE}), logged as (
    insert into rowhook.webhook_logs (${LOG_COLUMNS.map(({ name }) => name).join(', ')}, user_agent)
    select ${LOG_COLUMNS.map(({ from }, i) => from.replace('$', `field[${i + 1}]`)).join(', ')}, '${USER_AGENT}'
      from (select string_to_array(record, chr(31), '') as field from string_to_table($4, chr(30)) as record offset 0) as r
     where (select count(*) from held) = cardinality($2::smallint[])
  )
  select from held`;

/** Returns whether all lanes are held still; if not, nothing was written. A transaction by itself, or part of a larger one. */
export async function recordLogs(
  client: pg.ClientBase | pg.Pool,
  attempts: readonly Attempt[],
  fence: Fence,
): Promise<boolean> {
  const now = performance.now();
  // an empty field is null
  const recordOf = (attempt: Attempt) => LOG_COLUMNS.map(({ value }) => value(attempt, now)).join(FIELD_END);
  const values = [...fence, attempts.map(recordOf).join(RECORD_END)];
  const { rowCount } = await client.query({ name: 'rowhook_record_logs', text: LOGS, values });
  return rowCount === fence[1].length;
}

// A webhook that was deleted meanwhile leaves no orphans. What was parked together is due in order, a batch all at once.
const PARK = `
  insert into rowhook.webhook_deliveries
    (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, source_id, attempt, attempted, ordered, lane, ordinal, truncated,
     test, state, tenant_id, event_id, event_type, row_key, last_code, organization, webhook_name,
     payload_format, batch_id)
  select delivery_id, webhook_id, outbox_id, to_timestamp(occurred_at / 1000.0),
         case when behind then 'infinity' else case when batch_id is null then clock_timestamp() else now() end + make_interval(secs => wait_ms / 1000.0) end,
         source_id, attempt, code is not null, ordered, lane, ordinal, truncated, test,
         case when behind or wait_ms is not null then 'waiting' else 'given_up' end,
         tenant_id, event_id, event_type, row_key, code, organization, webhook_name,
         payload_format, batch_id
    from json_to_recordset($1::json) as r (
      delivery_id uuid, webhook_id uuid, outbox_id bigint, occurred_at float8, wait_ms float8, behind boolean, source_id int,
      attempt int, ordered boolean, lane smallint, ordinal smallint, truncated text, test boolean, tenant_id text, event_id text,
      event_type text, row_key text, code text, organization json, webhook_name text,
      payload_format text, batch_id text)
   where exists (select from rowhook.webhook_configurations w where w.id = r.webhook_id)
  on conflict (delivery_id) do update
     set state = excluded.state, next_attempt_at = excluded.next_attempt_at, attempt = excluded.attempt, ordered = excluded.ordered,
         attempted = webhook_deliveries.attempted or excluded.attempted,
         last_code = coalesce(excluded.last_code, webhook_deliveries.last_code), batch_id = excluded.batch_id`;

// Of each row with ordering 'row', the earliest delivery is the head: it goes next, if it waited behind another one.
const RELEASE = `
  with head as (
    select t.n, d.delivery_id, d.next_attempt_at
      from unnest($1::uuid[], $2::int[], $3::text[]) with ordinality as t (webhook_id, source_id, row_key, n)
     cross join lateral (
       select delivery_id, next_attempt_at from rowhook.webhook_deliveries d
        where d.webhook_id = t.webhook_id and hashtext(d.row_key) = hashtext(t.row_key) and d.row_key = t.row_key and d.source_id is not distinct from t.source_id
          and d.state = 'waiting' and d.ordered
        order by d.outbox_id, d.ordinal limit 1) as d
  ), released as (
    update rowhook.webhook_deliveries d set next_attempt_at = clock_timestamp()
      from head where d.delivery_id = head.delivery_id and head.next_attempt_at = 'infinity'
  )
  select n::int as n, delivery_id, next_attempt_at = 'infinity' as released from head`;

/** A delivery may come by twice in one batch (parked, then done): only how it ended is written. */
export async function recordDeliveries(client: pg.ClientBase, entries: readonly Entry[]): Promise<RowHead[]> {
  const latest = [...new Map(entries.map((entry) => [entry.delivery.id, entry])).values()];
  const rows = latest.filter(({ delivery }) => delivery.parked).map(({ delivery }) => delivery.id);
  const held = await heldByOthers(client, 'deliveries', rows);
  const last = latest.filter(({ delivery }) => !held.has(delivery.id));
  const parked = last.filter(({ wait }) => wait !== 'done');
  const done = last.filter(({ wait, delivery }) => wait === 'done' && delivery.parked);
  if (parked.length > 0) await client.query({ name: 'rowhook_record_park', text: PARK, values: [parkRows(parked)] });
  if (done.length > 0) {
    await client.query('delete from rowhook.webhook_deliveries where delivery_id = any ($1::uuid[])', [
      done.map(({ delivery }) => delivery.id),
    ]);
  }
  const ordered = [...parked, ...done].filter((entry) => entry.ordered).map(({ delivery }) => delivery);
  return ordered.length === 0 ? [] : releaseHeads(client, ordered);
}

async function releaseHeads(client: pg.ClientBase, deliveries: readonly Delivery[]): Promise<RowHead[]> {
  const rows = [
    ...new Map(deliveries.map((d) => [`${d.webhookId} ${d.change.sourceId} ${d.change.rowKey}`, d])).values(),
  ];
  const found = await client.query(RELEASE, [
    rows.map(({ webhookId }) => webhookId),
    rows.map(({ change }) => change.sourceId),
    rows.map(({ change }) => change.rowKey),
  ]);
  const heads = new Map(found.rows.map((row) => [row.n, row]));
  return rows.map((delivery, i) => {
    const head = heads.get(i + 1);
    return { delivery, head: head?.delivery_id ?? null, released: head?.released ?? false };
  });
}

function parkRows(entries: readonly Entry[]): string {
  return JSON.stringify(
    entries.map(({ delivery, attempt, wait, ordered }) => ({
      delivery_id: delivery.id,
      webhook_id: delivery.webhookId,
      outbox_id: delivery.change.id,
      occurred_at: delivery.change.occurredAt,
      wait_ms: typeof wait === 'number' ? wait : null,
      behind: wait === 'behind',
      source_id: delivery.change.sourceId,
      attempt: attempt?.attempt ?? delivery.attempt,
      ordered,
      lane: delivery.change.lane,
      ordinal: delivery.ordinal,
      truncated: delivery.change.truncated,
      test: delivery.change.testWebhookId !== null,
      tenant_id: delivery.change.tenantId,
      event_id: delivery.eventId,
      event_type: delivery.eventType,
      row_key: delivery.change.rowKey,
      code: attempt?.outcome.code ?? null,
      organization: JSON.parse(delivery.organization),
      webhook_name: delivery.webhookName,
      payload_format: delivery.payloadFormat,
      batch_id: delivery.batchId,
    })),
  );
}

const HEALTH = `
  insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until, openings)
  select webhook_id, lane, failures, to_timestamp(failing_since / 1000.0), to_timestamp(open_until / 1000.0), openings
    from json_to_recordset($1::json) as r (webhook_id uuid, lane smallint, failures int, failing_since float8, open_until float8, openings int)
   where exists (select from rowhook.webhook_configurations w where w.id = r.webhook_id)
  on conflict (webhook_id) do update
     set failures = excluded.failures, failing_since = excluded.failing_since, open_until = excluded.open_until,
         openings = excluded.openings, updated_at = now()`;

/** Only webhooks that fail, or have just stopped failing, cost anything here. */
export async function recordHealth(client: pg.ClientBase, entries: readonly Entry[]): Promise<void> {
  const last = new Map<string, { lane: number; health: Health | null }>();
  for (const { delivery, health } of entries) {
    if (health !== undefined) last.set(delivery.webhookId, { lane: delivery.change.lane, health });
  }
  if (last.size === 0) return;
  for (const id of await heldByOthers(client, 'health', [...last.keys()])) last.delete(id);
  const healthy = [...last].filter(([, { health }]) => health === null).map(([id]) => id);
  const failing = [...last].flatMap(([webhook_id, { lane, health }]) =>
    health === null
      ? []
      : [
          {
            webhook_id,
            lane,
            failures: health.failures,
            failing_since: health.failingSince,
            open_until: health.openUntil,
            openings: health.openings,
          },
        ],
  );
  if (healthy.length > 0)
    await client.query('delete from rowhook.webhook_health where webhook_id = any ($1::uuid[])', [healthy]);
  if (failing.length > 0) await client.query(HEALTH, [JSON.stringify(failing)]);
}

const POSITIONS = `
  update rowhook.webhook_lanes l
     set from_snapshot = p.from_snapshot, to_snapshot = p.to_snapshot, done_id = p.done_id, position_at = p.at, sequence_value = p.sequence_value
    from unnest($1::smallint[], $2::pg_snapshot[], $3::pg_snapshot[], $4::bigint[], $5::timestamptz[], $6::bigint[])
         as p (lane, from_snapshot, to_snapshot, done_id, at, sequence_value)
   where l.lane = p.lane`;

export async function recordPositions(client: pg.ClientBase, moved: readonly [number, Position][]): Promise<void> {
  const column = <T>(of: (position: Position) => T) => moved.map(([, position]) => of(position));
  await client.query(POSITIONS, [
    moved.map(([lane]) => lane),
    column(({ from }) => from),
    column(({ to }) => to),
    column(({ lastId }) => lastId),
    column(({ at }) => at),
    column(({ sequenceValue }) => sequenceValue),
  ]);
}
