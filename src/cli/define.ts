/** What the command definitions share: running a command, and the words of its help. No command's logic is here. */
import type { Command } from 'commander';
import type pg from 'pg';
import { type AnySetting, readSettings, SETTINGS, type Settings } from '../config/settings.ts';
import { type Out, terminal } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';

export const EXIT_CODES = 'Exit codes: 0 done, 1 failed, 2 wrong usage.';

type Flags = Readonly<Record<string, unknown>>;

/** Of a --limit. */
export const LIMIT_MAX = 100_000;

/** Where commands print. */
export const out: Out = terminal(process.stdout);

/** Examples and exit codes below a command's flags; `notes` first. */
export function help(command: Command, examples: readonly string[], notes = '', exitCodes = EXIT_CODES): Command {
  const parts = [notes, ['Examples:', ...examples.map((example) => `  ${example}`)].join('\n'), exitCodes];
  return command.addHelpText('after', `\n${parts.filter(Boolean).join('\n\n')}`);
}

/** Adds the flags of some settings; what is given is read by readSettings, together with the environment. */
export function settingFlags(command: Command, names?: readonly (keyof Settings)[]): Command {
  for (const setting of SETTINGS.filter(({ name }) => names === undefined || names.includes(name))) {
    command.option(setting.flag, describe(setting));
  }
  return command;
}

function describe({ env, fallback, help: text }: AnySetting): string {
  return `${text} (env ${env}${fallback ? `, default ${fallback}` : ''})`;
}

/**
 * Adds what all commands on a database have in common, and runs `run` on a connection, with the arguments and the flags. A
 * number that it resolves to is the exit code.
 */
export function onDatabase<A extends unknown[]>(
  command: Command,
  run: (client: pg.Client, ...argumentsAndFlags: A) => Promise<unknown>,
): Command {
  return settingFlags(command, ['databaseUrl'])
    .option('--json', 'print JSON, one object a line')
    .action(async (...given: unknown[]) => {
      // Commander passes the arguments, the flags and the command itself.
      const { databaseUrl } = readSettings(given.at(-2) as Flags, process.env);
      const { withClient } = await import('../database/connections.ts');
      const outcome = await withClient(databaseUrl, 'rowhook cli', (client) =>
        run(client, ...(given.slice(0, -1) as A)),
      );
      if (typeof outcome === 'number') process.exitCode = outcome;
    });
}

/** A flag's parser: the verdict of `parse` becomes a usage error that names the flag. */
export function parsed<T>(flag: string, parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new UserError(`${flag}: "${text}" ${(error as Error).message}.`, 2);
    }
  };
}

/** A flag that may be given several times. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

export function commaList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}
