// `rowhook serve` under measurement, a process of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

const PROGRAM = join(import.meta.dirname, '../../bin/rowhook.ts');

export interface Served {
  url: string;
  pid: number;
  stop(): Promise<void>;
}

/** `flags` of node: a CPU profile, say. */
export function serveApi(databaseUrl: string, env: Record<string, string> = {}, flags: string[] = []): Promise<Served> {
  return startServing([...flags, PROGRAM, 'serve'], {
    DATABASE_URL: databaseUrl,
    ROWHOOK_API_PORT: '0',
    ROWHOOK_API_METRICS_PORT: '0',
    ...env,
  });
}

/** A process that prints its port as JSON. */
export async function startServing(args: readonly string[], env: Record<string, string>): Promise<Served> {
  const child: ChildProcess = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout as Readable })) {
    const port = /"port":(\d+)/.exec(line)?.[1];
    if (port === undefined) continue;
    child.stdout?.resume();
    const stop = async () => {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    };
    return { url: `http://127.0.0.1:${port}`, pid: child.pid as number, stop };
  }
  throw new Error(`${args.at(-1)} has ended before it listened`);
}
