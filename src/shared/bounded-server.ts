/**
 * HTTP servers of our own, with limits on what clients may take: connections, headers, the time of
 * a request.
 *
 * One connection too many is accepted, and the oldest connection is closed. Otherwise a client that
 * holds all connections would lock out the probes, and a healthy daemon would be restarted.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';

export interface Bounds {
  connectionsMax: number;
  /** Limit on receiving a request, and again on sending its answer. */
  requestMsMax: number;
}

const HEADER_BYTES_MAX = 16_384;

export function boundedServer({ connectionsMax, requestMsMax }: Bounds, handle: RequestListener): Server {
  const bounds = {
    requestTimeout: requestMsMax,
    headersTimeout: requestMsMax, // Also limits the time to the first byte.
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
