import type pg from 'pg';
import { Configurations } from '../configurations.ts';
import { deliveryId, eventId } from '../envelope.ts';
import { UserError } from '../errors.ts';
import { stoppedBy } from '../match.ts';
import type { Webhook } from '../model.ts';
import { findChange, parseEventId, type StoredChange } from '../stored.ts';
import { type Out, printable } from '../table.ts';
import { theOne } from './webhook-row.ts';

interface Explanation {
  event_id: string;
  event_type: string;
  sent: boolean;
  because: string | null;
  delivery_id: string;
  /** What became of it so far, newest first. */
  happened: Happened | null;
}

interface Happened {
  status: string;
  code: string | null;
  at: Date | null;
}

/** Whether a stored event goes to a webhook as it is configured now, and if not, the condition that stops it. */
export async function explain(
  client: pg.Client,
  id: string,
  event: string,
  options: { json?: boolean },
  out: Out,
): Promise<void> {
  const webhook = await webhookOf(client, id);
  const { outboxId, incarnation, ordinal } = parseEventId(event);
  const change = await findChange(client, outboxId, id);
  if (!change || (incarnation !== null && incarnation !== change.incarnation)) {
    throw new UserError(
      `event ${event} is not in the outbox: it is older than 7 days, or nothing wanted it when it happened (a source with capture "all" keeps every event).`,
    );
  }
  if (change.eventTypes.length === 0)
    throw new UserError(`outbox row ${outboxId} is no event: a configuration changed here.`);
  const explanations = await explainEach(client, webhook, change);
  const wanted = explanations.filter((one) => ordinal === null || one.event_id === event);
  if (wanted.length === 0) throw new UserError(`event ${event} does not exist: its change has ${explanations.length}.`);
  for (const one of wanted) {
    if (options.json) out.print(JSON.stringify(one));
    else print(one, webhook, out);
  }
}

async function webhookOf(client: pg.Client, id: string): Promise<Webhook> {
  const { rows } = await client.query<{ tenant_id: string }>(
    'select tenant_id from rowhook.webhook_configurations where id = $1',
    [id],
  );
  const tenantId = theOne(rows, id).tenant_id;
  const configuration = (await new Configurations(client).of([tenantId])).get(tenantId);
  return theOne(
    (configuration?.webhooks ?? []).filter((webhook) => webhook.id === id),
    id,
  );
}

async function explainEach(client: pg.Client, webhook: Webhook, change: StoredChange): Promise<Explanation[]> {
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

/** Of each delivery the last attempt, or that it waits for its first. */
async function findOut(
  client: pg.Client,
  { id, tenantId }: Webhook,
  deliveryIds: readonly string[],
  occurredAt: number,
): Promise<Map<string, Happened>> {
  const { rows } = await client.query<Happened & { delivery_id: string }>(
    `select distinct on (delivery_id) delivery_id, status, code, at from (
       select delivery_id, status, code, attempted_at as at from rowhook.webhook_logs
        where tenant_id = $1 and webhook_id = $2 and delivery_id = any ($3::uuid[])
          and attempted_at > to_timestamp($4 / 1000.0) - interval '1 minute'
        union all
       select delivery_id, state, last_code, null from rowhook.webhook_deliveries where delivery_id = any ($3::uuid[])
     ) as d
      order by delivery_id, at desc nulls last`,
    [tenantId, id, deliveryIds, occurredAt],
  );
  return new Map(rows.map(({ delivery_id, ...happened }) => [delivery_id, happened]));
}

function print(one: Explanation, webhook: Webhook, out: Out): void {
  const verdict = one.sent
    ? out.paint('green', 'is sent')
    : `${out.paint('red', 'is not sent')}: ${printable(one.because ?? '')}`;
  out.print(`${printable(one.event_type)} ${one.event_id} ${verdict}`);
  if (one.happened) {
    const { status, code, at } = one.happened;
    out.print(`  so far: ${[status, code, at?.toISOString()].filter(Boolean).join(' ')}`);
  } else if (one.sent) {
    out.print(`  so far: nothing; "rowhook replay ${webhook.id} --since … --only missed" sends what was missed`);
  }
}
