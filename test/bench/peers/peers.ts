// rowhook beside its peers: the smallest dispatcher that can be written by hand, graphile-worker and pg-boss. See the files of their
// names for how they are tuned. All of them send the same request, and write one row of a log for each.

import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../child.ts';
import { type Drained, drain, floodOf, undiciAlone } from '../drain.ts';
import { type Figure, figureOf, median, quantile, rateOf, stated } from '../figure.ts';
import { cpuMsOf, quietly } from '../host.ts';
import { latencies } from '../latency.ts';
import type { Marks } from '../receiver.ts';
import { Stage } from '../stage.ts';
import { HEALTHY, onScene, type Peer, type Scene } from './scene.ts';

const STEADY_PER_SECOND = 100;
const RATES = [2, 10, 30, 50, 100, 200, 400];
/** The processes warm up for so long, at the rate that is measured. */
const WARM_UP_SECONDS = 5;

/** What a steady load costs. */
export async function steady(stage: Stage): Promise<Figure[]> {
  return [...(await onScene(stage, {}, (scene) => steadyCpu(stage, scene))), ...(await roundTrips(stage))];
}

/** From the commit to the request, at each rate. */
export function rates(stage: Stage): Promise<Figure[]> {
  return onScene(stage, {}, (scene) => latencyByRate(stage, scene));
}

const eventsAt = (perSecond: number, seconds: number) => Math.max(10, Math.round(perSecond * seconds));

function send({ database, writer }: Scene, { insert }: Peer, perSecond: number, seconds: number) {
  return latencies(database, writer, insert, eventsAt(perSecond, seconds), 1_000 / perSecond);
}

/** Percent of a core. */
async function cpuOf(scene: Scene, peer: Peer, seconds: number): Promise<number> {
  await send(scene, peer, STEADY_PER_SECOND, Math.min(WARM_UP_SECONDS, seconds));
  const [cpuBefore, startedAt] = [cpuMsOf(peer.pid), performance.now()];
  await send(scene, peer, STEADY_PER_SECOND, seconds);
  return (100 * (cpuMsOf(peer.pid) - cpuBefore)) / (performance.now() - startedAt);
}

async function steadyCpu(stage: Stage, scene: Scene): Promise<Figure[]> {
  const { smallest, graphile, rowhook } = scene;
  const seconds = stage.seconds(20);
  const rounds: Record<'smallest' | 'graphile' | 'rowhook', number>[] = [];
  for (let round = 0; round < stage.options.rounds; round++)
    rounds.push({
      smallest: await quietly(() => cpuOf(scene, smallest, seconds)),
      graphile: await quietly(() => cpuOf(scene, graphile, seconds)),
      rowhook: await quietly(() => cpuOf(scene, rowhook, seconds)),
    });
  const name = `${STEADY_PER_SECOND} events/s: CPU of the daemon`;
  const against = (peer: 'smallest' | 'graphile') =>
    rounds.map((round) => ({ baseline: round[peer], value: round.rowhook }));
  return [
    figureOf(`${name}, against ${smallest.name}`, '% of a core', against('smallest'), { most: 1 }),
    figureOf(`${name}, against ${graphile.name}`, '% of a core', against('graphile'), null),
  ];
}

async function latencyByRate(stage: Stage, scene: Scene): Promise<Figure[]> {
  const { smallest, graphile, rowhook } = scene;
  const figures: Figure[] = [];
  for (const rate of RATES) {
    const seconds = stage.seconds(Math.max(8, 60 / rate));
    const ms = new Map<Peer, number[]>([smallest, graphile, rowhook].map((peer) => [peer, []]));
    for (let round = 0; round < stage.options.rounds; round++)
      for (const [peer, all] of ms) {
        // What decides by the rate whether it sleeps has decided.
        await send(scene, peer, rate, Math.min(2, seconds));
        all.push(...(await quietly(() => send(scene, peer, rate, seconds))));
      }
    for (const [label, share, most] of [
      ['p50', 0.5, 1.3],
      ['p99', 0.99, 1.5],
    ] as const) {
      const of = (peer: Peer) => quantile(ms.get(peer) ?? [], share);
      figures.push({
        what: `commit to request, ${rate} events/s, ${label}, against ${smallest.name}`,
        unit: 'ms',
        value: of(rowhook),
        baseline: of(smallest),
        ratio: of(rowhook) / of(smallest),
        reach: { most },
        detail: `${graphile.name} ${of(graphile).toFixed(2)} ms`,
      });
    }
  }
  return figures;
}

/** In a run of its own: what counts stands in the way. */
async function roundTrips(stage: Stage): Promise<Figure[]> {
  const wire = new Child('peers/wire.ts');
  try {
    const port = await wire.ask<number>('stand', { host: '127.0.0.1', port: stage.server.port });
    return await onScene(stage, { port }, async (scene) => {
      const seconds = stage.seconds(20);
      const perSecond = async (peer: Peer) => {
        await send(scene, peer, STEADY_PER_SECOND, Math.min(WARM_UP_SECONDS, seconds));
        const [before, startedAt] = [await wire.ask<number>('count'), performance.now()];
        await send(scene, peer, STEADY_PER_SECOND, seconds);
        return ((await wire.ask<number>('count')) - before) / ((performance.now() - startedAt) / 1_000);
      };
      const others = [scene.smallest, scene.graphile];
      const details: string[] = [];
      for (const peer of others) details.push(`${peer.name} ${(await perSecond(peer)).toFixed(0)}`);
      const what = `${STEADY_PER_SECOND} events/s: round trips to PostgreSQL`;
      return [stated(what, 'per second', await perSecond(scene.rowhook), { most: 250 }, details.join(', '))];
    });
  } finally {
    await wire.stop();
  }
}

/** Events for a healthy endpoint and for one that answers late. Only the healthy one is looked at. */
const SLOW_ANSWER_MS = 5_000;
const BESIDE_SLOW_PER_SECOND = 20;

export async function slow(stage: Stage): Promise<Figure[]> {
  const receiver = new Child('receiver.ts');
  try {
    const port = await receiver.ask<number>('listen');
    await receiver.ask('reset', { every: 1_000_000, answerAfterMs: SLOW_ANSWER_MS });
    return await onScene(stage, { slowOrigin: `http://127.0.0.1:${port}` }, async (scene) => {
      const seconds = stage.seconds(30);
      const p99 = async (peer: Peer) => quantile(await send(scene, peer, BESIDE_SLOW_PER_SECOND, seconds), 0.99);
      const [baseline, value] = [await p99(scene.graphile), await p99(scene.rowhook)];
      const what = `${HEALTHY} endpoint beside one that answers after 5 s, p99, against ${scene.graphile.name}`;
      const detail = `${scene.smallest.name}, which bounds nothing, ${(await p99(scene.smallest)).toFixed(1)} ms`;
      return [figureOf(what, 'ms', [{ baseline, value }], { most: 1 }, detail)];
    });
  } finally {
    await receiver.stop();
  }
}

/** With commits that are flushed to a disk. */
export async function flushed(stage: Stage): Promise<Figure[]> {
  const onDisk = await Stage.open({ ...stage.options, flushes: true });
  let failed = true;
  try {
    const events = stage.size(100_000);
    const { marks: like } = await drain(onDisk, { events: stage.size(2_000) });
    const rounds: { undici: number; boss: number; rowhook: Drained }[] = [];
    for (let round = 0; round < stage.options.rounds; round++)
      rounds.push({
        undici: (await quietly(() => undiciAlone(onDisk, like, events))).rate,
        boss: await quietly(() => drainBoss(onDisk, like, events)),
        rowhook: await quietly(() => drain(onDisk, { events })),
      });
    failed = false;
    const against = (peer: 'undici' | 'boss') =>
      rounds.map((round) => ({ baseline: round[peer], value: round.rowhook.rate }));
    const what = `drain of ${events.toLocaleString('en')}, commits flushed`;
    const each = (of: (drained: Drained) => number) => median(rounds.map(({ rowhook }) => of(rowhook)));
    const us = (ms: number) => `${((1000 * ms) / events).toFixed(0)} us`;
    const detail = `CPU of a delivery: daemon ${us(each((d) => d.daemonCpuMs))}, PostgreSQL ${us(each((d) => d.serverCpuMs))}; parked ${each((d) => d.parked)}`;
    return [
      figureOf(`${what}, against undici alone`, 'deliveries/s', against('undici'), { least: 0.65 }, detail),
      figureOf(`${what}, against pg-boss`, 'deliveries/s', against('boss'), { least: 1.5 }),
      stated('memory of the daemon in that drain', 'MB', Math.max(...rounds.map(({ rowhook }) => rowhook.daemonMb)), {
        most: 200,
      }),
    ];
  } finally {
    await onDisk.close(failed);
  }
}

function drainBoss(stage: Stage, like: Marks, events: number): Promise<number> {
  return stage.database(async (database) => {
    await database.query(`
      create table peer_logs (
        id bigint primary key generated always as identity,
        event text not null, status int not null, duration_ms int not null, response text not null,
        attempted_at timestamptz not null default now())`);
    const boss = new Child('peers/boss.ts');
    try {
      await boss.ask('open', { url: database.url });
      await boss.ask('insert', { rows: events, endpoint: HEALTHY });
      await database.query('checkpoint');
      await stage.receiver.ask('reset', { every: Math.max(1, Math.floor(events / 200)) });
      const { headers } = floodOf(stage, like, 0);
      await boss.ask('work', { url: database.url, origins: { [HEALTHY]: stage.origin }, headers });
      const marks = await stage.received(events);
      while (Number(await database.value('select count(*) from peer_logs')) < events) await sleep(200);
      return rateOf(marks);
    } finally {
      await boss.stop();
    }
  });
}
