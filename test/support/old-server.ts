// As much of an older PostgreSQL as a client sees of it before it is turned away: npm has no binaries of it beside the others.
// Every query is answered with one row that tells its version, and that the session is the client's own.

import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface OldServer {
  url: string;
  /** What it was asked. */
  queries: string[];
  close(): Promise<void>;
}

export async function startOldServer(version: string, versionNumber: number): Promise<OldServer> {
  const queries: string[] = [];
  const sockets = new Set<Socket>();
  const row = { own: 't', standby: 'f', version: String(versionNumber), name: version };
  const server = createServer((socket) => {
    let rest = Buffer.alloc(0);
    let isStarted = false;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        // the first message has no type
        const header = isStarted ? 1 : 0;
        if (rest.length < header + 4) return;
        const end = header + rest.readInt32BE(header);
        if (rest.length < end) return;
        const type = isStarted ? rest.toString('latin1', 0, 1) : 'startup';
        const text = rest.toString('utf8', header + 4, end - 1);
        rest = rest.subarray(end);
        isStarted = true;
        if (type === 'startup') socket.write(Buffer.concat([message('R', int32(0)), message('Z', Buffer.from('I'))]));
        else if (type === 'Q') {
          queries.push(text);
          socket.write(answer(row));
        } else socket.end();
      }
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `postgres://app@127.0.0.1:${(server.address() as AddressInfo).port}/app`,
    queries,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}

function answer(row: Record<string, string>): Buffer {
  const columns = Object.keys(row).map((name) => {
    const type = name === 'standby' || name === 'own' ? 16 : name === 'version' ? 23 : 25;
    return Buffer.concat([zero(name), int32(0), int16(0), int32(type), int16(-1), int32(-1), int16(0)]);
  });
  const values = Object.values(row).map((value) =>
    Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)]),
  );
  return Buffer.concat([
    message('T', int16(columns.length), ...columns),
    message('D', int16(values.length), ...values),
    message('C', zero('SELECT 1')),
    message('Z', Buffer.from('I')),
  ]);
}

function message(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

function zero(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
