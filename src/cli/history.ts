/** Commands that show what was delivered, what was not, and deliver it again. */
import type { Command } from 'commander';
import { deliveryId, oneOf, time, webhookId, wholeNumber } from '../config/parse.ts';
import { UserError } from '../shared/user-error.ts';
import { help, onDatabase, out, parsed } from './define.ts';
import type { DeliveriesOptions } from './inspect/deliveries.ts';
import type { LogsOptions } from './inspect/logs.ts';
import type { ReplayOptions } from './inspect/replay.ts';

const LIMIT_MAX = 100_000;

export function addHistoryCommands(program: Command): void {
  program.commandsGroup('What happened:');
  addLogs(program);
  addDeliveries(program);
  addReplay(program);
  addWhy(program);
}

function addLogs(program: Command): void {
  const command = onDatabase(
    program
      .command('logs')
      .description('print attempts, one a line, the newest last')
      .option('--webhook <id>', 'of one webhook', parsed('--webhook', webhookId))
      .option('--tenant <tenant>', 'of one tenant')
      .option(
        '--status <status>',
        'success, failed or skipped',
        parsed('--status', oneOf(['success', 'failed', 'skipped'])),
      )
      .option('--event <event>', 'of one event type; deal.* for all of deal')
      .option('--limit <n>', 'how many of the newest', parsed('--limit', wholeNumber(0, LIMIT_MAX)), 50)
      .option('--follow', 'go on printing as they happen'),
    async (client, flags: LogsOptions) => (await import('./inspect/logs.ts')).logs(client, flags, out),
  );
  addLogsShow(command);
  help(command, [
    'rowhook logs --follow',
    'rowhook logs --status failed --tenant acme --limit 200',
    "rowhook logs --json | jq -r 'select(.duration_ms > 1000).request_url'",
  ]);
}

function addLogsShow(logs: Command): void {
  const command = onDatabase(
    logs
      .command('show')
      .description('show one attempt: request, response, and the same as a curl command')
      .argument(
        '<id>',
        'the number that "rowhook logs" prints first',
        parsed('log id', wholeNumber(1, Number.MAX_SAFE_INTEGER)),
      )
      .option('--body', 'print the request body alone, byte for byte'),
    async (client, id: number, flags: { body?: boolean; json?: boolean }) =>
      (await import('./inspect/log-show.ts')).showLog(client, String(id), flags, out),
  );
  help(
    command,
    ['rowhook logs show 4711', 'rowhook logs show 4711 --body | jq .data'],
    'Bodies are made again from the outbox, which keeps events for 7 days. Secrets are masked.',
  );
}

function addDeliveries(program: Command): void {
  const command = onDatabase(
    program
      .command('deliveries')
      .description('list deliveries that wait for another attempt, or were given up')
      .option('--webhook <id>', 'of one webhook', parsed('--webhook', webhookId))
      .option('--tenant <tenant>', 'of one tenant')
      .option('--state <state>', 'waiting or given_up', parsed('--state', oneOf(['waiting', 'given_up'])))
      .option('--limit <n>', 'most rows to print, newest first', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 100),
    async (client, flags: DeliveriesOptions) =>
      (await import('./inspect/deliveries.ts')).deliveries(client, flags, out),
  );
  help(command, ['rowhook deliveries --state given_up', 'rowhook deliveries --webhook 1f0c… --json']);
}

function addReplay(program: Command): void {
  const command = onDatabase(
    program
      .command('replay')
      .description('deliver past events again')
      .argument('[id]', "the webhook's id", parsed('webhook id', webhookId))
      .option(
        '--since <time>',
        'events from this time on: 2025-10-17T19:30:00Z (UTC without a zone), or 2h, 3d for that long ago',
        parsed('--since', time),
      )
      .option('--until <time>', 'events before this time, written the same way (default: now)', parsed('--until', time))
      .option(
        '--only <what>',
        'given_up: attempts ran out; missed: never delivered and not waiting; all: whatever it wants',
        'given_up',
      )
      .option('--delivery <id>', 'one delivery instead, whatever became of it', parsed('--delivery', deliveryId))
      .option('--dry-run', 'count them, and queue nothing')
      .option('--wait', 'print how many are left, until each was attempted'),
    async (client, id: string | undefined, flags: ReplayOptions) => {
      const commands = await import('./inspect/replay.ts');
      if (flags.delivery !== undefined) await commands.replayDelivery(client, flags.delivery, flags, out);
      else await commands.replay(client, id ?? '', flags, out);
    },
  ).hook('preAction', (replaying) => {
    const { delivery, since } = replaying.opts();
    const range = replaying.args.length > 0 && since !== undefined;
    if (delivery === undefined ? !range : replaying.args.length > 0 || since !== undefined)
      throw new UserError("replay: give either a webhook's id and --since, or --delivery.", 2);
    const unheeded = ['until', 'only', 'dryRun', 'wait'].filter(
      (flag) => replaying.getOptionValueSource(flag) === 'cli',
    );
    if (delivery !== undefined && unheeded.length > 0)
      throw new UserError(
        `replay: --delivery sends one delivery now, so ${unheeded.map((flag) => `--${flag === 'dryRun' ? 'dry-run' : flag}`).join(', ')} cannot go with it.`,
        2,
      );
  });
  help(
    command,
    [
      'rowhook replay 1f0c… --since 2h --only missed --dry-run',
      'rowhook replay 1f0c… --since 2025-10-17 --until 2025-10-18 --wait',
      'rowhook replay --delivery 6ba7…',
    ],
    'A receiver sees the same webhook-id as before, so it can leave out what it has. A replay goes behind what is new and\nsurvives restarts. Events are kept for 7 days; of those that no webhook wanted, only sources with capture "all" have any.',
  );
}

function addWhy(program: Command): void {
  const command = onDatabase(
    program
      .command('why')
      .description('say why a change of a row did not arrive: from its table to each webhook')
      .argument('<table>', 'the table, with its schema where that is not in the search_path')
      .argument('<key...>', 'the value of its primary key; of a composite key one for each column, in order'),
    async (client, table: string, key: string[], flags: { json?: boolean }) =>
      (await import('./inspect/why.ts')).why(client, table, key, flags, out),
  );
  help(
    command,
    [
      'rowhook why deals 4711',
      'rowhook why public.order_lines 4711 3 --json | jq -r \'.steps[] | select(.kind == "stops")\'',
    ],
    'It only reads: of the row its tenant, and whether it is there. It looks through the whole outbox, which takes up\nto 2 s for a million events.',
    'Exit codes: 0 the newest change was delivered to each webhook that it is sent to; 1 it was not; 2 wrong usage, or no such table.',
  );
}
