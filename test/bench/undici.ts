// The baseline of a drain: the same body and headers through undici alone, without a database. Also the baseline of latency:
// one notification of PostgreSQL, then one POST.

import pg from 'pg';
import { Agent, type Dispatcher } from 'undici';
import { answer } from './child.ts';

export interface Flood {
  origin: string;
  headers: Record<string, string>;
  body: string;
  requests: number;
  connections: number;
}

/** Reads nothing of the response but its end. */
class Handler implements Dispatcher.DispatchHandler {
  readonly #done: (error?: Error) => void;
  constructor(done: (error?: Error) => void) {
    this.#done = done;
  }
  onRequestStart(): void {}
  onResponseStart(): void {}
  onResponseData(): void {}
  onResponseEnd(): void {
    this.#done();
  }
  onResponseError(_: unknown, error: Error): void {
    this.#done(error);
  }
}

async function flood({ origin, headers, body, requests, connections }: Flood): Promise<number> {
  const agent = new Agent({ connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  const before = process.cpuUsage();
  const bytes = Buffer.from(body);
  let left = requests;
  const send = () =>
    new Promise<void>((resolve, reject) => {
      const next = (error?: Error): void => {
        if (error) reject(error);
        if (error || left-- <= 0) {
          resolve();
          return;
        }
        // as the daemon does: its own object of headers, its own body, for each request
        const one = {
          origin,
          path: '/hook',
          method: 'POST',
          headers: { ...headers },
          body: Buffer.from(bytes),
        } as const;
        agent.dispatch(one, new Handler(next));
      };
      next();
    });
  await Promise.all(Array.from({ length: connections }, send));
  await agent.close();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** POSTs what each notification says. */
async function relay({ url, origin, headers, body }: Flood & { url: string }): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  const agent = new Agent({ connections: 64, pipelining: 1 });
  const done = (error?: Error) => {
    if (error) throw error;
  };
  client.on('notification', ({ payload }) => {
    const one = { origin, path: '/hook', method: 'POST', headers: { ...headers } } as const;
    agent.dispatch(
      { ...one, body: Buffer.from(body.replace(/"title":"[^"]*"/, `"title":"#${payload}"`)) },
      new Handler(done),
    );
  });
  await client.query('listen bench');
}

answer({ flood, relay });
