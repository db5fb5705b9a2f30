/**
 * Health and metrics over HTTP.
 *
 *   /healthz   the loop turns: if not, restart the daemon
 *   /readyz    it delivers, or stands by to: lanes are held and their leases renewed, or others hold them
 *   /metrics   Prometheus
 */
import { createServer, type Server } from 'node:http';
import { UserError } from './errors.ts';

export interface Served {
  /** What is wrong, in a sentence; null: nothing. */
  healthProblem(): string | null;
  readyProblem(): string | null;
  metrics(): Promise<{ contentType: string; text: string }>;
}

export interface HttpServer {
  port: number;
  close(): Promise<void>;
}

/** Listens on all interfaces, as probes and scrapers come from outside; there is nothing to write and no secret to read. */
export async function serve(port: number, served: Served): Promise<HttpServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, contentType = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': contentType });
      response.end(text);
    };
    const check = (problem: string | null) => answer(problem === null ? 200 : 503, `${problem ?? 'ok'}\n`);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET\n');
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
  await listening(server, port);
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

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, port)));
    server.listen(port, resolve);
  });
}

/** A second daemon on one machine is the common case. */
function explain(error: NodeJS.ErrnoException, port: number): Error {
  const because = (verdict: string) =>
    new UserError(`ROWHOOK_HTTP_PORT: port ${port} ${verdict}, or 0 for none.`, 1, { cause: error });
  if (error.code === 'EADDRINUSE') return because('is in use: end what listens there, give another port');
  if (error.code === 'EACCES') return because('may not be opened: give a port above 1023');
  return error;
}
