// A DNS server on the loopback interface that answers as it is told, and a way to start a daemon that asks it and nobody else.

import { createSocket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Nothing: it does not answer. */
export type Answer =
  | { ip: string; afterMs?: number }
  | { error: 'SERVFAIL' | 'NXDOMAIN'; afterMs?: number }
  | undefined;

export interface DnsServer {
  /** How often each name was asked for. */
  asked: Map<string, number>;
  /** What a process is started through, so that it asks this server: startDaemonProcess(…, …, { through }). */
  through: readonly string[];
  close(): Promise<void>;
}

// resolv.conf knows no ports: 53 on an address that nobody else uses
const address = '127.0.77.53';
const codes = { SERVFAIL: 2, NXDOMAIN: 3 };

/** Rejects for whoever may not take port 53, who could not put the server in place of the system's either. */
export async function startDnsServer(answer: (name: string) => Answer): Promise<DnsServer> {
  const asked = new Map<string, number>();
  const socket = createSocket('udp4');
  socket.on('message', async (query, from) => {
    const { name, end, type } = questionOf(query);
    asked.set(name, (asked.get(name) ?? 0) + 1);
    const told = answer(name);
    if (!told) return;
    if (told.afterMs) await sleep(told.afterMs);
    const isA = 'ip' in told && type === 1;
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(0x8180 | ('error' in told ? codes[told.error] : 0), 2);
    head.writeUInt16BE(isA ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    // a pointer to the name, type A, class IN, no time to live, four bytes
    const record = isA ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...told.ip.split('.').map(Number)] : [];
    socket.send(Buffer.concat([head, query.subarray(12, end), Buffer.from(record)]), from.port, from.address, () => {});
  });
  await new Promise<void>((listening, failed) => {
    socket.once('error', failed).bind(53, address, listening);
  });
  const home = await mkdtemp(join(tmpdir(), 'rowhook-dns-'));
  const file = join(home, 'resolv.conf');
  await writeFile(file, `nameserver ${address}\n`);
  return {
    asked,
    // in a mount namespace of its own, so that the machine's file stays as it is
    through: ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', file],
    close: async () => {
      socket.close();
      await rm(home, { recursive: true });
    },
  };
}

function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while ((query[at] ?? 0) > 0) {
    const length = query[at] as number;
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}
