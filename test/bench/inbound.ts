// The inbound endpoint: its throughput against a bare Fastify that inserts one row, and what others wait for while one
// organization floods. Commits are flushed to a disk.

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { migrate } from '../../src/database/migrations.ts';
import { startEmbedded } from '../../src/demo/postgres.ts';
import { connected } from '../support/connected.ts';
import { Child } from './child.ts';
import { type Figure, figureOf, inTurns, type Pair, quantile } from './figure.ts';
import { cpuMsOf, quietly, treeCpuMs } from './host.ts';
import type { Load, Loaded, Paced, PacedAnswers } from './inbound-load.ts';
import { type Served, serveApi, startServing } from './serve.ts';
import type { Stage } from './stage.ts';

const POOL = 10;
/** As long as a lead or an order. */
const BODY = JSON.stringify({ id: 1234, email: 'lead@example.com', note: 'some text of a form '.repeat(20) });

/** The limit of an organization in a minute, as it is by default. */
const LIMIT = 600;
/** The largest that may be set. */
const NO_LIMIT = 10_000_000;
/** 100 times the limit: one request each millisecond. */
const FLOOD_EVERY_MS = 1;
const CALM_EVERY_MS = 25;

interface Server {
  /** Superuser. */
  url: string;
  /** A member of rowhook_api and no more. */
  apiUrl: string;
  /** The first process of PostgreSQL. */
  pid: number;
  keyOf(tenant: string): Promise<string>;
}

export function inbound(stage: Stage): Promise<Figure[]> {
  return withServer(stage, async (server) => {
    const senders = [new Child('inbound-load.ts'), new Child('inbound-load.ts')] as const;
    try {
      return [...(await throughput(stage, server, senders[0])), await flood(stage, server, senders)];
    } finally {
      for (const sender of senders) await sender.stop();
    }
  });
}

/** Its data stand on a disk, whatever the other measurements use. */
async function withServer<T>(stage: Stage, work: (server: Server) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp('/var/tmp/rowhook-bench-');
  const server = await startEmbedded({ major: stage.options.major, dataDir, settings: { shared_buffers: '256MB' } });
  try {
    const password = randomBytes(12).toString('hex');
    await connected(server.url, async (client) => {
      await migrate(client);
      await client.query(`create role bench_api login password '${password}'; grant rowhook_api to bench_api`);
      await client.query(
        `create table bare (id uuid primary key default gen_random_uuid(), body json not null,
                            received_at timestamptz not null default now())`,
      );
    });
    const keyOf = (tenant: string) =>
      connected(server.url, async (client) => {
        const { rows } = await client.query("select rowhook.create_api_key('bench', '{inbound}', $1) as key", [tenant]);
        return rows[0].key as string;
      });
    const pid = Number.parseInt(await readFile(join(dataDir, 'postmaster.pid'), 'utf8'), 10);
    return await work({ url: server.url, apiUrl: server.urlOf('postgres', 'bench_api', password), pid, keyOf });
  } finally {
    await server.stop('immediate');
    await rm(dataDir, { recursive: true });
  }
}

function serve(stage: Stage, { apiUrl }: Server, limit: number): Promise<Served> {
  const { profiles } = stage.options;
  const env = { ROWHOOK_API_POOL: String(POOL), ROWHOOK_API_RATE_LIMIT: String(NO_LIMIT) };
  const flags = profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [];
  return serveApi(apiUrl, { ...env, ROWHOOK_INBOUND_RATE_LIMIT: String(limit) }, flags);
}

async function throughput(stage: Stage, server: Server, sender: Child): Promise<Figure[]> {
  const bare = await startServing([join(import.meta.dirname, 'inbound-bare.ts')], {
    DATABASE_URL: server.url,
    POOL: String(POOL),
  });
  const served = await serve(stage, server, NO_LIMIT).catch(async (error) => {
    await bare.stop();
    throw error;
  });
  const headers = { 'x-api-key': await server.keyOf('acme') };
  const rateOf =
    ({ url, pid }: Served, asked: Pick<Load, 'path' | 'named'>, cpu: string[]) =>
    async () => {
      const load: Load = { ...asked, url, headers, body: BODY, ms: stage.seconds(15) * 1_000 };
      const cpuMs = () => [cpuMsOf(pid), treeCpuMs(server.pid)] as const;
      const before = cpuMs();
      const { rate, requests, statuses } = await sender.ask<Loaded>('load', load);
      const [own, ofServer] = cpuMs().map((ms, at) => (1_000 * (ms - (before[at] as number))) / requests) as [
        number,
        number,
      ];
      if (statuses[201] !== requests) throw new Error(`not stored: ${JSON.stringify(statuses)}`);
      cpu.push(`${own.toFixed(0)} + ${ofServer.toFixed(0)}`);
      return rate;
    };
  try {
    const figures: Figure[] = [];
    for (const named of [false, true]) {
      const [ofBare, ofServed]: [string[], string[]] = [[], []];
      const baseline = rateOf(bare, { path: '/', named: false }, ofBare);
      const value = rateOf(served, { path: '/api/webhooks/lead.captured', named }, ofServed);
      const pairs = await inTurns(
        stage.options.rounds,
        () => quietly(baseline),
        () => quietly(value),
      );
      const detail = `CPU of a request, serve + PostgreSQL in us: ${ofServed.join(', ')}; bare: ${ofBare.join(', ')}`;
      const what = `inbound webhooks ${named ? 'with' : 'without'} a webhook-id, against a bare Fastify with one insert`;
      figures.push(figureOf(what, 'requests/s', pairs, { least: 0.5 }, detail));
    }
    return figures;
  } finally {
    await served.stop();
    await bare.stop();
  }
}

/** The p99 of an organization that sends 40 requests a second, alone and beside one that floods, in turns. */
async function flood(stage: Stage, server: Server, [calm, flooder]: readonly [Child, Child]): Promise<Figure> {
  const served = await serve(stage, server, LIMIT);
  const of = async (tenant: string) => ({
    ...{ url: served.url, path: '/api/webhooks/lead.captured', body: BODY, named: true },
    headers: { 'x-api-key': await server.keyOf(tenant) },
  });
  // Each round has organizations of its own, so that nobody but the one that floods meets the limit.
  const requests = Math.min(LIMIT, stage.size(600, 40));
  const p99 = async (tenant: string) => {
    const asked: Paced = { ...(await of(tenant)), requests, everyMs: CALM_EVERY_MS };
    const { latencies, statuses } = await calm.ask<PacedAnswers>('paced', asked);
    if (statuses[201] !== requests) throw new Error(`the calm one was refused: ${JSON.stringify(statuses)}`);
    return quantile(latencies, 0.99);
  };
  try {
    await p99('warm');
    const pairs: Pair[] = [];
    const refused: string[] = [];
    for (let round = 0; round < stage.options.rounds; round++) {
      const baseline = await quietly(() => p99(`alone ${round} ${randomBytes(4).toString('hex')}`));
      const flooding = await of(`flood ${round}`);
      // What is within the limit is stored first: the flood is what comes after.
      await flooder.ask<PacedAnswers>('paced', { ...flooding, requests: LIMIT, everyMs: 2 });
      const floods = (requests * CALM_EVERY_MS) / FLOOD_EVERY_MS;
      const beside = flooder.ask<PacedAnswers>('paced', { ...flooding, requests: floods, everyMs: FLOOD_EVERY_MS });
      pairs.push({ baseline, value: await p99(`beside ${round}`) });
      refused.push(JSON.stringify((await beside).statuses));
    }
    const what = 'inbound webhooks: p99 of an organization beside one that floods with 1,000 requests/s';
    return figureOf(what, 'ms', pairs, { most: 1.2 }, `the flood was answered ${refused.join(', ')}`);
  } finally {
    await served.stop();
  }
}
