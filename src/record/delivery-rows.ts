/**
 * Rows of webhook_deliveries: parked deliveries, finished ones, and which delivery of a row goes
 * next.
 */

import type pg from 'pg';
import type { Delivery, Entry, RowHead } from '../model.ts';
import { lockedByOthers } from './locked-rows.ts';

// A webhook that was deleted in the meantime leaves no orphans. Deliveries that were parked
// together are due in order. A batch is due all at once.
const PARK = `
  insert into rowhook.webhook_deliveries
    (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at, source_id, attempt, attempted,
     ordered, lane, ordinal, truncated, test, state, tenant_id, event_id, event_type, row_key,
     last_code, organization, webhook_name, payload_format, batch_id, body, content_type)
  select delivery_id, webhook_id, outbox_id, to_timestamp(occurred_at / 1000.0),
         case when behind then 'infinity'
              else case when batch_id is null then clock_timestamp() else now() end
                   + make_interval(secs => wait_ms / 1000.0) end,
         source_id, attempt, code is not null, ordered, lane, ordinal, truncated, test,
         case when behind or wait_ms is not null then 'waiting' else 'given_up' end,
         tenant_id, event_id, event_type, row_key, code, organization, webhook_name,
         payload_format, batch_id, decode(body, 'base64'), content_type
    from json_to_recordset($1::json) as r (
      delivery_id uuid, webhook_id uuid, outbox_id bigint, occurred_at float8, wait_ms float8,
      behind boolean, source_id int, attempt int, ordered boolean, lane smallint, ordinal smallint,
      truncated text, test boolean, tenant_id text, event_id text, event_type text, row_key text,
      code text, organization json, webhook_name text,
      payload_format text, batch_id text, body text, content_type text)
   where exists (select from rowhook.webhook_configurations w where w.id = r.webhook_id)
  on conflict (delivery_id) do update
     set state = excluded.state, next_attempt_at = excluded.next_attempt_at,
         attempt = excluded.attempt, ordered = excluded.ordered,
         attempted = webhook_deliveries.attempted or excluded.attempted,
         last_code = coalesce(excluded.last_code, webhook_deliveries.last_code), batch_id = excluded.batch_id,
         payload_format = case when webhook_deliveries.body is null then excluded.payload_format
                               else webhook_deliveries.payload_format end,
         body = coalesce(webhook_deliveries.body, excluded.body),
         content_type = coalesce(webhook_deliveries.content_type, excluded.content_type)`;
// With ordering 'row', the earliest delivery of a row is its head. If the head waited behind
// another delivery, it goes next.
const RELEASE = `
  with head as (
    select t.n, d.delivery_id, d.next_attempt_at
      from unnest($1::uuid[], $2::int[], $3::text[]) with ordinality as t (webhook_id, source_id, row_key, n)
     cross join lateral (
       select delivery_id, next_attempt_at from rowhook.webhook_deliveries d
        where d.webhook_id = t.webhook_id
          and hashtext(d.row_key) = hashtext(t.row_key)
          and d.row_key = t.row_key
          and d.source_id is not distinct from t.source_id
          and d.state = 'waiting' and d.ordered
        order by d.outbox_id, d.ordinal limit 1) as d
  ), released as (
    update rowhook.webhook_deliveries d set next_attempt_at = clock_timestamp()
      from head where d.delivery_id = head.delivery_id and head.next_attempt_at = 'infinity'
  )
  select n::int as n, delivery_id, next_attempt_at = 'infinity' as released from head`;

/** One batch may contain a delivery twice (parked, then done). Only its last state is written. */
export async function recordDeliveries(client: pg.ClientBase, entries: readonly Entry[]): Promise<RowHead[]> {
  const latest = [...new Map(entries.map((entry) => [entry.delivery.id, entry])).values()];
  const rows = latest.filter(({ delivery }) => delivery.parked).map(({ delivery }) => delivery.id);
  const held = await lockedByOthers(client, 'deliveries', rows);
  const last = latest.filter(({ delivery }) => !held.has(delivery.id));
  const parked = last.filter(({ next }) => next.kind !== 'finished');
  const done = last.filter(({ next, delivery }) => next.kind === 'finished' && delivery.parked);
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

/** A body may hold characters that text of the database cannot. */
function renderedRow({ text, contentType }: NonNullable<Delivery['rendered']>): object {
  return { body: Buffer.from(text).toString('base64'), content_type: contentType };
}

function parkRows(entries: readonly Entry[]): string {
  return JSON.stringify(
    entries.map(({ delivery, attempt, next, ordered }) => ({
      delivery_id: delivery.id,
      webhook_id: delivery.webhookId,
      outbox_id: delivery.change.id,
      occurred_at: delivery.change.occurredAt,
      wait_ms: next.kind === 'retry' ? next.inMs : null,
      behind: next.kind === 'behindRowHead',
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
      ...(delivery.rendered && renderedRow(delivery.rendered)),
    })),
  );
}
