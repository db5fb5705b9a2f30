/**
 * Tells systemd that the daemon has started, that it still works, and that it stops (Type=notify,
 * WatchdogSec=).
 *
 * The protocol is a datagram to a unix socket, which Node cannot send: its dgram supports only UDP.
 * The packages that can send it are native addons, too much for one message in half a minute. So
 * rowhook runs systemd's own `systemd-notify`, which exists wherever systemd does. A call takes 5
 * ms, twice in WatchdogSec. It is a separate process, so the unit needs `NotifyAccess=all`. Without
 * NOTIFY_SOCKET in the environment, this file does nothing.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Logger } from './log.ts';

const run = promisify(execFile);

/** systemd-notify waits until systemd has received its message. */
const NOTIFY_MS_MAX = 5_000;

export interface ServiceManager {
  /** Resolves when systemd knows that the daemon is stopping. Never rejects. */
  stopping(): Promise<void>;
}

/**
 * Call this when the daemon has started. After this call the event loop notifies the watchdog twice
 * per WatchdogSec, but only while `healthProblem` returns null. So systemd restarts a daemon whose
 * loop hangs, or which delivers nothing.
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
  /** Sends one state after the other, so that they arrive in order. */
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
        if (!failed)
          log.warn({ reason }, 'systemd-notify failed. With Type=notify, systemd regards the daemon as hung');
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
      return notify('STOPPING=1', 'STATUS=waiting for attempts in flight');
    },
  };
}

/** The text that `systemctl status` shows. */
function statusOf(problem: string | null): string {
  return `STATUS=${problem ?? 'running'}`;
}

/** 0: there is no watchdog, or it is for another process. */
function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: NodeJS.ProcessEnv): number {
  const isOurs = !WATCHDOG_PID || Number(WATCHDOG_PID) === process.pid;
  return isOurs ? Number(WATCHDOG_USEC ?? 0) / 1_000 : 0;
}
