// A server that speaks bytes, not HTTP: what strangers send. It reads requests properly, and answers as it is told.

import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

export interface RawConnection {
  /** Counts from 1. */
  number: number;
  socket: Socket;
  /** Requests read on it so far. */
  requests: number;
}

export interface RawRequest {
  method: string;
  path: string;
  body: string;
}

export interface Answers {
  onConnect?: (connection: RawConnection) => void;
  /** The first bytes of a request are there. */
  onBytes?: (connection: RawConnection, bytes: Buffer) => void;
  /** A request is complete. */
  onRequest?: (connection: RawConnection, request: RawRequest) => void;
}

export interface RawServer {
  port: number;
  url(path?: string): string;
  connections: RawConnection[];
  /** Complete ones, of all connections, in the order in which they came. */
  requests: RawRequest[];
  close(): Promise<void>;
}

export async function startRawServer(answers: Answers, tls?: { key: string; cert: string }): Promise<RawServer> {
  const connections: RawConnection[] = [];
  const requests: RawRequest[] = [];

  const onSocket = (socket: Socket) => {
    const connection = { number: connections.length + 1, socket, requests: 0 };
    connections.push(connection);
    let unread = '';
    socket.on('error', () => {}); // whoever connects may break off
    socket.on('data', (bytes) => {
      if (unread === '') answers.onBytes?.(connection, bytes);
      unread += bytes.toString('latin1');
      for (let found = requestAt(unread); found; found = requestAt(unread)) {
        unread = unread.slice(found.length);
        connection.requests += 1;
        requests.push(found.request);
        answers.onRequest?.(connection, found.request);
      }
    });
    answers.onConnect?.(connection);
  };

  const server = tls ? createTlsServer(tls, onSocket) : createServer(onSocket);
  server.on('tlsClientError', () => {});
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: (path = '/') => `${tls ? 'https://localhost' : 'http://127.0.0.1'}:${port}${path}`,
    connections,
    requests,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const { socket } of connections) socket.destroy();
      return closed;
    },
  };
}

function requestAt(text: string): { request: RawRequest; length: number } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const [method = '', path = ''] = head.split(' ');
  const length = end + 4 + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  return text.length < length ? undefined : { request: { method, path, body: text.slice(end + 4, length) }, length };
}

/** Writes as fast as the other side reads, until it goes away. Returns how many bytes it took. */
export function flood(socket: Socket, chunk: string | Buffer, bytesMax = Infinity): { readonly taken: number } {
  const flow = {
    get taken() {
      return socket.bytesWritten - socket.writableLength;
    },
  };
  const pour = () => {
    while (!socket.destroyed && socket.bytesWritten < bytesMax) if (!socket.write(chunk)) return;
  };
  socket.on('drain', pour);
  pour();
  return flow;
}
