// Latency: from the commit to the request at the receiver, against one notification of PostgreSQL and one POST.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Child } from './child.ts';
import { createWebhooks, floodOf, TENANT } from './drain.ts';
import { type Figure, quantile } from './figure.ts';
import { quietly } from './host.ts';
import type { Marks } from './receiver.ts';
import type { Database, Stage } from './stage.ts';

/** Longer than the daemon stays awake after the last event. */
const ASLEEP_MS = 3_500;

export const INSERT = `insert into deals (organization_id, title) values ('${TENANT}', $1)`;
const NOTIFY = "select pg_notify('bench', $1)";

/** Milliseconds from just before the commit to the request, for so many events, one every `everyMs`. */
export async function latencies(
  database: Database,
  writer: pg.Client,
  sql: string,
  events: number,
  everyMs: number,
): Promise<number[]> {
  const { receiver } = database.stage;
  await receiver.ask('reset', { every: 1_000_000, numbered: true });
  const sent: number[] = [];
  const text = sql === NOTIFY ? String : (n: number) => `#${n}`;
  let next = performance.now();
  for (let n = 0; n < events; n++) {
    await writer.query('begin');
    await writer.query({ name: sql.slice(0, 40), text: sql, values: [text(n)] });
    sent.push(Number(process.hrtime.bigint()) / 1e6);
    await writer.query('commit');
    next += everyMs;
    await sleep(Math.max(0, next - performance.now()));
  }
  await database.stage.received(events);
  const arrivals = await receiver.ask<[number, number][]>('arrivals');
  return arrivals.map(([n, at]) => at - (sent[n] as number));
}

export function latency(stage: Stage): Promise<Figure[]> {
  return stage.database(async (database) => {
    await createWebhooks(database, { events: 0 });
    await stage.receiver.ask('reset', { every: 1 });
    database.startDaemon();
    await database.query(INSERT, ['the first']);
    const { sample } = await stage.received(1);
    const relay = new Child('undici.ts');
    const writer = new pg.Client(database.url);
    await writer.connect();
    try {
      await relay.ask('relay', { ...floodOf(stage, { sample } as Marks, 0), url: database.url });
      const situations = [
        { name: 'asleep', events: stage.size(30, 3), everyMs: ASLEEP_MS },
        { name: '10 events/s', events: stage.size(300, 20), everyMs: 100 },
        { name: '200 events/s', events: stage.size(4_000, 100), everyMs: 5 },
      ];
      const figures: Figure[] = [];
      for (const { name, events, everyMs } of situations) {
        const rounds = Array.from({ length: name === 'asleep' ? 1 : stage.options.rounds });
        const baseline: number[] = [];
        const value: number[] = [];
        for (const _ of rounds) {
          // at the same pace: what has slept for seconds finds the processor's caches cold, the baseline's processes too
          baseline.push(...(await quietly(() => latencies(database, writer, NOTIFY, events, everyMs))));
          value.push(...(await quietly(() => latencies(database, writer, INSERT, events, everyMs))));
        }
        for (const [label, share, most] of [
          ['p50', 0.5, 2],
          ['p99', 0.99, 4],
        ] as const) {
          const [b, v] = [quantile(baseline, share), quantile(value, share)];
          figures.push({
            what: `commit to request, ${name}, ${label}`,
            unit: 'ms',
            value: v,
            baseline: b,
            ratio: v / b,
            reach: { most },
          });
        }
      }
      return figures;
    } finally {
      await writer.end();
      await relay.stop();
    }
  });
}
