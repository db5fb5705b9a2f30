// PostgreSQL goes away, comes back, has no room, or is told to hurry.

import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { describe, expect, type TestContext, test } from 'vitest';
import { Scene } from '../support/account.ts';
import { rowhook } from '../support/cli.ts';
import { createDatabase, daemonRole } from '../support/database.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';

type Finished = TestContext['onTestFinished'];

async function sceneOnOwnServer(onTestFinished: Finished, settings: Record<string, string> = {}) {
  const server = await startServer(settings);
  onTestFinished(() => server.stop());
  const scene = await Scene.start(server.database);
  onTestFinished(() => scene.close());
  return { server, scene };
}

describe.concurrent('PostgreSQL', () => {
  for (const mode of ['fast', 'immediate', 'kill'] as const) {
    test(`is stopped (${mode}) for a while, three times`, async ({ onTestFinished }) => {
      const { server, scene } = await sceneOnOwnServer(onTestFinished);
      const daemon = scene.daemon();
      await daemon.tookLanes();
      for (const awayMs of [0, 1_500, 6_000]) {
        await scene.newRows();
        await server.embedded.stop(mode);
        await sleep(awayMs);
        await server.embedded.start();
        await scene.healed();
      }
      await scene.settle(`PostgreSQL stopped (${mode}) for 0, 1.5 and 6 s`, { crashes: 3 });
      expect(daemon.process.exitCode).toBeNull();
    });
  }

  test('ends every one of our connections in turn', async ({ onTestFinished }) => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const scene = await Scene.start(database);
    onTestFinished(() => scene.close());
    const daemon = scene.daemon();
    await daemon.tookLanes();
    const ended: string[] = [];
    for (let turn = 0; turn < 12; turn++) {
      await scene.newRows();
      const [one] = await database.query<{ name: string }>(
        `select application_name as name, pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name like 'rowhook%'
          order by backend_start, pid offset $1 % (select count(*) from pg_stat_activity
            where datname = current_database() and application_name like 'rowhook%') limit 1`,
        [turn],
      );
      ended.push(one?.name ?? '');
      await scene.healed();
    }
    expect(new Set(ended)).toEqual(new Set(['rowhook', 'rowhook reader', 'rowhook listen', 'rowhook watcher']));
    await scene.settle('each connection terminated, 12 in all', { crashes: 12 });
    expect(daemon.process.exitCode).toBeNull();
  });

  test('has no connection left, before the daemon starts and while it works', async ({ onTestFinished }) => {
    const { server, scene } = await sceneOnOwnServer(onTestFinished, { max_connections: '30' });
    const crowd = await Crowd.gather(server);
    onTestFinished(() => crowd.leave());
    const refused = await rowhook(['start'], {
      env: { DATABASE_URL: server.database.daemonUrl, ROWHOOK_HTTP_PORT: '0' },
    });
    expect(refused.stderr).toMatch(/has no free connection\. Raise max_connections, or close idle clients\.\n$/);
    expect(refused.code).toBe(1);
    await crowd.leave();

    const daemon = scene.daemon();
    await scene.healed();
    // it loses those that it has, and finds none to replace them with
    const second = await Crowd.gather(server);
    onTestFinished(() => second.leave());
    await server.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'rowhook%'",
    );
    await second.takeMore();
    await waitUntil(
      'it has been refused',
      () => daemon.stdout().includes('too many clients') || daemon.stdout().includes('53300'),
    );
    await sleep(3_000);
    await second.leave();
    await scene.healed();
    await scene.settle('max_connections exhausted', { crashes: 1 });
    expect(daemon.process.exitCode).toBeNull();
  });

  test('ends what takes longer than a second, in every way that it can', async ({ onTestFinished }) => {
    const { server, scene } = await sceneOnOwnServer(onTestFinished);
    const timeouts = [
      'statement_timeout',
      'lock_timeout',
      'idle_in_transaction_session_timeout',
      'idle_session_timeout',
      ...(server.embedded.major >= 17 ? ['transaction_timeout'] : []),
    ];
    for (const name of timeouts) await server.database.query(`alter role ${daemonRole} set ${name} = '1s'`);
    const daemon = scene.daemon();
    await scene.healed();
    // under load, idle, and with a table locked for longer than they allow
    await sleep(4_000);
    const holder = await server.database.pool.connect();
    await holder.query('begin; lock table rowhook.webhook_logs in access exclusive mode');
    await sleep(3_000);
    await holder.query('commit');
    holder.release();
    await scene.healed();
    await scene.settle('all timeouts of its role at 1 s', { crashes: 0 });
    await sleep(5_000);
    expect(daemon.stdout()).not.toContain('the session ended');
  });
});

/** Clients that take every connection there is for people who are no superusers. */
class Crowd {
  readonly #server: TestServer;
  readonly #clients: pg.Client[] = [];

  private constructor(server: TestServer) {
    this.#server = server;
  }

  static async gather(server: TestServer): Promise<Crowd> {
    const crowd = new Crowd(server);
    await crowd.takeMore();
    return crowd;
  }

  async takeMore(): Promise<void> {
    for (;;) {
      const client = new pg.Client(this.#server.database.daemonUrl);
      client.on('error', () => {});
      try {
        await client.connect();
        this.#clients.push(client);
      } catch {
        return;
      }
    }
  }

  async leave(): Promise<void> {
    await Promise.all(this.#clients.splice(0).map((client) => client.end()));
  }
}
