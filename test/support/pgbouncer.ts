// PgBouncer of the machine, if it has one (Debian: apt-get install pgbouncer), in front of one database.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './port.ts';
import { waitUntil } from './wait.ts';

const binary = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/usr/local/bin/pgbouncer'].find(
  (path) => spawnSync(path, ['--version']).status === 0,
);
export const hasPgBouncer = binary !== undefined;

export interface PgBouncer {
  url: string;
  stop(): Promise<void>;
}

/** A pool of at most `size` connections to `databaseUrl`, lent by session or by transaction. */
export async function startPgBouncer(
  databaseUrl: string,
  mode: 'session' | 'transaction',
  size = 20,
): Promise<PgBouncer> {
  const target = new URL(databaseUrl);
  const home = await mkdtemp(join(tmpdir(), 'rowhook-pgbouncer-'));
  // it refuses to run as root, and takes another account only if that may read its file
  await chmod(home, 0o755);
  const port = await freePort();
  const file = join(home, 'pgbouncer.ini');
  await writeFile(
    file,
    [
      '[databases]',
      `pooled = host=${target.hostname} port=${target.port} dbname=${target.pathname.slice(1)} user=${target.username} password=${decodeURIComponent(target.password)}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = any',
      `pool_mode = ${mode}`,
      `default_pool_size = ${size}`,
    ].join('\n'),
    { mode: 0o644 },
  );
  const account = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const server: ChildProcess = spawn(binary as string, ['-q', ...account, file], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const url = `postgres://${target.username}@127.0.0.1:${port}/pooled`;
  const stop = async () => {
    server.kill('SIGINT');
    server.kill('SIGTERM');
    await ended;
    await rm(home, { recursive: true });
  };
  try {
    await waitUntil('PgBouncer answers', () => answers(url));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
