/**
 * DELIVER: one attempt over HTTP. It knows nothing of the database, and a failing endpoint is a
 * value, never an exception.
 *
 * undici's dispatch() with a handler costs 60 µs per signed request, request() costs 80 to 90. The
 * address guard is part of the connector, so the checked address is the dialled address. Keep-alive
 * sockets were checked when they were opened. rowhook follows no redirects, uses no proxy from the
 * environment and decompresses nothing. With ROWHOOK_PROXY_URL the guard checks less
 * (deliver/proxy.ts).
 *
 * Receivers are not trusted. Each response is bounded in time (one deadline for everything), in
 * memory (headers, body) and in bytes read. A connection that broke a rule is closed, so its
 * remaining bytes cannot become the response to another request.
 */
import type { LookupFunction, Socket } from 'node:net';
import { Agent, buildConnector } from 'undici';
import type { Request } from '../model.ts';
import type { Outcome } from '../outcome.ts';
import {
  type AddressPolicy,
  AddressRefused,
  type CompiledPolicy,
  closedAt,
  compilePolicy,
  type Endpoint,
  guardedLookup,
  literalProblem,
  type Resolve,
} from './address-guard.ts';
import { Exchange, RESPONSE_BYTES_MAX } from './exchange.ts';
import { failed } from './outcome.ts';
import { hostProblem, tunnelThrough } from './proxy.ts';
import { Targets } from './target.ts';

/** Limit on connecting. Requests that wait for a connection have a deadline of at most 30 s. */
const CONNECT_TIMEOUT_MS = 10_000;
/**
 * Limit on how long an idle socket is kept. By default it is closed after 4 s. The receiver's
 * Keep-Alive header may set another time, up to this limit.
 */
const KEEP_ALIVE_MS_MAX = 60_000;
/**
 * Close idle sockets this long before the receiver does. The receiver's timeout starts when it
 * answers, and a request needs time to arrive. With `timeout=1` no socket is kept.
 */
const KEEP_ALIVE_MARGIN_MS = 1_000;
/** Limit on idle sockets. Above it, all idle sockets are closed. */
const IDLE_SOCKETS_MAX = 1_000;
/** Limit on agents. Each list of allowed_ips has its own agent with its own sockets. */
const AGENTS_MAX = 100;

export interface Sender {
  /** Never rejects. */
  send(request: Request): Promise<Outcome>;
  /** Aborts all requests in flight. Their outcomes are failures. */
  close(): Promise<void>;
}

export interface SenderOptions {
  /** Our own services, which no webhook may reach. Called at every dial. */
  closed?: () => readonly Endpoint[];
  /** URL of the HTTP proxy for all requests. */
  proxy?: string | undefined;
  /** Replaces the system's resolver. */
  resolve?: Resolve;
}

export function createSender(addressPolicy: AddressPolicy, options: SenderOptions = {}): Sender {
  const policy = compilePolicy(addressPolicy);
  const targets = new Targets(policy);
  const agents = new Map<string, AgentPair>();
  const retired = new Set<AgentPair>();
  const sockets = new Set<Socket>();
  let inFlight = 0;

  /** Lets the pair's requests finish and closes its idle sockets. */
  const retire = (key: string, pair: AgentPair) => {
    agents.delete(key);
    retired.add(pair);
    void Promise.all([pair.kept.close(), pair.fresh.close()]).finally(() => retired.delete(pair));
  };
  const onConnect = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (sockets.size - inFlight > IDLE_SOCKETS_MAX) for (const [key, pair] of agents) retire(key, pair);
  };
  const agentsFor = (allowedIps: readonly string[] | null): AgentPair => {
    const key = allowedIps?.join() ?? '';
    let pair = agents.get(key);
    if (!pair) {
      // The connections without a list are everybody's: a tenant with many lists does not close them.
      const oldest = agents.size < AGENTS_MAX ? undefined : [...agents].find(([other]) => other !== '');
      if (oldest) retire(...oldest);
      pair = createAgents(policy, allowedIps ?? undefined, options, onConnect);
      agents.set(key, pair);
    }
    return pair;
  };

  const onEnd = () => {
    inFlight -= 1;
  };

  return {
    send(request) {
      try {
        const target = targets.of(request.url, request.allowedIps);
        if ('code' in target) return Promise.resolve(failed(target.code, target.error, 0));
        const { kept } = agentsFor(request.allowedIps);
        inFlight += 1;
        const fresh = () => agentsFor(request.allowedIps).fresh;
        const outcome = new Exchange(request, target, onEnd).outcome(kept, fresh);
        // The address of the connection is the proxy's, not the receiver's.
        return options.proxy === undefined ? outcome : outcome.then((ended) => ({ ...ended, remoteIp: null }));
      } catch (error) {
        // allowed_ips holds an invalid range. The database refuses those, and one row must not stop
        // the daemon.
        return Promise.resolve(failed('address_refused', (error as Error).message, 0));
      }
    },
    async close() {
      const pairs = [...agents.values(), ...retired];
      await Promise.all(pairs.flatMap(({ kept, fresh }) => [kept.destroy(), fresh.destroy()]));
    },
  };
}

interface AgentPair {
  /** Reuses connections. */
  readonly kept: Agent;
  /** Opens a new connection for each request. */
  readonly fresh: Agent;
}

function createAgents(
  policy: CompiledPolicy,
  allowedIps: readonly string[] | undefined,
  { closed = () => [], proxy, resolve }: SenderOptions,
  onConnect: (socket: Socket) => void,
): AgentPair {
  const connectorWith = (lookup: LookupFunction) =>
    // A resumed TLS session skips the check of the certificate's names, so no session is cached.
    buildConnector({ lookup, timeout: CONNECT_TIMEOUT_MS, maxCachedSessions: 0, allowH2: false });
  const connector = connectorWith(guardedLookup(policy, allowedIps, resolve));
  const tunnel = proxy === undefined ? undefined : tunnelThrough(proxy, connector, CONNECT_TIMEOUT_MS);

  const connect: buildConnector.connector = (options, callback) => {
    const dial = (rules: CompiledPolicy) => {
      // Node calls `lookup` for names only.
      const problemOf = tunnel ? hostProblem : literalProblem;
      const problem = problemOf(options.hostname, rules, allowedIps, endpoints);
      if (problem) return callback(new AddressRefused(problem), null);
      const open = tunnel ?? (rules === policy ? connector : connectorWith(guardedLookup(rules, allowedIps, resolve)));
      open(options, (...result) => {
        if (result[1]) onConnect(result[1]);
        callback(...result);
      });
    };
    const port = Number(options.port) || (options.protocol === 'https:' ? 443 : 80);
    const endpoints = closed().filter((endpoint) => endpoint.port === port);
    if (endpoints.length === 0) dial(policy);
    else closedAt(port, endpoints, policy, resolve).then(dial, (error: Error) => callback(error, null));
  };
  const settings = {
    allowH2: false,
    // The exchange stops before this limit.
    maxHeaderSize: RESPONSE_BYTES_MAX,
    keepAliveMaxTimeout: KEEP_ALIVE_MS_MAX,
    keepAliveTimeoutThreshold: KEEP_ALIVE_MARGIN_MS,
    // One deadline for the whole attempt covers connecting, headers and body.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect,
  };
  return { kept: new Agent({ ...settings, pipelining: 1 }), fresh: new Agent({ ...settings, pipelining: 0 }) };
}
