// A TCP proxy before PostgreSQL that notes what its clients ask, and how many rows each answer has. Two requests with
// the same notes cost the database the same work, so nobody can tell them apart by their time.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface StatementTap {
  /** The address of a database through the tap. */
  through(url: string): string;
  /** The transactions that have ended since the last call: statements and the tags of their answers. */
  take(): string[][];
  close(): Promise<void>;
}

export async function startStatementTap(databaseUrl: string): Promise<StatementTap> {
  const { hostname, port } = new URL(databaseUrl);
  const open = new Set<Socket>();
  let ended: string[][] = [];
  const server = createServer({ noDelay: true }, (client) => {
    const service = connect({ host: hostname, port: Number(port), noDelay: true });
    let transaction: string[] = [];
    const note = (line: string) => {
      if (/^> begin/.test(line)) transaction = [];
      transaction.push(line);
      if (!/^< (COMMIT|ROLLBACK)/.test(line)) return;
      ended.push(transaction);
      transaction = [];
    };
    /** By name. A connection plans a statement with a name once, whoever asks first. */
    const planned = new Map<string, string>();
    // The first message of a client has no type.
    const asked = new Messages(4, (type, body) => {
      if (type === 'Q') note(`> ${textAt(body, 0)}`);
      if (type === 'P') planned.set(textAt(body, 0), textAt(body, body.indexOf(0) + 1));
      if (type === 'B') note(`> ${planned.get(textAt(body, body.indexOf(0) + 1))}`);
    });
    const answered = new Messages(0, (type, body) => {
      if (type === 'C') note(`< ${textAt(body, 0)}`);
      if (type === 'E') note('< an error');
    });
    for (const [from, to, messages] of [
      [client, service, asked],
      [service, client, answered],
    ] as const) {
      open.add(from);
      from.on('error', () => to.destroy()).on('close', () => open.delete(from) && to.destroy());
      from.on('data', (chunk) => {
        messages.add(chunk);
        to.write(chunk);
      });
    }
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    through: (url) => {
      const through = new URL(url);
      through.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      return through.href;
    },
    take: () => {
      const taken = ended;
      ended = [];
      return taken;
    },
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      return closed;
    },
  };
}

const textAt = (body: Buffer, from: number) => body.subarray(from, body.indexOf(0, from)).toString();

/** Puts chunks together to messages: a letter, the length with itself, the body. */
class Messages {
  #bytes = Buffer.alloc(0);
  #headerBytes: number;
  readonly #onMessage: (type: string, body: Buffer) => void;

  /** `untyped`: 4 where the first message has a length only. */
  constructor(untyped: 0 | 4, onMessage: (type: string, body: Buffer) => void) {
    this.#headerBytes = untyped === 4 ? 4 : 5;
    this.#onMessage = onMessage;
  }

  add(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const header = this.#headerBytes;
      if (this.#bytes.length < header) return;
      const length = this.#bytes.readUInt32BE(header - 4) + header - 4;
      if (this.#bytes.length < length) return;
      if (header === 5) this.#onMessage(String.fromCharCode(this.#bytes[0] as number), this.#bytes.subarray(5, length));
      this.#headerBytes = 5;
      this.#bytes = this.#bytes.subarray(length);
    }
  }
}
