/** `rowhook webhook …`: names and flags. */
import type { Command } from 'commander';
import { cidrs, eventId, webhookId, wholeNumber } from '../config/parse.ts';
import { commaList, help, onDatabase, out, parsed } from './define.ts';
import { SECRETS_NOTE, type SecretFlag, secretFlags } from './secret-flags.ts';
import type { WebhookFlags } from './webhooks/flags.ts';

interface JsonFlag {
  json?: boolean;
}

const SERVER_LOG =
  'A server that logs the parameters of statements logs secrets too, unless this role may set log_parameter_max_length.';

const SECRETS: readonly SecretFlag[] = [
  {
    flag: '--header <header>',
    description: "a header to send, 'Name: value'; repeatable; content-type stays application/json",
    repeatable: true,
  },
  { flag: '--bearer <token>', description: 'authorization: a bearer token' },
  { flag: '--basic <user:password>', description: 'authorization: user and password' },
  { flag: '--api-key <header>', description: "authorization: a header, 'Name: value'" },
  { flag: '--secret <secret>', description: 'the signing secret (default: a random whsec_…)' },
];

const webhookCommands = () => import('./webhooks/webhook.ts');

export function addWebhookCommands(program: Command): void {
  program.commandsGroup('Webhooks:');
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

function addCreate(group: Command): void {
  const required = group
    .command('create')
    .description('create a webhook; prints its id, its secret (only now) and a curl to try')
    .requiredOption('--tenant <tenant>', 'the tenant whose events it gets (required)')
    .requiredOption('--name <name>', 'a name for people (required)')
    .requiredOption('--url <url>', 'where to send (required)')
    .requiredOption('--events <list>', "what to send: 'deal.updated,note.*', or '*' (required)", commaList);
  const command = onDatabase(
    optionalFlags(required).option('--no-active', 'create it switched off'),
    async (client, flags: WebhookFlags & JsonFlag) => (await webhookCommands()).createWebhook(client, flags, out),
  );
  help(
    command,
    [
      'rowhook webhook create --tenant acme --name CRM --url https://example.com/hook --events deal.created,deal.stage.changed',
      `rowhook webhook create --tenant acme --name Big --url https://example.com/hook --events 'deal.*' --filter '{"data.value":{"$gt":10000}}'`,
      "rowhook webhook create --tenant acme --name Ops --url https://example.com/hook --events '*' --header 'X-Team: ops' --bearer-file token.txt",
    ],
    `${SECRETS_NOTE}\n${SERVER_LOG}`,
  );
}

function addUpdate(group: Command): void {
  const command = onDatabase(
    optionalFlags(
      ofOne(group, 'update', 'change a webhook: only what is given')
        .option('--name <name>', 'a name for people')
        .option('--url <url>', 'where to send')
        .option('--events <list>', "what to send: 'deal.updated,note.*', or '*'", commaList),
    ),
    async (client, id: string, flags: WebhookFlags & JsonFlag) =>
      (await webhookCommands()).updateWebhook(client, id, flags, out),
  );
  help(
    command,
    ["rowhook webhook update 1f0c… --url https://example.com/new --events 'deal.*'"],
    `${SECRETS_NOTE}\n${SERVER_LOG}\nAn empty --description, --filter, --header, --rate-limit or --allowed-ips takes it away, as in --filter ''.`,
  );
}

/** The flags that create and update share. The ranges are the table's own rules. */
function optionalFlags(command: Command): Command {
  const number = (flag: string) => parsed(flag, wholeNumber(0, 2 ** 31 - 1));
  return secretFlags(command, SECRETS)
    .option('--force', 'take events that no watched table produces, such as those that your application emits')
    .option('--description <text>', 'what it is for')
    .option('--method <method>', 'POST (default), PUT or PATCH')
    .option('--filter <json>', `conditions on the row, such as '{"data.stage":"won"}'`)
    .option('--no-auth', 'authorization: none')
    .option('--retry', 'try a delivery again after an attempt that failed (default)')
    .option('--no-retry', 'never try again')
    .option('--retry-attempts <n>', 'how often to try again, 0 to 20', number('--retry-attempts'))
    .option('--retry-strategy <strategy>', 'exponential (default) or linear')
    .option('--retry-delay <seconds>', 'seconds that linear multiplies by 1, 2, 3 …', number('--retry-delay'))
    .option('--timeout-ms <ms>', 'milliseconds for a whole attempt', number('--timeout-ms'))
    .option('--max-in-flight <n>', 'most requests to it at a time', number('--max-in-flight'))
    .option('--rate-limit <n>', 'most requests to it a second')
    .option(
      '--ordering <ordering>',
      "none (default), or row: what waits for its next attempt holds back its row's later ones",
    )
    .option('--payload-format <format>', "nested (default), or flat: the row's fields on the top level")
    .option('--batch-max <n>', 'events in one request, 1 (default: no batches) to 100', number('--batch-max'))
    .option('--batch-wait-ms <ms>', 'how long a batch may wait to fill, 0 to 5000', number('--batch-wait-ms'))
    .option('--allowed-ips <list>', 'send only to these ranges', parsed('--allowed-ips', cidrs));
}

function addList(group: Command): void {
  const command = onDatabase(
    group
      .command('list')
      .description('list webhooks and their state')
      .option('--tenant <tenant>', "one tenant's only")
      .option('--limit <n>', 'most rows to print', parsed('--limit', wholeNumber(1, 100_000)), 1_000),
    async (client, flags: JsonFlag & { tenant?: string; limit: number }) =>
      (await webhookCommands()).listWebhooks(client, flags, out),
  );
  help(command, ['rowhook webhook list', 'rowhook webhook list --tenant acme --json | jq -r .id']);
}

function addShow(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'show', 'show a webhook, its secrets masked'),
    async (client, id: string, flags: JsonFlag) => (await webhookCommands()).showWebhook(client, id, flags, out),
  );
  help(command, ['rowhook webhook show 1f0c… --json']);
}

function addSwitch(group: Command, name: 'enable' | 'disable', on: boolean): void {
  const command = onDatabase(
    ofOne(group, name, `switch a webhook ${on ? 'on' : 'off'}`),
    async (client, id: string, flags: JsonFlag) => (await webhookCommands()).switchWebhook(client, id, on, flags, out),
  );
  const notes = on
    ? 'It prints how many events it missed while it was off, and the command that sends them. Of a webhook that is active it\ncloses the breaker: what waits behind it is tried now.'
    : 'Its events are captured for 30 days more, and the outbox keeps each for 7 days: "webhook enable" and "replay" send them.';
  help(command, [`rowhook webhook ${name} 1f0c…`], notes);
}

function addTest(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'test', 'send a sample of each event it wants, and print the responses').option(
      '--wait <seconds>',
      'how long to wait for the responses',
      parsed('--wait', wholeNumber(1, 3_600)),
      30,
    ),
    async (client, id: string, flags: JsonFlag & { wait: number }) =>
      (await import('./webhooks/test.ts')).testWebhook(client, id, flags, out),
  );
  help(
    command,
    ['rowhook webhook test 1f0c…'],
    'Needs a running daemon. Sends to a webhook that is switched off, too.',
    'Exit codes: 0 all answered 2xx, 1 they did not, 2 wrong usage.',
  );
}

function addExplain(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'explain', 'say whether a stored event is sent to it, and if not, why').argument(
      '<event>',
      "an event's id (webhook-id), or an outbox row's for all of its events",
      parsed('event', eventId),
    ),
    async (client, id: string, event: string, flags: JsonFlag) =>
      (await import('./webhooks/explain.ts')).explain(client, id, event, flags, out),
  );
  help(
    command,
    ['rowhook webhook explain 1f0c… evt_3d1f0a2b_4711_0', 'rowhook webhook explain 1f0c… 4711'],
    'It goes by the webhook as it is now.',
  );
}

function addRotateSecret(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'rotate-secret', 'make a new signing secret and print it, this once').option(
      '--overlap <interval>',
      'how long the old secret signs too, 0 to 7 days',
      '24 hours',
    ),
    async (client, id: string, flags: JsonFlag & { overlap: string }) =>
      (await webhookCommands()).rotateSecret(client, id, flags, out),
  );
  help(
    command,
    ['rowhook webhook rotate-secret 1f0c…', "rowhook webhook rotate-secret 1f0c… --overlap '2 days'"],
    'During the overlap webhook-signature carries both signatures. X-Webhook-Signature has room for one: the new secret makes it at once.',
  );
}

function addDelete(group: Command): void {
  const command = onDatabase(
    ofOne(group, 'delete', 'delete a webhook and what it has not delivered yet'),
    async (client, id: string, flags: JsonFlag) => (await webhookCommands()).deleteWebhook(client, id, flags, out),
  );
  help(
    command,
    ['rowhook webhook delete 1f0c…'],
    'Its logs stay. "webhook disable" can be taken back, this cannot: what was waiting, or is written from now on, is not sent.',
  );
}

function ofOne(group: Command, name: string, description: string): Command {
  return group
    .command(name)
    .description(description)
    .argument('<id>', "the webhook's id", parsed('webhook id', webhookId));
}
