// When the daemon sleeps, and what wakes it. On a server of its own: an open transaction in any database of a server keeps the
// daemon from falling asleep, since it might be one that never rang.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { startTestDaemon } from '../support/daemon.ts';
import type { TestDatabase } from '../support/database.ts';
import { startProxy } from '../support/proxy.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { SLOW_COMMITS, startServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

/** What a sleeping daemon would need without a ring; what came long before was rung for. */
const safetyPollMs = 30_000;
const atOnceMs = 12_000;

let server: TestServer;
let database: TestDatabase;
let receiver: Receiver;
let daemon: (Daemon & { settings: string }) | undefined;
let next = 1;

beforeAll(async () => {
  server = await startServer(SLOW_COMMITS);
  database = server.database;
  receiver = await startReceiver();
  await database.query(`
    create table items (id int primary key, tenant_id text not null default 'acme');
    select rowhook.watch('items')`);
  await createWebhook(database, { tenant_id: 'acme', url: receiver.url('/') });
});
afterAll(async () => {
  await daemon?.stop();
  await receiver.close();
  await server.stop();
});

/** The only daemon has these settings: the one that an earlier test left, or a new one. */
async function aDaemonRuns(more: Partial<Settings> = {}): Promise<void> {
  const settings = JSON.stringify(more);
  if (daemon?.settings === settings) return;
  await stopDaemon();
  daemon = { ...(await startTestDaemon(database, more)), settings };
}

async function stopDaemon(): Promise<void> {
  await daemon?.stop();
  daemon = undefined;
}

async function bell(): Promise<number> {
  const [row] = await database.query<{ value: string }>('select last_value as value from rowhook.doorbell');
  return Number(row?.value);
}

/** When the named connection of the daemon last did something. */
async function lastActive(name: string): Promise<number> {
  const [row] = await database.query<{ at: number }>(
    `select extract(epoch from state_change)::float8 * 1000 as at from pg_stat_activity
      where application_name = $1 and state = 'idle'`,
    [name],
  );
  return row?.at ?? 0;
}

/** The doorbell says so, and the reader polls no more. */
async function fallsAsleep(): Promise<void> {
  await waitUntil('the doorbell says that all sleep', async () => (await bell()) === 2);
  let before = -1;
  await waitUntil(
    'the reader has done nothing for two looks',
    async () => {
      const at = await lastActive('rowhook reader');
      const isSilent = at === before;
      before = at;
      return isSilent;
    },
    // a drowsy reader polls every 250 ms at least
    { everyMs: 300 },
  );
}

/** The reader has polled without a pause for as long as it does after news, and goes on with pauses. */
async function pollsNowAndThen(): Promise<void> {
  await waitUntil('the reader pauses between two polls', async () => {
    const [row] = await database.query(
      `select clock_timestamp() - state_change > '20 ms' as pauses from pg_stat_activity
        where application_name = 'rowhook reader' and state = 'idle'`,
    );
    return row?.pauses;
  });
}

/** The reader keeps asking, though the doorbell says that all sleep. */
async function pollsOn(): Promise<void> {
  const seen = new Set<number>();
  await waitUntil('the reader polls on', async () => seen.add(await lastActive('rowhook reader')).size > 4);
}

const insert = (by: pg.Client | TestDatabase = database) => {
  const id = next++;
  return (by === database ? database.pool : (by as pg.Client))
    .query('insert into items (id) values ($1)', [id])
    .then(() => id);
};

/** Writes until somebody is awake, who stays so for half a second at least. */
const wakes = () =>
  waitUntil('somebody is awake', async () => {
    await Promise.all(Array.from({ length: 8 }, () => insert()));
    return (await bell()) === 1;
  });

/** Begins a transaction that has written while somebody was awake, and so will not ring. */
async function beginSilently(writer: pg.Client): Promise<number> {
  for (;;) {
    await wakes();
    await writer.query('begin');
    const id = await insert(writer);
    if ((await bell()) === 1) return id;
    await writer.query('rollback');
  }
}

/** Resolves to how long it took. */
async function arrives(id: number, since = performance.now()): Promise<number> {
  await receiver.waitFor((request) => JSON.parse(request.body.toString()).data.id === id, {
    timeoutMs: safetyPollMs + 5_000,
  });
  return performance.now() - since;
}

async function client(): Promise<pg.Client> {
  const connected = new pg.Client(database.url);
  await connected.connect();
  return connected;
}

/** Hears every ring. */
async function listener() {
  const ear = await client();
  let rings = 0;
  let echoed = () => {};
  ear.on('notification', ({ channel }) => {
    if (channel === 'rowhook') rings += 1;
    else echoed();
  });
  await ear.query('listen rowhook; listen echo');
  return {
    /** Notifications come in the order of their commits: behind an echo there is none left. */
    async rings(): Promise<number> {
      const heard = new Promise<void>((resolve) => {
        echoed = resolve;
      });
      await database.query('notify echo');
      await heard;
      return rings;
    },
    close: () => ear.end(),
  };
}

describe('a silent outbox', () => {
  test('lets the daemon sleep: the reader asks nothing, only the heartbeat goes on', async () => {
    await aDaemonRuns();
    expect(await arrives(await insert())).toBeLessThan(atOnceMs);
    await fallsAsleep();
    const [reader, heart] = [await lastActive('rowhook reader'), await lastActive('rowhook listen')];
    await waitUntil('the heart beats', async () => (await lastActive('rowhook listen')) > heart);
    expect(await lastActive('rowhook reader')).toBe(reader);
    expect(await bell()).toBe(2);

    // a daemon that stops leaves nobody to ring for
    await stopDaemon();
    expect(await bell()).toBe(1);
  });

  test('is broken by a ring: the event arrives at once, and the daemon sleeps on', async () => {
    await aDaemonRuns();
    await fallsAsleep();
    const ear = await listener();
    const took = await arrives(await insert());
    expect(took).toBeLessThan(atOnceMs);
    expect(await bell()).toBe(2);
    expect(await ear.rings()).toBe(1);
    console.log(`rung for, an event arrived after ${took.toFixed(0)} ms`);
    await ear.close();
  });

  test('is broken by a ring also for emit(), and for a change of a webhook', async () => {
    await aDaemonRuns();
    await fallsAsleep();
    await database.query("select rowhook.emit('payment.received', '{\"id\":\"emitted\"}', 'acme')");
    await receiver.waitFor((request) => request.body.includes('emitted'), { timeoutMs: atOnceMs });
    await fallsAsleep();
    const before = await lastActive('rowhook reader');
    await database.query("update rowhook.webhook_configurations set name = 'renamed'");
    await waitUntil('it is read', async () => (await lastActive('rowhook reader')) > before, { timeoutMs: atOnceMs });
  });

  test('is over when the rings come close together: the doorbell says that somebody is awake', async () => {
    await aDaemonRuns();
    await fallsAsleep();
    await wakes();
    expect(await arrives(await insert())).toBeLessThan(atOnceMs);
    await fallsAsleep();
  });

  test('ends for a writer whose snapshot is from before the daemon slept', async () => {
    await aDaemonRuns();
    await wakes();
    const writer = await client();
    await writer.query('begin isolation level repeatable read; select 1');
    await fallsAsleep();
    const id = await insert(writer);
    await writer.query('commit');
    expect(await arrives(id)).toBeLessThan(atOnceMs);
    await writer.end();
  });

  test('ends although the ring was lost with its connection', async () => {
    await aDaemonRuns();
    await fallsAsleep();
    await database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowhook listen'",
    );
    expect(await arrives(await insert())).toBeLessThan(safetyPollMs / 2);
  });
});

describe('a listener whose packets are dropped both ways', () => {
  test('is found out by the heartbeat, and until it is back the daemon polls', async ({ onTestFinished }) => {
    const url = new URL(database.daemonUrl);
    const proxy = await startProxy({ host: url.hostname, port: Number(url.port) });
    onTestFinished(() => proxy.close());
    url.port = String(proxy.port);
    await aDaemonRuns({ databaseUrl: url.href });
    await fallsAsleep();
    const heal = proxy.silence('rowhook listen');
    const lost = await arrives(await insert());
    // no new connection comes about either: it may not sleep now
    const polled: number[] = [];
    while (polled.length < 2) {
      await pollsNowAndThen();
      polled.push(await arrives(await insert()));
    }
    heal();
    await waitUntil('it listens again', async () => (await lastActive('rowhook listen')) > 0);
    await fallsAsleep();
    const rung = await arrives(await insert());
    const all = [lost, ...polled, rung].map((ms) => ms.toFixed(0));
    console.log(
      `a lost listener: found out after ${all[0]} ms, polling ${all.slice(1, 3).join(', ')} ms, healed ${all[3]} ms`,
    );
    expect(lost).toBeLessThan(15_000);
    expect(Math.max(...polled)).toBeLessThan(5_000);
    expect(rung).toBeLessThan(atOnceMs);
    await stopDaemon();
  }, 90_000);
});

describe('an awake daemon', () => {
  test('is rung by no writer', async () => {
    await aDaemonRuns();
    const ear = await listener();
    // it dozes off when a machine stands still for half a second, so some tries are given up
    const rings: number[] = [];
    while (rings.length < 10 && rings.at(-1) !== 0) {
      await wakes();
      const before = await ear.rings();
      for (let round = 0; round < 25; round++) await Promise.all([insert(), insert(), insert(), insert()]);
      rings.push((await ear.rings()) - before);
    }
    expect(rings.at(-1)).toBe(0);
    await ear.close();
  });
});

describe('a transaction that has seen the daemon awake, and never rings,', () => {
  test('is waited for before the daemon sleeps', async () => {
    await aDaemonRuns();
    const ear = await listener();
    const writer = await client();
    const id = await beginSilently(writer);
    const before = await ear.rings();
    await waitUntil('the daemon is drowsy', async () => (await bell()) === 2);
    // another one comes and goes
    const other = await insert();
    await arrives(other);
    await pollsOn();
    const rung = await ear.rings();
    await writer.query('commit');
    expect(await arrives(id)).toBeLessThan(atOnceMs);
    // it was the other one that rang
    expect(rung - before).toBeGreaterThan(0);
    await writer.end();
    await ear.close();
    await fallsAsleep();
  });

  test('is waited for when it is prepared, for as long as that lasts', async () => {
    await aDaemonRuns();
    const writer = await client();
    const id = await beginSilently(writer);
    await writer.query("prepare transaction 'drowsy'");
    await waitUntil('the daemon is drowsy', async () => (await bell()) === 2);
    await pollsOn();
    await database.query("commit prepared 'drowsy'");
    expect(await arrives(id)).toBeLessThan(atOnceMs);
    await writer.end();
  });

  test('delays nobody who does ring', async () => {
    await aDaemonRuns();
    await wakes();
    const writer = await client();
    await writer.query('begin');
    await insert(writer);
    await waitUntil('the daemon is drowsy', async () => (await bell()) === 2);
    expect(await arrives(await insert())).toBeLessThan(atOnceMs);
    await writer.query('rollback');
    await writer.end();
  });
});

describe('ROWHOOK_WAKE=poll', () => {
  test('never says that it sleeps, listens to nothing, and lets transactions be prepared', async () => {
    await aDaemonRuns({ wake: 'poll' });
    await arrives(await insert());
    const lease = async () =>
      (await database.query<{ at: Date }>('select max(lease_expires_at) as at from rowhook.webhook_daemons'))[0]?.at;
    const ear = await listener();
    const before = await ear.rings();
    // the time between two renewals is longer than the silence that sends the others to sleep
    let renewals = 0;
    let known = await lease();
    await waitUntil('two renewals', async () => {
      const now = await lease();
      if (now?.getTime() !== known?.getTime()) renewals += 1;
      known = now;
      expect(await bell()).toBe(1);
      return renewals >= 2;
    });
    expect(await lastActive('rowhook listen')).toBe(0);
    expect(await arrives(await insert())).toBeLessThan(atOnceMs);

    const writer = await client();
    await writer.query('begin');
    const id = await insert(writer);
    await writer.query("prepare transaction 'polled'");
    await writer.query("commit prepared 'polled'");
    expect(await arrives(id)).toBeLessThan(atOnceMs);
    expect((await ear.rings()) - before).toBe(0);
    await writer.end();
    await ear.close();
  });

  test('is woken by nobody where another daemon had gone to sleep and died', async () => {
    await stopDaemon();
    await database.query("select setval('rowhook.doorbell', 2)");
    await aDaemonRuns({ wake: 'poll' });
    await waitUntil('the doorbell says awake', async () => (await bell()) === 1);
    expect(await arrives(await insert())).toBeLessThan(atOnceMs);
  });
});
