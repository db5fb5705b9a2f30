/**
 * DELIVER: one attempt over HTTP. It knows nothing of the database, and a failing endpoint is a value, never an exception.
 *
 * undici's dispatch() with a handler costs 60 µs a signed request where request() costs 80 to 90. The address guard sits in
 * the connector, where the address that is checked is the address that is dialled; keep-alive sockets were checked when they
 * were opened. No redirects, no proxy from the environment, no decompression.
 */
import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import {
  type AddressPolicy,
  AddressRefused,
  compilePolicy,
  guardedLookup,
  literalProblem,
  urlProblem,
} from './address.ts';
import type { Outcome, OutcomeCode, Request } from './model.ts';

/** Bytes of a response body that are read; the connection of a longer one is closed. */
const BODY_BYTES_MAX = 64 * 1024;
/** Characters of it that are kept. */
const BODY_CHARACTERS_MAX = 5_000;
/** Agents for webhooks with their own allowed_ips, each with its own sockets. */
const NARROWED_AGENTS_MAX = 100;

export interface Sender {
  send(request: Request): Promise<Outcome>;
  /** Ends what is under way; their outcomes are failures. */
  close(): Promise<void>;
}

/** An attempt under way, for the diagnostics channel: the socket is known nowhere else. */
interface Flight {
  remoteIp: string | null;
}

let launching: Flight | undefined;
const flights = new WeakMap<object, Flight>();
channel('undici:request:create').subscribe((message) => {
  if (launching) flights.set((message as { request: object }).request, launching);
});
channel('undici:client:sendHeaders').subscribe((message) => {
  const { request, socket } = message as { request: object; socket: Socket };
  const flight = flights.get(request);
  if (flight) flight.remoteIp = socket.remoteAddress ?? null;
});

export function createSender(addressPolicy: AddressPolicy): Sender {
  const policy = compilePolicy(addressPolicy);
  const agents = new Map<string, Agent>();

  const agentFor = (allowedIps: readonly string[] | null): Agent => {
    const key = allowedIps?.join() ?? '';
    let agent = agents.get(key);
    if (!agent) {
      agent = createAgent(policy, allowedIps ?? undefined);
      agents.set(key, agent);
      if (agents.size > NARROWED_AGENTS_MAX) {
        const [oldest] = [...agents].filter(([k]) => k !== '' && k !== key);
        if (oldest) {
          agents.delete(oldest[0]);
          void oldest[1].close();
        }
      }
    }
    return agent;
  };

  return {
    send(request) {
      const startedAt = performance.now();
      const problem = urlProblem(request.url, policy, request.allowedIps ?? undefined);
      if (problem) return Promise.resolve(failed('address_refused', problem, startedAt));
      return attempt(agentFor(request.allowedIps), request, startedAt);
    },
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
    },
  };
}

function createAgent(policy: ReturnType<typeof compilePolicy>, allowedIps?: readonly string[]): Agent {
  const connector = buildConnector({ lookup: guardedLookup(policy, allowedIps), timeout: 30_000, allowH2: false });
  return new Agent({
    allowH2: false,
    pipelining: 1,
    // one total deadline covers connecting, headers and body
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (options, callback) => {
      // Node asks `lookup` for names only
      const problem = literalProblem(options.hostname, policy, allowedIps);
      if (problem) callback(new AddressRefused(problem), null);
      else connector(options, callback);
    },
  });
}

function attempt(agent: Agent, request: Request, startedAt: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const flight: Flight = { remoteIp: null };
    let controller: Dispatcher.DispatchController | undefined;
    let done = false;
    let response: Outcome['response'] = null;
    const chunks: Buffer[] = [];
    let bytes = 0;

    const finish = (outcome: Outcome) => {
      if (done) return;
      done = true;
      clearTimeout(deadline);
      resolve({ ...outcome, remoteIp: flight.remoteIp });
    };
    const finishWithResponse = () => {
      if (response) finish(judge({ ...response, body: readable(Buffer.concat(chunks)) }, startedAt));
    };
    const deadline = setTimeout(() => {
      const stage = response ? 'the response did not end' : 'no response';
      finish({ ...failed('timeout', `${stage} within ${request.timeoutMs} ms`, startedAt), response });
      controller?.abort(new Error('deadline'));
    }, request.timeoutMs);

    const url = new URL(request.url);
    launching = flight;
    try {
      agent.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: request.method,
          headers: request.headers,
          body: request.body,
        },
        {
          onRequestStart(c) {
            controller = c;
            // the deadline passed while it was waiting for its connection
            if (done) c.abort(new Error('deadline'));
          },
          onResponseStart(_, status, headers) {
            if (status < 200) return;
            response = { status, headers: flatten(headers), body: '' };
          },
          onResponseData(c, chunk) {
            bytes += chunk.length;
            chunks.push(
              bytes > BODY_BYTES_MAX ? chunk.subarray(0, Math.max(0, chunk.length - (bytes - BODY_BYTES_MAX))) : chunk,
            );
            if (bytes > BODY_BYTES_MAX) {
              finishWithResponse();
              c.abort(new Error('response body too long'));
            }
          },
          onResponseEnd: finishWithResponse,
          onResponseError(_, error) {
            finish({ ...explain(error, url, startedAt), response });
          },
        },
      );
    } catch (error) {
      // undici refuses some requests by throwing, such as a malformed header
      finish(explain(error as Error, url, startedAt));
    } finally {
      launching = undefined;
    }
  });
}

/** 2xx is success; a redirect is not followed, since its target was never agreed to. */
function judge(response: NonNullable<Outcome['response']>, startedAt: number): Outcome {
  const { status } = response;
  const common = { response, remoteIp: null, durationMs: since(startedAt) };
  if (status >= 200 && status < 300) return { status: 'success', code: 'delivered', error: null, ...common };
  const code: OutcomeCode = status === 410 ? 'gone' : status >= 300 && status < 400 ? 'redirect_refused' : 'http_error';
  const why =
    code === 'redirect_refused'
      ? `the receiver answered ${status}, and redirects are not followed: put the final address into url`
      : `the receiver answered ${status}`;
  return { status: 'failed', code, error: why, ...common };
}

/** Codes of Node, OpenSSL and undici, never message texts. */
const CODES: Record<string, OutcomeCode> = {
  address_refused: 'address_refused',
  ENOTFOUND: 'dns_failed',
  EAI_AGAIN: 'dns_failed',
  EAI_FAIL: 'dns_failed',
  EAI_NODATA: 'dns_failed',
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  EPIPE: 'connection_reset',
  UND_ERR_SOCKET: 'connection_reset',
  ETIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  EPROTO: 'tls_failed',
};

function explain(error: Error & { code?: string }, url: URL, startedAt: number): Outcome {
  // several addresses, several errors: the first tells
  const cause: Error & { code?: string } = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = cause.code ?? '';
  const known = CODES[code];
  if (known === 'address_refused') return failed(known, cause.message, startedAt);
  if (known) return failed(known, `${url.host}: ${SENTENCES[known] ?? known} (${code})`, startedAt);
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH)/.test(code)) {
    return failed('tls_failed', `${url.host}: its certificate or TLS was refused (${code})`, startedAt);
  }
  if (/^(HPE_|UND_ERR_(HEADERS|RES|REQ|INVALID|PRX|INFO))/.test(code)) {
    return failed('protocol_error', `${url.host}: the response is not valid HTTP (${code})`, startedAt);
  }
  return failed('connection_failed', `${url.host}: the connection failed (${code || cause.name})`, startedAt);
}

const SENTENCES: Partial<Record<OutcomeCode, string>> = {
  dns_failed: 'its name cannot be looked up',
  connection_refused: 'it refused the connection',
  connection_reset: 'it closed the connection before it had answered',
  timeout: 'it did not answer in time',
  tls_failed: 'TLS failed',
};

function failed(code: OutcomeCode, error: string, startedAt: number): Outcome {
  return { status: 'failed', code, error, response: null, remoteIp: null, durationMs: since(startedAt) };
}

function since(startedAt: number): number {
  return Math.round(performance.now() - startedAt);
}

/** As text that PostgreSQL can store, cut between characters. */
function readable(body: Buffer): string {
  const text = new TextDecoder().decode(body).replaceAll('\0', '\ufffd');
  if (text.length <= BODY_CHARACTERS_MAX) return text;
  const cut = text.slice(0, BODY_CHARACTERS_MAX - 1);
  return `${cut.replace(/[\ud800-\udbff]$/, '')}…`;
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  );
}
