/** `rowhook logs`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf, webhookId, wholeNumber } from '../../config/parse.ts';
import type { LogFilter, LogRow } from '../../operations/history/logs.ts';
import { type Out, printable } from '../../shared/terminal.ts';
import { type Cli, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';
import { addLogsShow } from './log-show.ts';

type LogsOptions = LogFilter & { limit: number; follow?: boolean; json?: boolean };

export function addLogs(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('logs')
      .description('print attempts, one per line, newest last')
      .option('--webhook <id>', 'only this webhook', parsed('--webhook', webhookId))
      .option('--tenant <tenant>', 'only this tenant')
      .option(
        '--status <status>',
        'only this result: success, failed or skipped',
        parsed('--status', oneOf(['success', 'failed', 'skipped'])),
      )
      .option('--event <event>', 'only this event type; deal.* means all types that start with deal.')
      .option('--limit <n>', 'number of newest attempts', parsed('--limit', wholeNumber(0, LIMIT_MAX)), 50)
      .option('--follow', 'keep printing new attempts'),
    (client, flags: LogsOptions) => logs(client, flags, cli.out),
  );
  addLogsShow(command, cli);
  help(command, [
    'rowhook logs --follow',
    'rowhook logs --status failed --tenant acme --limit 200',
    "rowhook logs --json | jq -r 'select(.duration_ms > 1000).request_url'",
  ]);
}

async function logs(client: pg.Client, options: LogsOptions, out: Out): Promise<void> {
  const { readLogs } = await import('../../operations/history/logs.ts');
  const { limit, follow = false, json, ...filter } = options;
  const print = (row: LogRow) => out.print(json ? JSON.stringify(row) : line(row, out));
  const count = await readLogs(client, { filter, limit, follow }, print);
  if (count === 0 && !json) out.print('No attempts: nothing was sent yet, or no attempt matches the flags.');
}

/** Fields have a fixed order and width, so that the lines of a stream align. */
function line(row: LogRow, out: Out): string {
  const result = row.status === 'success' ? 'green' : row.status === 'failed' ? 'red' : 'yellow';
  const fields = [
    row.id.padStart(6),
    row.attempted_at.toISOString(),
    out.paint(result, row.status.padEnd(7)),
    String(row.response_status ?? '').padStart(3),
    row.code.padEnd(18),
    `${row.duration_ms ?? 0} ms`.padStart(8),
    `#${row.attempt}`.padEnd(3),
    printable(row.event_type).padEnd(22),
    printable(row.tenant_id),
    printable(row.webhook_name ?? row.webhook_id),
  ];
  if (row.error) fields.push(printable(row.error));
  if (row.next_attempt_at) fields.push(out.paint('yellow', `next attempt ${row.next_attempt_at.toISOString()}`));
  return fields.join('  ');
}
