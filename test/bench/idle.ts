// A minute in which nothing happens.

import { setTimeout as sleep } from 'node:timers/promises';
import { captureEvents, createWebhooks } from './drain.ts';
import { type Figure, stated } from './figure.ts';
import { treeCpuMs } from './host.ts';
import type { Stage } from './stage.ts';

/** The daemon falls asleep a second after the last event, and lets its spare connections go after ten. */
const ASLEEP_MS = 12_000;

export function idle(stage: Stage): Promise<Figure[]> {
  return stage.database(async (database) => {
    const seconds = stage.seconds(60);
    const transactions = () =>
      database
        .value<string>('select xact_commit + xact_rollback from pg_stat_database where datname = current_database()')
        .then(Number);
    await createWebhooks(database, { events: 0 });
    await captureEvents(database, { events: 1 });
    await stage.receiver.ask('reset', { every: 1 });
    const daemon = database.startDaemon();
    await stage.received(1);
    await database.settled();
    await sleep(ASLEEP_MS);

    // only the daemon's own backends: what else a server does in a minute, autovacuum most of all, is more than they do
    const backends = await database.query<{ pid: number }>(
      "select pid from pg_stat_activity where datname = current_database() and application_name like 'rowhook%'",
    );
    if (backends.length === 0) throw new Error('the daemon has no session: nothing of PostgreSQL would be counted');
    const cpuMs = () => ({
      daemon: treeCpuMs(daemon.pid),
      server: backends.reduce((sum, { pid }) => sum + treeCpuMs(pid), 0),
    });
    const before = { ...cpuMs(), transactions: await transactions() };
    await sleep(seconds * 1000);
    const after = { ...cpuMs(), transactions: await transactions() };
    /** Percent of a core. */
    const used = (who: 'daemon' | 'server') => (after[who] - before[who]) / (seconds * 10);
    const perSecond = (after.transactions - before.transactions) / seconds;
    const detail = `daemon ${used('daemon').toFixed(3)} %, its ${backends.length} backends ${used('server').toFixed(3)} %`;
    return [
      stated(
        'asleep: CPU of daemon and PostgreSQL',
        '% of a core',
        used('daemon') + used('server'),
        { most: 0.2 },
        detail,
      ),
      stated('asleep: transactions', 'per second', perSecond),
    ];
  });
}
