// Drain: events that were captured before are delivered, signed and logged, as fast as it goes.

import { Child } from './child.ts';
import { type Figure, figureOf, inTurns, median, rateOf, stated } from './figure.ts';
import { quietly, treeCpuMs } from './host.ts';
import type { Marks } from './receiver.ts';
import type { Database, Stage } from './stage.ts';
import type { Flood } from './undici.ts';

export const TENANT = '00000000-0000-4000-8000-000000000001';
const CONNECTIONS = 64;
/** One statement writes so many rows. */
const STATEMENT_ROWS = 100_000;

export interface Drain {
  events: number;
  /** Each gets the same number of events. */
  tenants?: number;
  /** Each gets every event of its tenant. */
  webhooksPerTenant?: number;
  filter?: string;
  /** Characters of each row's title, which make its payload larger. */
  titleLength?: number;
  daemons?: number;
  /** So many webhooks of another tenant have a template. They get nothing. */
  templates?: number;
}

export interface Drained {
  /** Deliveries a second. */
  rate: number;
  deliveries: number;
  marks: Marks;
  daemonMb: number;
  daemonCpuMs: number;
  serverCpuMs: number;
  /** WAL of capture and of delivering, bytes. */
  captureWal: number;
  deliverWal: number;
  /** Deliveries that had to wait in webhook_deliveries, which costs PostgreSQL three times as much. */
  parked: number;
  /** From the daemon's start to its first request. */
  firstMs: number;
}

/** Tenants with webhooks, all of them to the receiver. */
export async function createWebhooks(
  database: Database,
  { tenants = 1, webhooksPerTenant = 1, filter, templates = 0 }: Drain,
): Promise<void> {
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, max_in_flight, filter)
     select ${tenantOf('t')}, 'webhook ' || w, '${database.stage.origin}/hook', '{deal.created}', ${CONNECTIONS}, ${filter ? `'${filter}'` : 'null'}
       from generate_series(0, ${tenants - 1}) as t, generate_series(1, ${webhooksPerTenant}) as w`,
  );
  await database.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, payload_format)
     select 'templates', 'webhook ' || n, '${database.stage.origin}/hook', '{deal.created}', 'slack'
       from generate_series(1, ${templates}) as n`,
  );
}

const tenantOf = (number: string) => `('00000000-0000-4000-8000-' || lpad((${number} + 1)::text, 12, '0'))`;

export async function captureEvents(
  database: Database,
  { events, tenants = 1, titleLength = 20 }: Drain,
): Promise<void> {
  for (let first = 0; first < events; first += STATEMENT_ROWS) {
    const last = Math.min(events, first + STATEMENT_ROWS) - 1;
    await database.query(
      `insert into deals (organization_id, title, value, expected_close)
       select ${tenantOf(`n % ${tenants}`)}::uuid, rpad('Deal ' || n, ${titleLength}, 'x'), n, date '2030-01-01'
         from generate_series(${first}, ${last}) as n`,
    );
  }
  await database.query('analyze rowhook.webhook_outbox');
}

/** Captures, then starts a daemon and waits for the last request. */
export function drain(stage: Stage, what: Drain): Promise<Drained> {
  return stage.database(async (database) => {
    const { events, webhooksPerTenant = 1, daemons = 1 } = what;
    const deliveries = events * webhooksPerTenant;
    const wal = () => database.value<string>("select pg_current_wal_lsn() - '0/0'").then(Number);
    await createWebhooks(database, what);
    const walBefore = await wal();
    await captureEvents(database, what);
    await database.query('checkpoint');
    const walCaptured = await wal();
    await stage.receiver.ask('reset', { every: Math.max(1, Math.floor(deliveries / 200)) });
    const serverBefore = stage.serverCpuMs();
    const startedAt = Number(process.hrtime.bigint()) / 1e6;
    const running = Array.from({ length: daemons }, () => database.startDaemon());
    const marks = await stage.received(deliveries);
    await database.settled();
    const serverCpuMs = stage.serverCpuMs() - serverBefore;
    const deliverWal = (await wal()) - walCaptured;
    const logged = Number(await database.value("select count(*) from rowhook.webhook_logs where status = 'success'"));
    const parked = Number(
      await database.value("select coalesce(pg_stat_get_tuples_inserted('rowhook.webhook_deliveries'::regclass), 0)"),
    );
    const { requests } = await stage.receiver.ask<Marks>('marks');
    // what a session had in flight is sent again when a host stands still for longer than a lease; one of 2,000,000 lost a session so
    if (requests < deliveries || logged !== deliveries)
      throw new Error(`${deliveries} deliveries: ${requests} requests came, ${logged} were logged`);
    return {
      rate: rateOf(marks),
      deliveries,
      marks,
      daemonMb: Math.max(...running.map((daemon) => daemon.memory().most)),
      daemonCpuMs: running.reduce((sum, { pid }) => sum + treeCpuMs(pid), 0),
      serverCpuMs,
      captureWal: walCaptured - walBefore,
      deliverWal,
      parked,
      firstMs: marks.firstAt - startedAt,
    };
  });
}

/** The request that a drain sends, taken from the receiver. */
export function floodOf(stage: Stage, { sample }: Marks, requests: number): Flood {
  const [head = '', body = ''] = sample.split('\r\n\r\n');
  const own = ['host', 'connection', 'content-length'];
  const headers = head
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(': ') as [string, string])
    .filter(([name]) => !own.includes(name.toLowerCase()));
  return { origin: stage.origin, headers: Object.fromEntries(headers), body, requests, connections: CONNECTIONS };
}

interface Alone {
  rate: number;
  cpuMs: number;
  marks: Marks;
}

export async function undiciAlone(stage: Stage, like: Marks, requests: number): Promise<Alone> {
  const child = new Child('undici.ts');
  try {
    await stage.receiver.ask('reset', { every: Math.max(1, Math.floor(requests / 200)) });
    const cpuMs = await child.ask<number>('flood', floodOf(stage, like, requests));
    const marks = await stage.receiver.ask<Marks>('marks');
    return { rate: rateOf(marks), cpuMs, marks };
  } finally {
    await child.stop();
  }
}

/** One fast endpoint, against undici alone. Also what a delivered event costs PostgreSQL. */
export async function drainOne(stage: Stage): Promise<Figure[]> {
  const events = stage.size(200_000);
  const { marks: like } = await drain(stage, { events: stage.size(2_000) });
  const alone: Alone[] = [];
  const drains: Drained[] = [];
  const pairs = await inTurns(
    stage.options.rounds,
    async () => {
      alone.push(await quietly(() => undiciAlone(stage, like, events)));
      return (alone.at(-1) as Alone).rate;
    },
    async () => {
      drains.push(await quietly(() => drain(stage, { events })));
      return (drains.at(-1) as Drained).rate;
    },
  );
  const each = (of: (drained: Drained) => number) => median(drains.map((drained) => of(drained) / drained.deliveries));
  const us = (ms: number) => `${(ms * 1000).toFixed(0)} us`;
  const detail = `CPU of a delivery: daemon ${us(each((d) => d.daemonCpuMs))} (undici alone ${us(median(alone.map(({ cpuMs }) => cpuMs / events)))}), PostgreSQL ${us(each((d) => d.serverCpuMs))}, receiver ${us(each((d) => d.marks.cpuMs))}; parked ${(100 * each((d) => d.parked)).toFixed(1)} %`;
  return [
    figureOf('drain to one endpoint', 'deliveries/s', pairs, { least: 0.7 }, detail),
    stated('memory of the daemon while it drains', 'MB', Math.max(...drains.map(({ daemonMb }) => daemonMb)), {
      most: 200,
    }),
    stated('PostgreSQL CPU of a delivered event, without capture', 'us', 1000 * each((d) => d.serverCpuMs)),
    stated(
      'WAL of a delivered event',
      'bytes',
      each((d) => d.captureWal + d.deliverWal),
      null,
      `capture ${each((d) => d.captureWal).toFixed(0)}, with the app's own row; delivery ${each((d) => d.deliverWal).toFixed(0)}`,
    ),
  ];
}

/** One way to drain against another, per delivery. */
export async function compare(
  stage: Stage,
  what: string,
  baseline: Drain,
  value: Drain,
  least: number,
): Promise<{ figure: Figure; drains: Drained[]; baselines: Drained[] }> {
  const drains: Drained[] = [];
  const baselines: Drained[] = [];
  const run = async (of: Drain, into: Drained[]) => {
    const drained = await quietly(() => drain(stage, of));
    into.push(drained);
    return drained.rate;
  };
  const pairs = await inTurns(
    stage.options.rounds,
    () => run(baseline, baselines),
    () => run(value, drains),
  );
  return { figure: figureOf(what, 'deliveries/s', pairs, { least }), drains, baselines };
}

export async function drainMany(stage: Stage): Promise<Figure[]> {
  const events = stage.size(200_000);
  const tenants = await compare(
    stage,
    'drain to 100 webhooks of 100 tenants, against one',
    { events },
    { events, tenants: 100 },
    0.9,
  );
  const fan = await compare(
    stage,
    'fan-out of each event to 20 webhooks, against one',
    { events },
    { events: Math.ceil(events / 20), webhooksPerTenant: 20 },
    0.9,
  );
  return [tenants.figure, fan.figure];
}

const FILTER = '{"data.stage":"new","data.value":{"$gte":0},"data.title":{"$contains":"Deal"}}';

export async function drainFiltered(stage: Stage): Promise<Figure[]> {
  const events = stage.size(100_000);
  const { figure } = await compare(
    stage,
    'a filter of three conditions on the webhook, against none',
    { events },
    { events, filter: FILTER },
    0.7,
  );
  return [figure];
}

export async function drainBacklog(stage: Stage): Promise<Figure[]> {
  const [small, large] = [stage.size(50_000), stage.size(2_000_000, 8_000)];
  // the large one takes minutes, so it is not repeated
  const before = await quietly(() => drain(stage, { events: small }));
  const drained = await quietly(() => drain(stage, { events: large }));
  const after = await quietly(() => drain(stage, { events: small }));
  const pair = { baseline: median([before.rate, after.rate]), value: drained.rate };
  return [
    figureOf(
      `backlog of ${large.toLocaleString('en')} events, against ${small.toLocaleString('en')}`,
      'deliveries/s',
      [pair],
      { least: 0.95 },
    ),
    stated(
      'memory of the daemon with that backlog',
      'MB',
      drained.daemonMb,
      { most: 200 },
      `${before.daemonMb.toFixed(0)} MB with the small one`,
    ),
  ];
}

export async function drainWebhooks(stage: Stage): Promise<Figure[]> {
  const events = stage.size(20_000, 400);
  const tenants = stage.size(10_000, 100);
  const { figure, drains, baselines } = await compare(
    stage,
    `${(tenants * 10).toLocaleString('en')} webhooks of ${tenants.toLocaleString('en')} tenants, against 10 of one`,
    { events, webhooksPerTenant: 10 },
    { events, webhooksPerTenant: 10, tenants },
    0.9,
  );
  const firstMs = median(drains.map((drained) => drained.firstMs));
  return [
    figure,
    stated('memory of the daemon with those webhooks', 'MB', Math.max(...drains.map(({ daemonMb }) => daemonMb)), {
      most: 300,
    }),
    stated(
      'from its start to its first requests with those webhooks',
      'ms',
      firstMs,
      { most: 2000 },
      `${median(baselines.map((drained) => drained.firstMs)).toFixed(0)} ms with 10`,
    ),
  ];
}
