/** Helpers for the definition of commands: connection, flags and help. No command's logic is here. */
import type { Command } from 'commander';
import type pg from 'pg';
import type { Setting } from '../config/read-table.ts';
import { readSettings, SETTINGS, type Settings } from '../config/settings.ts';
import type { Purpose } from '../database/inherited-settings.ts';
import type { Out, OutStream } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';

export const EXIT_CODES = 'Exit codes: 0 done, 1 failed, 2 wrong usage.';

type Flags = Readonly<Record<string, unknown>>;

/** Largest value of a --limit flag. */
export const LIMIT_MAX = 100_000;

/**
 * What commands use of their process: `process` itself, or a test's own. PG… variables are not among
 * it. Like libpq, connection/ reads those from the environment of the process.
 */
export interface CliProcess {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: AsyncIterable<Buffer | string> & { readonly isTTY?: boolean };
  readonly stdout: OutStream;
  readonly stderr: NodeJS.WritableStream;
  /** The exit code when nothing keeps the process running any more. Undefined means 0. */
  exitCode?: number | string | null | undefined;
  /** Ends the process at once. A test's process cannot, so nothing may follow. */
  exit(code: number): void;
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/** What each command gets: its process, and where to print. */
export interface Cli {
  readonly process: CliProcess;
  readonly out: Out;
}

/** Prints notes, examples and exit codes below a command's flags. */
export function help(
  command: Command,
  examples: readonly string[],
  notes: string | readonly string[] = '',
  exitCodes = EXIT_CODES,
): Command {
  const parts = [
    [notes].flat().join('\n'),
    ['Examples:', ...examples.map((example) => `  ${example}`)].join('\n'),
    exitCodes,
  ];
  return command.addHelpText('after', `\n${parts.filter(Boolean).join('\n\n')}`);
}

/** Adds the flags of the named settings of the daemon, or of all. readSettings reads them with the environment. */
export function settingFlags(command: Command, names?: readonly (keyof Settings)[]): Command {
  return flagsOf(
    command,
    SETTINGS.filter(({ name }) => names === undefined || names.includes(name)),
  );
}

/** Adds the flags of a table of settings. */
export function flagsOf(command: Command, settings: readonly Setting<string, unknown>[]): Command {
  for (const setting of settings) command.option(setting.flag, describe(setting));
  return command;
}

function describe({ env, fallback, help: text }: Setting<string, unknown>): string {
  return `${text} (env ${env}${fallback ? `, default ${fallback}` : ''})`;
}

/**
 * Adds the flags of every command that uses a database. The action calls `run` with a connection,
 * the arguments and the flags. If `run` resolves to a number, that is the exit code.
 */
export function onDatabase<A extends unknown[]>(
  cli: Cli,
  command: Command,
  run: (client: pg.Client, ...argumentsAndFlags: A) => Promise<unknown>,
  purpose: Purpose = 'command',
): Command {
  return settingFlags(command, ['databaseUrl'])
    .option('--json', 'print JSON, one object per line')
    .action(async (...given: unknown[]) => {
      // Commander passes the arguments, the flags and the command itself.
      const { databaseUrl } = readSettings(given.at(-2) as Flags, cli.process.env);
      const { withClient } = await import('../database/connections.ts');
      const work = (client: pg.Client) => run(client, ...(given.slice(0, -1) as A));
      const outcome = await withClient(databaseUrl, 'rowhook cli', work, purpose);
      if (typeof outcome === 'number') cli.process.exitCode = outcome;
    });
}

/** Wraps a parser: its error becomes a usage error that names the flag. */
export function parsed<T>(flag: string, parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new UserError(`${flag}: "${text}" ${(error as Error).message}.`, 2);
    }
  };
}

/** For a flag that may be given several times. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

export function commaList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}
