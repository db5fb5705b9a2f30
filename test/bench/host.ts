// What the machine did meanwhile: CPU time of processes, and what neighbours of a virtual machine took. Linux only.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** Clock ticks of /proc, which are 100 a second on every Linux of today. */
const TICK_MS = 10;

/** Above this share of stolen CPU a measurement is made again. */
let stealMax = 0.03;
export function tolerateSteal(share: number): void {
  stealMax = share;
}

const TRIES_MAX = 3;

export const machine = () => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.version,
});

/** Ticks of all CPUs: user nice system idle iowait irq softirq steal. */
function ticks(): { all: number; stolen: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return { all: fields.reduce((sum, field) => sum + field, 0), stolen: fields[7] ?? 0 };
}

/** The largest share of CPU that was stolen during a measurement which counts, since the last call. */
let worst = 0;
export function worstSteal(): number {
  const steal = worst;
  worst = 0;
  return steal;
}

/** Measures, and measures again while neighbours take CPU; the quietest try counts. */
export async function quietly<T>(measure: () => Promise<T>, triesMax = TRIES_MAX): Promise<T> {
  let best: { steal: number; value: T } | undefined;
  for (let tries = 0; tries < triesMax; tries++) {
    const before = ticks();
    const value = await measure();
    const after = ticks();
    const steal = (after.stolen - before.stolen) / Math.max(1, after.all - before.all);
    if (!best || steal < best.steal) best = { steal, value };
    if (steal <= stealMax) break;
  }
  const { steal, value } = best as { steal: number; value: T };
  worst = Math.max(worst, steal);
  return value;
}

/** Fields of /proc/<pid>/stat behind the name, which may hold blanks: state is 0, ppid 1, utime 11, stime 12, cutime 13, cstime 14. */
function statOf(pid: number | string): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
  } catch {
    return []; // it has ended
  }
}

/** Milliseconds on a CPU of a process and all its children, also of those that have ended. */
export function treeCpuMs(pid: number): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const living = [String(pid), ...pids.filter((child) => statOf(child)[1] === pid)];
  const [ended, endedInKernel] = statOf(pid).slice(13, 15);
  return living.reduce((sum, one) => sum + cpuMsOf(one), ((ended ?? 0) + (endedInKernel ?? 0)) * TICK_MS);
}

/** Milliseconds on a CPU of a process itself, to the nanosecond, of all threads that live; ticks would be too coarse for one that hardly does anything. */
export function cpuMsOf(pid: number | string): number {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6)
      .reduce((sum, ms) => sum + ms, 0);
  } catch {
    return 0; // it has ended
  }
}

/** Processes whose command line begins so, as PostgreSQL names its backends: `postgres: role database …`. */
export function processesNamed(start: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(start);
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

/** Resident memory of a process in MB: now, and the most there was. */
export function memoryMb(pid: number): { now: number; most: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
  return { now: field('VmRSS'), most: field('VmHWM') };
}

/** Halves of the cores, as taskset writes them: two hosts on one machine. Undefined on a single core. */
export function twoHosts(): [string, string] | undefined {
  const count = cpus().length;
  const half = Math.floor(count / 2);
  return half === 0 ? undefined : [`0-${half - 1}`, `${half}-${count - 1}`];
}

/** Lets these processes, with all of their threads, run on these cores only; without `cores` on all of them. */
export function pin(pids: readonly number[], cores = `0-${cpus().length - 1}`): void {
  for (const pid of pids) execFileSync('taskset', ['-acp', cores, String(pid)], { stdio: 'ignore' });
}
