import type pg from 'pg';
import { unlogged } from '../../database/unlogged.ts';
import { compilePolicy, httpProblem, placeProblem } from '../../deliver/address-guard.ts';
import { requireKnownEvents } from '../../operations/event-types.ts';
import { CAPTURED_DAYS, capturedUntil, type Missed, missedSince } from '../../operations/missed.ts';
import { tenantNote } from '../../operations/tenant-note.ts';
import { theOne, type WebhookRow, withoutSecrets } from '../../operations/webhooks.ts';
import { maskedUrl } from '../../payload/mask.ts';
import { type Cell, type Out, printable, printPairs, printTable } from '../../shared/terminal.ts';
import { events } from '../../shared/text.ts';
import { UserError } from '../../shared/user-error.ts';
import { columnsOf, type WebhookFlags } from './flags.ts';
import { tryItCommand } from './try-it.ts';
import { printUnproduced } from './unproduced.ts';

/** The only time that the secret is shown. */
export async function createWebhook(
  client: pg.Client,
  options: WebhookFlags & { json?: boolean },
  out: Out,
): Promise<void> {
  const columns = columnsOf(options);
  await requireKnownEvents(client, options);
  const { rows } = await unlogged<WebhookRow>(
    client,
    `insert into rowhook.webhook_configurations (${columns.map(([column]) => column).join(', ')})
     values (${columns.map((_, index) => `$${index + 1}`).join(', ')})
     returning *`,
    columns.map(([, value]) => value),
  );
  const webhook = rows[0] as WebhookRow;
  if (options.json) {
    const { id, tenant_id, name, url, event_types, is_active, secret } = webhook;
    const notes = await notesOn(client, webhook);
    out.print(JSON.stringify({ id, tenant_id, name, url, event_types, is_active, secret, notes }));
    return;
  }
  printPairs(out, [
    ['webhook', { text: webhook.id, style: 'bold' }],
    ['secret', { text: webhook.secret, style: 'bold' }],
  ]);
  out.print('\nKeep the secret now, it is not shown again. To send a signed example, valid for five minutes:\n');
  out.print(tryItCommand(webhook, Math.floor(Date.now() / 1000)));
  out.print(`\nTo send one through the daemon: rowhook webhook test ${webhook.id}`);
  for (const text of await notesOn(client, webhook)) out.print(out.paint('yellow', `\nNote: ${printable(text)}`));
}

/** Why nothing may come of a new webhook. */
async function notesOn(client: pg.Client, webhook: WebhookRow): Promise<string[]> {
  const note = await tenantNote(client, webhook);
  const problems = refusals(webhook.url);
  return [
    ...(note === null ? [] : [note]),
    ...problems.map((problem) => `a daemon with its default settings does not deliver there. ${problem}`),
  ];
}

/** What a daemon will say to a URL unless an operator opens it. Names are judged when they are resolved. Pure. */
function refusals(url: string): string[] {
  const policy = compilePolicy({ allowHttp: false, allowCidrs: [], denyCidrs: [] });
  return [httpProblem(url, policy), placeProblem(url, policy)].filter((problem) => problem !== undefined);
}

export async function updateWebhook(
  client: pg.Client,
  id: string,
  options: WebhookFlags & { json?: boolean },
  out: Out,
): Promise<void> {
  const columns = columnsOf(options);
  if (columns.length === 0) {
    throw new UserError(
      'webhook update: nothing to change: give a flag, such as --url (see webhook update --help).',
      2,
    );
  }
  await requireKnownEvents(client, options);
  const { rows } = await unlogged<WebhookRow>(
    client,
    `update rowhook.webhook_configurations
        set ${columns.map(([column], index) => `${column} = $${index + 2}`).join(', ')}
      where id = $1
  returning *`,
    [id, ...columns.map(([, value]) => value)],
  );
  report(theOne(rows, id), `updated ${columns.map(([column]) => column).join(', ')}`, options, out);
}

export async function listWebhooks(
  client: pg.Client,
  options: { tenant?: string; limit: number; json?: boolean },
  out: Out,
): Promise<void> {
  const { rows } = await client.query<WebhookRow>(
    `select * from rowhook.webhook_configurations
      where $1::text is null or tenant_id = $1
      order by tenant_id, created_at, id
      limit $2`,
    [options.tenant, options.limit + 1],
  );
  const shown = rows.slice(0, options.limit);
  if (options.json) {
    for (const row of shown) out.print(JSON.stringify(withoutSecrets(row)));
  } else if (rows.length === 0) {
    out.print('No webhooks: create one with "rowhook webhook create".');
  } else {
    printTable(
      out,
      ['id', 'tenant', 'name', 'events', 'url', 'state'],
      shown.map((row) => [row.id, row.tenant_id, row.name, row.event_types.join(','), maskedUrl(row.url), state(row)]),
    );
    if (rows.length > shown.length)
      out.print(out.paint('dim', `more than ${options.limit}: narrow with --tenant, or raise --limit`));
    await printUnproduced(client, shown, options.tenant ?? null, out);
  }
}

export async function showWebhook(client: pg.Client, id: string, options: { json?: boolean }, out: Out): Promise<void> {
  const { rows } = await client.query<WebhookRow>('select * from rowhook.webhook_configurations where id = $1', [id]);
  const webhook = withoutSecrets(theOne(rows, id));
  if (options.json) {
    out.print(JSON.stringify(webhook));
    return;
  }
  const set = Object.entries(webhook).filter(([, value]) => value !== null);
  printPairs(
    out,
    set.map(([column, value]) => [column, asText(value)]),
  );
}

export async function deleteWebhook(
  client: pg.Client,
  id: string,
  options: { json?: boolean },
  out: Out,
): Promise<void> {
  const { rows } = await client.query<WebhookRow>(
    'delete from rowhook.webhook_configurations where id = $1 returning *',
    [id],
  );
  report(theOne(rows, id), 'deleted, and its unfinished deliveries; its logs stay', options, out);
}

/** Switching off by hand also ends the state of having been disabled by rowhook. Capture goes on for a while in both. */
export async function switchWebhook(
  client: pg.Client,
  id: string,
  on: boolean,
  options: { json?: boolean },
  out: Out,
): Promise<void> {
  const before = await client.query<WebhookRow>('select * from rowhook.webhook_configurations where id = $1', [id]);
  const was = before.rows[0];
  // whoever enables it, also one that is active, wants it tried now: its breaker closes
  const { rows } = await client.query<WebhookRow>(
    `with forgiven as (delete from rowhook.webhook_health where $2 and webhook_id = $1)
     update rowhook.webhook_configurations
        set is_active = $2, disabled_reason = null
      where id = $1
  returning *`,
    [id, on],
  );
  const missed = on && was?.disabled_at ? await missedSince(client, was, was.disabled_at) : null;
  if (options.json) out.print(JSON.stringify({ ...withoutSecrets(theOne(rows, id)), ...missed }));
  else report(theOne(rows, id), on ? 'enabled' : 'disabled', options, out);
  if (options.json) return;
  if (missed) printMissed(id, missed, out);
  else if (!on) printCaptured(theOne(rows, id), out);
}

function printCaptured({ id, disabled_at }: WebhookRow, out: Out): void {
  if (disabled_at === null) return;
  const until = capturedUntil(disabled_at);
  const are = until.getTime() < Date.now() ? 'were' : 'are';
  out.print(
    `Its events ${are} captured until ${until.toISOString()}, and each is kept for 7 days: "rowhook webhook enable ${id}" says how to send those that it missed.`,
  );
}

function printMissed(
  id: string,
  { missed_since, missed, given_up, given_up_since, lost_since }: Missed,
  out: Out,
): void {
  out.print(`While it was switched off it missed ${events(missed)} that the outbox still has (7 days).`);
  if (lost_since) {
    const note = `What was written from ${lost_since.toISOString()} until now was not captured for it: it had been off for ${CAPTURED_DAYS} days.`;
    out.print(out.paint('yellow', note));
  }
  const command = (since: Date, only: string) => `rowhook replay ${id} --since ${since.toISOString()} --only ${only}`;
  if (missed > 0) out.print(`To send what it missed: ${command(missed_since, 'missed')}`);
  if (given_up > 0 && given_up_since)
    out.print(`To send the ${given_up} that had been given up: ${command(given_up_since, 'given_up')}`);
}

export async function rotateSecret(
  client: pg.Client,
  id: string,
  options: { overlap: string; json?: boolean },
  out: Out,
): Promise<void> {
  const { rows } = await client.query<{ secret: string; overlaps: boolean }>(
    "select rowhook.rotate_secret($1::uuid, $2::interval) as secret, $2::interval > '0' as overlaps",
    [id, options.overlap],
  );
  const secret = rows[0]?.secret ?? '';
  if (options.json) {
    out.print(JSON.stringify({ id, secret, overlap: options.overlap }));
    return;
  }
  printPairs(out, [['secret', { text: secret, style: 'bold' }]]);
  const old = rows[0]?.overlaps ? `signs too for ${options.overlap}, but not X-Webhook-Signature` : 'signs no longer';
  out.print(`\nKeep it now, it is not shown again. The old secret ${old}.`);
}

function report(webhook: WebhookRow, what: string, options: { json?: boolean }, out: Out): void {
  if (options.json) out.print(JSON.stringify(withoutSecrets(webhook)));
  else out.print(`Webhook ${webhook.id}: ${what}.`);
}

function state({ is_active, disabled_reason }: WebhookRow): Cell {
  if (is_active) return { text: 'active', style: 'green' };
  return disabled_reason === null
    ? { text: 'off', style: 'dim' }
    : { text: `disabled: ${disabled_reason}`, style: 'red' };
}

function asText(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
