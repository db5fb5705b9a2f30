// Busy neighbours: what other tenants notice of a tenant that has more to do than anybody can do at once.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Child } from './child.ts';
import { type Figure, quantile, stated } from './figure.ts';
import type { Marks } from './receiver.ts';
import type { Database, Stage } from './stage.ts';

/** The other tenant has an event every EVERY_MS. */
const EVERY_MS = 100;
const HEALTH_EVERY_MS = 100;
const HEALTH_TIMEOUT_MS = 5_000;
/** How long to wait for the other tenant's last events. What has not come then is missing. */
const MISSING_AFTER_MS = 15_000;

/** The busy tenant. */
const BUSY = '00000000-0000-4000-8000-00000000b05e';

interface Neighbour {
  name: string;
  tenants?: number;
  /** Of each tenant. */
  webhooks: number;
  maxInFlight?: number;
  /** What webhook_tenants allows the tenant. */
  tenantInFlight?: number;
  answerAfterMs?: number;
  filter?: string;
  /** What the daemon does not see, before it starts. */
  prepare?(writer: pg.Client): Promise<unknown>;
  /** Makes the work; ends at once when `signal` does. */
  load(writer: pg.Client, signal: AbortSignal): Promise<unknown>;
  /** Requests that the work makes. Without it, the other tenant is watched for `seconds`. */
  requests?: number;
  seconds?: number;
}

function neighboursOf(stage: Stage): Neighbour[] {
  const few = stage.size(10_000, 500);
  const rows = stage.size(20_000, 1_000);
  const many = stage.size(500_000, 5_000);
  const emits = stage.size(300, 3);
  const of = (count: number) => count.toLocaleString('en');
  return [
    {
      name: `one update of ${of(rows)} rows`,
      webhooks: 1,
      maxInFlight: 64,
      prepare: (writer) =>
        writer.query(
          `insert into deals (organization_id, title) select '${BUSY}', 'Deal ' || n from generate_series(1, ${rows}) as n`,
        ),
      load: (writer) =>
        writer.query(`update deals set value = coalesce(value, 0) + 1 where organization_id = '${BUSY}'`),
      requests: rows,
    },
    {
      name: `${of(few)} events, the tenant may have 8 attempts in flight`,
      webhooks: 1,
      maxInFlight: 64,
      tenantInFlight: 8,
      load: (writer) => emitRows(writer, few),
      requests: few,
    },
    {
      name: `${of(few)} events, a receiver that answers after 50 ms, 8 at a time`,
      webhooks: 1,
      maxInFlight: 8,
      answerAfterMs: 50,
      load: (writer) => emitRows(writer, few),
      seconds: 20,
    },
    {
      name: '600 webhooks, a receiver that answers after 9 s, one event',
      webhooks: 600,
      answerAfterMs: 9_000,
      load: (writer) => emitRows(writer, 1),
      seconds: 20,
    },
    {
      name: `1,000 webhooks, ${of(emits)} events`,
      webhooks: 1_000,
      load: async (writer) => {
        for (let n = 0; n < emits; n++) await emitRows(writer, 1);
      },
      requests: 1_000 * emits,
    },
    {
      name: `${of(rows)} events that the filter of the only webhook rejects, again and again`,
      webhooks: 1,
      filter: '{"data.n": -1}',
      load: async (writer, signal) => {
        while (!signal.aborted) await emitRows(writer, rows);
      },
      seconds: 10,
    },
    {
      name: 'events of 1 MiB without a webhook, again and again',
      webhooks: 0,
      prepare: prepareLarge,
      load: emitLarge,
      seconds: 10,
    },
    {
      name: 'events of 1 MiB for one webhook, again and again',
      webhooks: 1,
      prepare: prepareLarge,
      load: emitLarge,
      seconds: 10,
    },
    {
      name: `10 tenants with ${of(rows / 2)} events each`,
      tenants: 10,
      webhooks: 1,
      load: (writer) => emitRows(writer, rows / 2, 10),
      requests: rows * 5,
    },
    {
      name: `one insert of ${of(many)} rows`,
      webhooks: 1,
      maxInFlight: 64,
      load: (writer) =>
        writer.query(
          `insert into deals (organization_id, title) select '${BUSY}', 'Deal ' || n from generate_series(1, ${many}) as n`,
        ),
      requests: many,
    },
  ];
}

/** `count` events of each tenant, in one statement. */
function emitRows(writer: pg.Client, count: number, tenants = 1): Promise<unknown> {
  return writer.query(
    `select count(rowhook.emit('bench.busy', json_build_object('n', n), t.id))
       from generate_series(1, $1::int) as n, (${tenantIds(tenants)}) as t`,
    [count],
  );
}

function tenantIds(tenants: number): string {
  return tenants === 1
    ? `select '${BUSY}' as id`
    : `select 'busy ' || number as id from generate_series(1, ${tenants}) as number`;
}

/** Digits, which PostgreSQL compresses by half only. */
function prepareLarge(writer: pg.Client): Promise<unknown> {
  return writer.query(
    `create temp table large as
     select ('[' || string_agg((1e9 + random() * 1e9)::int::text, ',') || ']')::json as data
       from generate_series(1, 95000)`,
  );
}

async function emitLarge(writer: pg.Client, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await writer.query(`select rowhook.emit('bench.busy', data, '${BUSY}') from large`);
}

/** The other tenant: one webhook, one event every EVERY_MS, numbered. */
class Others {
  readonly #database: Database;
  readonly #tenant: string;
  readonly #writer: pg.Client;
  readonly #receiver: Child;

  private constructor(database: Database, tenant: string, writer: pg.Client, receiver: Child) {
    this.#database = database;
    this.#tenant = tenant;
    this.#writer = writer;
    this.#receiver = receiver;
  }

  static async open(database: Database): Promise<Others> {
    const tenant = await database.value<string>(
      `select 'other ' || n from generate_series(1, 1000) as n
        where rowhook._lane('other ' || n) = rowhook._lane('${BUSY}') limit 1`,
    );
    const receiver = new Child('receiver.ts');
    const port = await receiver.ask<number>('listen');
    await database.query(
      `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
       values ($1, 'other', $2, '{bench.other}')`,
      [tenant, `http://127.0.0.1:${port}/hook`],
    );
    const writer = new pg.Client(database.url);
    await writer.connect();
    return new Others(database, tenant, writer, receiver);
  }

  /** Milliseconds from just before each commit to its request, as long as `during` lasts. Infinity: it never came. */
  async latencies(during: Promise<unknown>): Promise<number[]> {
    await this.#receiver.ask('reset', { every: 1_000_000, numbered: true });
    const sent: number[] = [];
    let goesOn = true;
    const over = during.finally(() => {
      goesOn = false;
    });
    over.catch(() => {});
    let next = performance.now();
    while (goesOn || sent.length < 5) {
      const n = sent.push(nowMs()) - 1;
      await this.#writer.query("select rowhook.emit('bench.other', $1::json, $2)", [`{"title":"#${n}"}`, this.#tenant]);
      next += EVERY_MS;
      await sleep(Math.max(0, next - performance.now()));
    }
    await over;
    const until = performance.now() + MISSING_AFTER_MS;
    const latencies = sent.map(() => Infinity);
    for (;;) {
      const arrivals = await this.#receiver.ask<[number, number][]>('arrivals');
      for (const [n, at] of arrivals) latencies[n] = Math.min(latencies[n] as number, at - (sent[n] as number));
      if (!latencies.includes(Infinity) || performance.now() > until) return latencies;
      await sleep(100);
    }
  }

  async close(): Promise<void> {
    await this.#writer.end();
    await this.#receiver.stop();
    await this.#database.query('delete from rowhook.webhook_configurations where tenant_id = $1', [this.#tenant]);
  }
}

const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

/** Asks /healthz until stop(), which returns how long each answer took. Infinity: none came, or not 200. */
function watchHealth(port: number): { stop(): Promise<number[]> } {
  const over = new AbortController();
  const took: number[] = [];
  const watching = (async () => {
    while (!over.signal.aborted) {
      const startedAt = performance.now();
      const ok = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) })
        .then(async (response) => {
          await response.text();
          return response.ok;
        })
        .catch(() => false);
      took.push(ok ? performance.now() - startedAt : Infinity);
      await sleep(HEALTH_EVERY_MS);
    }
  })();
  return {
    async stop() {
      over.abort();
      await watching;
      return took;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Makes the work, and returns after how many milliseconds it is done: all requests came, or the time is over. */
async function work(stage: Stage, writer: pg.Client, neighbour: Neighbour): Promise<number> {
  const { load, requests, seconds = 0 } = neighbour;
  await stage.receiver.ask('reset', { every: requests ?? 1_000_000, answerAfterMs: neighbour.answerAfterMs ?? 0 });
  const over = new AbortController();
  const startedAt = nowMs();
  const loaded = load(writer, over.signal);
  if (requests === undefined) await sleep(stage.seconds(seconds) * 1_000);
  else await stage.received(requests, 50);
  over.abort();
  await loaded;
  const { times } = await stage.receiver.ask<Marks>('marks');
  return (times[0] ?? nowMs()) - startedAt;
}

function createNeighbours(
  database: Database,
  { tenants = 1, webhooks, maxInFlight = 32, tenantInFlight, filter }: Neighbour,
): Promise<unknown> {
  return database.query(
    `with limited as (
       insert into rowhook.webhook_tenants (id, name, max_in_flight)
       select id, id, $3::int from (${tenantIds(tenants)}) as t where $3::int is not null)
     insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, max_in_flight, filter, timeout_ms)
     select id, 'webhook ' || w, $1, '{bench.busy,deal.created,deal.updated}', $2::int, $4::jsonb, 30000
       from (${tenantIds(tenants)}) as t, generate_series(1, ${webhooks}) as w`,
    [`${database.stage.origin}/hook`, maxInFlight, tenantInFlight ?? null, filter ?? null],
  );
}

function beside(stage: Stage, neighbour: Neighbour): Promise<Figure[]> {
  return stage.database(async (database) => {
    const writer = new pg.Client(database.url);
    await writer.connect();
    await neighbour.prepare?.(writer);
    await createNeighbours(database, neighbour);
    const others = await Others.open(database);
    const port = await freePort();
    const daemons = Array.from({ length: stage.options.daemons }, (_, n) => database.startDaemon(n === 0 ? port : 0));
    try {
      await others.latencies(sleep(1_000)); // warm, and the daemons have started
      await database.sharedByDaemons(stage.options.daemons);
      const alone = await others.latencies(sleep(stage.seconds(10) * 1_000));
      const aloneMs = neighbour.requests === undefined ? null : await work(stage, writer, neighbour);
      if (aloneMs !== null) await database.settled();
      const parkedBefore = await parked(database);
      const health = watchHealth(port);
      let besideMs = 0;
      const busy = work(stage, writer, neighbour).then((ms) => {
        besideMs = ms;
      });
      const latencies = await others.latencies(busy);
      const answers = await health.stop();
      const mb = Math.max(...daemons.map((daemon) => daemon.memory().most));
      const parkedMeanwhile = (await parked(database)) - parkedBefore;
      return figuresOf(neighbour.name, { alone, latencies, answers, aloneMs, besideMs, mb, parkedMeanwhile });
    } finally {
      await others.close();
      await writer.end();
      // what hangs would hold up the end
      await stage.receiver.ask('reset', { every: 1_000_000 });
    }
  });
}

/** Rows that were written into webhook_deliveries so far. */
async function parked(database: Database): Promise<number> {
  return Number(
    await database.value("select coalesce(pg_stat_get_tuples_inserted('rowhook.webhook_deliveries'::regclass), 0)"),
  );
}

interface Seen {
  alone: number[];
  latencies: number[];
  answers: number[];
  aloneMs: number | null;
  besideMs: number;
  mb: number;
  parkedMeanwhile: number;
}

function figuresOf(name: string, seen: Seen): Figure[] {
  const { alone, latencies, answers, aloneMs, besideMs, mb, parkedMeanwhile } = seen;
  const came = latencies.filter(Number.isFinite);
  const [baseline, value] = [quantile(alone, 0.95), came.length > 0 ? quantile(came, 0.95) : MISSING_AFTER_MS];
  const answered = answers.filter(Number.isFinite);
  const ms = (times: readonly number[]) =>
    [0.5, 0.95, 1].map((share) => `${Math.round(quantile(times, share))}`).join(' / ');
  const figures: Figure[] = [
    {
      what: `${name}: others, p95`,
      unit: 'ms',
      value,
      baseline,
      ratio: value / baseline,
      reach: { most: 3 },
      detail:
        `p50 / p95 / max ${ms(came)} ms, alone ${ms(alone)} ms, of ${latencies.length} events; ` +
        `/healthz ${ms(answered)} ms; ${parkedMeanwhile.toLocaleString('en')} deliveries parked`,
    },
    stated(`${name}: others, missing`, 'events', latencies.length - came.length, { most: 0 }),
    stated(`${name}: /healthz without an answer`, 'times', answers.length - answered.length, { most: 0 }),
    stated(`${name}: memory of the daemon`, 'MB', mb, { most: 300 }),
  ];
  if (aloneMs !== null)
    figures.push({
      what: `${name}: time to drain, beside others`,
      unit: 'ms',
      value: besideMs,
      baseline: aloneMs,
      ratio: besideMs / aloneMs,
      reach: { most: 1.15 },
    });
  return figures;
}

/** Two busy tenants, one with 50 webhooks: deliveries of the one with 1 webhook, when either has got all of its own. */
function inEqualShares(stage: Stage): Promise<Figure[]> {
  const deliveries = stage.size(40_000, 4_000);
  const webhooks = 50;
  // With 64, the tenant with 1 webhook has 64 attempts in flight by its own choice, the other 106.
  const maxInFlight = 500;
  return stage.database(async (database) => {
    const receivers = [new Child('receiver.ts'), new Child('receiver.ts')] as const;
    try {
      for (const [i, receiver] of receivers.entries()) {
        const port = await receiver.ask<number>('listen');
        await receiver.ask('reset', { every: 1_000_000 });
        await database.query(
          `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types, max_in_flight)
           select $1, 'webhook ' || w, $2, '{bench.busy}', $4::int from generate_series(1, $3::int) as w`,
          [`busy ${i}`, `http://127.0.0.1:${port}/hook`, i === 0 ? 1 : webhooks, maxInFlight],
        );
      }
      database.startDaemon();
      await database.query(
        `select count(rowhook.emit('bench.busy', json_build_object('n', n), 'busy ' || i))
           from generate_series(1, $1::int) as n, generate_series(0, 1) as i
          where i = 0 or n <= $1 / ${webhooks}`,
        [deliveries],
      );
      for (;;) {
        const [one = 0, fifty = 0] = await Promise.all(receivers.map((receiver) => receiver.ask<number>('count')));
        if (Math.max(one, fifty) < 0.9 * deliveries) await sleep(20);
        else
          return [
            {
              what: `two busy tenants, with 1 webhook and with ${webhooks}: deliveries of the slower one`,
              unit: 'deliveries',
              value: Math.min(one, fifty),
              baseline: Math.max(one, fifty),
              ratio: Math.min(one, fifty) / Math.max(one, fifty),
              reach: { least: 0.8 },
              detail: `${one} with 1 webhook, ${fifty} with ${webhooks}`,
            },
          ];
      }
    } finally {
      for (const receiver of receivers) await receiver.stop();
    }
  });
}

export async function neighbours(stage: Stage): Promise<Figure[]> {
  const figures: Figure[] = [];
  const { match } = stage.options;
  const isWanted = (name: string) => match === undefined || name.includes(match);
  for (const neighbour of neighboursOf(stage).filter(({ name }) => isWanted(name))) {
    const found = await beside(stage, neighbour);
    console.error(`         ${neighbour.name}`);
    for (const { what, ratio, detail = '' } of found)
      console.error(`           ${what.slice(neighbour.name.length + 2)}: ${ratio.toFixed(2)} ${detail}`);
    figures.push(...found);
  }
  if (isWanted('two busy tenants')) figures.push(...(await inEqualShares(stage)));
  return figures;
}
