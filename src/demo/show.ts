/** Prints the demo's deliveries. Pure except for `out`. */
import { type Out, printable } from '../shared/terminal.ts';
import type { Arrival } from './receiver.ts';

const EVENT_WIDTH = 20;
const CHANGE_WIDTH = 46;

/**
 * One line: the event, its row, the time since its commit, and whether the signatures are valid.
 */
export function printArrival(out: Out, arrival: Arrival, msFromCommit: number | undefined): void {
  const { event, standard, hex, answered, time } = arrival;
  const accepted = answered < 300;
  const isSigned = standard === 'valid' && hex === 'valid';
  const mark = accepted ? out.paint('green', '✓') : out.paint('red', '✗');
  const fields = [
    `  ${mark} ${out.paint('bold', printable(event).padEnd(EVENT_WIDTH))}`,
    fitted(printable(whatChanged(arrival.body)), CHANGE_WIDTH),
    isSigned ? out.paint('green', 'signatures ok') : out.paint('red', `signatures: standard ${standard}, hex ${hex}`),
    msFromCommit === undefined ? '' : `${msFromCommit} ms`.padStart(8),
  ];
  if (!accepted) fields.push(out.paint('red', `answered ${answered}`));
  if (time > 1) fields.push(out.paint('yellow', `attempt ${time}`));
  out.print(fields.join('  ').trimEnd());
}

/** `Fleet renewal: stage new → won`. Parses the body, which was verified before. */
export function whatChanged(body: string): string {
  try {
    const { data, previous } = JSON.parse(body) as Record<'data' | 'previous', Record<string, unknown> | undefined>;
    if (!data) return '';
    const changes = Object.entries(previous ?? {}).map(
      ([column, before]) => `${column} ${short(before)} → ${short(data[column])}`,
    );
    const name = nameOf(data);
    return changes.length === 0 ? name : `${name}: ${changes.join(', ')}`;
  } catch {
    return '';
  }
}

function nameOf(row: Record<string, unknown>): string {
  if (row.first_name !== undefined) return `${row.first_name} ${row.last_name}`;
  return String(row.title ?? row.name ?? row.body ?? row.id ?? '');
}

/** The first part of a uuid is enough for a person. */
function short(value: unknown): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(text) ? `${text.slice(0, 8)}…` : text;
}

function fitted(text: string, width: number): string {
  const characters = [...text];
  return characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : text.padEnd(width);
}
