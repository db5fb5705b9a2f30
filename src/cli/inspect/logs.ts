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
  // Programs that read the lines expect no header.
  let isHeaderDue = out.columns !== undefined && !json;
  const print = (row: LogRow) => {
    if (isHeaderDue) out.print(out.paint('dim', aligned(HEADERS).join(GAP).trimEnd()));
    isHeaderDue = false;
    out.print(json ? JSON.stringify(row) : line(row, out));
  };
  // --follow never ends, so it says first that nothing will come.
  if (follow && !json) await printEventNote(client, filter, out);
  const count = await readLogs(client, { filter, limit, follow }, print);
  if (count > 0 || json) return;
  out.print('No attempts: nothing was sent yet, or no attempt matches the flags.');
  await printEventNote(client, filter, out);
}

/** A misspelt event type has no attempts, and no error either. */
async function printEventNote(client: pg.Client, { event }: LogFilter, out: Out): Promise<void> {
  if (event === undefined) return;
  const { eventTypeNote } = await import('../../operations/webhooks/event-types.ts');
  const note = await eventTypeNote(client, event);
  if (note !== null) out.print(out.paint('yellow', `Note: ${printable(note)}`));
}

const GAP = '  ';
/** `log` is the number that `rowhook logs show` takes. */
const HEADERS = ['log', 'time', 'result', '', 'code', 'took', 'try', 'event', 'event id', 'tenant', 'webhook'];
/** Fields have a fixed order and width, so that the lines of a stream align. Negative: to the right. */
const WIDTHS = [-6, 24, 7, -3, 18, -8, 3, 22, 18];
const RESULT = 2;

function aligned(fields: readonly string[]): string[] {
  return fields.map((text, column) => {
    const width = WIDTHS[column] ?? 0;
    return width < 0 ? text.padStart(-width) : text.padEnd(width);
  });
}

function line(row: LogRow, out: Out): string {
  const style = row.status === 'success' ? 'green' : row.status === 'failed' ? 'red' : 'yellow';
  const fields = aligned([
    row.id,
    row.attempted_at.toISOString(),
    row.status,
    String(row.response_status ?? ''),
    row.code,
    `${row.duration_ms ?? 0} ms`,
    `#${row.attempt}`,
    printable(row.event_type),
    printable(row.event_id),
    printable(row.tenant_id),
    printable(row.webhook_name ?? row.webhook_id),
  ]).map((text, column) => (column === RESULT ? out.paint(style, text) : text));
  if (row.error) fields.push(printable(row.error));
  if (row.next_attempt_at) fields.push(out.paint('yellow', `next attempt ${row.next_attempt_at.toISOString()}`));
  return fields.join(GAP);
}
