import type { Settings } from '../../config/settings.ts';
import { withClient } from '../../database/connections.ts';
import { type CheckedRemark, examine } from '../../doctor/checks.ts';
import { LIMITS } from '../../doctor/finding.ts';
import type { Out, Style } from '../../shared/terminal.ts';

const MARKS: Readonly<Record<CheckedRemark['kind'], readonly [mark: string, style: Style]>> = {
  error: ['✗', 'red'],
  warning: ['!', 'yellow'],
  unseen: ['?', 'dim'],
  fine: ['✓', 'green'],
};

/** Looks for what is wrong, and says how to mend it. Resolves to the exit code: 1 when something stops events. */
export async function doctor(
  { databaseUrl, wake, environment }: Settings,
  { json }: { json?: boolean },
  out: Out,
): Promise<number> {
  const remarks = await withClient(databaseUrl, 'rowhook doctor', (client) =>
    examine({ client, databaseUrl, wake, environment, limits: LIMITS, now: Date.now }),
  );
  if (json) for (const remark of remarks) out.print(JSON.stringify(remark));
  else print(remarks, out);
  return remarks.some(({ kind }) => kind === 'error') ? 1 : 0;
}

function print(remarks: readonly CheckedRemark[], out: Out): void {
  const width = Math.max(...remarks.map(({ check }) => check.length));
  const indent = ' '.repeat(width + 4);
  for (const remark of remarks) {
    const [mark, style] = MARKS[remark.kind];
    const unseen = remark.kind === 'unseen' ? 'not looked at: ' : '';
    out.print(`${out.paint(style, mark)} ${out.paint('dim', remark.check.padEnd(width))}  ${unseen}${remark.what}`);
    if ('why' in remark) out.print(`${indent}${remark.why}`);
    if ('mend' in remark) out.print(`${indent}${out.paint('bold', remark.mend)}`);
  }
  const count = (kind: CheckedRemark['kind']) => remarks.filter((remark) => remark.kind === kind).length;
  const [errors, warnings] = [count('error'), count('warning')];
  out.print();
  if (errors + warnings === 0) out.print('Nothing is wrong.');
  else out.print(`${errorsText(errors)}, ${plural(warnings, 'warning')}.`);
}

function errorsText(count: number): string {
  return count === 0 ? '0 errors' : `${plural(count, 'error')} that ${count === 1 ? 'keeps' : 'keep'} events back`;
}

function plural(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}
