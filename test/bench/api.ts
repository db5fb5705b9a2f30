// The HTTP API: a page of a large log against one of a small log, and a flood of requests beside a daemon.

import pg from 'pg';
import type { Flood, Flooded } from './api-flood.ts';
import { Child } from './child.ts';
import { createWebhooks, TENANT } from './drain.ts';
import { type Figure, figureOf, inTurns, median, type Pair, quantile, stated } from './figure.ts';
import { pin, quietly, twoHosts } from './host.ts';
import { INSERT, latencies } from './latency.ts';
import { serveApi } from './serve.ts';
import type { Database, Stage } from './stage.ts';

const POOL = 10;

export async function api(stage: Stage): Promise<Figure[]> {
  return [await pages(stage), ...(await flood(stage, DEFAULT_LIMIT)), ...(await flood(stage, UNLIMITED))];
}

/** Requests a minute for one key. */
const DEFAULT_LIMIT = 600;
const UNLIMITED = 1_000_000;

interface Served {
  url: string;
  pid: number;
  token: string;
  stop(): Promise<void>;
}

async function serve(database: Database, tenant: string, rateLimit = UNLIMITED): Promise<Served> {
  const token = await database.value<string>(`select rowhook.create_api_key('bench', '{read}', '${tenant}')`);
  const { url, pid, stop } = await serveApi(database.apiUrl, {
    ROWHOOK_API_POOL: String(POOL),
    ROWHOOK_API_RATE_LIMIT: String(rateLimit),
  });
  return { url: `${url}/api/v1/me`, pid, token, stop };
}

const WEBHOOK = '00000000-0000-4000-8000-000000000001';

/** Every tenth attempt failed, and half of these are of one type: 1,000 rows have a page of 50. */
const fillLog = (database: Database, rows: number) =>
  database.query(
    `insert into rowhook.webhook_configurations (id, tenant_id, name, url, event_types)
       values ('${WEBHOOK}', '${TENANT}', 'w', 'https://hooks.example.com/', '{*}');
     insert into rowhook.webhook_logs (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type,
                                       attempt, status, code, request_url, lane, webhook_name, duration_ms)
     select now() - make_interval(secs => n * 172800.0 / ${rows}), '${TENANT}', '${WEBHOOK}',
            ('00000000-0000-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'evt_' || n,
            case when n % 20 = 0 then 'deal.won' else 'deal.updated' end, 1,
            case when n % 10 = 0 then 'failed' else 'success' end, 'delivered', 'u', 3, 'w', 7
       from generate_series(1, ${rows}) as n;
     analyze rowhook.webhook_logs`,
  );

/** Milliseconds of a page, the median. */
async function pageMs({ url, token }: Served, pages: number): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < pages; n++) {
    const begun = performance.now();
    const asked = `${url}/outgoing-webhooks/${WEBHOOK}/deliveries?limit=50&status=failed&event_type=deal.won`;
    const answer = await fetch(asked, { headers: { authorization: `Bearer ${token}` } });
    const { data } = (await answer.json()) as { data: object[] };
    if (data.length !== 50) throw new Error(`${data.length} attempts on a page of 50`);
    times.push(performance.now() - begun);
  }
  return median(times);
}

function pages(stage: Stage): Promise<Figure> {
  return stage.database((small) =>
    stage.database(async (large) => {
      const rows = stage.size(1_000_000, 20_000);
      await fillLog(small, 1_000);
      await fillLog(large, rows);
      const servers = [await serve(small, TENANT), await serve(large, TENANT)] as const;
      try {
        const count = stage.size(200, 20);
        for (const server of servers) await pageMs(server, count);
        const pairs = await inTurns(
          stage.options.rounds,
          () => quietly(() => pageMs(servers[0], count)),
          () => quietly(() => pageMs(servers[1], count)),
        );
        const what = `API: a page of 50 of ${rows.toLocaleString('en')} attempts by status and type, against 1,000`;
        return figureOf(what, 'ms', pairs, { most: 1.5 });
      } finally {
        for (const server of servers) await server.stop();
      }
    }),
  );
}

const EVERY_MS = 20;

/**
 * The p99 of a daemon, alone and beside a flood, in turns; and what the flood was answered. What is measured is what the
 * API takes from the database: its CPU, its locks, its connections. The API itself and its clients belong to another
 * host, so they have cores of their own.
 */
function flood(stage: Stage, rateLimit: number): Promise<Figure[]> {
  return stage.database(async (database) => {
    await createWebhooks(database, { events: 0 });
    const { url, pid, token, stop } = await serve(database, TENANT, rateLimit);
    const flooder = new Child('api-flood.ts');
    const writer = new pg.Client(database.url);
    await writer.connect();
    try {
      const daemon = database.startDaemon();
      const events = stage.size(1_000, 60);
      const atOnce = stage.size(2_000, 100);
      const p99 = async () => quantile(await latencies(database, writer, INSERT, events, EVERY_MS), 0.99);
      await p99();
      const asked: Flood = { url, token, path: '/outgoing-webhooks', atOnce, ms: events * EVERY_MS };
      await flooder.ask('flood', { ...asked, ms: 1 });
      const separate = () => {
        const [here, there] = twoHosts() ?? [];
        if (here === undefined || there === undefined) return;
        const backends = [...database.daemonBackends(), ...database.benchBackends(), ...database.apiBackends()];
        pin([process.pid, stage.receiver.pid, daemon.pid, ...backends], here);
        pin([pid, flooder.pid], there);
      };
      const floods: Flooded[] = [];
      const pairs: Pair[] = [];
      for (let round = 0; round < stage.options.rounds; round++) {
        separate();
        const baseline = await quietly(p99);
        const beside = flooder.ask<Flooded>('flood', asked);
        pairs.push({ baseline, value: await p99() });
        floods.push(await beside);
      }
      const statuses = floods.map((each) => JSON.stringify(each.statuses)).join(', ');
      const sum = (of: (each: Flooded) => number) => floods.reduce((total, each) => total + of(each), 0);
      const failed = sum(({ statuses: { 200: good = 0, 429: limited = 0 }, requests }) => requests - good - limited);
      const limit = rateLimit === UNLIMITED ? ', without a rate limit' : '';
      const rate = (sum(({ requests }) => requests) * 1_000) / sum(({ ms }) => ms);
      return [
        figureOf(`p99 of the daemon beside ${atOnce} API requests at once${limit}`, 'ms', pairs, { most: 1.2 }),
        stated(`API: of ${atOnce} requests at once${limit}, failed`, 'requests', failed, { most: 0 }, statuses),
        stated(`API: requests a second, a list of webhooks${limit}`, 'requests/s', rate),
      ];
    } finally {
      pin([process.pid, stage.receiver.pid]);
      await writer.end();
      await flooder.stop();
      await stop();
    }
  });
}
