// Leaves no server behind, however the process that started it ends.
//
// A handler of `exit` or SIGINT does not run on SIGKILL, and would get in the way of those who handle signals
// themselves. So a small process of its own reads a pipe from us. When the pipe closes, which the kernel sees to, it
// stops the server and removes what was temporary.

import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

export interface Guard {
  /** The server to stop when our process is gone; 0 for none. */
  watch(pid: number): void;
  /** Lets the guard do its work at once. */
  release(): void;
}

// Plain JavaScript, since it must run from the sources and from dist alike. That the server is gone is seen by its lock
// file as well, as a container without an init process keeps the dead one's pid for ever.
const program = `
  const [lockFile, signal, ...directories] = process.argv.slice(1);
  let lines = '';
  process.stdin.setEncoding('utf8').on('data', (text) => (lines += text)).on('end', () => {
    const pid = Number(lines.trim().split('\\n').at(-1));
    const send = (what) => { try { return pid > 0 && process.kill(pid, what); } catch { return false; } };
    send(signal);
    const until = Date.now() + 30_000;
    const timer = setInterval(() => {
      if (send(0) && fs.existsSync(lockFile) && Date.now() < until) return;
      clearInterval(timer);
      for (const directory of directories) fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    }, 20);
  });`;

export function startGuard(lockFile: string, signal: NodeJS.Signals, directories: string[]): Guard {
  const guard = spawn(process.execPath, ['--eval', program, '--', lockFile, signal, ...directories], {
    env: { ...process.env, NODE_OPTIONS: '' },
    detached: true,
    windowsHide: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Without a guard the server still works; it is then stopped by stop() alone.
  guard.on('error', () => {});
  guard.stdin.on('error', () => {});
  guard.unref();
  (guard.stdin as Socket).unref();
  return { watch: (pid) => guard.stdin.write(`${pid}\n`), release: () => guard.stdin.end() };
}
