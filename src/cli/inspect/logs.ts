/** `rowhook logs`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf, webhookId, wholeNumber } from '../../config/parse.ts';
import type { LogFilter, LogRow } from '../../operations/history/logs.ts';
import { type Out, printable } from '../../shared/terminal.ts';
import { help, LIMIT_MAX, onDatabase, out, parsed } from '../define.ts';
import { addLogsShow } from './log-show.ts';

type LogsOptions = LogFilter & { limit: number; follow?: boolean; json?: boolean };

export function addLogs(program: Command): void {
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
    (client, flags: LogsOptions) => logs(client, flags, out),
  );
  addLogsShow(command);
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
  if (count === 0 && !json) out.print('No attempts: nothing was delivered yet, or the flags leave nothing.');
}

/** One wide line, its fields in a fixed order, so that lines of a stream stand under each other. */
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
  if (row.next_attempt_at) fields.push(out.paint('yellow', `again ${row.next_attempt_at.toISOString()}`));
  return fields.join('  ');
}
