/**
 * Health and metrics over HTTP.
 *
 * /healthz   Is the daemon working? If this fails, a restart may help.
 * /readyz    Does the daemon deliver or stand by? It owns lanes with a valid lease, or others do.
 * /metrics   Metrics for Prometheus.
 */
import type { Server } from 'node:http';
import { type Bounds, boundedServer } from '../shared/bounded-server.ts';
import { UserError } from '../shared/user-error.ts';

export interface Served {
  /** A sentence that says what is wrong. Null: nothing. */
  healthProblem(): string | null;
  readyProblem(): string | null;
  metrics(): Promise<{ contentType: string; text: string }>;
}

export interface HttpServer {
  port: number;
  close(): Promise<void>;
}

/** The settings that an error names. */
export interface SettingNames {
  port: string;
  host: string;
  /** What port 0 means, as the end of a sentence. */
  zero: string;
}

const OF_DAEMON: SettingNames = {
  port: 'ROWHOOK_HTTP_PORT',
  host: 'ROWHOOK_HTTP_HOST',
  zero: ', or set 0 for no port',
};

/** Enough for a few probes and scrapers at the same time, each with its own connection. */
const BOUNDS: Bounds = { connectionsMax: 100, requestMsMax: 5_000 };

/**
 * `host` is an address or a name of this machine. `::` means all interfaces. The server writes
 * nothing and shows no secrets.
 */
export async function serve(
  host: string,
  port: number,
  served: Served,
  bounds = BOUNDS,
  names: SettingNames = OF_DAEMON,
): Promise<HttpServer> {
  const server = boundedServer(bounds, (request, response) => {
    const answer = (status: number, text: string, contentType = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': contentType });
      response.end(text);
    };
    const check = (problem: string | null) => answer(problem === null ? 200 : 503, `${problem ?? 'ok'}\n`);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'use GET or HEAD\n');
    switch (request.url?.split('?')[0]) {
      case '/healthz':
        return check(served.healthProblem());
      case '/readyz':
        return check(served.readyProblem());
      case '/metrics':
        served.metrics().then(
          ({ contentType, text }) => answer(200, text, contentType),
          (error: Error) => answer(500, `${error.message}\n`),
        );
        return;
      default:
        return answer(404, 'try /healthz, /readyz or /metrics\n');
    }
  });
  await listening(server, host, port, names);
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server, host: string, port: number, names: SettingNames): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenProblem(error, host, port, names)));
    // Without a host Node listens on all interfaces, also on a machine without IPv6.
    if (host === '::') server.listen(port, resolve);
    else server.listen(port, host, resolve);
  });
}

/** The usual cause is a second process on the same machine. */
export function listenProblem(error: NodeJS.ErrnoException, host: string, port: number, names: SettingNames): Error {
  const because = (verdict: string) =>
    new UserError(`${names.port}: port ${port} ${verdict}${names.zero}.`, 1, { cause: error });
  if (error.code === 'EADDRINUSE') return because('is in use. Stop the other process, set another port');
  if (error.code === 'EACCES') return because('needs a privilege. Set a port above 1023');
  if (['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EAFNOSUPPORT', 'EINVAL'].includes(error.code ?? ''))
    return new UserError(
      `${names.host}: "${host}" is not an address of this machine. ` +
        'Set one of its addresses, 127.0.0.1, or :: for all.',
      1,
      { cause: error },
    );
  return error;
}
