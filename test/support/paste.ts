// A remedy, run as it was printed by somebody who pastes it.

import { type CliOptions, type CliResult, type RunningCli, rowhook, startRowhook } from './cli.ts';

/** Our own program under its name, for a shell that becomes it. */
const shell = (line: string): Pick<CliOptions, 'through'> => ({
  through: ['sh', '-c', `node=$0; program=$1; rowhook() { exec "$node" "$program" "$@"; }; ${line}`],
});

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
  const result = await rowhook([], { ...shell(remedy), env: { DATABASE_URL: url } });
  if (result.code !== 0) throw new Error(`${remedy}: exit code ${result.code}: ${result.stderr}`);
  return result;
}

/** The same of a command that goes on. */
export function startPasted(remedy: string, env: Record<string, string>): RunningCli {
  return startRowhook([], { ...shell(remedy), env });
}

function isCommand(remedy: string): boolean {
  return /^([A-Z_]+=\S+ )?rowhook /.test(remedy);
}
