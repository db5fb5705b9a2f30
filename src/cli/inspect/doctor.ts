/** `rowhook doctor`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { readSettings, type Settings } from '../../config/settings.ts';
import type { NamedResult } from '../../doctor/checks.ts';
import type { Out, Style } from '../../shared/terminal.ts';
import { type Cli, help, settingFlags } from '../define.ts';

const MARKS: Readonly<Record<NamedResult['kind'], readonly [mark: string, style: Style]>> = {
  error: ['✗', 'red'],
  warning: ['!', 'yellow'],
  unseen: ['?', 'dim'],
  fine: ['✓', 'green'],
};

export function addDoctor(program: Command, cli: Cli): void {
  const command = settingFlags(program.command('doctor'), ['databaseUrl', 'environment', 'wake'])
    .description('check the installation, and say how to fix each problem')
    .option('--json', 'print JSON, one object per line')
    .action(async (flags: { json?: boolean }) => {
      const settings = readSettings(flags as Record<string, unknown>, cli.process.env);
      cli.process.exitCode = await doctor(settings, flags, cli.out);
    });
  help(
    command,
    [
      'rowhook doctor',
      `rowhook doctor --json | jq -r 'select(.kind == "error") | .fix'`,
      'ROWHOOK_ENVIRONMENT=production rowhook doctor   # with the settings of the daemon',
    ],
    [
      "It changes nothing. Run it with the daemon's DATABASE_URL, or as the owner.",
      'A question mark means that this role may not see the checked objects.',
    ],
    'Exit codes: 0 no errors, but perhaps warnings; 1 an error stops or delays events; 2 wrong usage or settings.',
  );
}

/** Resolves to the exit code. */
async function doctor(
  { databaseUrl, wake, environment }: Settings,
  { json }: { json?: boolean },
  out: Out,
): Promise<number> {
  const [{ withClient }, { examine }, { LIMITS }] = await Promise.all([
    import('../../database/connections.ts'),
    import('../../doctor/checks.ts'),
    import('../../doctor/finding.ts'),
  ]);
  const work = (client: pg.Client) =>
    examine({ client, databaseUrl, wake, environment, limits: LIMITS, now: Date.now });
  const results = await withClient(databaseUrl, 'rowhook doctor', work, 'look');
  if (json) for (const result of results) out.print(JSON.stringify(result));
  else print(results, out);
  return results.some(({ kind }) => kind === 'error') ? 1 : 0;
}

function print(results: readonly NamedResult[], out: Out): void {
  const width = Math.max(...results.map(({ check }) => check.length));
  const indent = ' '.repeat(width + 4);
  for (const result of results) {
    const [mark, style] = MARKS[result.kind];
    const unseen = result.kind === 'unseen' ? 'not checked: ' : '';
    out.print(`${out.paint(style, mark)} ${out.paint('dim', result.check.padEnd(width))}  ${unseen}${result.what}`);
    if ('why' in result) out.print(`${indent}${result.why}`);
    if ('fix' in result) out.print(`${indent}${out.paint('bold', result.fix)}`);
  }
  const count = (kind: NamedResult['kind']) => results.filter((result) => result.kind === kind).length;
  const [errors, warnings] = [count('error'), count('warning')];
  out.print();
  if (errors + warnings === 0) out.print('No problems found.');
  else out.print(`${errorsText(errors)}, ${plural(warnings, 'warning')}.`);
}

function errorsText(count: number): string {
  return count === 0
    ? '0 errors'
    : `${plural(count, 'error')} that ${count === 1 ? 'stops or delays' : 'stop or delay'} events`;
}

function plural(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}
