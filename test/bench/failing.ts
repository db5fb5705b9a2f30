// Deliveries that fail: parked, and sent later.

import { setTimeout as sleep } from 'node:timers/promises';
import { captureEvents, createWebhooks, drain } from './drain.ts';
import { type Figure, figureOf, rateOf, stated } from './figure.ts';
import { quietly } from './host.ts';
import type { Stage } from './stage.ts';

/** So many webhooks share the failures: one alone would be held back by its own breaker and limits. */
const TENANTS = 100;

/** Few enough that no breaker opens. */
const REFUSED = 0.25;

interface Outage {
  /** Deliveries parked a second, while the breakers are open. */
  parkRate: number;
  /** Deliveries a second once the receiver answers again. */
  retryRate: number;
  daemonMb: number;
}

/** The receiver refuses everything until all is parked, then takes everything. */
function outage(stage: Stage, events: number): Promise<Outage> {
  return stage.database(async (database) => {
    await createWebhooks(database, { events, tenants: TENANTS });
    await captureEvents(database, { events, tenants: TENANTS });
    await stage.receiver.ask('reset', { every: 1_000_000, refuse: 1 });
    const startedAt = performance.now();
    const daemon = database.startDaemon();
    const parked = () => database.value<string>('select count(*) from rowhook.webhook_deliveries').then(Number);
    for (let count = 0; count < events; ) {
      const askedAt = performance.now();
      count = await parked();
      // counting a million rows takes a core for a while
      if (count < events) await sleep(Math.max(100, 20 * (performance.now() - askedAt)));
    }
    const parkRate = (events * 1000) / (performance.now() - startedAt);
    await stage.receiver.ask('reset', { every: Math.max(1, Math.floor(events / 200)) });
    // what a tenant does who has repaired his endpoint: the breaker closes, and what waits is due
    await database.query(`update rowhook.webhook_configurations set headers = '{"x-repaired":"yes"}'`);
    await database.query('update rowhook.webhook_deliveries set next_attempt_at = now() where attempt > 0');
    const marks = await stage.received(events);
    await database.settled();
    return { parkRate, retryRate: rateOf(marks), daemonMb: daemon.memory().most };
  });
}

/** Some requests are refused; their deliveries are parked and sent again a second later. Attempts a second. */
function flaky(stage: Stage, events: number): Promise<number> {
  return stage.database(async (database) => {
    await createWebhooks(database, { events, tenants: TENANTS });
    await database.query(
      "update rowhook.webhook_configurations set retry_strategy = 'linear', retry_delay_seconds = 1, retry_attempts = 20",
    );
    await captureEvents(database, { events, tenants: TENANTS });
    await stage.receiver.ask('reset', { every: Math.max(1, Math.floor(events / 200)), refuse: REFUSED });
    database.startDaemon();
    // first attempts and retries together; the tail, in which single deliveries wait for their time, is left out
    return rateOf(await stage.received(Math.floor(events * (1 + 0.8 * REFUSED))));
  });
}

export async function failing(stage: Stage): Promise<Figure[]> {
  const events = stage.size(1_000_000, 4_000);
  const healthy = () => quietly(() => drain(stage, { events: stage.size(200_000), tenants: TENANTS }));
  const before = await healthy();
  const out = await quietly(() => outage(stage, events));
  const after = await healthy();
  const baseline = (before.rate + after.rate) / 2;
  const attempts = await quietly(() => flaky(stage, stage.size(200_000, 4_000)));
  return [
    figureOf(
      `${events.toLocaleString('en')} parked deliveries sent later, against a healthy drain`,
      'deliveries/s',
      [{ baseline, value: out.retryRate }],
      { least: 0.5 },
    ),
    figureOf(
      'a quarter of the attempts fails, against a healthy drain',
      'attempts/s',
      [{ baseline, value: attempts }],
      {
        least: 0.5,
      },
    ),
    stated('parked while the breakers are open', 'deliveries/s', out.parkRate),
    stated('memory of the daemon through that', 'MB', out.daemonMb),
  ];
}
