// A TCP proxy that can fall silent, as a network does: no byte passes any more, and no connection is closed.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Proxy {
  port: number;
  /** Connections open now pass nothing on any more. New ones do. */
  fallSilent(): void;
  close(): Promise<void>;
}

export async function startProxy(target: { host: string; port: number }): Promise<Proxy> {
  const open = new Set<Socket>();
  const server = createServer((inside) => {
    const outside = connect(target);
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      open.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => open.delete(from));
      from.on('data', (chunk) => to.write(chunk));
      from.on('end', () => to.end());
    }
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    port: (server.address() as AddressInfo).port,
    fallSilent: () => {
      for (const socket of open) {
        socket
          .removeAllListeners('data')
          .removeAllListeners('end')
          .removeAllListeners('error')
          .on('error', () => {});
        socket.pause();
      }
    },
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      return closed;
    },
  };
}
