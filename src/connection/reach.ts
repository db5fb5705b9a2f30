/**
 * Finds a suitable server as libpq does. It tries host by host, with and without TLS as sslmode
 * says, until one meets target_session_attrs.
 *
 * A daemon's session uses one server: its pool, reader and listener all connect to the server that
 * was found first. So that server is remembered for each connection string. It is forgotten when a
 * connection to it fails or no longer meets target_session_attrs. After a failover the connections
 * to the old primary break and the session ends. The next session looks for the primary again.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type pg from 'pg';
import { passwordOf } from './files.ts';
import type { SessionAttrs } from './parameters.ts';
import { displayOn, type Host, readTarget, type Server, type Target } from './target.ts';
import { encryptions, tlsOptions } from './tls.ts';

/** Several hosts were tried, and none is suitable. */
export class NoHost extends Error {
  /** For each host the reason: an error of connecting, or a sentence. */
  readonly failures: readonly Failure[];

  constructor(failures: readonly Failure[]) {
    super(failures.map(({ at, error }) => `${at}: ${error instanceof Error ? error.message : error}`).join('; '));
    this.name = 'NoHost';
    this.failures = failures;
  }
}

export interface Failure {
  readonly at: string;
  readonly error: unknown;
}

export interface ServerConfig extends pg.ClientConfig {
  /** See binding.ts. */
  readonly requiresBinding: boolean;
}

type Connect = (config: ServerConfig) => Promise<pg.Client>;

/** Why a server that is not suitable is read-only. Null: it is a standby, or nobody knows. */
type ExplainReadOnly = (client: pg.Client) => Promise<Error | null>;

const found = new Map<string, Server>();
const targets = new Map<string, Target>();

/**
 * Reads what the string means now. If the service file is just being written, a daemon that has
 * read it before goes on.
 */
export function targetOf(databaseUrl: string): Target {
  try {
    const target = readTarget(databaseUrl);
    targets.set(databaseUrl, target);
    return target;
  } catch (error) {
    const before = targets.get(databaseUrl);
    if (before) return before;
    throw error;
  }
}

/** The server of this string's last connection. Undefined: search for one. */
export function pinned(databaseUrl: string): Server | undefined {
  return found.get(databaseUrl);
}

export function forget(databaseUrl: string): void {
  found.delete(databaseUrl);
}

/** Tries all hosts, and remembers the server that it connected to. */
export async function reach(
  databaseUrl: string,
  connect: Connect,
  explainReadOnly: ExplainReadOnly = async () => null,
): Promise<pg.Client> {
  const target = targetOf(databaseUrl);
  const failures: Failure[] = [];
  for (const attrs of passes(target.sessionAttrs)) {
    failures.length = 0;
    for await (const host of addressed(target, failures)) {
      try {
        const { client, server } = await connectHost(target, host, connect);
        const problem = await sessionProblem(client, attrs).catch((error: Error) => error);
        if (problem === null) {
          found.set(databaseUrl, server);
          return client;
        }
        const why = problem === IS_READ_ONLY ? await explainReadOnly(client).catch(() => null) : null;
        await client.end().catch(() => {});
        failures.push({ at: displayOn(target.database, [host]), error: why ?? problem });
      } catch (error) {
        failures.push({ at: displayOn(target.database, [host]), error });
        // Every host would refuse the same credentials, so no other host is tried.
        if (/^(28|3D)/.test(codeOf(error))) break;
      }
    }
  }
  throw failures.length === 1 && failures[0]?.error instanceof Error ? failures[0].error : new NoHost(failures);
}

/** prefer-standby first looks for a standby, then takes any server. */
function passes(attrs: SessionAttrs): SessionAttrs[] {
  return attrs === 'prefer-standby' ? ['standby', 'any'] : [attrs];
}

/**
 * A name may stand for several servers, of which one is the primary. So each of its addresses is
 * tried. If any server will do, Node chooses an address itself. Each name is resolved only when its
 * turn comes, so a name without an answer does not delay the names before it.
 */
async function* addressed(
  { database, hosts, sessionAttrs, shuffleHosts }: Target,
  failures: Failure[],
): AsyncGenerator<Host> {
  const inTurn = <T>(list: readonly T[]) => (shuffleHosts ? shuffled(list) : list);
  for (const host of inTurn(hosts)) {
    const isPlace = host.address !== undefined || host.name.startsWith('/') || isIP(host.name) !== 0;
    if (isPlace || (sessionAttrs === 'any' && !shuffleHosts)) {
      yield host;
      continue;
    }
    const addresses = await lookup(host.name, { all: true }).catch((error: Error) => {
      failures.push({ at: displayOn(database, [host]), error });
      return [];
    });
    for (const { address } of inTurn(addresses)) yield { ...host, address };
  }
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((item) => ({ item, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}

async function connectHost(
  target: Target,
  host: Host,
  connect: Connect,
): Promise<{ client: pg.Client; server: Server }> {
  const failed: unknown[] = [];
  for (const encrypted of encryptions(target.tls, host)) {
    try {
      return { client: await connect(configOf(target, { host, encrypted })), server: { host, encrypted } };
    } catch (error) {
      failed.push(error);
      if (!mayDependOnTls(error)) break;
    }
  }
  // An error from the server itself explains more than the error that it has no TLS.
  throw failed.findLast((error) => isSqlState(codeOf(error))) ?? failed.at(-1);
}

/**
 * pg_hba.conf may require TLS or refuse it (28000). For an unreachable host, TLS makes no
 * difference.
 */
function mayDependOnTls(error: unknown): boolean {
  const code = codeOf(error);
  if (isSqlState(code)) return code === '28000';
  return (
    !/^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|ENOENT|EACCES)$/.test(code) &&
    !/timeout/.test(String(error))
  );
}

function codeOf(error: unknown): string {
  return (error as { code?: string } | null)?.code ?? '';
}

function isSqlState(code: string): boolean {
  return /^[0-9A-Z]{5}$/.test(code) && code !== 'EPIPE';
}

const IS_READ_ONLY = 'is read-only';

/**
 * Why a session is not suitable, in words that follow the name of its server. Null: it is suitable.
 */
export async function sessionProblem(client: pg.ClientBase, attrs: SessionAttrs): Promise<string | null> {
  if (attrs === 'any' || attrs === 'prefer-standby') return null;
  const { rows } = await client.query({
    text: "select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as readonly",
    query_timeout: 10_000,
  } as pg.QueryConfig);
  const [{ standby, readonly }] = rows as [{ standby: boolean; readonly: boolean }];
  if (attrs === 'primary') return standby ? 'is a hot standby' : null;
  if (attrs === 'standby') return standby ? null : 'is not a standby';
  if (attrs === 'read-write') return readonly ? IS_READ_ONLY : null;
  return readonly ? null : 'is not read-only';
}

/** The same, with every value that node-postgres would otherwise read from the environment. */
export function configOf(target: Target, { host, encrypted }: Server): ServerConfig {
  const { user, database, password, tls } = target;
  const wanted = { host: host.name, port: host.port, database, user };
  return {
    host: host.address ?? host.name,
    port: host.port,
    user,
    database,
    password: password ?? (() => passwordFromFile(target.passfile, wanted)),
    ssl: encrypted && tlsOptions(tls, host),
    ...(encrypted && tls.direct && { sslnegotiation: 'direct' as const }),
    ...(target.options && { options: target.options }),
    ...(target.applicationName && { application_name: target.applicationName }),
    connectionTimeoutMillis: target.connectTimeoutMs,
    keepAlive: target.keepAlive,
    keepAliveInitialDelayMillis: target.keepAliveAfterMs,
    enableChannelBinding: encrypted && tls.channelBinding !== 'disable',
    requiresBinding: tls.channelBinding === 'require',
  };
}

function passwordFromFile(passfile: string | undefined, wanted: Parameters<typeof passwordOf>[1]): string {
  const password = passwordOf(passfile, wanted);
  if (password === undefined) throw new Error('client password must be given'); // See explain-error.ts.
  return password;
}
