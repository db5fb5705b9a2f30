/** `rowhook webhook create`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { type Out, printable, printPairs } from '../../shared/terminal.ts';
import { type Cli, commaList, help, onDatabase } from '../define.ts';
import { columnsOf, type JsonFlag, NOTES, optionalFlags, type WebhookFlags } from './flags.ts';
import { requireTemplate } from './template.ts';

export function addCreate(group: Command, cli: Cli): void {
  const required = group
    .command('create')
    .description('create a webhook, and print its id, its secret (shown only once) and a curl example')
    .requiredOption('--tenant <tenant>', 'tenant whose events it gets (required)')
    .requiredOption('--name <name>', 'name of the webhook (required)')
    .requiredOption('--url <url>', 'URL to send to (required)')
    .requiredOption(
      '--events <list>',
      "event types to send: 'deal.updated,note.*', or '*' for all (required)",
      commaList,
    );
  const command = onDatabase(
    cli,
    optionalFlags(required, cli).option('--no-active', 'create it switched off'),
    (client, flags: WebhookFlags & JsonFlag) => createWebhook(client, flags, cli.out),
  );
  help(
    command,
    [
      'rowhook webhook create --tenant acme --name CRM --url https://app.example/hook --events deal.created',
      'rowhook webhook create --tenant acme --name Big --url https://app.example/hook \\',
      `      --events 'deal.*' --filter '{"data.value":{"$gt":10000}}'`,
      'rowhook webhook create --tenant acme --name Ops --url https://app.example/hook \\',
      "      --events '*' --header 'X-Team: ops' --bearer-file token.txt",
    ],
    NOTES,
  );
}

async function createWebhook(client: pg.Client, options: WebhookFlags & { json?: boolean }, out: Out): Promise<void> {
  const columns = columnsOf(options);
  const [{ requireKnownEvents }, { insertWebhook, notesOn }, { tryItCommand }, { namingFlags }] = await Promise.all([
    import('../../operations/webhooks/event-types.ts'),
    import('../../operations/webhooks/webhooks.ts'),
    import('./try-it.ts'),
    import('./flag-errors.ts'),
  ]);
  await requireTemplate(options);
  await requireKnownEvents(client, options);
  const webhook = await namingFlags(insertWebhook(client, columns));
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
  out.print('\nSave the secret now. It is not shown again. To send a signed example, valid for five minutes:\n');
  out.print(tryItCommand(webhook, Math.floor(Date.now() / 1000)));
  out.print(`\nTo send a test event through the daemon: rowhook webhook test ${webhook.id}`);
  for (const text of await notesOn(client, webhook)) out.print(out.paint('yellow', `\nNote: ${printable(text)}`));
}
