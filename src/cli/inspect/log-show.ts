import type pg from 'pg';
import { findChange, parseEventId } from '../../capture/stored-events.ts';
import type { Delivery, PayloadFormat } from '../../model.ts';
import { batchBodyOf, bodyOf } from '../../payload/body.ts';
import { batchId } from '../../payload/ids.ts';
import { hexSignature, signingKey } from '../../payload/signature.ts';
import { curlCommand, quoted } from '../../shared/shell-quote.ts';
import { type Out, printable, printableLines, printPairs } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';

interface LogRow {
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
  organization: string;
  webhook_name: string;
  payload_format: PayloadFormat;
}

/** Of one argument of a command; longer ones come from standard input. */
const ARGUMENT_BYTES_MAX = 100_000;

/** Log rows of one batch are written in one or two transactions, one right after the other. */
const BATCH_SPREAD = '10 seconds';

const COLUMNS = `l.id, l.attempted_at, l.tenant_id, l.webhook_id, l.delivery_id, l.event_id, l.event_type, l.attempt, l.status,
  l.code, l.response_status, l.response_body, l.response_headers, l.request_url, l.request_method, l.request_headers,
  l.remote_ip, l.duration_ms, l.next_attempt_at, l.error, l.organization::text as organization, l.webhook_name, l.payload_format`;

/** One attempt: what was sent, byte for byte, what came back, and how to send it again by hand. */
export async function showLog(
  client: pg.Client,
  id: string,
  options: { body?: boolean; json?: boolean },
  out: Out,
): Promise<void> {
  const { rows } = await client.query<LogRow>(`select ${COLUMNS} from rowhook.webhook_logs l where l.id = $1`, [id]);
  const [row] = rows;
  if (!row) throw new UserError(`log ${id} does not exist: "rowhook logs --json" shows the ids of those that do.`);
  const body = row.status === 'skipped' ? 'nothing was sent' : await rebuild(client, row);
  if (options.body) {
    if (typeof body === 'string') throw new UserError(`log ${id} has no body: ${body}.`);
    // a terminal would obey what a tenant wrote
    if (out.columns === undefined) out.write(body.text);
    else out.print(printableLines(body.text));
  } else if (options.json) {
    const { text = null, verified = null } = typeof body === 'string' ? {} : body;
    const note = typeof body === 'string' ? body : undefined;
    const curl = typeof body === 'string' ? null : curlOf(row, body.text);
    out.print(JSON.stringify({ ...row, request_body: text, request_body_verified: verified, note, curl }));
  } else {
    print(row, body, out);
  }
}

interface Body {
  text: string;
  /** Its signature is the one that was sent: these are the same bytes. Null: the secret is another by now. */
  verified: true | null;
}

/** The body, or why there is none. The envelope is as pure as it was then: same values in, same bytes out. */
async function rebuild(client: pg.Client, row: LogRow): Promise<Body | string> {
  const sent = row.request_headers?.['webhook-id'] ?? '';
  const isBatch = sent !== row.event_id;
  const deliveries: Delivery[] = [];
  for (const member of isBatch ? await batchOf(client, row) : [row]) {
    const { outboxId, incarnation, ordinal } = parseEventId(member.event_id);
    const change = await findChange(client, outboxId, member.webhook_id);
    if (!change || change.incarnation !== incarnation)
      return `event ${member.event_id} has left the outbox, which keeps 7 days`;
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
  if (isBatch && batchId(deliveries) !== sent) return `the log no longer holds all of the batch ${sent}`;
  const text = isBatch ? batchBodyOf(sent, deliveries) : bodyOf(deliveries[0] as Delivery);
  return { text, verified: await verify(client, row, text) };
}

/** One request is several log rows; the moment it was signed is theirs alone. */
async function batchOf(
  client: pg.Client,
  { webhook_id, tenant_id, attempted_at, request_headers }: LogRow,
): Promise<LogRow[]> {
  const { rows } = await client.query<LogRow>(
    `select ${COLUMNS} from rowhook.webhook_logs l
      where l.tenant_id = $1 and l.webhook_id = $2
        and l.attempted_at between $3::timestamptz - '${BATCH_SPREAD}'::interval and $3::timestamptz + '${BATCH_SPREAD}'::interval
        and l.request_headers ->> 'webhook-id' = $4 and l.request_headers ->> 'X-Webhook-Timestamp' = $5
      order by l.id`,
    [tenant_id, webhook_id, attempted_at, request_headers?.['webhook-id'], request_headers?.['X-Webhook-Timestamp']],
  );
  return rows;
}

async function verify(client: pg.Client, { webhook_id, request_headers }: LogRow, body: string): Promise<true | null> {
  const { rows } = await client.query<{ secret: string; previous_secret: string | null }>(
    'select secret, previous_secret from rowhook.webhook_configurations where id = $1',
    [webhook_id],
  );
  const secrets = rows.flatMap(({ secret, previous_secret }) => [secret, previous_secret ?? secret]);
  const sent = request_headers?.['X-Webhook-Signature'];
  return secrets.some((secret) => hexSignature(signingKey(secret), body) === sent) ? true : null;
}

function print(row: LogRow, body: Body | string, out: Out): void {
  printPairs(out, [
    ['log', `${row.id}, attempt ${row.attempt} of delivery ${row.delivery_id}`],
    ['webhook', `${row.webhook_id} ${row.webhook_name}`],
    ['tenant', row.tenant_id],
    ['event', `${row.event_type} ${row.event_id}`],
    ['began', `${row.attempted_at.toISOString()}, took ${row.duration_ms ?? 0} ms`],
    ['result', { text: `${row.status}: ${row.code}`, style: row.status === 'success' ? 'green' : 'red' }],
    ...(row.error ? ([['error', row.error]] as const) : []),
    ...(row.remote_ip ? ([['address', row.remote_ip]] as const) : []),
    ...(row.next_attempt_at ? ([['next', row.next_attempt_at.toISOString()]] as const) : []),
  ]);
  const title = (text: string) => out.print(`\n${out.paint('bold', text)}`);
  if (row.request_headers && row.status !== 'skipped') {
    title(printable(`${row.request_method} ${row.request_url}`));
    printHeaders(row.request_headers, out);
  }
  if (typeof body === 'string') {
    out.print(`\nNo request body: ${body}.`);
  } else {
    out.print(`\n${printableLines(body.text)}`);
    out.print(
      out.paint(
        'dim',
        body.verified
          ? 'The body is what was sent, byte for byte: its signature matches.'
          : 'The body is made as it was when it was sent; the secret is another by now, so its signature cannot be checked.',
      ),
    );
  }
  if (row.response_status !== null) {
    title(`Response ${row.response_status}`);
    printHeaders(row.response_headers ?? {}, out);
    if (row.response_body) out.print(`\n${printableLines(row.response_body)}`);
  }
  if (typeof body === 'string') return;
  title('The same by hand, secrets left out');
  out.print(curlOf(row, body.text));
}

function printHeaders(headers: Record<string, string>, out: Out): void {
  for (const [name, value] of Object.entries(headers)) out.print(printable(`${name}: ${value}`));
}

/** A body that a terminal would not show as it is, or that is too long for an argument, goes through a pipe. */
function curlOf({ id, request_method, request_url, request_headers }: LogRow, body: string): string {
  const request = {
    method: request_method ?? 'POST',
    url: printable(request_url),
    headers: Object.entries(request_headers ?? {}).map(([name, value]) => printable(`${name}: ${value}`)),
  };
  const asArgument = printableLines(body) === body && Buffer.byteLength(body) <= ARGUMENT_BYTES_MAX;
  return asArgument
    ? curlCommand(request, quoted(body))
    : `rowhook logs show ${id} --body | ${curlCommand(request, '@-')}`;
}
