// A process of its own with a tenant that has an event now and then, and how long each of them takes. It measures as well by how much
// the machine itself is late: a timer of this process, which has next to nothing to do, and a statement that does nothing.
//
// Its only argument is the address of the database. It starts at once and reports when it is asked to.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startCounter } from './counter.ts';

export interface Wait {
  /** Milliseconds since 1970 at which its commit was acknowledged. */
  at: number;
  /** From there to its arrival. Undefined: it has not arrived. */
  ms: number | undefined;
  /** By how much the machine was late at most, from a little before that. */
  noiseMs: number;
}

export interface Report {
  waits: Wait[];
  /** Events that came more than once. */
  twice: number;
}

const TENANT = 'watched';
const TICK_MS = 10;
const PING_MS = 50;
const PAUSE_MS = [80, 160] as const;
/** Lateness that ended this long before an event may still be the reason why it is late. */
const BEFORE_MS = 100;

const now = () => performance.timeOrigin + performance.now();

async function main(databaseUrl: string): Promise<void> {
  const clients = [new pg.Client(databaseUrl), new pg.Client(databaseUrl)] as const;
  for (const client of clients) await client.connect();
  const [writer, pinger] = clients;

  const arrivals = new Map<number, number>();
  let twice = 0;
  const receiver = await startCounter({
    onRequest: (body) => {
      const n = JSON.parse(body.toString()).data;
      if (arrivals.has(n)) twice += 1;
      else arrivals.set(n, now());
    },
  });
  await writer.query(
    `insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, 'watched', $2, '{*}')`,
    [TENANT, receiver.url],
  );

  const late: { at: number; ms: number }[] = [];
  const note = (ms: number) => late.push({ at: now(), ms });
  let expected = now() + TICK_MS;
  setInterval(() => {
    const ms = now() - expected;
    if (ms > 1) note(ms);
    expected = now() + TICK_MS;
  }, TICK_MS);
  const committed: number[] = [];

  process.on('message', (question: string) => {
    if (question === 'report') {
      const waits = committed.map((at, n): Wait => {
        const arrivedAt = arrivals.get(n);
        const until = arrivedAt ?? now();
        const noise = late.filter((one) => one.at >= at - BEFORE_MS && one.at - one.ms <= until);
        return {
          at,
          ms: arrivedAt === undefined ? undefined : Math.max(0, arrivedAt - at),
          noiseMs: Math.max(0, ...noise.map(({ ms }) => ms)),
        };
      });
      process.send?.({ waits, twice } satisfies Report);
    }
  });
  process.once('disconnect', () => process.exit());

  const ping = async () => {
    for (;;) {
      const askedAt = now();
      await pinger.query('select 1');
      note(now() - askedAt);
      await sleep(PING_MS);
    }
  };
  const write = async () => {
    for (let n = 0; ; n++) {
      await writer.query("select rowhook.emit('a.b', to_json($1::int), $2)", [n, TENANT]);
      committed.push(now());
      await sleep(PAUSE_MS[0] + Math.random() * (PAUSE_MS[1] - PAUSE_MS[0]));
    }
  };
  await Promise.all([ping(), write()]);
}

await main(process.argv[2] as string);
