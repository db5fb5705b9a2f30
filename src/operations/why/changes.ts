/**
 * Finds the changes of a row that the database still holds, and what happened to each of their
 * events.
 */
import type pg from 'pg';
import { findChange, type StoredChange } from '../../capture/stored-events.ts';
import type { Configurations } from '../../match/configurations.ts';
import { type Explanation, explainChange } from '../webhooks/explain.ts';
import type { CapturedChange, Sending } from './answer.ts';
import type { Source } from './source.ts';

/** Limit on explained changes, newest first. */
const CHANGES_MAX = 5;

export interface FoundChange {
  id: string;
  /** Set if the change has left the outbox: a delivery of this webhook still holds a copy. */
  webhookId: string | null;
  /** True if no daemon has read the change: the position of its lane is before it. */
  isUnread: boolean;
}

/**
 * No index leads from a row to its events, so the whole outbox is read. A million rows, 550 MB,
 * took 1.8 s the first time and 0.4 s after that, on 2 busy cores (PostgreSQL 18, `rowhook why` by
 * one of 1,000,000 keys).
 */
export async function findChanges(client: pg.Client, source: Source, rowKey: string): Promise<FoundChange[]> {
  const { rows } = await client.query<FoundChange>(
    `select distinct on (c.id) c.id::text as id, c."webhookId", c."isUnread" from (
       select o.id, null::uuid as "webhookId", 
              not pg_visible_in_snapshot(o.xid, coalesce(t.from_snapshot, l.from_snapshot)) as "isUnread"
         from rowhook.webhook_outbox o
         join rowhook.webhook_lanes l on l.lane = o.lane
         left join rowhook.webhook_lagging_tenants t on (t.lane, t.tenant_id) = (o.lane, o.tenant_id)
        where o.source_id = $1 and o.row_key = $2 and o.event_types <> '{}'
       union all
       select d.outbox_id, d.webhook_id, false from rowhook.webhook_deliveries d
        where d.source_id = $1 and d.row_key = $2 and d.has_payload) as c
      order by c.id desc, c."webhookId" nulls first
      limit ${CHANGES_MAX}`,
    [source.id, rowKey],
  );
  return rows;
}

const NOBODY = '00000000-0000-0000-0000-000000000000';

export async function explainChanges(
  client: pg.Client,
  configurations: Configurations,
  found: readonly FoundChange[],
): Promise<CapturedChange[]> {
  const explained: CapturedChange[] = [];
  for (const { id, webhookId, isUnread } of found) {
    const change = await findChange(client, id, webhookId ?? NOBODY);
    if (change === undefined) continue; // Its slot was just emptied.
    const webhooks = (await configurations.of([change.tenantId])).get(change.tenantId)?.webhooks ?? [];
    const created = await creationTimes(client, change.tenantId);
    const sendings: Sending[] = [];
    for (const webhook of webhooks.filter((one) => webhookId === null || one.id === webhookId)) {
      for (const explanation of await explainChange(client, webhook, change)) {
        const fix = fixFor(webhook.id, explanation, change, isUnread);
        const isYounger = (created.get(webhook.id)?.getTime() ?? 0) > change.occurredAt;
        const isLate = isYounger && explanation.sent && explanation.happened === null && !isUnread;
        sendings.push({
          webhook_id: webhook.id,
          webhook_name: webhook.name,
          ...explanation,
          ...(isLate && { sent: false, because: 'the webhook did not exist yet' }),
          ...(fix ? { fix } : {}),
        });
      }
    }
    explained.push({
      outbox_id: id,
      at: new Date(change.occurredAt),
      tenant_id: change.tenantId,
      event_types: [...change.eventTypes],
      truncated: change.truncated,
      sendings,
    });
  }
  return explained;
}

async function creationTimes(client: pg.Client, tenantId: string): Promise<Map<string, Date>> {
  const { rows } = await client.query<{ id: string; at: Date }>(
    'select id, created_at as at from rowhook.webhook_configurations where tenant_id = $1',
    [tenantId],
  );
  return new Map(rows.map(({ id, at }) => [id, at]));
}

function fixFor(
  webhookId: string,
  { sent, because, happened, delivery_id: delivery, event_type: event }: Explanation,
  { occurredAt }: StoredChange,
  isUnread: boolean,
): string | undefined {
  if (happened?.status === 'success') return undefined;
  if (happened?.status === 'given_up' || happened?.next_attempt_at) return `rowhook replay --delivery ${delivery}`;
  if (happened?.status === 'waiting') return `rowhook deliveries --webhook ${webhookId} --state waiting`;
  if (because?.startsWith('the webhook is ')) return `rowhook webhook enable ${webhookId}`;
  if (because?.startsWith('event_types '))
    return `rowhook webhook show ${webhookId}   # its event_types must include ${event}`;
  if (because !== null) return `rowhook webhook show ${webhookId}`;
  if (!sent || isUnread) return undefined;
  return `rowhook replay ${webhookId} --since ${new Date(occurredAt).toISOString()} --only missed`;
}
