// A minute in which nothing happens.

import { setTimeout as sleep } from 'node:timers/promises';
import { captureEvents, createWebhooks } from './drain.ts';
import { type Figure, stated } from './figure.ts';
import { cpuMsOf } from './host.ts';
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

    // Only the daemon's own backends: what else a server does in a minute, autovacuum most of all, is more than they do.
    // Some come and go, so each is looked at every second; one of less than that is missed.
    const backends = new Map<number, { first: number; last: number }>();
    const look = (isFirst: boolean) => {
      for (const pid of database.daemonBackends()) {
        const before = backends.get(pid);
        const now = Math.max(cpuMsOf(pid), before?.last ?? 0);
        backends.set(pid, { first: before?.first ?? (isFirst ? now : 0), last: now });
      }
    };
    const [daemonBefore, transactionsBefore] = [cpuMsOf(daemon.pid), await transactions()];
    look(true);
    if (backends.size === 0) throw new Error('the daemon has no session: nothing of PostgreSQL would be counted');
    for (let second = 0; second < seconds; second++) {
      await sleep(Math.min(1, seconds - second) * 1_000);
      look(false);
    }
    /** Percent of a core. */
    const percent = (cpuMs: number) => cpuMs / (seconds * 10);
    const used = percent(cpuMsOf(daemon.pid) - daemonBefore);
    const server = percent([...backends.values()].reduce((sum, { first, last }) => sum + last - first, 0));
    const perSecond = ((await transactions()) - transactionsBefore) / seconds;
    const detail = `daemon ${used.toFixed(3)} %, its ${backends.size} backends ${server.toFixed(3)} %`;
    return [
      stated('asleep: CPU of daemon and PostgreSQL', '% of a core', used + server, { most: 0.2 }, detail),
      stated('asleep: transactions', 'per second', perSecond),
    ];
  });
}
