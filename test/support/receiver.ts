// A real HTTP receiver on the loopback interface. It keeps every request as it came, and behaves per path as told.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceivedRequest {
  /** performance.now() when the headers were there. */
  at: number;
  method: string;
  /** With the query, if there was one. */
  path: string;
  /** Names in lower case; repeated ones joined by ', '. */
  headers: Record<string, string>;
  rawHeaders: string[];
  body: Buffer;
}

/** Without anything: 200 and an empty body. */
export interface Behaviour {
  status?: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
  delayMs?: number;
  /** Never answers. */
  hang?: true;
  /** Breaks the connection off. */
  reset?: true;
}

export type Handler = (request: ReceivedRequest) => Behaviour | Promise<Behaviour>;

export interface Receiver {
  port: number;
  /** All, in the order in which their bodies were complete. */
  requests: ReceivedRequest[];
  /** The most requests that waited for their answers together. */
  readonly mostAtOnce: number;
  requestsTo(path: string): ReceivedRequest[];
  url(path?: string): string;
  /** From now on, for a path without its query; `'*'` for all others. */
  respond(path: string, behaviour: Behaviour | Handler): void;
  /** Resolves to the first `count` matching requests, counting those that have come already. */
  waitFor(what: number | ((request: ReceivedRequest) => boolean), options?: WaitOptions): Promise<ReceivedRequest[]>;
  /** Forgets the requests and the behaviours. */
  clear(): void;
  close(): Promise<void>;
}

interface WaitOptions {
  /** With a predicate: how many must match. Default 1. */
  count?: number;
  timeoutMs?: number;
}

export async function startReceiver(options: { port?: number } = {}): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  const behaviours = new Map<string, Behaviour | Handler>();
  const waiters = new Set<(request: ReceivedRequest) => void>();
  let [waiting, mostAtOnce] = [0, 0];
  // A connection that idles is not closed: that would race with its next request.
  const server = createServer({ keepAliveTimeout: 0 });

  server.on('request', (incoming, response) => {
    const at = performance.now();
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('error', () => {}); // The sender gave up before its body was complete.
    incoming.on('end', () => {
      const request = receivedRequest(incoming, at, chunks);
      requests.push(request);
      waiting += 1;
      mostAtOnce = Math.max(mostAtOnce, waiting);
      for (const waiter of waiters) waiter(request);
      const behaviour = behaviours.get(pathname(request)) ?? behaviours.get('*');
      let waits = 1;
      const onAnswer = () => {
        waiting -= waits;
        waits = 0;
      };
      // or its sender gave up
      response.once('close', onAnswer);
      behave(behaviour ?? {}, request, response, onAnswer);
    });
  });

  await new Promise<void>((listening, failed) => {
    server.once('error', failed).listen(options.port ?? 0, '127.0.0.1', listening);
  });
  const { port } = server.address() as AddressInfo;

  return {
    port,
    requests,
    get mostAtOnce() {
      return mostAtOnce;
    },
    requestsTo: (path) => requests.filter((request) => request.path === path || pathname(request) === path),
    url: (path = '/') => `http://127.0.0.1:${port}${path}`,
    respond: (path, behaviour) => behaviours.set(path, behaviour),
    waitFor: (what, { count = typeof what === 'number' ? what : 1, timeoutMs = 60_000 } = {}) => {
      const matches = typeof what === 'number' ? () => true : what;
      const found = requests.filter(matches).slice(0, count);
      if (found.length >= count) return Promise.resolve(found);
      return new Promise((resolve, reject) => {
        const waiter = (request: ReceivedRequest) => {
          if (matches(request) && found.push(request) >= count) finish(() => resolve(found));
        };
        const finish = (settle: () => void) => {
          clearTimeout(timer);
          waiters.delete(waiter);
          settle();
        };
        const timer = setTimeout(() => {
          const wanted = `${count} ${typeof what === 'number' ? 'requests' : 'matching requests'}`;
          finish(() =>
            reject(new Error(`Waited ${timeoutMs} ms for ${wanted}, got ${found.length}. ${arrived(requests)}`)),
          );
        }, timeoutMs);
        waiters.add(waiter);
      });
    },
    clear: () => {
      requests.length = 0;
      behaviours.clear();
      mostAtOnce = waiting;
    },
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

function receivedRequest(incoming: IncomingMessage, at: number, chunks: Buffer[]): ReceivedRequest {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers))
    headers[name] = Array.isArray(value) ? value.join(', ') : (value ?? '');
  const { method = '', url: path = '', rawHeaders } = incoming;
  return { at, method, path, headers, rawHeaders, body: Buffer.concat(chunks) };
}

function pathname({ path }: ReceivedRequest): string {
  const query = path.indexOf('?');
  return query < 0 ? path : path.slice(0, query);
}

async function behave(
  given: Behaviour | Handler,
  request: ReceivedRequest,
  response: ServerResponse,
  onAnswer: () => void,
): Promise<void> {
  try {
    const behaviour = typeof given === 'function' ? await given(request) : given;
    const { status = 200, headers = {}, body = '', delayMs = 0, hang, reset } = behaviour;
    if (hang) return;
    const answer = () => {
      onAnswer();
      if (reset) response.socket?.resetAndDestroy();
      else response.writeHead(status, headers).end(body);
    };
    if (delayMs > 0) setTimeout(answer, delayMs);
    else answer();
  } catch (error) {
    // A handler's own mistake, shown where the sender reports it.
    response.writeHead(599, { 'content-type': 'text/plain' }).end(`receiver: ${error}`);
  }
}

function arrived(requests: ReceivedRequest[]): string {
  if (requests.length === 0) return 'Nothing arrived at all.';
  const shown = requests
    .slice(-20)
    .map(({ method, path, headers }) => `  ${method} ${path} ${headers['x-webhook-event'] ?? ''}`);
  return `${requests.length} arrived in all, the last of them:\n${shown.join('\n')}`;
}
