/**
 * Connections: the one file that imports node-postgres.
 *
 * A client without an `error` listener takes the process down when its socket breaks, so every client made here has one;
 * the broken connection then shows at the next query.
 */
import pg from 'pg';
import { requireBinding } from '../connection/binding.ts';
import { configOf, forget, pinned, reach, type ServerConfig, sessionProblem, targetOf } from '../connection/reach.ts';
import { firstServer } from '../connection/target.ts';
import { explainByLooking, isReadOnly } from './diagnose.ts';
import { explainDatabaseError } from './explain-error.ts';
import { forOneTransaction, type Purpose, setInherited } from './inherited-settings.ts';
import { makeLent } from './lent-session.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * The daemon's statements end sooner, unless they say otherwise (query_timeout). A network that falls silent closes no
 * connection: without this a statement would wait for its answer until the kernel gives up, after a quarter of an hour.
 */
export const QUERY_MS_MAX = 60_000;

/**
 * What stands between rowhook and the server, in PgBouncer's words. 'session': a connection is a session.
 * 'transaction': a pooler may lend a session for one transaction (ROWHOOK_WAKE=poll). What a transaction
 * leaves behind there is gone in the next one, and found by strangers.
 */
export type PoolerMode = 'session' | 'transaction';

export function poolerModeOf(wake: 'notify' | 'poll'): PoolerMode {
  return wake === 'poll' ? 'transaction' : 'session';
}

/** For those that may wait for locks or look at millions of rows: spread into the query. */
export const PATIENT = { query_timeout: 600_000 };

export interface PoolOptions {
  applicationName: string;
  max: number;
  sessions: PoolerMode;
  /** Statements for each session that is its own. */
  settings?: string;
  /** Called when an idle or a checked-out connection breaks; the pool replaces it by itself. */
  onError?: (error: Error) => void;
}

/**
 * Opens one connection, or throws a sentence for the terminal. An application_name in the URL wins. Whose the session is shows by
 * its process: a pooler makes up the number that it tells its clients.
 */
export async function connect(databaseUrl: string, applicationName: string): Promise<pg.Client> {
  try {
    const client = await reach(databaseUrl, (config) => open(config, applicationName));
    const { processID = null } = client as { processID?: number | null };
    return await orEnd(client, () => prepareSession(client, 'command', processID));
  } catch (error) {
    throw explainDatabaseError(error, databaseUrl);
  }
}

/** The same for one of a daemon's connections, on the server that the others are on: its statements may take QUERY_MS_MAX. */
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
      await prepareSession(client, 'daemon', PID_OF[sessions]);
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

/** What fails on our side, such as a missing password, would leave the socket open, and the process with it. */
async function orEnd(client: pg.Client, work: () => Promise<unknown>): Promise<pg.Client> {
  try {
    await work();
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw error;
  }
}

/** How to connect to the server that the daemon's connections are on, which is looked for where none is known. */
export async function locate(databaseUrl: string): Promise<ServerConfig> {
  if (!pinned(databaseUrl))
    await reach(databaseUrl, (config) => open(config, 'rowhook')).then((client) => client.end());
  return pinnedConfig(databaseUrl);
}

function pinnedConfig(databaseUrl: string): ServerConfig {
  const target = targetOf(databaseUrl);
  return configOf(target, pinned(databaseUrl) ?? firstServer(target));
}

/** A server that was the primary may be back as a standby. */
async function checkSession(databaseUrl: string, client: pg.ClientBase): Promise<void> {
  const problem = await sessionProblem(client, targetOf(databaseUrl).sessionAttrs);
  if (problem === null) return;
  forget(databaseUrl);
  throw new Error(`the server ${problem}, which it was not before`);
}

/** Nobody's process has the number 0. */
const PID_OF: Readonly<Record<PoolerMode, number | null>> = { session: null, transaction: 0 };

/** What the session inherits and rowhook needs otherwise is set: once, or where it is lent, in each transaction. */
async function prepareSession(client: pg.ClientBase, purpose: Purpose, sessionPid: number | null): Promise<void> {
  const { isOwn, settings } = await setInherited(client, purpose, sessionPid, CONNECT_TIMEOUT_MS);
  if (!isOwn) makeLent(client, forOneTransaction(settings));
}

/** A daemon's pool of at most `max` connections, opened as they are needed. */
export function openPool(databaseUrl: string, options: PoolOptions): pg.Pool {
  const { applicationName, max, sessions, settings, onError = () => {} } = options;
  class Client extends pg.Client {
    constructor() {
      const config = pinnedConfig(databaseUrl);
      super({ application_name: applicationName, ...config, query_timeout: QUERY_MS_MAX });
      if (config.requiresBinding) requireBinding(this);
    }
  }
  const pool = new ServerPool(databaseUrl, {
    Client,
    max,
    connectionTimeoutMillis: targetOf(databaseUrl).connectTimeoutMs,
    onConnect: async (client) => {
      await checkSession(databaseUrl, client);
      await prepareSession(client, 'daemon', PID_OF[sessions]);
      if (settings && sessions === 'session') await client.query(settings);
    },
  });
  pool.on('error', onError);
  // The pool listens to idle clients only.
  pool.on('connect', (client) => client.on('error', onError));
  return pool;
}

/** A pool whose connections all go to the server that is pinned for this connection string. */
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
    throw (await explainByLooking(error, client, databaseUrl)) ?? explainDatabaseError(error, databaseUrl);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The same for an error of a connection that is gone. */
export async function explainAfterwards(error: unknown, databaseUrl: string): Promise<Error> {
  const explained = explainDatabaseError(error, databaseUrl);
  if (!isReadOnly(error)) return explained;
  const look = (client: pg.Client) => explainByLooking(error, client, databaseUrl);
  return (await withClient(databaseUrl, 'rowhook', look).catch(() => null)) ?? explained;
}

/**
 * Where a database listens: at every host of the connection string, one of which may be the primary next, as the client
 * reached it, and as the server says, which is somewhere else behind a pooler or a port mapping. A host that begins with /
 * is a socket directory of this machine.
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
