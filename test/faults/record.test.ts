// What was sent cannot be written down: the log refuses it, or a table of ours is locked. Nothing is sent again and again.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, type TestContext, test } from 'vitest';
import { MAX_IN_FLIGHT, Scene } from '../support/account.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

const MIGRATIONS = join(import.meta.dirname, '../../sql/migrations');
const lockMs = Number(process.env.ROWHOOK_TEST_LOCK_MS || 30_000);

async function sceneWithDaemon(onTestFinished: TestContext['onTestFinished']) {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const scene = await Scene.start(database);
  onTestFinished(() => scene.close());
  const daemon = scene.daemon();
  await scene.newRows();
  return { database, scene, daemon };
}

const refusals: [string, string, string][] = [
  [
    'a trigger that raises',
    `create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no log today'; end $$;
     create trigger refuse before insert on rowhook.webhook_logs for each row execute function public.refuse()`,
    'drop trigger refuse on rowhook.webhook_logs; drop function public.refuse()',
  ],
  [
    'a constraint that it breaks',
    'alter table rowhook.webhook_logs add constraint refuse check (attempt > 1000) not valid',
    'alter table rowhook.webhook_logs drop constraint refuse',
  ],
  [
    'a privilege that was taken away',
    'revoke insert on rowhook.webhook_logs from rowhook_daemon',
    'grant insert on rowhook.webhook_logs to rowhook_daemon',
  ],
];

describe.concurrent('the log refuses what was sent', () => {
  for (const [name, refuse, allow] of refusals) {
    test(`with ${name}: nothing is sent twice, and it goes on when it may`, async ({ onTestFinished }) => {
      const { database, scene, daemon } = await sceneWithDaemon(onTestFinished);
      await database.query(refuse);
      await waitUntil('nothing more is sent', async () => {
        const before = scene.receiver.requests;
        await sleep(3_000);
        return scene.receiver.requests === before;
      });
      const before = scene.receiver.requests;
      await sleep(10_000);
      expect(scene.receiver.requests).toBe(before);
      await database.query(allow);
      await scene.healed();
      await scene.settle(`the log refuses: ${name}`, { crashes: 0 });
      expect(daemon.process.exitCode).toBeNull();
    });
  }

  test('also across a restart: once for each, and not more than were in flight', async ({ onTestFinished }) => {
    const { database, scene, daemon } = await sceneWithDaemon(onTestFinished);
    const [, refuse, allow] = refusals[0] as [string, string, string];
    await database.query(refuse);
    await sleep(2_000);
    const startedAt = performance.now();
    await daemon.kill('SIGTERM');
    expect(daemon.process.exitCode).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(25_000);
    const second = scene.daemon();
    await second.tookLanes();
    await sleep(5_000);
    expect(scene.receiver.requests - scene.arrived.size).toBeLessThanOrEqual(MAX_IN_FLIGHT);
    await database.query(allow);
    await scene.healed();
    await scene.settle('the log refuses, and the daemon is restarted', { crashes: 1 });
  });
});

/** Locked by somebody, as VACUUM FULL and many an ALTER TABLE do. */
async function lockFor(database: TestDatabase, table: string, ms: number): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query(`begin; lock table ${table} in access exclusive mode`);
    await sleep(ms);
  } finally {
    await client.query('rollback').catch(() => {});
    client.release();
  }
}

/** The tables that the migrations create, without partitions. */
const tables = readdirSync(MIGRATIONS).flatMap((file) =>
  [...readFileSync(join(MIGRATIONS, file), 'utf8').matchAll(/create table rowhook\.(\w+) \(/g)].map(
    (match) => match[1] as string,
  ),
);

describe.concurrent(`for ${lockMs / 1_000} s somebody locks`, () => {
  for (const name of tables) {
    test(name, async ({ onTestFinished }) => {
      const { database, scene, daemon } = await sceneWithDaemon(onTestFinished);
      await lockFor(database, `rowhook.${name}`, lockMs);
      await scene.healed();
      // it may have lost its lease, or its patience with one statement
      await scene.settle(`${name} locked for ${lockMs / 1_000} s`, { crashes: 2 });
      expect(daemon.process.exitCode).toBeNull();
    });
  }

  test('every table that there is, each in turn', async ({ onTestFinished }) => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const named = await database.query<{ relname: string }>(
      "select relname from pg_class where relnamespace = 'rowhook'::regnamespace and relkind in ('r', 'p') and not relispartition",
    );
    // rowhook makes its own table of migrations before the first of them
    expect(named.map(({ relname }) => relname).toSorted()).toEqual([...tables, 'migrations'].toSorted());
  });
});
