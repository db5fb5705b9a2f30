// A second server from the files of a first one: a standby, a clone, or the past.

import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type Embedded, startEmbedded } from '../../src/demo/postgres.ts';
import { handOver, serverAccount } from '../../src/demo/postgres-binaries.ts';
import { serverOn, type TestServer } from './server.ts';

/** What belongs to the running server and not to its data. */
const LEFT_OUT = new Set(['postmaster.pid', 'postmaster.opts', 'server.log', 'pg_replslot', 'pg_wal']);

/**
 * Copies the data directory of a running server, as pg_basebackup does, which npm's PostgreSQL does not have. Nothing is to
 * end a checkpoint meanwhile: give the server a long checkpoint_timeout. Returns the directory, which is the caller's to remove.
 */
export async function copyDataDir(server: Embedded): Promise<string> {
  const client = new pg.Client(server.url);
  await client.connect();
  try {
    await client.query("select pg_backup_start('copy', true)");
    const dataDir = await mkdtemp(join(tmpdir(), 'rowhook-copy-'));
    await copyTree(server.dataDir, dataDir, LEFT_OUT);
    const { rows } = await client.query('select labelfile from pg_backup_stop(false)');
    for (const name of ['pg_wal', 'pg_replslot']) await mkdir(join(dataDir, name), { mode: 0o700 });
    await copyTree(join(server.dataDir, 'pg_wal'), join(dataDir, 'pg_wal'));
    await writeFile(join(dataDir, 'backup_label'), rows[0].labelfile);
    await handOver(dataDir, await serverAccount());
    return dataDir;
  } finally {
    await client.end();
  }
}

/** Starts a server on a copy. `signal`: 'standby' follows a primary, 'recovery' goes to a point of the past. */
export async function startCopy(
  original: TestServer,
  dataDir: string,
  { signal, settings = {} }: { signal?: 'standby' | 'recovery'; settings?: Record<string, string> } = {},
): Promise<TestServer> {
  if (signal) await writeFile(join(dataDir, `${signal}.signal`), '');
  // as many as the original has: recovery refuses to begin with fewer
  const needed = { fsync: 'off', max_connections: '100', max_prepared_transactions: '5' };
  const major = original.embedded.major as 15 | 18;
  const embedded = await startEmbedded({ major, dataDir, settings: { ...needed, ...settings } });
  const server = serverOn(embedded, original.daemonPassword);
  return {
    ...server,
    stop: async () => {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A server at work removes files under the copy; their removal is in the WAL. */
async function copyTree(from: string, to: string, leftOut: ReadonlySet<string> = new Set()): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (leftOut.has(entry.name)) continue;
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await copyTree(source, target);
    else {
      await copyFile(source, target).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    }
  }
}
