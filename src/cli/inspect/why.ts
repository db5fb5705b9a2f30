/** `rowhook why`. */
import type { Command } from 'commander';
import type pg from 'pg';
import type { Answer, CapturedChange, Sending, Step } from '../../operations/why/answer.ts';
import { type Out, printable, type Style } from '../../shared/terminal.ts';
import { type Cli, help, onDatabase } from '../define.ts';
import { deliveryState } from '../delivery-state.ts';

const MARKS: Readonly<Record<Step['kind'], readonly [mark: string, style: Style]>> = {
  stops: ['✗', 'red'],
  note: ['!', 'yellow'],
  fine: ['✓', 'green'],
};

const ROW: Readonly<Record<Answer['row'], string>> = {
  found: 'the row exists',
  gone: 'there is no such row',
  unseen: 'the row cannot be read',
};

export function addWhy(program: Command, cli: Cli): void {
  const command = onDatabase(
    cli,
    program
      .command('why')
      .description('explain why a change of a row did not arrive')
      .argument('<table>', 'the table; add its schema if that is not in the search_path')
      .argument('<key...>', 'the primary key of the row; for a composite key, one value per column, in order'),
    (client, table: string, key: string[], flags: { json?: boolean }) => why(client, table, key, flags, cli.out),
  );
  help(
    command,
    [
      'rowhook why deals 4711',
      'rowhook why public.order_lines 4711 3 --json | jq -r \'.steps[] | select(.kind == "stops")\'',
    ],
    [
      'It changes nothing. Of the row it reads only the key and the tenant.',
      'It searches the whole outbox, which takes up to 2 s for a million events.',
    ],
    'Exit codes: 0 each webhook that wants the newest change has got it, 1 it has not, 2 wrong usage or no such table.',
  );
}

/** Resolves to the exit code: 0 if the newest change arrived. */
async function why(
  client: pg.Client,
  table: string,
  key: readonly string[],
  { json }: { json?: boolean },
  out: Out,
): Promise<number> {
  const { whyOf } = await import('../../operations/why/why.ts');
  const answer = await whyOf(client, { table, key });
  if (json) out.print(JSON.stringify(answer));
  else print(answer, out);
  return answer.arrived ? 0 : 1;
}

function print({ table, key, row, tenant_id, steps, changes, arrived }: Answer, out: Out): void {
  const values = Object.entries(key).map(([column, value]) => `${printable(column)} = ${printable(value)}`);
  const none = row === 'unseen' ? 'tenant unknown' : 'no tenant';
  const tenant = tenant_id === null ? none : `tenant ${printable(tenant_id)}`;
  out.print(`${printable(table)}, ${values.join(', ')}: ${ROW[row]}, ${tenant}`);
  for (const { kind, what, fix } of steps) {
    const [mark, style] = MARKS[kind];
    out.print(`${out.paint(style, mark)} ${what}`);
    if (fix !== undefined) out.print(`    ${out.paint('bold', fix)}`);
  }
  for (const change of changes) printChange(change, out);
  out.print();
  if (arrived) out.print('The newest change was delivered.');
  else if (steps.some(({ kind }) => kind === 'stops')) {
    const isPartial = changes[0]?.sendings.some(({ happened }) => happened?.status === 'success');
    const verdict = isPartial ? 'The newest change was not delivered to every webhook.' : 'Nothing arrived.';
    out.print(`${verdict} The lines with ✗ say why.`);
  } else out.print('The newest change was not delivered to every webhook. Its lines above show its state.');
}

function printChange({ at, event_types, outbox_id, sendings }: CapturedChange, out: Out): void {
  out.print(`\n${at.toISOString()} ${event_types.map(printable).join(', ')} (outbox row ${outbox_id})`);
  if (sendings.length === 0) out.print('  its tenant has no webhook');
  for (const sending of sendings) {
    const { event_id, event_type, webhook_id, webhook_name, fix } = sending;
    out.print(
      `  ${event_id} ${printable(event_type)} to ${webhook_id} (${printable(webhook_name)}): ${stateOf(sending)}`,
    );
    if (fix !== undefined) out.print(`    ${out.paint('bold', fix)}`);
  }
}

function stateOf({ sent, because, happened }: Sending): string {
  if (happened === null) return sent ? 'not attempted yet' : `not sent: ${printable(because ?? '')}`;
  return deliveryState(happened);
}
