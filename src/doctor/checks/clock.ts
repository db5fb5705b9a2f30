/** Checks that this machine and the server agree on the time. */
import { type CheckResult, type Examination, fine } from '../finding.ts';

const SAMPLES = 3;

export async function clock({ client, limits, now }: Examination): Promise<CheckResult[]> {
  const samples: { aheadMs: number; withinMs: number }[] = [];
  for (let n = 0; n < SAMPLES; n += 1) {
    const before = now();
    const { rows } = await client.query<{ ms: number }>(
      'select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms',
    );
    const after = now();
    samples.push({ aheadMs: (rows[0]?.ms ?? 0) - (before + after) / 2, withinMs: (after - before) / 2 });
  }
  // The fastest answer gives the most exact difference.
  const { aheadMs, withinMs } = samples.reduce((best, next) => (next.withinMs < best.withinMs ? next : best));
  const seconds = Math.abs(aheadMs) / 1_000;
  if (seconds <= limits.clockSeconds + withinMs / 1_000) {
    return [fine(`the clocks of the server and of this machine differ by ${Math.round(Math.abs(aheadMs))} ms`)];
  }
  return [
    {
      kind: 'warning',
      what: `the server's clock is ${seconds.toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} this machine's`,
      why: "Requests carry the server's time. Receivers reject a time that is more than five minutes off their own.",
      fix: 'timedatectl set-ntp true   # on the machine whose clock is wrong',
    },
  ];
}
