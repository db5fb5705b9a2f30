// Leaves no server behind, however the process that started it ends.
//
// A handler of `exit` or SIGINT does not run on SIGKILL, and would disturb other signal handlers.
// So a small separate process reads a pipe from us. The kernel closes the pipe when we end. The
// small process then stops the server and removes temporary files.

import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

export interface Guard {
  /** Sets the server to stop when our process has ended. 0 means none. */
  watch(pid: number): void;
  /** Lets the guard do its work at once. */
  release(): void;
}

// Plain JavaScript, because it runs both from the sources and from dist. It also checks the lock
// file to see that the server has ended. A container without an init process keeps the pid of a
// dead process forever.
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
  // Without a guard the server still works, but only stop() stops it.
  guard.on('error', () => {});
  guard.stdin.on('error', () => {});
  guard.unref();
  (guard.stdin as Socket).unref();
  return { watch: (pid) => guard.stdin.write(`${pid}\n`), release: () => guard.stdin.end() };
}
