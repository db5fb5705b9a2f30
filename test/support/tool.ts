// Programs that a machine may have or not. What needs one skips where it is missing, and says so.

import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Whether a program can be run; if not, says that what needs it is skipped. */
export function hasTool(name: string, ...probe: string[]): boolean {
  const found = spawnSync(name, probe, { stdio: 'ignore' }).error === undefined;
  if (!found) console.warn(`Skipped: what needs "${name}", which is not on this machine.`);
  return found;
}

/** Whether the machine's pg_dump can read this server; if not, says that what needs it is skipped. */
export function canDump(serverMajor: number): boolean {
  const version = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' }).stdout ?? '';
  const canRead = Number(/\d+/.exec(version)?.[0] ?? 0) >= serverMajor;
  if (!canRead)
    console.warn(`Skipped: what needs a pg_dump for PostgreSQL ${serverMajor}, which is not on this machine.`);
  return canRead;
}

/** Runs it to its end and returns all that it printed, and its exit code. */
export async function runTool(name: string, args: string[]): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await execute(name, args, { maxBuffer: 16 * 1024 * 1024 });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: number; stdout?: string; stderr?: string };
    return { code: typeof code === 'number' ? code : 1, output: stdout + stderr || String(error) };
  }
}
