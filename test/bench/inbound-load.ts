// Senders of inbound webhooks: as many as can be, or at a pace.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { answer } from './child.ts';

export interface Load {
  url: string;
  path: string;
  headers: Record<string, string>;
  body: string;
  /** Whether each request has a webhook-id of its own. */
  named: boolean;
  ms: number;
}

export interface Loaded {
  requests: number;
  /** Requests a second, without the first fifth, in which processes warm up. */
  rate: number;
  statuses: Record<number, number>;
}

export interface Paced extends Omit<Load, 'ms'> {
  requests: number;
  everyMs: number;
}

export interface PacedAnswers {
  /** Milliseconds from the time at which a request was due to the end of its answer. */
  latencies: number[];
  statuses: Record<number, number>;
}

function sender({ url, path, headers, body, named }: Omit<Load, 'ms'>, connections: number) {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const statuses: Record<number, number> = {};
  const send = async () => {
    const { statusCode, body: answered } = await pool.request({
      path,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers, ...(named && { 'webhook-id': randomUUID() }) },
      body,
    });
    await answered.dump();
    statuses[statusCode] = (statuses[statusCode] ?? 0) + 1;
  };
  return { pool, send, statuses };
}

const CONNECTIONS = 64;

async function load(asked: Load): Promise<Loaded> {
  const { pool, send, statuses } = sender(asked, CONNECTIONS);
  const begun = performance.now();
  const warm = begun + asked.ms / 5;
  const end = begun + asked.ms;
  let [requests, counted] = [0, 0];
  const one = async () => {
    while (performance.now() < end) {
      await send();
      requests += 1;
      if (performance.now() > warm) counted += 1;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, one));
  const rate = (counted * 1_000) / (performance.now() - warm);
  await pool.close();
  return { requests, rate, statuses };
}

/** A request that is late does not delay those after it, so their waiting counts. */
async function paced({ requests, everyMs, ...asked }: Paced): Promise<PacedAnswers> {
  const { pool, send, statuses } = sender(asked, CONNECTIONS);
  const begun = performance.now();
  const sent: Promise<number>[] = [];
  for (let n = 0; n < requests; n++) {
    const due = begun + n * everyMs;
    await sleep(Math.max(0, due - performance.now()));
    sent.push(send().then(() => performance.now() - due));
  }
  const latencies = await Promise.all(sent);
  await pool.close();
  return { latencies, statuses };
}

answer({ load, paced });
