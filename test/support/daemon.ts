// Daemons under test: in this process, or as people run them.

import { readFile } from 'node:fs/promises';
import { readSettings, type Settings } from '../../src/config/settings.ts';
import { type Daemon, startDaemon } from '../../src/daemon/daemon.ts';
import { type ProcessOptions, type RunningCli, startRowhook } from './cli.ts';
import type { TestDatabase } from './database.ts';
import { waitUntil } from './wait.ts';

/** Those of a daemon that may reach this machine. ROWHOOK_TEST_LOG=info shows what it says. */
export function daemonSettings(databaseUrl: string, more: Partial<Settings> = {}): Settings {
  const logLevel = process.env.ROWHOOK_TEST_LOG || 'silent';
  const flags = { databaseUrl, httpPort: '0', allowHttp: 'true', allowCidrs: '127.0.0.0/8', logLevel };
  return { ...readSettings(flags, {}), ...more };
}

/** In this process, as the role that daemons have. */
export function startTestDaemon(database: TestDatabase, more: Partial<Settings> = {}): Promise<Daemon> {
  return startDaemon(daemonSettings(database.daemonUrl, more));
}

export interface DaemonProcess extends RunningCli {
  pid: number;
  /** Kilobytes of memory that it holds, and that it held at most. */
  memory(): Promise<{ nowKb: number; mostKb: number }>;
  /** Resolves when it has taken lanes for the nth time. */
  tookLanes(times?: number): Promise<unknown>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** `rowhook start`, a process of its own; `env` may override any setting. */
export function startDaemonProcess(
  databaseUrl: string,
  env: Record<string, string> = {},
  options: Pick<ProcessOptions, 'through'> = {},
): DaemonProcess {
  const running = startRowhook(['start'], {
    ...options,
    env: {
      DATABASE_URL: databaseUrl,
      ROWHOOK_ALLOW_HTTP: 'true',
      ROWHOOK_ALLOW_CIDRS: '127.0.0.0/8',
      ROWHOOK_HTTP_PORT: '0',
      ...env,
    },
  });
  const pid = running.process.pid as number;
  return {
    ...running,
    pid,
    async memory() {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
      return { nowKb: field('VmRSS'), mostKb: field('VmHWM') };
    },
    tookLanes: (times = 1) =>
      waitUntil(
        `the daemon has taken lanes ${times} times`,
        () => {
          if (running.process.exitCode !== null) throw new Error(`The daemon has ended: ${running.stdout()}`);
          return running.stdout().split('"now delivering lanes ').length > times;
        },
        // a start, and a hand-over by another daemon, on a machine that neighbours have
        { timeoutMs: 150_000 },
      ),
    async kill(signal) {
      running.process.kill(signal);
      await running.ended;
    },
  };
}

/** Everything that has committed was read, and every lane's position says so. */
export function caughtUp(
  database: Pick<TestDatabase, 'query'>,
  options: { timeoutMs?: number } = {},
): Promise<unknown> {
  return waitUntil(
    'the positions have moved past everything',
    async () => {
      const [row] = await database.query<{ behind: boolean }>(
        `select exists (select from rowhook.webhook_lanes l where to_snapshot is not null)
             or exists (select from rowhook.webhook_lagging_tenants)
             or exists (select from rowhook.webhook_outbox o join rowhook.webhook_lanes l using (lane)
                         where not pg_visible_in_snapshot(o.xid, l.from_snapshot)) as behind`,
      );
      return row?.behind === false;
    },
    options,
  );
}
