// A PostgreSQL of one's own, for tests that stop it, or that an open transaction in another test's database would disturb.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, type EmbeddedOptions, startEmbedded } from '../../src/demo/postgres.ts';
import { connected } from './connected.ts';
import { apiRole, daemonRole, type TestDatabase } from './database.ts';

export interface TestServer {
  embedded: Embedded;
  /** Its one database, with rowhook. */
  database: TestDatabase;
  daemonPassword: string;
  /** Ends the server. */
  stop(): Promise<void>;
}

/** Settings of a server whose commits are flushed, and take 2 ms, as on a disk of a network. */
export const SLOW_COMMITS = { fsync: 'on', commit_delay: '2000', commit_siblings: '0' };

export const wantedMajor = process.env.ROWHOOK_TEST_PG === '15' ? 15 : 18;

export interface ServerOptions extends Pick<EmbeddedOptions, 'dataDir' | 'major'> {
  /** With a system identifier and event ids of its own. Otherwise all servers of a run are copies of one cluster. */
  ownCluster?: boolean;
}

export async function startServer(
  settings: Record<string, string> = {},
  { dataDir, major = wantedMajor, ownCluster = false }: ServerOptions = {},
): Promise<TestServer> {
  const all = { ...settingsOf(major), ...settings };
  const folder = process.env.ROWHOOK_TEST_CLUSTERS;
  if (!folder || dataDir || ownCluster) {
    const embedded = await startEmbedded({ major, settings: all, ...(dataDir && { dataDir }) });
    return serverOn(embedded, await install(embedded));
  }
  const made = await madeCluster(folder, major);
  const copy = await mkdtemp(join(folder, 'data-'));
  await promisify(execFile)('cp', ['-a', `${made}/.`, copy]);
  const embedded = await startEmbedded({ major, settings: all, dataDir: copy });
  const server = serverOn(embedded, await readFile(join(copy, PASSWORD_FILE), 'utf8'));
  return {
    ...server,
    stop: async () => {
      await server.stop();
      await rm(copy, { recursive: true, force: true });
    },
  };
}

const settingsOf = (major: 15 | 18): Record<string, string> => ({
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '100',
  max_prepared_transactions: '5',
  ...(major > 15 && { scram_iterations: '1' }),
});

/** Of the daemon's role, beside the one that startEmbedded keeps in a data directory. */
const PASSWORD_FILE = 'daemon.password';

/**
 * A data directory with rowhook in it. initdb and the migrations take 2 s of CPU, a copy takes 0.1. The first test that asks makes it.
 * Tests that ask at the same time make one each, and the first one stays.
 */
async function madeCluster(folder: string, major: 15 | 18): Promise<string> {
  const made = join(folder, `cluster-${major}`);
  const isMade = () =>
    access(made).then(
      () => true,
      () => false,
    );
  if (await isMade()) return made;
  const dataDir = await mkdtemp(`${made}-`);
  const embedded = await startEmbedded({ major, settings: settingsOf(major), dataDir });
  await writeFile(join(dataDir, PASSWORD_FILE), await install(embedded));
  await embedded.stop('fast');
  await rename(dataDir, made).catch(async (error) => {
    if (!(await isMade())) throw error;
    await rm(dataDir, { recursive: true });
  });
  return made;
}

/** Migrates the database, and makes the logins. Returns their password. */
async function install(embedded: Embedded): Promise<string> {
  const password = randomBytes(12).toString('hex');
  await connected(embedded.url, async (setup) => {
    await migrate(setup);
    for (const [role, group] of Object.entries({ [daemonRole]: 'rowhook_daemon', [apiRole]: 'rowhook_api' }))
      await setup.query(`create role ${role} login password '${password}'; grant ${group} to ${role}`);
  });
  return password;
}

/** A server that has rowhook already, as a copy of another has. */
export function serverOn(embedded: Embedded, daemonPassword: string): TestServer {
  const database = openDatabase(embedded, 'postgres', daemonPassword);
  return {
    embedded,
    database,
    daemonPassword,
    stop: async () => {
      await database.drop();
      await embedded.stop('immediate');
    },
  };
}

/** One of its databases, reached through another port if it says so. drop() closes the connections to it, no more. */
export function openDatabase(
  embedded: Embedded,
  name: string,
  daemonPassword: string,
  port = embedded.port,
): TestDatabase {
  const through = (url: string) => Object.assign(new URL(url), { port: String(port) }).href;
  const url = through(embedded.urlOf(name));
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  // The server is stopped under it, again and again.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return {
    name,
    url,
    daemonUrl: through(embedded.urlOf(name, daemonRole, daemonPassword)),
    apiUrl: through(embedded.urlOf(name, apiRole, daemonPassword)),
    pool,
    query: async <Row extends pg.QueryResultRow>(sql: string, params?: unknown[]) =>
      (await pool.query<Row>(sql, params)).rows,
    drop: () => pool.end(),
  };
}
