/**
 * Connections to PostgreSQL. Only this file imports node-postgres.
 *
 * A client without an `error` listener ends the process when its socket breaks. So every client
 * made here has a listener, and the next query reports the broken connection.
 */
import pg from 'pg';
import { requireBinding } from '../connection/binding.ts';
import { configOf, forget, pinned, reach, type ServerConfig, sessionProblem, targetOf } from '../connection/reach.ts';
import { firstServer } from '../connection/target.ts';
import { explainByLooking, explainUnsuitable, needsLook } from './diagnose.ts';
import { explainDatabaseError } from './explain-error.ts';
import { forOneTransaction, type Purpose, setInherited } from './inherited-settings.ts';
import { makeLent } from './lent-session.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Limit for a daemon's statements, unless a statement sets its own query_timeout. A network that
 * falls silent closes no connection. Without this limit a statement would wait until the kernel
 * gives up, after a quarter of an hour.
 */
export const QUERY_MS_MAX = 60_000;

/**
 * What is between rowhook and the server, in PgBouncer's words. 'session': a connection is a
 * session. 'transaction': a pooler may lend a session for one transaction (ROWHOOK_WAKE=poll).
 * State that a transaction leaves in such a session is missing in the next transaction, and visible
 * to other clients.
 */
export type PoolerMode = 'session' | 'transaction';

/** 'unknown': a session's process id shows it, because a pooler invents the id that it reports. */
type Sessions = PoolerMode | 'unknown';

export function poolerModeOf(wake: 'notify' | 'poll'): PoolerMode {
  return wake === 'poll' ? 'transaction' : 'session';
}

/** For statements that may wait for locks or read millions of rows. Spread it into the query. */
export const PATIENT = { query_timeout: 600_000 };

export interface PoolOptions {
  applicationName: string;
  max: number;
  sessions: Sessions;
  /** Statements to run in each session that the pool owns. */
  settings?: string;
  /** Limit on opening a connection; by default that of the connection string. */
  connectMsMax?: number;
  /** Limit on a statement; by default QUERY_MS_MAX. */
  queryMsMax?: number;
  /** Called when an idle or a checked-out connection breaks. The pool replaces it itself. */
  onError?: (error: Error) => void;
}

/** Opens one connection, or throws a sentence for the terminal. The URL's application_name wins. */
export async function connect(url: string, applicationName: string, purpose: Purpose = 'command'): Promise<pg.Client> {
  try {
    const client = await search(url, applicationName);
    return await orEnd(client, () => prepareSession(client, purpose, 'unknown'));
  } catch (error) {
    throw explainDatabaseError(error, url);
  }
}

/**
 * The same for one of a daemon's connections, on the server of the daemon's other connections. Its
 * statements have the limit QUERY_MS_MAX.
 */
export async function connectDaemon(
  databaseUrl: string,
  applicationName: string,
  sessions: PoolerMode,
): Promise<pg.Client> {
  try {
    const config = await locate(databaseUrl);
    const client = await open({ ...config, query_timeout: QUERY_MS_MAX }, applicationName);
    return await orEnd(client, async () => {
      await checkSession(databaseUrl, client);
      await prepareSession(client, 'daemon', sessions);
    });
  } catch (error) {
    forget(databaseUrl);
    throw explainDatabaseError(error, databaseUrl);
  }
}

async function open(config: ServerConfig, applicationName: string): Promise<pg.Client> {
  const client = new pg.Client({ application_name: applicationName, ...config });
  client.on('error', () => {});
  if (config.requiresBinding) requireBinding(client);
  return orEnd(client, () => client.connect());
}

/** Closes the client if `work` fails: an open socket would keep the process running. */
async function orEnd(client: pg.Client, work: () => Promise<unknown>): Promise<pg.Client> {
  try {
    await work();
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw error;
  }
}

function search(databaseUrl: string, applicationName: string): Promise<pg.Client> {
  const connecting = (config: ServerConfig) => open(config, applicationName);
  return reach(databaseUrl, connecting, (client) => explainUnsuitable(client, databaseUrl));
}

/**
 * How to connect to the server of the daemon's connections. Searches for a server if none is known.
 */
export async function locate(databaseUrl: string): Promise<ServerConfig> {
  if (!pinned(databaseUrl)) await search(databaseUrl, 'rowhook').then((client) => client.end());
  return pinnedConfig(databaseUrl);
}

function pinnedConfig(databaseUrl: string): ServerConfig {
  const target = targetOf(databaseUrl);
  return configOf(target, pinned(databaseUrl) ?? firstServer(target));
}

/** Checks again, because a former primary may have come back as a standby. */
async function checkSession(databaseUrl: string, client: pg.ClientBase): Promise<void> {
  const problem = await sessionProblem(client, targetOf(databaseUrl).sessionAttrs);
  if (problem === null) return;
  forget(databaseUrl);
  throw new Error(`the server ${problem}. It was suitable before`);
}

/** The process id of a session that belongs to this connection. Null: it does. No process is 0. */
function ownPid(client: pg.ClientBase & { processID?: number | null }, sessions: Sessions): number | null {
  return sessions === 'unknown' ? (client.processID ?? null) : sessions === 'session' ? null : 0;
}

/**
 * Changes inherited settings that rowhook needs otherwise: once, or in each transaction if the
 * session is lent.
 */
async function prepareSession(client: pg.ClientBase, purpose: Purpose, sessions: Sessions): Promise<void> {
  const { isOwn, settings } = await setInherited(client, purpose, ownPid(client, sessions), CONNECT_TIMEOUT_MS);
  const wraps = settings.some(({ isSpeed }) => !isSpeed);
  if (!isOwn) makeLent(client, forOneTransaction(settings), wraps);
}

/** A daemon's pool of at most `max` connections, opened on demand. */
export function openPool(databaseUrl: string, options: PoolOptions): pg.Pool {
  const { applicationName, max, sessions, settings, onError = () => {}, queryMsMax = QUERY_MS_MAX } = options;
  class Client extends pg.Client {
    constructor() {
      const config = pinnedConfig(databaseUrl);
      super({ application_name: applicationName, ...config, query_timeout: queryMsMax });
      if (config.requiresBinding) requireBinding(this);
    }
  }
  const pool = new ServerPool(databaseUrl, {
    Client,
    max,
    connectionTimeoutMillis: options.connectMsMax ?? targetOf(databaseUrl).connectTimeoutMs,
    onConnect: async (client) => {
      await checkSession(databaseUrl, client);
      await prepareSession(client, 'daemon', sessions);
      if (settings && sessions === 'session') await client.query(settings);
    },
  });
  pool.on('error', onError);
  // The pool itself listens only to idle clients.
  pool.on('connect', (client) => client.on('error', onError));
  return pool;
}

/** A pool whose connections all use the server that is pinned for this connection string. */
class ServerPool extends pg.Pool {
  readonly #databaseUrl: string;

  constructor(databaseUrl: string, config: pg.PoolConfig) {
    super(config);
    this.#databaseUrl = databaseUrl;
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: PoolCallback): void;
  override connect(callback?: PoolCallback): Promise<pg.PoolClient> | undefined {
    if (callback === undefined) return this.#connect();
    this.#connect().then(
      (client) => callback(undefined, client, client.release.bind(client)),
      (error) => callback(error, undefined, () => {}),
    );
    return undefined;
  }

  async #connect(): Promise<pg.PoolClient> {
    if (!pinned(this.#databaseUrl)) await locate(this.#databaseUrl);
    try {
      return await super.connect();
    } catch (error) {
      forget(this.#databaseUrl);
      throw error;
    }
  }
}

type PoolCallback = Parameters<pg.Pool['connect']>[0];

/**
 * Connects, runs the work and disconnects. An error of PostgreSQL becomes a sentence for the
 * terminal.
 */
export async function withClient<T>(
  databaseUrl: string,
  applicationName: string,
  work: (client: pg.Client) => Promise<T>,
  purpose: Purpose = 'command',
): Promise<T> {
  const client = await connect(databaseUrl, applicationName, purpose);
  try {
    return await work(client);
  } catch (error) {
    const needed = applicationName === 'rowhook' || purpose === 'look' ? 'rowhook_daemon' : 'rowhook_owner';
    throw (await explainByLooking(error, client, databaseUrl, needed)) ?? explainDatabaseError(error, databaseUrl);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The same for an error of a connection that is already closed. */
export async function explainAfterwards(error: unknown, databaseUrl: string): Promise<Error> {
  const explained = explainDatabaseError(error, databaseUrl);
  if (!needsLook(error)) return explained;
  const look = (client: pg.Client) => explainByLooking(error, client, databaseUrl, 'rowhook_daemon');
  return (await withClient(databaseUrl, 'rowhook', look).catch(() => null)) ?? explained;
}

/**
 * Where a database listens: every host of the connection string, because any may be the next
 * primary; the address that the client reached; and the address that the server reports. The last
 * two differ behind a pooler or a port mapping. A host that begins with / is a socket directory of
 * this machine.
 */
export async function endpointsOf(client: pg.Client, databaseUrl: string): Promise<{ host: string; port: number }[]> {
  const { rows } = await client.query(
    "select host(inet_server_addr()) as host, coalesce(inet_server_port(), current_setting('port')::int) as port",
  );
  const [server] = rows;
  const reached = { host: client.host, port: client.port };
  const named = targetOf(databaseUrl).hosts.map(({ name, address, port }) => ({ host: address ?? name, port }));
  return [...named, reached, { host: server.host ?? reached.host, port: server.port }];
}
