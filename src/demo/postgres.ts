// A real PostgreSQL server, run from npm packages, for the demo and the tests.
//
// The server ends when our process ends (demo/postgres-guard.ts), and does not keep our process
// running. It is detached, so Ctrl-C reaches only our process. Our process may still need its
// database for a clean shutdown.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Account, findBinaries, handOver, serverAccount } from './postgres-binaries.ts';
import { type Guard, startGuard } from './postgres-guard.ts';

const run = promisify(execFile);

/** Long, because recovery after a kill comes before readiness. */
const readyTimeoutMs = 60_000;
const readyPollMs = 20;
/** After this time, an orderly shutdown becomes an immediate one. */
const stopTimeoutMs = 20_000;
/** How long to retry a start while a port, or the shared memory of a killed server, is in use. */
const startRetryMs = 10_000;
/**
 * Below the ports that systems use for outgoing connections (from 32768 on Linux, from 49152
 * elsewhere).
 */
const portRange = { min: 20_000, max: 32_000 };
/** Start errors that pass with time. The log is in English because of --lc-messages=C. */
const passing = /Address already in use|pre-existing shared memory block/;
const lockFile = 'postmaster.pid';
const signals = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;

export interface EmbeddedOptions {
  major?: 15 | 18;
  /**
   * Kept when our process ends, and reused by the next start. Without a directory, the data are
   * temporary.
   */
  dataDir?: string;
  /** Default: a free one. */
  port?: number;
  host?: string;
  /** PostgreSQL settings, as `postgres -c name=value`. */
  settings?: Record<string, string>;
}

export interface Embedded {
  /** Superuser, database `postgres`. */
  url: string;
  port: number;
  major: number;
  dataDir: string;
  /** initdb, pg_ctl and postgres. The package has no psql and no pg_dump. */
  binDir: string;
  urlOf(database: string, user?: string, password?: string): string;
  /**
   * `kill` is a crash: no shutdown, and recovery at the next start. The data stay for `start()`.
   */
  stop(mode?: keyof typeof signals): Promise<void>;
  /** Starts again on the same data and port. */
  start(): Promise<void>;
}

export async function startEmbedded(options: EmbeddedOptions = {}): Promise<Embedded> {
  const { host = '127.0.0.1', settings = {} } = options;
  const account = await serverAccount();
  const home = await mkdtemp(join(tmpdir(), 'rowhook-postgres-'));
  const dataDir = resolve(options.dataDir ?? join(home, 'data'));
  const kept = options.dataDir !== undefined;
  const guard = startGuard(join(dataDir, lockFile), kept ? signals.fast : signals.immediate, [home]);
  try {
    await handOver(home, account);
    const { binDir, major } = await findBinaries(options.major ?? 18, home, account);
    const password = await initialise({ binDir, dataDir, home, account, kept });
    let port = options.port;
    let server: ChildProcess | undefined;
    // A requested port that is in use is not retried, unless this server used it before.
    let mayBePassing = port === undefined ? passing : /shared memory block/;

    const start = async () => {
      if (server && isRunning(server)) return;
      const retryUntil = performance.now() + startRetryMs;
      for (;;) {
        const chosen = port ?? (await freePort(host));
        const flags = { listen_addresses: host, port: String(chosen), unix_socket_directories: '', ...settings };
        const args = Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
        try {
          server = await launch(join(binDir, 'postgres'), ['-D', dataDir, ...args], dataDir, account, guard);
          port = chosen;
          mayBePassing = passing;
          return;
        } catch (error) {
          if (!mayBePassing.test(String(error)) || performance.now() > retryUntil) throw error;
          await sleep(100);
        }
      }
    };
    const stop = async (mode: keyof typeof signals = 'fast') => {
      if (!server || !isRunning(server)) return;
      const exited = once(server, 'exit');
      server.ref(); // Otherwise the process could end here.
      const impatience = setTimeout(() => server?.kill('SIGQUIT'), stopTimeoutMs);
      server.kill(signals[mode]);
      await exited;
      clearTimeout(impatience);
    };

    await start();
    const urlOf = (database: string, user = 'postgres', userPassword = password) => {
      const login = [user, userPassword].map(encodeURIComponent).join(':');
      return `postgres://${login}@${host}:${port}/${encodeURIComponent(database)}`;
    };
    return { url: urlOf('postgres'), port: port ?? 0, major, dataDir, binDir, urlOf, stop, start };
  } catch (error) {
    guard.release();
    throw error;
  }
}

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

interface NewCluster {
  binDir: string;
  dataDir: string;
  home: string;
  account: Account;
  kept: boolean;
}

/**
 * Creates the cluster if it does not exist. Returns the superuser's password, which is stored with
 * the data.
 */
async function initialise({ binDir, dataDir, home, account, kept }: NewCluster): Promise<string> {
  const passwordFile = join(dataDir, 'embedded.password');
  const known = await readFile(passwordFile, 'utf8').catch(() => undefined);
  if (known) return known.trim();

  await mkdir(dataDir, { recursive: true });
  if ((await readdir(dataDir)).length > 0) {
    throw new Error(
      `${dataDir} is not empty, and its cluster was not created by rowhook. Name another directory, or a new one.`,
    );
  }
  const password = randomBytes(12).toString('hex');
  const firstPasswordFile = join(home, 'password');
  await writeFile(firstPasswordFile, `${password}\n`, { mode: 0o600 });
  for (const directory of [home, dataDir]) await handOver(directory, account);
  const initdb = (locale: string) => {
    const args = [`--pgdata=${dataDir}`, '--username=postgres', `--pwfile=${firstPasswordFile}`, '--encoding=UTF8'];
    args.push('--auth=scram-sha-256', `--locale=${locale}`, '--lc-messages=C', ...(kept ? [] : ['--no-sync']));
    return run(join(binDir, 'initdb'), args, { ...account, env: environment() });
  };
  // C.UTF-8 where the system has it, because it knows letters beyond ASCII. Otherwise C.
  try {
    await initdb('C.UTF-8').catch((error) =>
      /invalid locale/.test(error.stderr) ? initdb('C') : Promise.reject(error),
    );
  } catch (error) {
    const hint =
      account.uid === undefined
        ? ''
        : ` It runs as uid ${account.uid}, not as root, and must have access to the folder.`;
    throw new Error(`initdb could not create a cluster in ${dataDir}.${hint} ${String(error)}`);
  }
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  await rm(firstPasswordFile);
  return password;
}

/** Our environment in English, without PG* variables that would affect the server. */
function environment(): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'));
  return { ...Object.fromEntries(inherited), LC_ALL: 'C' };
}

async function launch(program: string, args: string[], dataDir: string, account: Account, guard: Guard) {
  // A file, because a pipe blocks the server while our event loop is busy, and breaks when our
  // process ends.
  const log = await open(join(dataDir, 'server.log'), 'a+');
  try {
    const logStart = (await log.stat()).size;
    const child = spawn(program, args, {
      ...account,
      env: environment(),
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    await once(child, 'spawn');
    guard.watch(child.pid ?? 0);
    child.once('exit', () => guard.watch(0));
    child.unref();
    const until = performance.now() + readyTimeoutMs;
    while (!(await isReady(dataDir, child.pid))) {
      if (isRunning(child) && performance.now() < until) {
        await sleep(readyPollMs);
        continue;
      }
      child.kill('SIGKILL');
      const { buffer } = await log.read({ buffer: Buffer.alloc(4_000), position: logStart });
      throw new Error(
        `The embedded PostgreSQL in ${dataDir} did not start. Its log:\n${buffer.toString().replaceAll('\0', '')}`,
      );
    }
    return child;
  } finally {
    await log.close();
  }
}

/**
 * The server writes into line 8 of its lock file when it is ready, or a hot standby. pg_ctl waits
 * for the same line.
 */
async function isReady(dataDir: string, pid: number | undefined): Promise<boolean> {
  const lines = (await readFile(join(dataDir, lockFile), 'utf8').catch(() => '')).split('\n');
  return Number(lines[0]) === pid && /^(ready|standby)\s*$/.test(lines[7] ?? '');
}

/**
 * A port that is free now. Another process may take it first, so the caller retries when the server
 * cannot use it.
 */
async function freePort(host: string): Promise<number> {
  for (;;) {
    const port = randomInt(portRange.min, portRange.max);
    const probe = createServer();
    const free = await new Promise<boolean>((answer) => {
      probe.once('error', () => answer(false)).listen(port, host, () => answer(true));
    });
    if (!free) continue;
    await new Promise((closed) => probe.close(closed));
    return port;
  }
}
