/**
 * Tells systemd that the daemon has started, that it still works, and that it stops (Type=notify, WatchdogSec=).
 *
 * The protocol is a datagram to a unix socket, which Node cannot send: its dgram knows UDP only. The packages that can are
 * native addons, to be compiled or trusted as binaries, for one message in half a minute. systemd's own `systemd-notify` is
 * there wherever systemd is, so that is run instead: 5 ms, twice in WatchdogSec. As it is a process of its own, the unit needs
 * `NotifyAccess=all`. Without NOTIFY_SOCKET in the environment nothing is done at all.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Logger } from './log.ts';

const run = promisify(execFile);

/** systemd-notify waits until its message has been taken. */
const NOTIFY_MS_MAX = 5_000;

export interface ServiceManager {
  /** Resolves when systemd knows that the daemon is stopping. Never rejects. */
  stopping(): Promise<void>;
}

/**
 * The daemon has started: from now on the watchdog is fed twice in its time, by the event loop itself, and only while
 * `healthProblem` has none to tell. So a process whose loop hangs, and one through which nothing flows, are started again.
 */
export function tellSystemd(
  healthProblem: () => string | null,
  log: Logger,
  env: NodeJS.ProcessEnv = process.env,
): ServiceManager {
  const socket = env.NOTIFY_SOCKET;
  if (!socket) return { stopping: async () => {} };

  let failed = false;
  let last = Promise.resolve();
  /** One after the other, so that they arrive in order. */
  const notify = (...state: string[]): Promise<void> => {
    last = last.then(async () => {
      try {
        await run('systemd-notify', state, {
          env: { PATH: env.PATH, NOTIFY_SOCKET: socket },
          timeout: NOTIFY_MS_MAX,
        });
        failed = false;
      } catch (error) {
        const reason = (error as Error).message.trim();
        if (!failed) log.warn({ reason }, 'systemd-notify failed: under Type=notify systemd takes the daemon for hung');
        failed = true;
      }
    });
    return last;
  };

  let told = statusOf(healthProblem());
  void notify('READY=1', told);
  const everyMs = watchdogMs(env) / 2;
  const timer = everyMs > 0 ? setInterval(feed, everyMs) : undefined;

  function feed(): void {
    const problem = healthProblem();
    const status = statusOf(problem);
    const news = status === told ? [] : [status];
    told = status;
    const food = problem === null ? ['WATCHDOG=1'] : [];
    if (news.length + food.length > 0) void notify(...food, ...news);
  }

  return {
    stopping() {
      clearInterval(timer);
      return notify('STOPPING=1', 'STATUS=attempts in flight may end');
    },
  };
}

/** What `systemctl status` shows. */
function statusOf(problem: string | null): string {
  return `STATUS=${problem ?? 'running'}`;
}

/** 0: there is none, or it is another process's. */
function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: NodeJS.ProcessEnv): number {
  const isOurs = !WATCHDOG_PID || Number(WATCHDOG_PID) === process.pid;
  return isOurs ? Number(WATCHDOG_USEC ?? 0) / 1_000 : 0;
}
