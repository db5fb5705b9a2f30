/**
 * HTTP servers of our own, with a bound on what strangers may take of them: connections, headers, the time of a request.
 *
 * One connection too many closes the oldest, and is not refused itself: whoever takes all of them and holds them would
 * otherwise keep the probes out, and have a daemon restarted that is well.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';

export interface Bounds {
  connectionsMax: number;
  /** For a request to arrive whole, and as much again for its answer to be taken. */
  requestMsMax: number;
}

const HEADER_BYTES_MAX = 16_384;

export function boundedServer({ connectionsMax, requestMsMax }: Bounds, handle: RequestListener): Server {
  const bounds = {
    requestTimeout: requestMsMax,
    headersTimeout: requestMsMax, // also until the first byte
    connectionsCheckingInterval: Math.ceil(requestMsMax / 10),
    maxHeaderSize: HEADER_BYTES_MAX,
  };
  const server = createServer(bounds, (request, response) => {
    const late = setTimeout(() => request.socket.destroy(), 2 * requestMsMax);
    response.once('close', () => clearTimeout(late));
    handle(request, response);
  });
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    if (open.size <= connectionsMax) return;
    const [oldest] = open;
    oldest?.destroy();
  });
  return server;
}
