// Clients of the app: one statement after another on each connection, prepared, as pgbench -M prepared sends it. The bytes are
// made once, and of an answer only its end is looked at, so that a transaction costs the client about as much as it costs pgbench.

import { once } from 'node:events';
import pg from 'pg';
import { answer } from './child.ts';

export interface Load {
  url: string;
  clients: number;
  seconds: number;
  sql: string;
}

/** The answer to one round is over: ReadyForQuery, idle. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
const ERROR = 0x45;

function message(type: string, ...parts: (string | number[])[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : Buffer.from(part))),
  );
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const ROUND = Buffer.concat([
  message('B', '', 'bench', [0, 0, 0, 0, 0, 0]),
  message('E', '', [0, 0, 0, 0]),
  message('S'),
]);

/** Transactions a second. */
async function run({ url, clients, seconds, sql }: Load): Promise<number> {
  const connections = await Promise.all(
    Array.from({ length: clients }, async () => {
      const client = new pg.Client(url);
      client.on('error', () => {});
      await client.connect();
      await client.query({ name: 'bench', text: sql });
      return client;
    }),
  );
  let transactions = 0;
  let running = true;
  const startedAt = performance.now();
  const one = async (client: pg.Client) => {
    const { stream } = (client as unknown as { connection: { stream: import('node:net').Socket } }).connection;
    stream.removeAllListeners('data');
    let failure = '';
    let first = true;
    stream.on('data', (chunk: Buffer) => {
      if (first && chunk[0] === ERROR) failure = chunk.toString('latin1');
      first = chunk.subarray(-READY.length).equals(READY);
      if (!first) return;
      transactions += 1;
      if (running && !failure) stream.write(ROUND);
      else stream.destroy();
    });
    const over = once(stream, 'close');
    stream.write(ROUND);
    await over;
    if (failure) throw new Error(failure);
  };
  const stop = setTimeout(() => {
    running = false;
  }, seconds * 1000);
  await Promise.all(connections.map(one));
  clearTimeout(stop);
  return (transactions * 1000) / (performance.now() - startedAt);
}

answer({ run });
