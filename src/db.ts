/**
 * Connections: the one file that imports node-postgres.
 *
 * A client without an `error` listener takes the process down when its socket breaks, so every client made here has one;
 * the broken connection then shows at the next query.
 */
import pg from 'pg';
import { explainDatabaseError } from './errors.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * The daemon's statements end sooner, unless they say otherwise (query_timeout). A network that falls silent closes no
 * connection: without this a statement would wait for its answer until the kernel gives up, after a quarter of an hour.
 */
export const QUERY_MS_MAX = 60_000;

/**
 * A role may have timeouts of its own (ALTER ROLE … SET), made for an application's statements: they would end a page of a large
 * window, and every idle connection, again and again. The daemon has its own limits, so it takes them away.
 */
const NO_TIMEOUTS = {
  // the first statement of a connection, which may have fallen silent by then
  query_timeout: CONNECT_TIMEOUT_MS,
  text: `
  select set_config(name, '0', false)
    from unnest('{statement_timeout,lock_timeout,idle_in_transaction_session_timeout,idle_session_timeout,transaction_timeout}'::text[]) as name
   where current_setting(name, true) is not null`,
};

/**
 * Whose the server's sessions are. 'own': a connection is a session. 'lent': a pooler may stand in between that lends one for a
 * transaction (ROWHOOK_WAKE=poll). What a transaction leaves behind there is gone in the next one, and found by strangers.
 */
export type Sessions = 'own' | 'lent';

export function sessionsOf(wake: 'notify' | 'poll'): Sessions {
  return wake === 'poll' ? 'lent' : 'own';
}

/** For those that may wait for locks or look at millions of rows: spread into the query. */
export const PATIENT = { query_timeout: 600_000 };

/** Finds a peer that vanished without a word, such as a failed-over primary, before the kernel's two hours. */
const KEEP_ALIVE_AFTER_MS = 30_000;

export interface PoolOptions {
  applicationName: string;
  max: number;
  sessions: Sessions;
  /** Statements for each session that is its own. */
  settings?: string;
  /** Called when an idle or a checked-out connection breaks; the pool replaces it by itself. */
  onError?: (error: Error) => void;
}

/**
 * Opens one connection, or throws a sentence for the terminal. An application_name in the URL wins. Statements may take as
 * long as the role's own settings say.
 */
export function connect(databaseUrl: string, applicationName: string): Promise<pg.Client> {
  return open(databaseUrl, connectionConfig(databaseUrl, applicationName));
}

/** The same for one of a daemon's connections: its statements may take QUERY_MS_MAX. */
export async function connectDaemon(
  databaseUrl: string,
  applicationName: string,
  sessions: Sessions,
): Promise<pg.Client> {
  const config = { ...connectionConfig(databaseUrl, applicationName), query_timeout: QUERY_MS_MAX };
  const client = await open(databaseUrl, config);
  if (sessions === 'own') await client.query(NO_TIMEOUTS);
  else dropNames(client);
  return client;
}

async function open(databaseUrl: string, config: pg.ClientConfig): Promise<pg.Client> {
  try {
    const client = new pg.Client(config);
    client.on('error', () => {});
    await client.connect();
    return client;
  } catch (error) {
    throw explainDatabaseError(error, databaseUrl);
  }
}

/** A daemon's pool of at most `max` connections, opened as they are needed. */
export function openPool(databaseUrl: string, options: PoolOptions): pg.Pool {
  const { applicationName, max, sessions, settings, onError = () => {} } = options;
  const pool = new pg.Pool({
    ...connectionConfig(databaseUrl, applicationName),
    max,
    query_timeout: QUERY_MS_MAX,
    onConnect: async (client) => {
      if (sessions === 'lent') return dropNames(client);
      await client.query(NO_TIMEOUTS);
      if (settings) await client.query(settings);
    },
  });
  pool.on('error', onError);
  // The pool listens to idle clients only.
  pool.on('connect', (client) => client.on('error', onError));
  return pool;
}

/** A statement that was prepared in one session is unknown in the next one, or is somebody else's: nothing is prepared by name. */
function dropNames(client: pg.ClientBase): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  const nameless = (statement: string | pg.QueryConfig, ...rest: unknown[]) => {
    if (typeof statement === 'string') return query(statement, ...rest);
    const { name: _, ...unnamed } = statement;
    return query(unnamed, ...rest);
  };
  client.query = nameless as typeof client.query;
}

/** Connects, works, disconnects; whatever PostgreSQL refuses becomes a sentence for the terminal. */
export async function withClient<T>(
  databaseUrl: string,
  applicationName: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = await connect(databaseUrl, applicationName);
  try {
    return await work(client);
  } catch (error) {
    throw explainDatabaseError(error, databaseUrl);
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * Where a database listens: as the client reached it, and as the server says, which is somewhere else behind a pooler or a
 * port mapping. A host that begins with / is a socket directory of this machine.
 */
export async function endpointsOf(client: pg.Client): Promise<{ host: string; port: number }[]> {
  const { rows } = await client.query(
    "select host(inet_server_addr()) as host, coalesce(inet_server_port(), current_setting('port')::int) as port",
  );
  const [server] = rows;
  const reached = { host: client.host, port: client.port };
  return server.host === null ? [reached, { host: reached.host, port: server.port }] : [reached, server];
}

function connectionConfig(databaseUrl: string, applicationName: string): pg.ClientConfig {
  return {
    connectionString: libpqMeaning(databaseUrl),
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
  };
}

/**
 * node-postgres 8 reads sslmode=require as verify-full and says so on stderr. The URL that a managed service hands out
 * works in psql; it has to work here, and to mean the same.
 */
export function libpqMeaning(databaseUrl: string): string {
  const isLibpqs = /[?&]sslmode=(prefer|require|verify-ca)(&|$)/.test(databaseUrl);
  return isLibpqs && !/[?&]uselibpqcompat=/.test(databaseUrl) ? `${databaseUrl}&uselibpqcompat=true` : databaseUrl;
}
