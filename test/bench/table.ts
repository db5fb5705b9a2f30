// The figures as one table, which docs/internals/performance.md takes as it is.

import { type Figure, isReached } from './figure.ts';

export interface Result {
  at: string;
  machine: { cpu: string; cores: number; memoryGb: number; node: string; postgres: number; data: string };
  scale: number;
  rounds: number;
  flushes: boolean;
  figures: Figure[];
}

export function table({ machine, scale, rounds, flushes, figures }: Result): string {
  const { cpu, cores, memoryGb, node, postgres, data } = machine;
  const of = `${cpu}, ${cores} cores, ${memoryGb} GB; Node ${node}, PostgreSQL ${postgres} with its data in ${data}; scale ${scale}, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}; commits ${flushes ? '' : 'not '}flushed`;
  const header = ['what', 'figure', 'baseline', 'ratio', 'target', 'met', 'steal'];
  const lines = [header, header.map(() => '---'), ...figures.map(row)];
  const details = figures.filter(({ detail }) => detail).map(({ what, detail }) => `- ${what}: ${detail}.`);
  return [of, '', ...lines.map((cells) => `| ${cells.join(' | ')} |`), '', ...details].join('\n');
}

function row(figure: Figure): string[] {
  const { what, unit, value, baseline, ratio, reach, x, steal = 0 } = figure;
  const reached = isReached(figure);
  return [
    x === undefined ? what : `${what}: ${x.toLocaleString('en')}`,
    `${short(value)} ${unit}`,
    baseline === null ? '' : `${short(baseline)} ${unit}`,
    baseline === null ? '' : ratio.toFixed(2),
    reach === null ? '' : 'least' in reach ? `≥ ${reach.least}` : `≤ ${reach.most}`,
    reached === null ? '' : reached ? 'yes' : '**no**',
    `${(steal * 100).toFixed(1)} %`,
  ];
}

function short(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}
