// The cost as work grows: one series for each chart of docs/internals/performance.md.

import { type Drain, drain } from './drain.ts';
import { type Figure, stated } from './figure.ts';
import { quietly } from './host.ts';
import type { Stage } from './stage.ts';

export interface Series {
  /** Of the chart's file. */
  name: string;
  /** Of the figures. */
  series: string;
  title: string;
  xLabel: string;
  points(stage: Stage): { x: number; drain: Drain }[];
}

export const GROWTH: readonly Series[] = [
  {
    name: 'events',
    series: 'deliveries a second, by events waiting',
    title: 'Deliveries a second to one endpoint, as the backlog grows',
    xLabel: 'events waiting when the daemon starts',
    points: (stage) =>
      [10_000, 50_000, 200_000, 1_000_000, 2_000_000].map((full) => {
        const events = stage.size(full, 1_000);
        return { x: events, drain: { events } };
      }),
  },
  {
    name: 'webhooks',
    series: 'deliveries a second, by webhooks',
    title: 'Deliveries a second, as webhooks grow in number: ten for each tenant, ten deliveries for each event',
    xLabel: 'webhooks',
    points: (stage) =>
      [1, 10, 100, 1_000, 10_000].map((full) => {
        const tenants = stage.size(full, 1);
        return { x: tenants * 10, drain: { events: stage.size(20_000, 400), tenants, webhooksPerTenant: 10 } };
      }),
  },
  {
    name: 'payload',
    series: 'deliveries a second, by bytes of a row',
    title: 'Deliveries a second to one endpoint, as rows grow',
    xLabel: 'bytes of the row as JSON',
    points: (stage) =>
      [
        [400, 50_000],
        [1_000, 50_000],
        [10_000, 20_000],
        [100_000, 4_000],
      ].map(([bytes = 0, full = 0]) => ({
        x: bytes,
        // a row with a title of one character prints as some 380
        drain: { events: stage.size(full, 500), titleLength: Math.max(20, bytes - 380) },
      })),
  },
  {
    name: 'daemons',
    series: 'deliveries a second, by daemons',
    title: 'Deliveries a second to 100 tenants, as daemons join',
    xLabel: 'daemons on one machine',
    points: (stage) =>
      [1, 2, 4].map((daemons) => ({
        x: daemons,
        // fewer are gone before the lanes are shared out
        drain: { events: stage.size(100_000, 50_000), tenants: 100, daemons },
      })),
  },
];

export async function growth(stage: Stage): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { series, points } of GROWTH) {
    for (const { x, drain: what } of points(stage)) {
      const { rate, daemonMb } = await quietly(() => drain(stage, what));
      figures.push({ ...stated(series, 'deliveries/s', rate), x, mb: daemonMb });
    }
  }
  return figures;
}
