/**
 * DELIVER: one attempt over HTTP. It knows nothing of the database, and a failing endpoint is a value, never an exception.
 *
 * undici's dispatch() with a handler costs 60 µs a signed request where request() costs 80 to 90. The address guard sits in
 * the connector, where the address that is checked is the address that is dialled; keep-alive sockets were checked when they
 * were opened. No redirects, no proxy from the environment, no decompression.
 *
 * Receivers are strangers: whatever they send is bounded in time (one deadline for everything), in memory (headers, body)
 * and in bytes read. A connection that broke a rule is closed, so that no response can be taken for another request's.
 */
import type { LookupFunction, Socket } from 'node:net';
import { Agent, buildConnector } from 'undici';
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
} from './address.ts';
import { Exchange } from './exchange.ts';
import type { Outcome, Request } from './model.ts';
import { failed } from './outcome.ts';
import { Targets } from './target.ts';

/** Names and values of a response's headers, and of its trailers. */
const HEADER_BYTES_MAX = 16 * 1024;
/** A connection that takes longer is of no use: what waits for it has its own deadline of 30 s at most. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Idle sockets are closed after 4 s, or when the receiver's Keep-Alive header says, but after this at the latest. */
const KEEP_ALIVE_MS_MAX = 60_000;
/** Open sockets without a request, above which all idle ones are closed. */
const IDLE_SOCKETS_MAX = 1_000;
/** Agents for webhooks with their own allowed_ips, each with its own sockets. */
const AGENTS_MAX = 100;

export interface Sender {
  /** Never rejects. */
  send(request: Request): Promise<Outcome>;
  /** Ends what is under way; their outcomes are failures. */
  close(): Promise<void>;
}

export interface SenderOptions {
  /** Our own services, which no webhook reaches. Asked at every dial. */
  closed?: () => readonly Endpoint[];
  /** Answers in place of the system's resolver. */
  resolve?: Resolve;
}

export function createSender(addressPolicy: AddressPolicy, options: SenderOptions = {}): Sender {
  const policy = compilePolicy(addressPolicy);
  const targets = new Targets(policy);
  const agents = new Map<string, Agent>();
  const retired = new Set<Agent>();
  const sockets = new Set<Socket>();
  let inFlight = 0;

  /** Its requests go on, its idle sockets close. */
  const retire = (key: string, agent: Agent) => {
    agents.delete(key);
    retired.add(agent);
    void agent.close().finally(() => retired.delete(agent));
  };
  const onConnect = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (sockets.size - inFlight > IDLE_SOCKETS_MAX) for (const [key, agent] of agents) retire(key, agent);
  };
  const agentFor = (allowedIps: readonly string[] | null): Agent => {
    const key = allowedIps?.join() ?? '';
    let agent = agents.get(key);
    if (!agent) {
      const [oldest] = agents.size < AGENTS_MAX ? [] : agents;
      if (oldest) retire(...oldest);
      agent = createAgent(policy, allowedIps ?? undefined, options, onConnect);
      agents.set(key, agent);
    }
    return agent;
  };

  const onEnd = () => {
    inFlight -= 1;
  };

  return {
    send(request) {
      try {
        const target = targets.of(request.url, request.allowedIps);
        if (typeof target === 'string') return Promise.resolve(failed('address_refused', target, 0));
        const agent = agentFor(request.allowedIps);
        inFlight += 1;
        return new Exchange(request, target, onEnd).outcome(agent);
      } catch (error) {
        // allowed_ips with what is no range: the database lets none in, and one row must not stop the daemon
        return Promise.resolve(failed('address_refused', (error as Error).message, 0));
      }
    },
    async close() {
      await Promise.all([...agents.values(), ...retired].map((agent) => agent.destroy()));
    },
  };
}

function createAgent(
  policy: CompiledPolicy,
  allowedIps: readonly string[] | undefined,
  { closed = () => [], resolve }: SenderOptions,
  onConnect: (socket: Socket) => void,
): Agent {
  const connectorWith = (lookup: LookupFunction) =>
    // a resumed TLS session skips the check of the certificate's names, so none is kept
    buildConnector({ lookup, timeout: CONNECT_TIMEOUT_MS, maxCachedSessions: 0, allowH2: false });
  const connector = connectorWith(guardedLookup(policy, allowedIps, resolve));

  return new Agent({
    allowH2: false,
    pipelining: 1,
    maxHeaderSize: HEADER_BYTES_MAX,
    keepAliveMaxTimeout: KEEP_ALIVE_MS_MAX,
    // one total deadline covers connecting, headers and body
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (options, callback) => {
      const dial = (rules: CompiledPolicy) => {
        // Node asks `lookup` for names only
        const problem = literalProblem(options.hostname, rules, allowedIps);
        if (problem) return callback(new AddressRefused(problem), null);
        const connect = rules === policy ? connector : connectorWith(guardedLookup(rules, allowedIps, resolve));
        connect(options, (...result) => {
          if (result[1]) onConnect(result[1]);
          callback(...result);
        });
      };
      const port = Number(options.port) || (options.protocol === 'https:' ? 443 : 80);
      const endpoints = closed();
      if (!endpoints.some((endpoint) => endpoint.port === port)) dial(policy);
      else closedAt(port, endpoints, policy, resolve).then(dial, (error: Error) => callback(error, null));
    },
  });
}
