import type pg from 'pg';
import { findChange, parseEventId } from '../../capture/stored-events.ts';
import { Configurations } from '../../match/configurations.ts';
import type { Webhook } from '../../model.ts';
import { type Explanation, explainChange } from '../../operations/explain.ts';
import { theOne } from '../../operations/webhooks.ts';
import { type Out, printable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';

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
  const explanations = await explainChange(client, webhook, change);
  const wanted = explanations.filter((one) => ordinal === null || one.event_id === event);
  if (wanted.length === 0) throw new UserError(`event ${event} does not exist: its change has ${explanations.length}.`);
  for (const one of wanted) {
    if (options.json) out.print(JSON.stringify(one));
    else print(one, webhook, change.occurredAt, out);
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

function print(one: Explanation, webhook: Webhook, occurredAt: number, out: Out): void {
  const verdict = one.sent
    ? out.paint('green', 'is sent')
    : `${out.paint('red', 'is not sent')}: ${printable(one.because ?? '')}`;
  out.print(`${printable(one.event_type)} ${one.event_id} ${verdict}`);
  if (one.happened) {
    const { status, code, at, next_attempt_at: next } = one.happened;
    const again = next ? `next attempt ${next.toISOString()}` : undefined;
    out.print(`  so far: ${[status, code, at?.toISOString(), again].filter(Boolean).join(' ')}`);
  } else if (one.sent) {
    const since = new Date(occurredAt).toISOString();
    out.print(`  so far: nothing; "rowhook replay ${webhook.id} --since ${since} --only missed" sends what was missed`);
  }
}
