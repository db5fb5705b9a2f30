// Many requests at once, from a process of their own.

import { Agent, fetch } from 'undici';
import { answer } from './child.ts';

/** 2,000 connections begin at once, beside all else that the machine does. */
const dispatcher = new Agent({ connect: { timeout: 60_000 } });

export interface Flood {
  url: string;
  token: string;
  path: string;
  atOnce: number;
  /** How long new waves begin. */
  ms: number;
}

export interface Flooded {
  requests: number;
  ms: number;
  /** How many answers had which status, or ended with which error. */
  statuses: Record<string, number>;
}

async function flood({ url, token, path, atOnce, ms }: Flood): Promise<Flooded> {
  const statuses: Record<string, number> = {};
  const begun = performance.now();
  let requests = 0;
  const one = async () => {
    const status = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}` }, dispatcher }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.status;
      },
      (error: Error & { cause?: { code?: string } }) => error.cause?.code ?? error.name,
    );
    statuses[status] = (statuses[status] ?? 0) + 1;
  };
  while (performance.now() - begun < ms) {
    requests += atOnce;
    await Promise.all(Array.from({ length: atOnce }, one));
  }
  return { requests, ms: performance.now() - begun, statuses };
}

answer({ flood });
