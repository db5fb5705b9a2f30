// An HTTP proxy as companies run them: it opens tunnels (CONNECT), and looks names up by itself.

import { createServer, type IncomingHttpHeaders } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface Tunnel {
  authority: string;
  headers: IncomingHttpHeaders;
}

export interface ConnectProxy {
  port: number;
  /** What was asked for, whether it was opened or not. */
  tunnels: Tunnel[];
  close(): Promise<void>;
}

export interface ConnectProxyOptions {
  tls?: { key: string; cert: string };
  /** Asked before a tunnel is opened; text that it returns is written to the client instead, and the connection ended. */
  refuse?: (tunnel: Tunnel) => string | undefined;
}

/** Whatever name or address is asked for, the tunnel leads to its port on this machine. */
export async function startConnectProxy({ tls, refuse }: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const tunnels: Tunnel[] = [];
  const sockets = new Set<Socket>();
  const server = tls ? createTlsServer(tls) : createServer();
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (incoming, client) => {
    const tunnel = { authority: incoming.url ?? '', headers: incoming.headers };
    tunnels.push(tunnel);
    client.on('error', () => {});
    const refusal = refuse?.(tunnel);
    if (refusal !== undefined) {
      client.end(refusal);
      return;
    }
    const port = Number(tunnel.authority.split(':').at(-1));
    const target = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(target).pipe(client);
    });
    sockets.add(target);
    target.on('error', () => client.destroy());
    client.on('close', () => target.destroy());
    target.on('close', () => client.destroy());
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    port: (server.address() as AddressInfo).port,
    tunnels,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}
