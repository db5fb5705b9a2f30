/** `rowhook webhook`, with all commands below it. */
import type { Command } from 'commander';
import type pg from 'pg';
import { wholeNumber } from '../../config/parse.ts';
import { type Out, printPairs, printTable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { commaList, help, LIMIT_MAX, onDatabase, out, parsed } from '../define.ts';
import { addCreate } from './create.ts';
import { addExplain } from './explain.ts';
import { columnsOf, type JsonFlag, NOTES, ofOne, optionalFlags, type WebhookFlags } from './flags.ts';
import { addTest } from './test.ts';

const operations = () => import('../../operations/webhooks/webhooks.ts');
const view = () => import('./view.ts');

export function addWebhook(program: Command): void {
  const group = program.command('webhook').description('create, list, change and test webhooks').helpCommand(false);
  addCreate(group);
  addList(group);
  addShow(group);
  addUpdate(group);
  addSwitch(group, 'enable', true);
  addSwitch(group, 'disable', false);
  addTest(group);
  addExplain(group);
  addRotateSecret(group);
  addDelete(group);
  help(group, [
    "rowhook webhook create --tenant acme --name CRM --url https://example.com/hook --events 'deal.*'",
    'rowhook webhook list --tenant acme',
  ]);
}

function addUpdate(group: Command): void {
  const command = onDatabase(
    optionalFlags(
      ofOne(group, 'update', 'change a webhook: only what is given')
        .option('--name <name>', 'a name for people')
        .option('--url <url>', 'where to send')
        .option('--events <list>', "what to send: 'deal.updated,note.*', or '*'", commaList),
    ),
    (client, id: string, flags: WebhookFlags & JsonFlag) => updateWebhook(client, id, flags, out),
  );
  help(
    command,
    ["rowhook webhook update 1f0c… --url https://example.com/new --events 'deal.*'"],
    `${NOTES}\nAn empty --description, --filter, --header, --rate-limit or --allowed-ips takes it away, as in --filter ''.`,
  );
}

async function updateWebhook(
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
  const [{ requireKnownEvents }, { changeWebhook }, { report }] = await Promise.all([
    import('../../operations/webhooks/event-types.ts'),
    operations(),
    view(),
  ]);
  await requireKnownEvents(client, options);
  const webhook = await changeWebhook(client, id, columns);
  report(webhook, `updated ${columns.map(([column]) => column).join(', ')}`, options, out);
}

function addList(group: Command): void {
  const command = onDatabase(
    group
      .command('list')
      .description('list webhooks and their state')
      .option('--tenant <tenant>', "one tenant's only")
      .option('--limit <n>', 'most rows to print', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 1_000),
    (client, flags: JsonFlag & { tenant?: string; limit: number }) => listWebhooks(client, flags, out),
  );
  help(command, ['rowhook webhook list', 'rowhook webhook list --tenant acme --json | jq -r .id']);
}

async function listWebhooks(
  client: pg.Client,
  options: { tenant?: string; limit: number; json?: boolean },
  out: Out,
): Promise<void> {
  const [{ readWebhooks, withoutSecrets }, { maskedUrl }, { state }] = await Promise.all([
    operations(),
    import('../../payload/mask.ts'),
    view(),
  ]);
  const rows = await readWebhooks(client, options.tenant, options.limit + 1);
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
    const { printUnproduced } = await import('./unproduced.ts');
    await printUnproduced(client, shown, options.tenant ?? null, out);
  }
}

function addShow(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'show', 'show a webhook, its secrets masked'),
    (client, id: string, flags: JsonFlag) => showWebhook(client, id, flags, out),
  );
  help(command, ['rowhook webhook show 1f0c… --json']);
}

async function showWebhook(client: pg.Client, id: string, options: { json?: boolean }, out: Out): Promise<void> {
  const [{ findWebhook, withoutSecrets }, { asText }] = await Promise.all([operations(), view()]);
  const webhook = withoutSecrets(await findWebhook(client, id));
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

function addSwitch(group: Command, name: 'enable' | 'disable', on: boolean): void {
  const command = onDatabase(
    ofOne(group, name, `switch a webhook ${on ? 'on' : 'off'}`),
    (client, id: string, flags: JsonFlag) => switchWebhook(client, id, on, flags, out),
  );
  const notes = on
    ? 'It prints how many events it missed while it was off, and the command that sends them. Of a webhook that is active it\ncloses the breaker: what waits behind it is tried now.'
    : 'Its events are captured for 30 days more, and the outbox keeps each for 7 days: "webhook enable" and "replay" send them.';
  help(command, [`rowhook webhook ${name} 1f0c…`], notes);
}

/** Capture goes on for a while after a webhook was switched off. */
async function switchWebhook(
  client: pg.Client,
  id: string,
  on: boolean,
  options: { json?: boolean },
  out: Out,
): Promise<void> {
  const [{ setActive, withoutSecrets }, { missedSince }, { printCaptured, printMissed, report }] = await Promise.all([
    operations(),
    import('../../operations/history/missed.ts'),
    view(),
  ]);
  const { was, webhook } = await setActive(client, id, on);
  const missed = on && was?.disabled_at ? await missedSince(client, was, was.disabled_at) : null;
  if (options.json) out.print(JSON.stringify({ ...withoutSecrets(webhook), ...missed }));
  else report(webhook, on ? 'enabled' : 'disabled', options, out);
  if (options.json) return;
  if (missed) printMissed(id, missed, out);
  else if (!on) printCaptured(webhook, out);
}

function addRotateSecret(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'rotate-secret', 'make a new signing secret and print it, this once').option(
      '--overlap <interval>',
      'how long the old secret signs too, 0 to 7 days',
      '24 hours',
    ),
    (client, id: string, flags: JsonFlag & { overlap: string }) => rotateSecret(client, id, flags, out),
  );
  help(
    command,
    ['rowhook webhook rotate-secret 1f0c…', "rowhook webhook rotate-secret 1f0c… --overlap '2 days'"],
    'During the overlap webhook-signature carries both signatures. X-Webhook-Signature has room for one: the new secret makes it at once.',
  );
}

async function rotateSecret(
  client: pg.Client,
  id: string,
  options: { overlap: string; json?: boolean },
  out: Out,
): Promise<void> {
  const { makeNewSecret } = await operations();
  const { secret, overlaps } = await makeNewSecret(client, id, options.overlap);
  if (options.json) {
    out.print(JSON.stringify({ id, secret, overlap: options.overlap }));
    return;
  }
  printPairs(out, [['secret', { text: secret, style: 'bold' }]]);
  const old = overlaps ? `signs too for ${options.overlap}, but not X-Webhook-Signature` : 'signs no longer';
  out.print(`\nKeep it now, it is not shown again. The old secret ${old}.`);
}

function addDelete(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'delete', 'delete a webhook and what it has not delivered yet'),
    (client, id: string, flags: JsonFlag) => deleteWebhook(client, id, flags, out),
  );
  help(
    command,
    ['rowhook webhook delete 1f0c…'],
    'Its logs stay. "webhook disable" can be taken back, this cannot: what was waiting, or is written from now on, is not sent.',
  );
}

async function deleteWebhook(client: pg.Client, id: string, options: { json?: boolean }, out: Out): Promise<void> {
  const [{ removeWebhook }, { report }] = await Promise.all([operations(), view()]);
  const webhook = await removeWebhook(client, id);
  report(webhook, 'deleted, and its unfinished deliveries; its logs stay', options, out);
}
