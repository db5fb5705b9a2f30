// A PostgreSQL of one's own, for tests that stop it, or that an open transaction in another test's database would disturb.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Embedded, type EmbeddedOptions, startEmbedded } from '../../src/embedded.ts';
import { migrate } from '../../src/migrate.ts';
import { daemonRole, type TestDatabase } from './database.ts';

export interface TestServer {
  embedded: Embedded;
  /** Its one database, with rowhook. */
  database: TestDatabase;
  /** Ends the server. */
  stop(): Promise<void>;
}

export const wantedMajor = process.env.ROWHOOK_TEST_PG === '15' ? 15 : 18;

export async function startServer(
  settings: Record<string, string> = {},
  options: Pick<EmbeddedOptions, 'dataDir' | 'major'> = {},
): Promise<TestServer> {
  const embedded = await startEmbedded({
    major: wantedMajor,
    settings: { fsync: 'off', max_connections: '100', max_prepared_transactions: '5', ...settings },
    ...options,
  });
  const password = randomBytes(12).toString('hex');
  const setup = new pg.Client(embedded.url);
  await setup.connect();
  await migrate(setup);
  await setup.query(`create role ${daemonRole} login password '${password}'; grant rowhook_daemon to ${daemonRole}`);
  await setup.end();

  const pool = new pg.Pool({ connectionString: embedded.url, max: 10 });
  // The server is stopped under it, again and again.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  const database: TestDatabase = {
    name: 'postgres',
    url: embedded.url,
    daemonUrl: embedded.urlOf('postgres', daemonRole, password),
    pool,
    query: async <Row extends pg.QueryResultRow>(sql: string, params?: unknown[]) =>
      (await pool.query<Row>(sql, params)).rows,
    drop: () => pool.end(),
  };
  return {
    embedded,
    database,
    stop: async () => {
      await pool.end();
      await embedded.stop('immediate');
    },
  };
}
