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
    /** Percent of a core, and transactions a second. */
    const watch = async (daemonPid?: number) => {
      const daemonCpuMs = () => (daemonPid === undefined ? 0 : treeCpuMs(daemonPid));
      const before = { daemon: daemonCpuMs(), server: stage.serverCpuMs(), transactions: await transactions() };
      await sleep(seconds * 1000);
      return {
        daemon: (daemonCpuMs() - before.daemon) / (seconds * 10),
        server: (stage.serverCpuMs() - before.server) / (seconds * 10),
        transactions: ((await transactions()) - before.transactions) / seconds,
      };
    };
    await createWebhooks(database, { events: 0 });
    await captureEvents(database, { events: 1 });
    await sleep(ASLEEP_MS / 2);
    const without = await watch();
    await stage.receiver.ask('reset', { every: 1 });
    const daemon = database.startDaemon();
    await stage.received(1);
    await database.settled();
    await sleep(ASLEEP_MS);
    const asleep = await watch(daemon.pid);
    const server = asleep.server - without.server;
    const detail = `daemon ${asleep.daemon.toFixed(3)} %, PostgreSQL ${server.toFixed(3)} % more than without a daemon`;
    return [
      stated('asleep: CPU of daemon and PostgreSQL', '% of a core', asleep.daemon + server, { most: 0.2 }, detail),
      stated('asleep: transactions', 'per second', asleep.transactions),
    ];
  });
}
