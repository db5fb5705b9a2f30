// A PostgreSQL of one's own, for tests that stop it, or that an open transaction in another test's database would disturb.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { migrate } from '../../src/database/migrations.ts';
import { type Embedded, type EmbeddedOptions, startEmbedded } from '../../src/demo/postgres.ts';
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

export async function startServer(
  settings: Record<string, string> = {},
  options: Pick<EmbeddedOptions, 'dataDir' | 'major'> = {},
): Promise<TestServer> {
  const embedded = await startEmbedded({
    major: wantedMajor,
    settings: {
      fsync: 'off',
      full_page_writes: 'off',
      max_connections: '100',
      max_prepared_transactions: '5',
      ...((options.major ?? wantedMajor) > 15 && { scram_iterations: '1' }),
      ...settings,
    },
    ...options,
  });
  const password = randomBytes(12).toString('hex');
  const setup = new pg.Client(embedded.url);
  await setup.connect();
  await migrate(setup);
  await setup.query(`create role ${daemonRole} login password '${password}'; grant rowhook_daemon to ${daemonRole}`);
  await setup.query(`create role ${apiRole} login password '${password}'; grant rowhook_api to ${apiRole}`);
  await setup.end();
  return serverOn(embedded, password);
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
