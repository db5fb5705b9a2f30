// The cost as work grows: one series for each chart of docs/performance.md.

import { type Drain, drain } from './drain.ts';
import { type Figure, stated } from './figure.ts';
import { quietly } from './host.ts';
import type { Stage } from './stage.ts';

export async function growth(stage: Stage): Promise<Figure[]> {
  const figures: Figure[] = [];
  const point = async (series: string, x: number, what: Drain) => {
    const { rate, daemonMb } = await quietly(() => drain(stage, what));
    const figure = stated(`growth: ${series}`, 'deliveries/s', rate, null);
    figures.push({ ...figure, x, mb: daemonMb });
  };
  for (const events of [10_000, 50_000, 200_000, 1_000_000, 2_000_000]) {
    const size = stage.size(events, 2_000);
    await point('events captured', size, { events: size });
  }
  for (const webhooks of [10, 100, 1_000, 10_000, 100_000]) {
    const tenants = Math.max(1, stage.size(webhooks, 10) / 10);
    await point('webhooks, ten a tenant', tenants * 10, {
      events: stage.size(10_000, 300),
      tenants,
      webhooksPerTenant: 10,
    });
  }
  for (const [bytes, events] of [
    [200, 50_000],
    [1_000, 50_000],
    [10_000, 20_000],
    [100_000, 4_000],
  ] as const) {
    await point('bytes of a row', bytes, { events: stage.size(events, 500), titleLength: Math.max(1, bytes - 180) });
  }
  for (const daemons of [1, 2, 4]) {
    await point('daemons', daemons, { events: stage.size(100_000), tenants: 100, daemons });
  }
  return figures;
}
