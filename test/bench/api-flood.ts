// Many requests at once, from a process of their own.

import { answer } from './child.ts';

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
  /** How many answers had which status; `none`: there was no answer. */
  statuses: Record<string, number>;
}

async function flood({ url, token, path, atOnce, ms }: Flood): Promise<Flooded> {
  const statuses: Record<string, number> = {};
  const begun = performance.now();
  let requests = 0;
  const one = async () => {
    const status = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}` } }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.status;
      },
      () => 'none',
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
