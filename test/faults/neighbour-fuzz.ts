// npm run fuzz -- --minutes 10 --seed 42 --daemons 2
//
// One tenant does at random whatever a tenant can do, while another one is watched: how long its events take, whether any is lost.
// A wait is compared with what the machine itself is late by at that time. Exit codes: 0 nothing was lost and no wait, less the
// machine's own, was above --limit; 1 it was otherwise; 2 wrong usage.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { type Deed, HostileTenant } from '../support/hostile-tenant.ts';
import { random } from '../support/random.ts';
import { startServer } from '../support/server.ts';
import type { Report, Wait } from '../support/watched-tenant.ts';

const CALM_MS = 10_000;
/** For what the tenant has left behind. */
const SETTLE_MS = 180_000;

const { minutes, seed, daemonCount, limitMs } = readArguments();
console.log(`neighbour-fuzz: ${minutes} minutes, seed ${seed}, ${daemonCount} daemons`);

const server = await startServer();
const { database } = server;
const daemons: DaemonProcess[] = [];
let isGood = false;
try {
  const hostile = await HostileTenant.start(database.url, random(seed));
  const watched = fork(join(import.meta.dirname, '../support/watched-tenant.ts'), [database.url]);
  const report = async (): Promise<Report> => {
    watched.send('report');
    return (await once(watched, 'message'))[0] as Report;
  };
  for (let n = 0; n < daemonCount; n++)
    daemons.push(startDaemonProcess(database.daemonUrl, { ROWHOOK_LOG_LEVEL: 'info' }));
  await Promise.all(daemons.map((daemon) => daemon.tookLanes()));
  await sleep(3_000);
  const calmFrom = Date.now();
  await sleep(CALM_MS);
  const begunAt = Date.now();
  hostile.begin();
  const memory: number[] = [];
  const until = performance.now() + minutes * 60_000;
  while (performance.now() < until) {
    await sleep(Math.min(2_000, Math.max(0, until - performance.now())));
    for (const daemon of daemons) memory.push((await daemon.memory()).mostKb / 1_024);
  }
  const endedAt = Date.now();
  await hostile.stop();
  // what was committed last has its time as well
  await sleep(5_000);

  const { waits, twice } = await report();
  const calm = waits.filter(({ at }) => at >= calmFrom && at < begunAt);
  const during = waits.filter(({ at }) => at >= begunAt && at < endedAt);
  console.log(`before:  ${inWords(calm)}`);
  console.log(`during:  ${inWords(during)}; ${twice} came twice`);
  const above = (wait: Wait) => (wait.ms ?? Infinity) - wait.noiseMs;
  for (const wait of during.toSorted((a, b) => above(b) - above(a)).slice(0, 5))
    console.log(
      `  ${ms(wait.ms)} at ${seconds(wait.at - begunAt)}, the machine ${ms(wait.noiseMs)}: ${deedsAt(hostile.deeds, wait)}`,
    );

  const lost = during.filter((wait) => wait.ms === undefined).length;
  const control = await settle(() => hostile.controlEvents);
  for (const [what, { done, refused }] of hostile.counts)
    console.log(`hostile: ${what}: ${done} done, ${refused} refused`);
  const [outcomes] = await database.query<{ outcomes: string }>(
    `select string_agg(n || ' ' || outcome, ', ' order by n desc) as outcomes
       from (select concat_ws(' ', status, code) as outcome, count(*) as n from rowhook.webhook_logs
              where tenant_id = 'hostile' group by 1) as o`,
  );
  console.log(`hostile: attempts: ${outcomes?.outcomes}`);
  console.log(`hostile: its receiver that answers got ${control.came} of ${control.wanted} events; ${control.text}`);
  const said = daemons.map(({ stdout }) => stdout());
  const ended = said.reduce((sum, text) => sum + text.split('the session ended').length - 1, 0);
  console.log(`daemons: ${Math.max(...memory).toFixed(0)} MB at most, ${ended} sessions lost`);
  const worst = Math.max(0, ...during.map(above));
  console.log(`the worst wait, less the machine's: ${ms(worst)}; lost: ${lost} of ${during.length}`);
  isGood = lost === 0 && control.came === control.wanted && worst <= limitMs;
  watched.disconnect();
  await hostile.close();
} finally {
  for (const daemon of daemons) await daemon.kill('SIGKILL');
  await server.stop();
}
process.exit(isGood ? 0 : 1);

/** Waits until all events of the tenant have come to the receiver that it left alone. */
async function settle(came: () => number): Promise<{ came: number; wanted: number; text: string }> {
  const startedAt = performance.now();
  for (;;) {
    const [row] = await database.query<{ wanted: number; behind: boolean }>(
      `select (select coalesce(sum(cardinality(event_types)), 0)::int from rowhook.webhook_outbox
                where tenant_id = 'hostile' and test_webhook_id is null) as wanted,
              exists (select from rowhook.webhook_lagging_tenants) as behind`,
    );
    const [wanted, waitedMs] = [row?.wanted ?? 0, performance.now() - startedAt];
    if (came() >= wanted) return { came: came(), wanted, text: `the last one ${seconds(waitedMs)} after the end` };
    if (waitedMs > SETTLE_MS) return { came: came(), wanted, text: row?.behind ? 'it lags still' : 'it does not lag' };
    await sleep(500);
  }
}

function deedsAt(deeds: readonly Deed[], { at, ms = 0 }: Wait): string {
  const last = deeds.filter((deed) => deed.at > at - 1_000 && deed.at < at + ms);
  return (
    last
      .map(({ what }) => what.slice(0, 60))
      .slice(-6)
      .join('; ') || 'nothing'
  );
}

function inWords(waits: readonly Wait[]): string {
  const sorted = waits.map((wait) => wait.ms ?? Infinity).sort((a, b) => a - b);
  const at = (share: number) => ms(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  const noise = ms(Math.max(0, ...waits.map(({ noiseMs }) => noiseMs)));
  const missing = waits.filter((wait) => wait.ms === undefined).length;
  return `${waits.length} events, ${missing} missing, p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)}, most ${at(1)}; the machine was late by ${noise} at most`;
}

function ms(value: number | undefined): string {
  return value === undefined || value === Infinity ? 'never' : `${Math.round(value)} ms`;
}

function seconds(value: number): string {
  return `${(value / 1_000).toFixed(1)} s`;
}

function readArguments(): { minutes: number; seed: number; daemonCount: number; limitMs: number } {
  const usage = (problem: string): never => {
    console.error(`neighbour-fuzz: ${problem}. Usage: npm run fuzz -- --minutes 10 --seed 42 --daemons 2`);
    process.exit(2);
  };
  const text = { type: 'string' } as const;
  try {
    const { values } = parseArgs({ options: { minutes: text, seed: text, daemons: text, limit: text } });
    const number = (name: keyof typeof values, fallback: number) => {
      const value = Number(values[name] ?? fallback);
      return value >= 0 ? value : usage(`--${name}: "${values[name]}" is not a number`);
    };
    return {
      minutes: number('minutes', 1),
      seed: number('seed', Date.now() % 1_000_000),
      daemonCount: Math.max(1, number('daemons', 1)),
      limitMs: number('limit', 500),
    };
  } catch (error) {
    return usage((error as Error).message);
  }
}
