// A remedy, run as it was printed by somebody who pastes it.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type CliResult, type RunningCli, rowhook, startRowhook } from './cli.ts';

/** Prints its variables and its words. */
const PRINT = `rowhook() { env -0; printf '\\0'; printf '%s\\0' "$@"; }; `;

interface Target {
  url: string;
  query(sql: string): Promise<unknown>;
}

/** A command goes through a shell, with its quotes and its comment; anything else is SQL. Fails if it does. */
export async function paste(remedy: string, { url, query }: Target): Promise<CliResult> {
  if (!isCommand(remedy)) {
    await query(remedy);
    return { code: 0, stdout: '', stderr: '' };
  }
  const { words, env } = await readByShell(remedy, { DATABASE_URL: url });
  const result = await rowhook(words, { env });
  if (result.code !== 0) throw new Error(`${remedy}: exit code ${result.code}: ${result.stderr}`);
  return result;
}

/** The same of a command that goes on, and so needs a process of its own. */
export async function startPasted(remedy: string, given: Record<string, string>): Promise<RunningCli> {
  const { words, env } = await readByShell(remedy, given);
  return startRowhook(words, { env });
}

interface Line {
  /** What follows `rowhook`. */
  words: string[];
  env: Record<string, string>;
}

async function readByShell(line: string, given: Record<string, string>): Promise<Line> {
  const { stdout } = await promisify(execFile)('sh', ['-c', PRINT + line], {
    env: { PATH: process.env.PATH, ...given },
  });
  const end = stdout.indexOf('\0\0');
  const env = stdout
    .slice(0, end)
    .split('\0')
    .map((variable) => /^(DATABASE_URL|ROWHOOK_\w+)=([\s\S]*)$/.exec(variable)?.slice(1))
    .filter((pair) => pair !== undefined);
  return { words: stdout.slice(end + 2, -1).split('\0'), env: Object.fromEntries(env) };
}

function isCommand(remedy: string): boolean {
  return /^([A-Z_]+=\S+ )?rowhook /.test(remedy);
}
