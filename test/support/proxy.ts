// A TCP proxy that behaves as networks do on bad days: bytes stop, in one direction or in both, crawl, or come late. No connection
// is closed by it, and what was sent while the way was cut arrives when it is open again, as TCP sees to.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/** Seen from whoever connects to the proxy. */
export type Direction = 'out' | 'in';

export interface Pace {
  /** Before each piece that is passed on. */
  latencyMs?: number;
  /** Size of the pieces that are passed on; as they come otherwise. */
  sliceBytes?: number;
}

export interface Proxy {
  port: number;
  /** Connections that are open on the side of whoever connects. */
  readonly connections: number;
  /** Connections open now pass nothing on any more. New ones do. */
  fallSilent(): void;
  /** Connections that said this text first pass nothing on, old ones and new ones. Returns what lets new ones pass again. */
  silence(text: string): () => void;
  /** No byte passes, on old connections and on new ones, until heal(). */
  cut(...directions: Direction[]): void;
  /** All pass on again, at full speed. */
  heal(): void;
  /** All pass on in this manner. */
  slow(pace: Pace): void;
  /** Breaks off all connections that are open now. */
  reset(): void;
  close(): Promise<void>;
}

/** `target` is looked at for each new connection: whoever changes it moves the service elsewhere. */
export async function startProxy(target: { host: string; port: number }): Promise<Proxy> {
  const inside = new Set<Socket>();
  const outside = new Set<Socket>();
  const silent = new WeakSet<Socket>();
  /** The first bytes of each connection, on both of its sides: PostgreSQL's clients tell their application_name. */
  const openings = new WeakMap<Socket, string>();
  const silenced = new Set<string>();
  const gates = { out: new Gate(), in: new Gate() };
  let pace: Pace = {};

  const carry = async (from: Socket, to: Socket, direction: Direction) => {
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        if (direction === 'out' && !openings.has(from)) {
          for (const side of [from, to]) openings.set(side, chunk.toString('latin1'));
          if ([...silenced].some((text) => openings.get(from)?.includes(text))) silent.add(from).add(to);
        }
        await gates[direction].passed();
        if (silent.has(from)) return;
        const bytesMax = pace.sliceBytes ?? chunk.length;
        for (let at = 0; at < chunk.length; at += bytesMax) {
          if (pace.latencyMs) await sleep(pace.latencyMs);
          // each a packet of its own, but others want to pass as well
          else if (at % 64 === 63) await nextTurn();
          if (!to.write(chunk.subarray(at, at + bytesMax))) await Promise.race([once(to, 'drain'), once(to, 'close')]);
        }
      }
      // that one side has ended, or broken off, is told by packets as well
      await gates[direction].passed();
      if (!silent.has(from)) to.end();
    } catch {
      await gates[direction].passed();
      if (!silent.has(from)) to.destroy();
    }
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const service = connect({ ...target, allowHalfOpen: true, noDelay: true });
    for (const [socket, open] of [
      [client, inside],
      [service, outside],
    ] as const) {
      open.add(socket);
      socket.on('error', () => {}).on('close', () => open.delete(socket));
    }
    void carry(client, service, 'out');
    void carry(service, client, 'in');
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));

  const all = () => [...inside, ...outside];
  const reset = () => {
    for (const socket of all()) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return inside.size;
    },
    fallSilent: () => {
      for (const socket of all()) silent.add(socket);
    },
    silence: (text) => {
      silenced.add(text);
      for (const socket of all()) if (openings.get(socket)?.includes(text)) silent.add(socket);
      return () => void silenced.delete(text);
    },
    cut: (...directions) => {
      for (const direction of directions) gates[direction].close();
    },
    heal: () => {
      pace = {};
      for (const gate of Object.values(gates)) gate.open();
    },
    slow: (given) => {
      pace = given;
    },
    reset,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const gate of Object.values(gates)) gate.open();
      for (const socket of all()) socket.destroy();
      return closed;
    },
  };
}

class Gate {
  #opened: Promise<void> = Promise.resolve();
  #open: (() => void) | null = null;

  passed(): Promise<void> {
    return this.#opened;
  }

  close(): void {
    if (this.#open) return;
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open?.();
    this.#open = null;
  }
}
