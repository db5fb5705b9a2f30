// A receiver that costs next to nothing: it counts requests and answers 200. For loads where receiver.ts, which keeps every
// request, would be what is measured.

import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface Counter {
  url: string;
  /** How often each webhook-id came. */
  received: ReadonlyMap<string, number>;
  /** Requests, repeated ones too. */
  readonly requests: number;
  close(): Promise<void>;
}

const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

export async function startCounter({ answerAfterMs = 0, onRequest = (_body: Buffer) => {} } = {}): Promise<Counter> {
  const received = new Map<string, number>();
  const sockets = new Set<Socket>();
  let requests = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    let rest: Buffer = Buffer.alloc(0);
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    socket.on('data', (chunk) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (;;) {
        const headersEnd = rest.indexOf('\r\n\r\n');
        if (headersEnd < 0) return;
        const headers = rest.toString('latin1', 0, headersEnd);
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(headers)?.[1] ?? 0);
        const end = headersEnd + 4 + length;
        if (rest.length < end) return;
        const id = /\r\nwebhook-id: (\S+)/i.exec(headers)?.[1] ?? '';
        const body = rest.subarray(headersEnd + 4, end);
        rest = rest.subarray(end);
        requests += 1;
        received.set(id, (received.get(id) ?? 0) + 1);
        onRequest(body);
        if (answerAfterMs === 0) socket.write(answer);
        else setTimeout(() => socket.write(answer), answerAfterMs);
      }
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    received,
    get requests() {
      return requests;
    },
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}
