/**
 * Explains whether the events of a stored change go to a webhook as it is configured now, and what
 * happened to each. Returns values only.
 */
import type pg from 'pg';
import { findChange, parseEventId, type StoredChange } from '../../capture/stored-events.ts';
import { Configurations } from '../../match/configurations.ts';
import type { Secrets } from '../../match/load-configurations.ts';
import { stoppedBy } from '../../match/match.ts';
import { changesConfiguration, type Webhook } from '../../model.ts';
import { deliveryId, eventId } from '../../payload/ids.ts';
import { UserError } from '../../shared/user-error.ts';
import { theOne } from './webhooks.ts';

export interface Explanation {
  event_id: string;
  event_type: string;
  sent: boolean;
  because: string | null;
  delivery_id: string;
  /**
   * The event's current state: it waits, it was given up, or else its last attempt. Null: none of
   * these.
   */
  happened: Happened | null;
}

export interface Happened {
  /** waiting or given_up for a delivery; success, failed or skipped for an attempt. */
  status: string;
  code: string | null;
  at: Date | null;
  /**
   * For a delivery that waits. Null: it waits behind an earlier delivery of its row, or it does not
   * wait.
   */
  next_attempt_at: Date | null;
}

/**
 * `event` is the id of an event or of an outbox row. An outbox row gives all of its events.
 * Resolves to at least one explanation.
 */
export async function explainEvent(
  client: pg.ClientBase,
  id: string,
  event: string,
  secrets: Secrets = 'with secrets',
): Promise<{ explanations: Explanation[]; occurredAt: number }> {
  const webhook = await webhookOf(client, id, secrets);
  const { outboxId, incarnation, ordinal } = parseEventId(event);
  const change = await findChange(client, outboxId, id);
  if (!change || (incarnation !== null && incarnation !== change.incarnation)) {
    throw new UserError(
      `event ${event} is not in the outbox: it is older than 7 days, or no webhook wanted it when it happened. ` +
        'A table that is watched with --capture all keeps every event.',
    );
  }
  if (changesConfiguration(change))
    throw new UserError(`outbox row ${outboxId} is not an event: it records a change of a webhook.`);
  const all = await explainChange(client, webhook, change);
  const explanations = all.filter((one) => ordinal === null || one.event_id === event);
  if (explanations.length === 0)
    throw new UserError(`event ${event} does not exist: its change has only ${all.length} events.`);
  return { explanations, occurredAt: change.occurredAt };
}

/** Whether the outbox holds the event, or the outbox row, for whoever asks. */
export async function isInOutbox(client: pg.ClientBase, event: string): Promise<boolean> {
  const { rowCount } = await client.query('select from rowhook.webhook_outbox where id = $1', [
    parseEventId(event).outboxId,
  ]);
  return (rowCount ?? 0) > 0;
}

export async function webhookOf(client: pg.ClientBase, id: string, secrets: Secrets): Promise<Webhook> {
  const { rows } = await client.query<{ tenant_id: string }>(
    'select tenant_id from rowhook.webhook_configurations where id = $1',
    [id],
  );
  const tenantId = theOne(rows, id).tenant_id;
  const configuration = (await new Configurations(client, undefined, { secrets }).of([tenantId])).get(tenantId);
  return theOne(
    (configuration?.webhooks ?? []).filter((webhook) => webhook.id === id),
    id,
  );
}

export async function explainChange(
  client: pg.ClientBase,
  webhook: Webhook,
  change: StoredChange,
): Promise<Explanation[]> {
  const each = change.eventTypes.map((eventType, i) => {
    const event = eventId(change.incarnation, change.id, change.firstOrdinal + i);
    return {
      event,
      eventType,
      delivery: deliveryId(event, webhook.id),
      because: stoppedBy(webhook, change, eventType),
    };
  });
  const happened = await findOut(
    client,
    webhook,
    each.map(({ delivery }) => delivery),
    change.occurredAt,
  );
  return each.map(({ event, eventType, delivery, because }) => ({
    event_id: event,
    event_type: eventType,
    sent: because === null,
    because,
    delivery_id: delivery,
    happened: happened.get(delivery) ?? null,
  }));
}

/** A delivery that waits or was given up is reported as such, with the time of its last attempt. */
async function findOut(
  client: pg.ClientBase,
  { id, tenantId }: Webhook,
  deliveryIds: readonly string[],
  occurredAt: number,
): Promise<Map<string, Happened>> {
  const { rows } = await client.query<Happened & { delivery_id: string }>(
    `with last as (
       select distinct on (delivery_id) delivery_id, status, code, attempted_at as at from rowhook.webhook_logs
        where tenant_id = $1 and webhook_id = $2 and delivery_id = any ($3::uuid[])
          and attempted_at > to_timestamp($4 / 1000.0) - interval '1 minute'
        order by delivery_id, attempted_at desc
     ), unfinished as (
       select delivery_id, state, last_code, next_attempt_at from rowhook.webhook_deliveries
        where delivery_id = any ($3::uuid[])
     )
     select delivery_id, coalesce(u.state, l.status) as status, coalesce(u.last_code, l.code) as code, l.at,
            nullif(u.next_attempt_at, 'infinity') as next_attempt_at
       from last l full join unfinished u using (delivery_id)`,
    [tenantId, id, deliveryIds, occurredAt],
  );
  return new Map(rows.map(({ delivery_id, ...happened }) => [delivery_id, happened]));
}
