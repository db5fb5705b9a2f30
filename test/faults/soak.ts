// npm run soak -- --minutes 10 --seed 42
//
// All faults together, in an order that the seed decides and that is printed first, with two daemons at work; and the account at the
// end. Exit codes: 0 it balances, 1 it does not, 2 wrong usage.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { random } from '../support/random.ts';
import { type Fault, startWorld, TRACKS, type World } from './mix.ts';

/** Between two faults of a track. */
const PAUSE_MS = [500, 6_000] as const;

interface Planned {
  atMs: number;
  forMs: number;
  fault: Fault;
  chance: () => number;
}

const { minutes, seed } = readArguments();
const chance = random(seed);
const tracks = Object.entries(TRACKS).map(([name, faults]) => ({ name, planned: plan(faults, minutes * 60_000) }));
const faults = tracks.flatMap(({ name, planned }) => planned.map((one) => ({ ...one, name })));

console.log(`soak: ${minutes} minutes, seed ${seed}, ${faults.length} faults`);
for (const { atMs, forMs, fault, name } of faults.toSorted((a, b) => a.atMs - b.atMs))
  console.log(`${seconds(atMs).padStart(8)}  ${fault.name}${forMs > 0 ? ` for ${seconds(forMs)}` : ''}  (${name})`);

const world = await startWorld();
try {
  await world.scene.newRows();
  const startedAt = performance.now();
  await Promise.all(tracks.map(({ planned }) => strikeAll(world, planned, startedAt)));
  await sleep(Math.max(0, minutes * 60_000 - (performance.now() - startedAt)));
  // a receiver that was cut off has an open breaker, up to 10 minutes; whoever touches the webhook closes it
  await world.server.database.query('update rowhook.webhook_configurations set description = now()::text');
  await world.scene.healed();
  const crashes = faults.filter(({ fault }) => fault.isCrash).length * world.daemons.length;
  await world.scene.settle(`soak, ${minutes} minutes, seed ${seed}`, { crashes, daemons: world.daemons.length });
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await world.close();
}

async function strikeAll(world: World, planned: readonly Planned[], startedAt: number): Promise<void> {
  for (const { atMs, forMs, fault, chance } of planned) {
    await sleep(Math.max(0, startedAt + atMs - performance.now()));
    await fault.strike(world, forMs, chance);
  }
}

/** Faults one after another, none of which ends after `ms`. */
function plan(faults: readonly Fault[], ms: number): Planned[] {
  const planned: Planned[] = [];
  for (let atMs = between(PAUSE_MS); ; ) {
    const fault = faults[Math.floor(chance() * faults.length)] as Fault;
    const forMs = between(fault.ms);
    // the strike draws from numbers of its own, so that what is printed is what happens
    if (atMs + forMs > ms) return planned;
    planned.push({ atMs, forMs, fault, chance: random(Math.floor(chance() * 2 ** 32)) });
    atMs += forMs + between(PAUSE_MS);
  }
}

function between([min, max]: readonly [number, number]): number {
  return min + chance() * (max - min);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function readArguments(): { minutes: number; seed: number } {
  const usage = (problem: string): never => {
    console.error(`soak: ${problem}. Usage: npm run soak -- --minutes 10 --seed 42`);
    process.exit(2);
  };
  try {
    const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } });
    const [minutes, seed] = [Number(values.minutes ?? 1), Number(values.seed ?? Date.now() % 1_000_000)];
    if (!(minutes > 0 && minutes <= 10_000)) usage(`--minutes: "${values.minutes}" is not a number above 0`);
    if (!Number.isInteger(seed)) usage(`--seed: "${values.seed}" is not a whole number`);
    return { minutes, seed };
  } catch (error) {
    return usage((error as Error).message);
  }
}
