// A world with everything in it that can fail, and the faults that can be done to it, for a time each.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { MAX_IN_FLIGHT, Scene } from '../support/account.ts';
import type { DaemonProcess } from '../support/daemon.ts';
import { startProxy, type Proxy as TcpProxy } from '../support/proxy.ts';
import { startServer, type TestServer } from '../support/server.ts';

export interface World {
  server: TestServer;
  scene: Scene;
  /** Between the daemons and the database, and between them and the receiver. */
  database: TcpProxy;
  receiver: TcpProxy;
  /** Starts a daemon in place of one that has ended. */
  revive(which: number): void;
  daemons: DaemonProcess[];
  close(): Promise<void>;
}

export interface Fault {
  name: string;
  /** It lasts between these, in milliseconds. */
  ms: readonly [number, number];
  /** Daemons may lose what they have in memory. */
  isCrash: boolean;
  /** Begins, lasts, and is over. */
  strike(world: World, ms: number, chance: () => number): Promise<unknown>;
}

/** Two of the faults are under way at most: one of the database, and one of everything else. */
export const TRACKS: Record<'database' | 'daemons and receivers', readonly Fault[]> = {
  database: [
    ...(['fast', 'immediate', 'kill'] as const).map(
      (mode): Fault => ({
        name: `PostgreSQL stopped (${mode})`,
        ms: [0, 4_000],
        isCrash: true,
        strike: async ({ server }, ms) => {
          await server.embedded.stop(mode);
          await sleep(ms);
          await server.embedded.start();
        },
      }),
    ),
    {
      name: 'every connection of the daemons terminated',
      ms: [0, 0],
      isCrash: true,
      strike: (world) =>
        query(world, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowhook%'"),
    },
    ...[['out'] as const, ['in'] as const, ['out', 'in'] as const].map(
      (directions): Fault => ({
        name: `database cut off (${directions.join(' and ')})`,
        ms: [500, 9_000],
        isCrash: true,
        strike: async ({ database }, ms) => {
          database.cut(...directions);
          await sleep(ms);
          database.heal();
        },
      }),
    ),
    {
      name: 'database 20 ms away',
      ms: [2_000, 6_000],
      isCrash: false,
      strike: async ({ database }, ms) => {
        database.slow({ latencyMs: 20 });
        await sleep(ms);
        database.heal();
      },
    },
    { name: 'connections to the database reset', ms: [0, 0], isCrash: true, strike: async (w) => w.database.reset() },
    {
      name: 'a table locked',
      ms: [1_000, 8_000],
      isCrash: true,
      strike: async (world, ms, chance) => {
        const tables = ['configurations', 'deliveries', 'health', 'lanes', 'logs', 'outbox', 'sources', 'tenants'];
        const table = tables[Math.floor(chance() * tables.length)];
        await connected(world, async (client) => {
          await client.query(`begin; lock table rowhook.webhook_${table} in access exclusive mode`);
          await sleep(ms);
        });
      },
    },
    {
      name: 'the log refuses',
      ms: [1_000, 6_000],
      isCrash: false,
      strike: async (world, ms) => {
        await query(world, 'revoke insert on rowhook.webhook_logs from rowhook_daemon');
        await sleep(ms);
        await query(world, 'grant insert on rowhook.webhook_logs to rowhook_daemon');
      },
    },
    {
      name: 'no connection left',
      ms: [1_000, 4_000],
      isCrash: true,
      strike: async (world, ms) => {
        await query(world, 'alter role rowhook_test_daemon connection limit 3');
        await query(world, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowhook'");
        await sleep(ms);
        await query(world, 'alter role rowhook_test_daemon connection limit -1');
      },
    },
  ],
  'daemons and receivers': [
    {
      name: 'a daemon killed',
      ms: [0, 2_000],
      isCrash: true,
      strike: async (world, ms, chance) => {
        const which = Math.floor(chance() * world.daemons.length);
        await world.daemons[which]?.kill('SIGKILL');
        await sleep(ms);
        world.revive(which);
      },
    },
    {
      name: 'a daemon restarted',
      ms: [0, 0],
      isCrash: false,
      strike: async (world, _, chance) => {
        const which = Math.floor(chance() * world.daemons.length);
        await world.daemons[which]?.kill('SIGTERM');
        world.revive(which);
      },
    },
    {
      name: 'a daemon paused',
      ms: [500, 9_000],
      isCrash: true,
      strike: async ({ daemons }, ms, chance) => {
        const daemon = daemons[Math.floor(chance() * daemons.length)];
        daemon?.process.kill('SIGSTOP');
        await sleep(ms);
        daemon?.process.kill('SIGCONT');
      },
    },
    ...[['out'] as const, ['in'] as const, ['out', 'in'] as const].map(
      (directions): Fault => ({
        name: `receiver cut off (${directions.join(' and ')})`,
        ms: [500, 3_000],
        isCrash: false,
        strike: async ({ receiver }, ms) => {
          receiver.cut(...directions);
          await sleep(ms);
          receiver.heal();
        },
      }),
    ),
    { name: 'connections to the receiver reset', ms: [0, 0], isCrash: false, strike: async (w) => w.receiver.reset() },
    {
      name: 'webhooks changed',
      ms: [500, 3_000],
      isCrash: false,
      strike: async (world, ms) => {
        await query(
          world,
          "update rowhook.webhook_configurations set max_in_flight = 2, secret = 'whsec_' || repeat('a', 32)",
        );
        await sleep(ms);
        await query(world, `update rowhook.webhook_configurations set max_in_flight = ${MAX_IN_FLIGHT}`);
      },
    },
  ],
};

/** Two daemons, a database and a receiver, each behind a proxy, and writers that the proxies do not touch. */
export async function startWorld(): Promise<World> {
  const server = await startServer();
  const url = new URL(server.database.daemonUrl);
  const database = await startProxy({ host: url.hostname, port: Number(url.port) });
  url.port = String(database.port);
  let receiver: TcpProxy | undefined;
  const scene = await Scene.start(server.database, {
    tenants: 8,
    pauseMs: 15,
    webhook: { timeout_ms: 2_000 },
    via: async (counterUrl) => {
      receiver = await startProxy({ host: '127.0.0.1', port: Number(new URL(counterUrl).port) });
      return `http://127.0.0.1:${receiver.port}/`;
    },
  });
  const daemon = () => scene.daemon({ DATABASE_URL: url.href, ROWHOOK_LOG_LEVEL: 'warn' });
  const daemons = [daemon(), daemon()];
  return {
    server,
    scene,
    database,
    receiver: receiver as TcpProxy,
    daemons,
    revive: (which) => {
      daemons[which] = daemon();
    },
    close: async () => {
      await scene.close();
      await Promise.all([database.close(), receiver?.close()]);
      await server.stop();
    },
  };
}

/** As superuser, however long the server is away. */
async function query(world: World, sql: string): Promise<void> {
  for (;;) {
    try {
      await world.server.database.query(sql);
      return;
    } catch (error) {
      if (error instanceof pg.DatabaseError && !error.code?.startsWith('57')) throw error;
      await sleep(100);
    }
  }
}

/** A connection of its own, which the server may end at any time. */
async function connected({ server }: World, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(server.database.url);
  client.on('error', () => {});
  try {
    await client.connect();
    await work(client);
  } catch {
    // it is stopped as well
  } finally {
    await client.end().catch(() => {});
  }
}
