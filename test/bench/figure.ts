// What a measurement hands back, and the arithmetic that all of them share.

import type { Marks } from './receiver.ts';

export interface Figure {
  what: string;
  /** What the value and its baseline count. */
  unit: string;
  value: number;
  /** Of the same run; null: the value is stated, and compared with nothing. */
  baseline: number | null;
  /** The figure: value / baseline, the median of all rounds. Equal to the value where there is no baseline. */
  ratio: number;
  /** What the ratio should be at least or at most; null: it is stated. */
  reach: { least: number } | { most: number } | null;
  /** Of a point in a series: where it stands, and the memory of the daemon there. */
  x?: number;
  mb?: number;
  /** What else was seen. */
  detail?: string;
  /** Share of CPU that neighbours took, in the worst of the measurements that count. */
  steal?: number;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN];
  return below + (above - below) * (at - Math.floor(at));
}

export interface Pair {
  baseline: number;
  value: number;
}

/** A baseline and its figure in turns, so that a machine that changes its pace changes both. */
export async function inTurns(
  rounds: number,
  baseline: () => Promise<number>,
  value: () => Promise<number>,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let round = 0; round < rounds; round++) pairs.push({ baseline: await baseline(), value: await value() });
  return pairs;
}

/** The figure of several rounds. */
export function figureOf(
  what: string,
  unit: string,
  pairs: readonly Pair[],
  reach: Figure['reach'],
  detail?: string,
): Figure {
  return {
    what,
    unit,
    value: median(pairs.map(({ value }) => value)),
    baseline: median(pairs.map(({ baseline }) => baseline)),
    ratio: median(pairs.map(({ value, baseline }) => value / baseline)),
    reach,
    ...(detail === undefined ? {} : { detail }),
  };
}

export function stated(
  what: string,
  unit: string,
  value: number,
  reach: Figure['reach'] = null,
  detail?: string,
): Figure {
  return { what, unit, value, baseline: null, ratio: value, reach, ...(detail === undefined ? {} : { detail }) };
}

export function isReached({ ratio, reach }: Figure): boolean | null {
  if (!reach) return null;
  return 'least' in reach ? ratio >= reach.least : ratio <= reach.most;
}

/** Requests a second between the first tenth, in which processes warm up, and the last request. */
export function rateOf({ times, every }: Marks): number {
  const first = Math.floor(times.length / 10);
  const [from, to] = [times[first], times.at(-1)];
  if (from === undefined || to === undefined || to <= from)
    throw new Error(`${times.length} marks are too few for a rate`);
  return ((times.length - 1 - first) * every * 1000) / (to - from);
}
