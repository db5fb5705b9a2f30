/**
 * Resolves a connection string with the service file, the environment and the defaults, in libpq's
 * order.
 */
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { readService } from './files.ts';
import { checkParameter, PARAMETERS, type SessionAttrs } from './parameters.ts';
import { type Given, parseConnectionString } from './parse.ts';
import { encryptions, type TlsSettings, tlsSettings } from './tls.ts';

export interface Host {
  /** A name, an address, or a socket's directory. Certificates and password files use it. */
  readonly name: string;
  /** The address to dial instead of `name`. */
  readonly address?: string;
  readonly port: number;
}

/** One way to reach one host. */
export interface Server {
  readonly host: Host;
  readonly encrypted: boolean;
}

export interface Target {
  readonly hosts: readonly Host[];
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
  readonly passfile: string | undefined;
  readonly options: string | undefined;
  readonly applicationName: string | undefined;
  readonly connectTimeoutMs: number;
  readonly keepAlive: boolean;
  readonly keepAliveAfterMs: number;
  readonly sessionAttrs: SessionAttrs;
  readonly shuffleHosts: boolean;
  readonly tls: TlsSettings;
}

/**
 * Limit for each host. libpq waits forever by default, but a daemon must try the next host or
 * report that none answers.
 */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Finds a peer that vanished silently, such as a failed-over primary. The kernel would need two
 * hours.
 */
const KEEP_ALIVE_AFTER_MS = 30_000;

/** Where packages put the server's socket. libpq has one of these directories compiled in. */
const SOCKET_DIRECTORIES = ['/var/run/postgresql', '/tmp'];

/** Throws a verdict that follows `DATABASE_URL:`. */
export function readTarget(text: string, env: NodeJS.ProcessEnv = process.env): Target {
  const given = withDefaults(parseConnectionString(text), env);
  const get = (name: string) => given.get(name) || undefined;
  const seconds = (name: string, fallbackMs: number) => {
    const value = Number(get(name) ?? 0);
    return value > 0 ? value * 1_000 : fallbackMs;
  };
  const hosts = hostsOf(get('host'), get('hostaddr'), get('port'));
  const user = get('user') ?? systemUser();
  return {
    hosts,
    user,
    database: get('dbname') ?? user,
    password: get('password'),
    passfile: get('passfile'),
    options: get('options'),
    applicationName: get('application_name') ?? get('fallback_application_name'),
    connectTimeoutMs: seconds('connect_timeout', CONNECT_TIMEOUT_MS),
    keepAlive: get('keepalives') !== '0',
    keepAliveAfterMs: seconds('keepalives_idle', KEEP_ALIVE_AFTER_MS),
    // libpq accepts any server by default, but rowhook cannot work on a standby.
    sessionAttrs: (get('target_session_attrs') ?? (hosts.length > 1 ? 'primary' : 'any')) as SessionAttrs,
    shuffleHosts: get('load_balance_hosts') === 'random',
    tls: tlsSettings(get),
  };
}

/** The service file fills gaps of the connection string, and the environment fills the rest. */
function withDefaults(given: Given, env: NodeJS.ProcessEnv): Given {
  const service = given.get('service') ?? env.PGSERVICE;
  const file = given.get('servicefile') ?? env.PGSERVICEFILE;
  const ofService = service ? readService(service, file || undefined, env) : [];
  const ofEnvironment: Given = new Map();
  for (const [name, { env: variable = '' }] of Object.entries(PARAMETERS)) {
    const value = env[variable];
    if (!value || given.has(name)) continue;
    checkParameter(name, value, variable);
    ofEnvironment.set(name, value);
  }
  const all = new Map([...ofEnvironment, ...ofService, ...given]);
  // PGREQUIRESSL is older than PGSSLMODE, and libpq still reads it.
  if (!all.has('sslmode') && env.PGREQUIRESSL?.startsWith('1')) all.set('sslmode', 'require');
  for (const [name, { values }] of Object.entries(PARAMETERS)) {
    const value = all.get(name);
    if (values && value) all.set(name, value.toLowerCase());
  }
  return all;
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch {
    throw new Error('names no user, and the user of this process has no name. Write postgres://user@host/database');
  }
}

/** The server to try first. */
export function firstServer({ hosts, tls }: Target): Server {
  const host = hosts[0] as Host;
  return { host, encrypted: encryptions(tls, host)[0] ?? false };
}

function hostsOf(names: string | undefined, addresses: string | undefined, ports: string | undefined): Host[] {
  const name = names?.split(',');
  const address = addresses?.split(',');
  const port = (ports ?? '').split(',').map(portOf);
  const count = name?.length ?? address?.length ?? 1;
  if (address && address.length !== count) {
    throw new Error(`has ${count} hosts and ${address.length} addresses in hostaddr. Give one address for each host`);
  }
  if (port.length !== 1 && port.length !== count) {
    throw new Error(`has ${count} hosts and ${port.length} ports. Give one port for each host, or one for all hosts`);
  }
  return Array.from({ length: count }, (_, index): Host => {
    const at = (port.length === 1 ? port[0] : port[index]) ?? 5432;
    const dialled = address?.[index];
    const host = name?.[index] || dialled || defaultHost(at);
    return { name: host, port: at, ...(dialled && { address: dialled }) };
  });
}

function portOf(text: string): number {
  const port = Number(text || 5432);
  if (/^\s*\d*\s*$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new Error('has a port that is not a number from 1 to 65535');
}

function defaultHost(port: number): string {
  return SOCKET_DIRECTORIES.find((directory) => existsSync(join(directory, `.s.PGSQL.${port}`))) ?? 'localhost';
}

/** `database "app" at db.example.com:5432` identifies a database without user or password. */
export function displayDatabase(text: string): string {
  try {
    const { database, hosts } = readTarget(text);
    return displayOn(database, hosts);
  } catch {
    return 'the database';
  }
}

export function displayOn(database: string, hosts: readonly Host[]): string {
  const places = hosts.map(({ name, port }) => `${name.includes(':') ? `[${name}]` : name}:${port}`);
  return `database "${database}" at ${places.join(', ')}`;
}
