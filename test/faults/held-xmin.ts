// A transaction that stays open keeps PostgreSQL from cleaning up after any other. What becomes of delivering beside one:
//
//   node test/faults/held-xmin.ts [--minutes 10] [--rate 1000]
//
// Prints throughput and latency of each minute (or tenth of the run, if it is shorter), the dead rows in rowhook's tables, and the
// last part against the second, in which everything is compiled; exits 1 when an event was lost. `stolen` is the share of the
// processors that the host gave to other machines, in percent: what p99 shows beside more than one or two is theirs.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startCounter } from '../support/counter.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { startServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, rate: { type: 'string', default: '1000' } },
});
const totalMs = Number(values.minutes) * 60_000;
const rate = Number(values.rate);
const parts = Math.max(10, Math.round(Number(values.minutes)));
const tenants = 64;
/** One transaction writes the rows of so many milliseconds. */
const everyMs = 20;

interface Part {
  arrived: number;
  latencies: number[];
}

/** Ticks of all processors until now. */
function processorTicks(): { all: number; stolen: number } {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/ +/).slice(1, 9).map(Number) ?? [];
  return { all: ticks.reduce((sum, n) => sum + n, 0), stolen: ticks[7] ?? 0 };
}

const server = await startServer();
const { database } = server;
const measured: Part[] = Array.from({ length: parts }, () => ({ arrived: 0, latencies: [] }));
let startedAt = 0;
let arrived = 0;
const receiver = await startCounter({
  onRequest: (body) => {
    const now = performance.now();
    const { at } = JSON.parse(body.toString()).data;
    const part = measured[Math.floor(((at - startedAt) / totalMs) * parts)];
    arrived += 1;
    if (!part) return;
    part.arrived += 1;
    part.latencies.push(now - at);
  },
});
await database.query('create table items (id bigserial primary key, tenant_id text not null, at float8 not null)');
await database.query("select rowhook.watch('items')");
await database.query(
  `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types)
   select 'tenant ' || n, 'all', $1, '{*}' from generate_series(0, ${tenants - 1}) as n`,
  [receiver.url],
);
const daemon = startDaemonProcess(database.daemonUrl);
await daemon.tookLanes();

const holder = new pg.Client(database.url);
await holder.connect();
await holder.query('begin isolation level repeatable read; select pg_current_xact_id()');

const writer = new pg.Client(database.url);
await writer.connect();
startedAt = performance.now();
let written = 0;
const ticks = [processorTicks()];
while (performance.now() - startedAt < totalMs) {
  const now = performance.now();
  if (now - startedAt > (ticks.length * totalMs) / parts) ticks.push(processorTicks());
  const rows = Math.floor(((now - startedAt) / 1_000) * rate) - written;
  if (rows > 0)
    await writer.query(
      `insert into items (tenant_id, at) select 'tenant ' || (n % ${tenants}), $1::float8 from generate_series($2::int, $3::int) as n`,
      [performance.now(), written + 1, written + rows],
    );
  written += Math.max(0, rows);
  await new Promise((resolve) => setTimeout(resolve, everyMs));
}
ticks.push(processorTicks());
await waitUntil('all has arrived', () => arrived >= written, { timeoutMs: 120_000 });

const percentile = (sorted: number[], share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
const figures = measured.map(({ arrived, latencies }, part) => {
  const sorted = latencies.toSorted((a, b) => a - b);
  const [before, after] = [ticks[part], ticks[part + 1]];
  const stolen = before && after ? (after.stolen - before.stolen) / (after.all - before.all) : Number.NaN;
  return {
    perSecond: Math.round(arrived / (totalMs / parts / 1_000)),
    p50: Number(percentile(sorted, 0.5).toFixed(1)),
    p99: Number(percentile(sorted, 0.99).toFixed(1)),
    stolen: Number((100 * stolen).toFixed(1)),
  };
});
console.table(figures);
console.table(
  await database.query(
    `select relname, n_live_tup::int as live, n_dead_tup::int as dead, pg_size_pretty(pg_total_relation_size(relid)) as size
       from pg_stat_user_tables where schemaname = 'rowhook' and n_dead_tup > 0 order by n_dead_tup desc`,
  ),
);
const [first, last] = [figures[1], figures.at(-1)];
const ratio = (of: 'perSecond' | 'p50' | 'p99') =>
  ((last?.[of] ?? Number.NaN) / (first?.[of] ?? Number.NaN)).toFixed(2);
console.log(`last part against the second: throughput ${ratio('perSecond')}, p50 ${ratio('p50')}, p99 ${ratio('p99')}`);
console.log(`${written} written, ${arrived} arrived, ${receiver.requests - receiver.received.size} twice`);

await daemon.kill('SIGTERM');
await holder.end();
await writer.end();
await receiver.close();
await server.stop();
process.exit(receiver.received.size === written ? 0 : 1);
