/** What RECORD writes, statement by statement; record.ts puts them into fenced transactions. */
import type pg from 'pg';
import { USER_AGENT } from './envelope.ts';
import { heldByOthers } from './held.ts';
import type { Attempt, Delivery, Entry, Health, Position, RowHead } from './model.ts';

// One jsonb array for all rows: twenty parallel arrays would have to be kept in step by hand.
const LOGS = `
  insert into rowhook.webhook_logs
    (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, response_status, response_body,
     response_headers, request_url, request_headers, remote_ip, user_agent, duration_ms, next_attempt_at, error, lane,
     request_method, organization, webhook_name, payload_format)
  select clock_timestamp() - make_interval(secs => age_ms / 1000.0), tenant_id, webhook_id, delivery_id, event_id, event_type, attempt,
         status, code, response_status, response_body, response_headers, request_url, request_headers, remote_ip, '${USER_AGENT}',
         duration_ms, clock_timestamp() + make_interval(secs => retry_in_ms / 1000.0), error, lane,
         request_method, organization::json, webhook_name, payload_format
    from json_to_recordset($1::json) as r (
      age_ms float8, tenant_id text, webhook_id uuid, delivery_id uuid, event_id text, event_type text, attempt int, status text,
      code text, response_status int, response_body text, response_headers jsonb, request_url text, request_headers jsonb,
      remote_ip inet, duration_ms int, retry_in_ms float8, error text, lane smallint, request_method text, organization text,
      webhook_name text, payload_format text)`;

export async function recordLogs(client: pg.ClientBase, attempts: readonly Attempt[]): Promise<void> {
  await client.query({ name: 'rowhook_record_logs', text: LOGS, values: [logRows(attempts)] });
}

function logRows(attempts: readonly Attempt[]): string {
  const now = performance.now();
  return JSON.stringify(
    attempts.map(({ delivery, attempt, outcome, startedAt, requestMethod, requestUrl, requestHeaders, retryInMs }) => ({
      age_ms: now - startedAt,
      tenant_id: delivery.change.tenantId,
      webhook_id: delivery.webhookId,
      delivery_id: delivery.id,
      event_id: delivery.eventId,
      event_type: delivery.eventType,
      attempt,
      status: outcome.status,
      code: outcome.code,
      response_status: outcome.response?.status ?? null,
      response_body: outcome.response?.body ?? null,
      response_headers: outcome.response?.headers ?? null,
      request_url: requestUrl,
      request_headers: requestHeaders,
      remote_ip: outcome.remoteIp,
      duration_ms: outcome.durationMs,
      retry_in_ms: retryInMs,
      error: outcome.error,
      lane: delivery.change.lane,
      request_method: requestMethod,
      // what the body is made of, besides the event
      organization: delivery.organization,
      webhook_name: delivery.webhookName,
      payload_format: delivery.payloadFormat,
    })),
  );
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
         case when behind or wait_ms is not null then 'waiting' else 'failed' end,
         tenant_id, event_id, event_type, row_key, code, organization, webhook_name,
         payload_format, batch_id
    from json_to_recordset($1::json) as r (
      delivery_id uuid, webhook_id uuid, outbox_id bigint, occurred_at float8, wait_ms float8, behind boolean, source_id int,
      attempt int, ordered boolean, lane smallint, ordinal smallint, truncated boolean, test boolean, tenant_id text, event_id text,
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
        where d.webhook_id = t.webhook_id and d.row_key = t.row_key and d.source_id is not distinct from t.source_id
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
