/** `rowhook deliveries`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { oneOf, webhookId, wholeNumber } from '../../config/parse.ts';
import type { DeliveryFilter, DeliveryRow } from '../../operations/history/deliveries.ts';
import { type Out, printTable } from '../../shared/terminal.ts';
import { type Cli, help, LIMIT_MAX, onDatabase, parsed } from '../define.ts';

type DeliveriesOptions = DeliveryFilter & { limit: number; json?: boolean };

export function addDeliveries(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('deliveries')
      .description('list deliveries that wait for their next attempt or were given up')
      .option('--webhook <id>', 'only this webhook', parsed('--webhook', webhookId))
      .option('--tenant <tenant>', 'only this tenant')
      .option(
        '--state <state>',
        'only this state: waiting or given_up',
        parsed('--state', oneOf(['waiting', 'given_up'])),
      )
      .option('--limit <n>', 'maximum number of rows, newest first', parsed('--limit', wholeNumber(1, LIMIT_MAX)), 100),
    (client, flags: DeliveriesOptions) => deliveries(client, flags, cli.out),
  );
  help(command, ['rowhook deliveries --state given_up', 'rowhook deliveries --webhook 1f0c… --json']);
}

async function deliveries(client: pg.Client, options: DeliveriesOptions, out: Out): Promise<void> {
  const { readDeliveries } = await import('../../operations/history/deliveries.ts');
  const rows = await readDeliveries(client, options, options.limit + 1);
  const shown = rows.slice(0, options.limit);
  if (options.json) {
    for (const row of shown) out.print(JSON.stringify({ ...row, next_attempt_at: nextOf(row, 'infinity') }));
  } else if (rows.length === 0) {
    out.print('No unfinished deliveries. "rowhook logs" shows all attempts.');
  } else {
    printTable(
      out,
      ['delivery id', 'webhook', 'tenant', 'event', 'state', 'attempts', 'last result', 'next attempt'],
      shown.map((row) => [
        row.delivery_id,
        row.webhook_name,
        row.tenant_id,
        row.event_type,
        row.state === 'given_up'
          ? { text: 'given up', style: 'red' }
          : { text: row.replayed ? 'waiting (replay)' : 'waiting', style: 'yellow' },
        row.attempt,
        row.last_code,
        row.held_by_breaker ? 'when the breaker closes' : nextOf(row, 'after earlier events of its row'),
      ]),
    );
    if (rows.length > shown.length)
      out.print(out.paint('dim', `There are more than ${options.limit}. Use a filter, or raise --limit.`));
  }
}

/** `behind`: the text for a delivery that waits for an earlier one. */
function nextOf({ next_attempt_at: at }: DeliveryRow, behind: string): string | null {
  return at instanceof Date ? at.toISOString() : at === null ? null : behind;
}
