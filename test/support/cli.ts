// The command line as people have it: a process of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

const ourProgram = join(import.meta.dirname, '../../bin/rowhook.ts');

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  /** Besides PATH and where compiled modules are kept; nothing else of the test's own environment is passed on. */
  env?: Record<string, string>;
  stdin?: string;
  /** Another copy of bin/rowhook.ts. */
  program?: string;
  /** A command that starts ours, given as its last arguments, and becomes it. */
  through?: readonly string[];
}

/** Runs a command to its end. */
export function rowhook(args: string[], options: CliOptions = {}): Promise<CliResult> {
  return startRowhook(args, options).ended;
}

export interface RunningCli {
  process: ChildProcess;
  /** What was printed so far. */
  stdout(): string;
  ended: Promise<CliResult>;
}

/** Starts a command that goes on until it is told to stop. */
export function startRowhook(
  args: string[],
  { env = {}, stdin = '', program = ourProgram, through = [] }: CliOptions = {},
): RunningCli {
  const [command, ...rest] = [...through, process.execPath, program, ...args] as [string, ...string[]];
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(command, rest, { env: { PATH, NODE_COMPILE_CACHE, ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {}); // it ended without reading
  child.stdin.end(stdin);
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.once('error', reject).once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { process: child, stdout: () => stdout, ended };
}
