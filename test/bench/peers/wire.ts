// Counts round trips: it stands between a client and PostgreSQL, and counts the messages that ask for an answer.

import { type AddressInfo, connect, createServer } from 'node:net';
import { answer } from '../child.ts';

let count = 0;

/** Query, and Sync, which ends a prepared statement. */
const ASKS = new Set([0x51, 0x53]);

/** Looks at the messages of one client. The first one has no type. */
function counting(): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let isFirst = true;
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const at = isFirst ? 0 : 1;
      if (rest.length < at + 4) return;
      const length = at + rest.readUInt32BE(at);
      if (rest.length < length) return;
      if (!isFirst && ASKS.has(rest[0] as number)) count += 1;
      isFirst = false;
      rest = rest.subarray(length);
    }
  };
}

function stand({ host, port }: { host: string; port: number }): Promise<number> {
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host, port, noDelay: true });
    const note = counting();
    client.on('data', (chunk) => {
      note(chunk);
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => client.write(chunk));
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      one.on('error', () => {}).on('close', () => other.destroy());
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

answer({ stand, count: () => count });
