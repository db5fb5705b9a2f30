// The command line: in this process, or as people have it, in a process of its own. A process takes 100 ms of CPU to
// start, so only tests of what a process alone has use one: signals, a terminal, the environment of PostgreSQL and of
// Node, and that it ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { CliProcess } from '../../src/cli/define.ts';

const ourProgram = join(import.meta.dirname, '../../bin/rowhook.ts');

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  /** DATABASE_URL and settings. Nothing of the test's own environment is passed on. */
  env?: Record<string, string>;
  stdin?: string;
}

// What a command in this process reads by itself from an environment that has to be empty.
for (const name of Object.keys(process.env)) if (/^PG|_COLOR$/.test(name)) delete process.env[name];

/** Runs a command to its end, in this process: all of the program that bin/rowhook.ts runs. */
export async function rowhook(args: readonly string[], { env = {}, stdin = '' }: CliOptions = {}): Promise<CliResult> {
  const others = Object.keys(env).filter((name) => !/^(DATABASE_URL$|ROWHOOK_)/.test(name));
  if (others.length > 0) throw new Error(`Only a process of its own reads ${others}: use rowhookProcess.`);
  const { main } = await import('../../src/cli/program.ts');
  const stdout = new Collected();
  const stderr = new Collected();
  const inside: CliProcess = {
    env,
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout,
    stderr,
    exit(code) {
      inside.exitCode = code;
    },
    on: () => {}, // no signal comes
  };
  await main(args, inside);
  return { code: Number(inside.exitCode ?? 0), stdout: stdout.text, stderr: stderr.text };
}

class Collected extends Writable {
  text = '';

  constructor() {
    super({ decodeStrings: false });
  }

  override _write(chunk: Buffer | string, _: string, done: () => void): void {
    this.text += chunk;
    done();
  }
}

export interface ProcessOptions extends CliOptions {
  /** Besides PATH and where compiled modules are kept; nothing else of the test's own environment is passed on. */
  env?: Record<string, string>;
  /** Another copy of bin/rowhook.ts. */
  program?: string;
  /** A command that starts ours, given as its last arguments, and becomes it. */
  through?: readonly string[];
}

/** Runs a command to its end, in a process of its own. */
export function rowhookProcess(args: readonly string[], options: ProcessOptions = {}): Promise<CliResult> {
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
  args: readonly string[],
  { env = {}, stdin = '', program = ourProgram, through = [] }: ProcessOptions = {},
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
