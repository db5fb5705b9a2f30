/** `rowhook webhook` and its commands. */
import type { Command } from 'commander';
import type pg from 'pg';
import { wholeNumber } from '../../config/parse.ts';
import { type Out, printable, printPairs, printTable } from '../../shared/terminal.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, commaList, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';
import { addCreate } from './create.ts';
import { addExplain } from './explain.ts';
import { columnsOf, type JsonFlag, NOTES, ofOne, optionalFlags, type WebhookFlags } from './flags.ts';
import { addPreview } from './preview.ts';
import { requireTemplate } from './template.ts';
import { addTest } from './test.ts';

const operations = () => import('../../operations/webhooks/webhooks.ts');
const view = () => import('./view.ts');

export function addWebhook(program: Command, cli: Cli): void {
  const group = program.command('webhook').description('create, list, change and test webhooks').helpCommand(false);
  addCreate(group, cli);
  addList(group, cli);
  addShow(group, cli);
  addUpdate(group, cli);
  addSwitch(group, cli, 'enable', true);
  addSwitch(group, cli, 'disable', false);
  addTest(group, cli);
  addExplain(group, cli);
  addPreview(group, cli);
  addRotateSecret(group, cli);
  addDelete(group, cli);
  help(group, [
    "rowhook webhook create --tenant acme --name CRM --url https://app.example/hook --events 'deal.*'",
    'rowhook webhook list --tenant acme',
  ]);
}

function addUpdate(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    optionalFlags(
      ofOne(group, 'update', 'change the given settings of a webhook')
        .option('--name <name>', 'name of the webhook')
        .option('--url <url>', 'URL to send to')
        .option('--events <list>', "event types to send: 'deal.updated,note.*', or '*' for all", commaList),
      cli,
    ),
    (client, id: string, flags: WebhookFlags & JsonFlag) => updateWebhook(client, id, flags, cli.out),
  );
  help(
    command,
    ["rowhook webhook update 1f0c… --url https://app.example/new --events 'deal.*'"],
    [...NOTES, "An empty value removes --description, --filter, --header, --rate-limit or --allowed-ips: --filter ''."],
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
      'webhook update: nothing to change. Give a flag such as --url. "rowhook webhook update --help" lists them.',
      2,
    );
  }
  const [{ requireKnownEvents }, { changeWebhook, filterNotes }, { report }, { namingFlags }] = await Promise.all([
    import('../../operations/webhooks/event-types.ts'),
    operations(),
    view(),
    import('./flag-errors.ts'),
  ]);
  await requireTemplate(options);
  await requireKnownEvents(client, options);
  const webhook = await namingFlags(changeWebhook(client, id, columns));
  const notes = await filterNotes(client, id);
  report(webhook, `updated ${columns.map(([column]) => column).join(', ')}`, { ...options, notes }, out);
}

function addList(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    group
      .command('list')
      .description('list webhooks and their state')
      .option('--tenant <tenant>', 'only this tenant')
      .option('--limit <n>', 'maximum number of rows', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 1_000),
    (client, flags: JsonFlag & { tenant?: string; limit: number }) => listWebhooks(client, flags, cli.out),
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
    const of = options.tenant === undefined ? '' : ` of tenant ${printable(options.tenant)}`;
    out.print(`No webhooks${of}. Create one with "rowhook webhook create".`);
  } else {
    printTable(
      out,
      ['id', 'tenant', 'name', 'events', 'url', 'state'],
      shown.map((row) => [row.id, row.tenant_id, row.name, row.event_types.join(','), maskedUrl(row.url), state(row)]),
    );
    if (rows.length > shown.length)
      out.print(out.paint('dim', `There are more than ${options.limit}. Use --tenant, or raise --limit.`));
    const { printUnproduced } = await import('./unproduced.ts');
    await printUnproduced(client, shown, options.tenant ?? null, out);
  }
}

function addShow(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'show', 'show a webhook, with masked secrets'),
    (client, id: string, flags: JsonFlag) => showWebhook(client, id, flags, cli.out),
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

function addSwitch(group: Command, cli: Cli, name: 'enable' | 'disable', on: boolean): void {
  const command = onDatabase(
    cli,
    ofOne(group, name, `switch a webhook ${on ? 'on' : 'off'}`),
    (client, id: string, flags: JsonFlag) => switchWebhook(client, id, on, flags, cli.out),
  );
  const notes = on
    ? [
        'It prints how many events the webhook missed while it was off, and the command that sends them.',
        'If the webhook is already active, this closes its breaker, and its waiting deliveries are tried now.',
      ]
    : [
        'Its events are still captured for 30 days, and the outbox keeps each event for 7 days.',
        'To send them later, use "rowhook webhook enable" and "rowhook replay".',
      ];
  help(command, [`rowhook webhook ${name} 1f0c…`], notes);
}

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

function addRotateSecret(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'rotate-secret', 'create a new signing secret, and print it (shown only once)').option(
      '--overlap <interval>',
      'how long the old secret also signs, 0 to 7 days',
      '24 hours',
    ),
    (client, id: string, flags: JsonFlag & { overlap: string }) => rotateSecret(client, id, flags, cli.out),
  );
  help(
    command,
    ['rowhook webhook rotate-secret 1f0c…', "rowhook webhook rotate-secret 1f0c… --overlap '2 days'"],
    [
      'During the overlap, webhook-signature holds a signature of each secret.',
      'X-Webhook-Signature holds only one, made with the new secret.',
    ],
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
  const old = overlaps ? `also signs webhook-signature for ${options.overlap}` : 'no longer signs';
  out.print(`\nSave the secret now. It is not shown again. The old secret ${old}.`);
}

function addDelete(group: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    ofOne(group, 'delete', 'delete a webhook and its unfinished deliveries'),
    (client, id: string, flags: JsonFlag) => deleteWebhook(client, id, flags, cli.out),
  );
  help(
    command,
    ['rowhook webhook delete 1f0c…'],
    [
      'Its logs stay. You cannot undo this, and its waiting events are not sent. To stop a webhook for some time, use',
      '"rowhook webhook disable".',
    ],
  );
}

async function deleteWebhook(client: pg.Client, id: string, options: { json?: boolean }, out: Out): Promise<void> {
  const [{ removeWebhook }, { report }] = await Promise.all([operations(), view()]);
  const webhook = await removeWebhook(client, id);
  report(webhook, 'deleted, with its unfinished deliveries. Its logs stay', options, out);
}
