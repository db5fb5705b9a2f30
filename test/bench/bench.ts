// npm run bench: measures what docs/internals/performance.md says, on this machine. See --help.

import { existsSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { api } from './api.ts';
import { statements } from './capture.ts';
import { bulk, clients } from './clients.ts';
import { writeDocs } from './docs.ts';
import { drainBacklog, drainFiltered, drainMany, drainOne, drainWebhooks } from './drain.ts';
import { failing } from './failing.ts';
import type { Figure } from './figure.ts';
import { growth } from './growth.ts';
import { machine, tolerateSteal, worstSteal } from './host.ts';
import { idle } from './idle.ts';
import { inbound } from './inbound.ts';
import { latency } from './latency.ts';
import { neighbours } from './neighbours.ts';
import { flushed, rates, slow, steady } from './peers/peers.ts';
import { Stage } from './stage.ts';
import { table } from './table.ts';
import { templates } from './templates.ts';

const MEASUREMENTS: Record<string, (stage: Stage) => Promise<Figure[]>> = {
  drain: drainOne,
  many: drainMany,
  latency,
  statements,
  clients,
  bulk,
  backlog: drainBacklog,
  webhooks: drainWebhooks,
  filter: drainFiltered,
  failing,
  idle,
  growth,
  api,
  inbound,
  neighbours,
  steady,
  rates,
  slow,
  flushed,
  templates,
};

/** Names for several measurements. Without --only each measurement runs once. */
const GROUPS: Record<string, readonly string[]> = {
  capture: ['statements', 'clients', 'bulk'],
  peers: ['steady', 'rates', 'slow', 'flushed'],
};
const GROUP_HELP: Record<string, string> = {
  capture: 'what capture costs the app',
  peers: 'rowhook beside what does the same',
};

const HELP = `Usage: npm run bench -- [options]

  --only <names>   some of: ${Object.keys(MEASUREMENTS).join(', ')};
                   ${Object.entries(GROUPS)
                     .map(([name, parts]) => `${name} stands for ${parts.join(', ')}: ${GROUP_HELP[name]}`)
                     .join('\n                   ')}
  --match <text>   of neighbours, only those whose name has this text
  --daemons <n>    of neighbours, how many daemons work at the same time (1)
  --scale <n>      sizes, as a part of the full ones (1); 0.005 takes two minutes
  --rounds <n>     how often a baseline and its figure take turns (3)
  --steal <n>      percent of the CPU that neighbours may take in a measurement; above that it is made again, up to three times (3)
  --pg <major>     18 or 15
  --flush          every commit is flushed to the disk (fsync on)
  --json <file>    write all figures there as well
  --docs           write them into docs/internals/performance.md, and its charts
  --profile <dir>  write a CPU profile of every daemon there`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(MEASUREMENTS).join() },
    match: { type: 'string' },
    daemons: { type: 'string', default: '1' },
    scale: { type: 'string', default: '1' },
    rounds: { type: 'string' },
    steal: { type: 'string', default: '3' },
    pg: { type: 'string', default: '18' },
    flush: { type: 'boolean', default: false },
    json: { type: 'string' },
    docs: { type: 'boolean' },
    profile: { type: 'string' },
    help: { type: 'boolean' },
  },
});
const names = [...new Set(values.only.split(',').flatMap((name) => GROUPS[name] ?? [name]))];
const unknown = names.filter((name) => !MEASUREMENTS[name]);
const scale = Number(values.scale);
const daemons = Number(values.daemons);
const rounds = Number(values.rounds ?? (scale < 0.1 ? 1 : 3));
if (
  values.help ||
  unknown.length > 0 ||
  !(scale > 0 && scale <= 1) ||
  !(rounds >= 1) ||
  !(daemons >= 1 && daemons <= 16) ||
  !(Number(values.steal) >= 0) ||
  !['15', '18'].includes(values.pg)
) {
  if (unknown.length > 0) console.error(`There is no measurement ${unknown.join(', ')}.`);
  console.error(HELP);
  process.exit(values.help ? 0 : 2);
}

const startedAt = performance.now();
useMemory();
tolerateSteal(Number(values.steal) / 100);
const major = values.pg === '15' ? 15 : 18;
const stage = await Stage.open({
  major,
  scale,
  rounds,
  flushes: values.flush,
  daemons,
  ...(values.match ? { match: values.match } : {}),
  ...(values.profile ? { profiles: values.profile } : {}),
});
const result = {
  at: new Date().toISOString(),
  machine: { ...machine(), postgres: stage.server.major, data: tmpdir() },
  scale,
  rounds,
  flushes: values.flush,
  figures: [] as Figure[],
};
let failed = true;
try {
  for (const name of names) {
    console.error(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(5)} s  ${name}`);
    worstSteal();
    const measured = (await MEASUREMENTS[name]?.(stage)) ?? [];
    const steal = worstSteal();
    result.figures.push(...measured.map((figure) => ({ ...figure, steal })));
    // an hour of measurements is not lost with the last one
    if (values.json) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  failed = false;
} finally {
  await stage.close(failed);
}
console.log(table(result));
if (values.docs) writeDocs(result);

/** The data stand in memory where that is large enough, unless TMPDIR says otherwise: a shared disk is not what is measured. */
function useMemory(): void {
  const { TMPDIR } = process.env;
  if (TMPDIR || !existsSync('/dev/shm')) return;
  const { bavail, bsize } = statfsSync('/dev/shm');
  if (bavail * bsize > 1e9 + scale * 9e9) process.env.TMPDIR = '/dev/shm';
}
