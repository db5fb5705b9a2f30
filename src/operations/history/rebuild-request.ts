/**
 * Reads one attempt of the log, and rebuilds its request body from the outbox. Returns values only.
 */
import type pg from 'pg';
import { findChange, parseEventId } from '../../capture/stored-events.ts';
import type { Delivery } from '../../model.ts';
import { batchBodyOf, bodyOf } from '../../payload/body.ts';
import { isRendered } from '../../payload/formats.ts';
import { batchId } from '../../payload/ids.ts';
import { hexSignature, signingKey } from '../../payload/signature.ts';
import { renderAgain } from '../webhooks/preview.ts';

export interface LoggedAttempt {
  id: string;
  attempted_at: Date;
  tenant_id: string;
  webhook_id: string;
  delivery_id: string;
  event_id: string;
  event_type: string;
  attempt: number;
  status: string;
  code: string;
  response_status: number | null;
  response_body: string | null;
  response_headers: Record<string, string> | null;
  request_url: string;
  request_method: string | null;
  request_headers: Record<string, string> | null;
  remote_ip: string | null;
  duration_ms: number | null;
  next_attempt_at: Date | null;
  error: string | null;
  user_agent: string | null;
  organization: string;
  webhook_name: string;
  payload_format: Delivery['payloadFormat'];
}

/** Log rows of one batch are written in one or two transactions, one right after the other. */
const BATCH_SPREAD = '10 seconds';

const COLUMNS = `l.id, l.attempted_at, l.tenant_id, l.webhook_id, l.delivery_id, l.event_id, l.event_type, l.attempt,
  l.status, l.code, l.response_status, l.response_body, l.response_headers, l.request_url, l.request_method,
  l.request_headers, l.remote_ip, l.duration_ms, l.next_attempt_at, l.error, l.user_agent,
  l.organization::text as organization, l.webhook_name, l.payload_format`;

export async function findAttempt(client: pg.ClientBase, id: string): Promise<LoggedAttempt | undefined> {
  const { rows } = await client.query<LoggedAttempt>(`select ${COLUMNS} from rowhook.webhook_logs l where l.id = $1`, [
    id,
  ]);
  return rows[0];
}

export interface Body {
  text: string;
  /**
   * True: the body has the logged signature, so its bytes are those that were sent. Null: the
   * secret has changed, or this role cannot read it.
   */
  verified: true | null;
}

/**
 * The body, or why it cannot be rebuilt. The envelope depends only on its values, so the same
 * values give the same bytes.
 */
export async function rebuild(client: pg.ClientBase, row: LoggedAttempt): Promise<Body | string> {
  const sent = row.request_headers?.['webhook-id'] ?? '';
  const isBatch = sent !== row.event_id;
  const deliveries: Delivery[] = [];
  for (const member of isBatch ? await batchOf(client, row) : [row]) {
    const { outboxId, incarnation, ordinal } = parseEventId(member.event_id);
    const change = await findChange(client, outboxId, member.webhook_id);
    if (!change || change.incarnation !== incarnation)
      return `event ${member.event_id} is no longer in the outbox, which keeps events for 7 days`;
    deliveries.push({
      id: member.delivery_id,
      eventId: member.event_id,
      eventType: member.event_type,
      ordinal: ordinal ?? 0,
      change,
      organization: member.organization,
      webhookId: member.webhook_id,
      webhookName: member.webhook_name,
      payloadFormat: member.payload_format,
      batchId: isBatch ? sent : null,
      attempt: member.attempt,
      parked: false,
      replayed: false,
      unfiltered: false,
    });
  }
  if (isBatch && batchId(deliveries) !== sent) return `the log no longer holds all events of the batch ${sent}`;
  const [first] = deliveries as [Delivery];
  if (!isBatch && isRendered(first.payloadFormat)) {
    const problem = await renderAgain(client, row.tenant_id, first);
    if (problem !== null) return problem;
  }
  const text = isBatch ? batchBodyOf(sent, deliveries) : bodyOf(first);
  return { text, verified: await verify(client, row, text) };
}

/** One request of a batch has several log rows. Only these rows share its id and signing time. */
async function batchOf(
  client: pg.ClientBase,
  { webhook_id, tenant_id, attempted_at, request_headers }: LoggedAttempt,
): Promise<LoggedAttempt[]> {
  const { rows } = await client.query<LoggedAttempt>(
    `select ${COLUMNS} from rowhook.webhook_logs l
      where l.tenant_id = $1 and l.webhook_id = $2
        and l.attempted_at between $3::timestamptz - '${BATCH_SPREAD}'::interval
                               and $3::timestamptz + '${BATCH_SPREAD}'::interval
        and l.request_headers ->> 'webhook-id' = $4 and l.request_headers ->> 'X-Webhook-Timestamp' = $5
      order by l.id`,
    [tenant_id, webhook_id, attempted_at, request_headers?.['webhook-id'], request_headers?.['X-Webhook-Timestamp']],
  );
  return rows;
}

async function verify(
  client: pg.ClientBase,
  { webhook_id, request_headers }: LoggedAttempt,
  body: string,
): Promise<true | null> {
  const [reader] = (
    await client.query<{ may: boolean }>(
      "select has_column_privilege('rowhook.webhook_configurations', 'secret', 'select') as may",
    )
  ).rows;
  if (reader?.may !== true) return null;
  const { rows } = await client.query<{ secret: string; previous_secret: string | null }>(
    'select secret, previous_secret from rowhook.webhook_configurations where id = $1',
    [webhook_id],
  );
  const secrets = rows.flatMap(({ secret, previous_secret }) => [secret, previous_secret ?? secret]);
  const sent = request_headers?.['X-Webhook-Signature'];
  return secrets.some((secret) => hexSignature(signingKey(secret), body) === sent) ? true : null;
}
