// The server's queue of notifications is full, because somebody listens and does not read. Before PostgreSQL 17 it has 8 GB.

import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { notifyQueue } from '../../src/doctor/checks/notifications.ts';
import { examine } from '../../src/doctor/checks.ts';
import { type CheckResult, LIMITS } from '../../src/doctor/finding.ts';
import { type Counter, startCounter } from '../support/counter.ts';
import { type DaemonProcess, startDaemonProcess } from '../support/daemon.ts';
import { paste } from '../support/paste.ts';
import { startServer, type TestServer, wantedMajor } from '../support/server.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const PAGES = 64;

describe.skipIf(wantedMajor < 17)('a NOTIFY queue of 64 pages', () => {
  let server: TestServer;
  let receiver: Counter;
  const closers: (() => Promise<unknown>)[] = [];
  let rows = 0;

  beforeAll(async () => {
    server = await startServer({ max_notify_queue_pages: String(PAGES) });
    receiver = await startCounter();
    await server.database.query(
      "create table items (id int primary key, tenant_id text); select rowhook.watch('items', capture => 'all')",
    );
    await createWebhook(server.database, { tenant_id: 't', url: receiver.url });
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
  afterAll(async () => {
    await receiver.close();
    await server.stop();
  });

  const usage = async () => {
    const [row] = await server.database.query<{ usage: number }>('select pg_notification_queue_usage() as usage');
    return row?.usage as number;
  };

  /** 2: all daemons sleep, and writes ring. */
  const doorbell = async () => {
    const [row] = await server.database.query<{ value: number }>(
      'select last_value::int as value from rowhook.doorbell',
    );
    return row?.value;
  };

  const asleep = () => waitUntil('the daemon sleeps', async () => (await doorbell()) === 2);

  async function daemon(): Promise<DaemonProcess> {
    const running = startDaemonProcess(server.database.daemonUrl, { ROWHOOK_LOG_LEVEL: 'info' });
    closers.push(() => running.kill('SIGKILL'));
    await running.tookLanes();
    return running;
  }

  /** Listens, and stays in a transaction. */
  async function culprit(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: server.database.url, application_name: 'culprit' });
    client.on('error', () => {});
    closers.push(() => client.end());
    await client.connect();
    await client.query('listen others');
    await client.query('begin');
    await client.query('select 1');
    return client;
  }

  /** An application of this server that has nothing to do with rowhook. A notification takes a page. */
  const notify = (count: number) =>
    server.database.query("select pg_notify('others', repeat('x', 7900) || n) from generate_series(1, $1::int) as n", [
      count,
    ]);

  async function fill(): Promise<void> {
    for (let count = 0; count <= PAGES; count++) {
      const failed = await notify(1).then(
        () => undefined,
        (error: Error) => error,
      );
      if (failed) return expect(failed).toMatchObject({ code: '54000' });
    }
    throw new Error('The queue is never full.');
  }

  /** One more row in a watched table, and its event. */
  async function write(): Promise<void> {
    const before = receiver.requests;
    await server.database.query("insert into items values ($1, 't')", [++rows]);
    await waitUntil('its event arrives', () => receiver.requests > before);
  }

  test('is half full: the daemon stays awake, and no write rings or fails until it has room again', async () => {
    const running = await daemon();
    const logged = (text: string) => running.stdout().split(text).length - 1;
    await asleep();
    await write();
    const client = await culprit();
    await notify(PAGES / 2 + 4);
    expect(await usage()).toBeGreaterThan(0.5);
    await waitUntil('the daemon is awake', async () => (await doorbell()) === 1);
    await fill();
    for (let renewal = 0; renewal < 3; renewal++) {
      await write();
      const [{ at } = { at: '' }] = await leases();
      await waitUntil('the lease is renewed', async () => (await leases())[0]?.at !== at);
      expect(await doorbell()).toBe(1);
    }
    expect(logged('NOTIFY queue fills up')).toBe(1);
    expect(logged('NOTIFY queue has room')).toBe(0);

    await client.end();
    await asleep();
    expect(await usage()).toBeLessThan(0.25);
    expect(logged('NOTIFY queue has room')).toBe(1);
    await write();
    expect(logged('session ended with an error')).toBe(0);
  });

  const leases = () =>
    server.database.query<{ at: string }>(
      'select lease_expires_at::text as at from rowhook.webhook_daemons order by 1 desc',
    );

  test('fills up behind a daemon that died asleep: writes commit, and the next daemon sends them', async () => {
    const running = await daemon();
    await asleep();
    await running.kill('SIGKILL');
    await culprit();
    await fill();
    expect(await doorbell()).toBe(2);
    const before = receiver.requests;
    await server.database.query("insert into items values ($1, 't')", [++rows]);
    await server.database.query("select rowhook.emit('a.b', '{}', 't')");
    const next = await daemon();
    await waitUntil('both events arrive', () => receiver.requests >= before + 2);
    // it frees its lanes without a ring
    next.process.kill('SIGTERM');
    expect(await next.ended).toMatchObject({ code: 0 });
    const [owned] = await server.database.query('select from rowhook.webhook_lanes where owner is not null');
    expect(owned).toBeUndefined();
  });

  const queueRemarks = async (): Promise<CheckResult[]> => {
    const client = new pg.Client(server.database.url);
    await client.connect();
    const examination = { client, databaseUrl: server.database.url, wake: 'notify' as const, environment: undefined };
    try {
      return await notifyQueue({ ...examination, limits: LIMITS, now: Date.now });
    } finally {
      await client.end();
    }
  };

  test('is the finding of the doctor, with the session that keeps it full', async () => {
    expect(await queueRemarks()).toEqual([{ kind: 'fine', what: expect.stringMatching(/queue is \d+ % full$/) }]);
    await culprit();
    await fill();
    const found = await waitUntil('its transaction is long', async () => {
      const remarks = await queueRemarks();
      return remarks.find((remark) => 'fix' in remark && remark.what.includes('(culprit, '));
    });
    expect(found.what).toMatch(/100 % full\. .* its transaction has been open for \d+ s$/);
    await paste((found as { fix: string }).fix, server.database);
    await waitUntil('the queue is empty', async () => (await queueRemarks()).every(({ kind }) => kind === 'fine'));
  });

  test('leaves the doctor with all of its checks', async () => {
    await culprit();
    await fill();
    const client = new pg.Client(server.database.url);
    await client.connect();
    const remarks = await examine({
      client,
      databaseUrl: server.database.url,
      wake: 'notify',
      environment: undefined,
      limits: LIMITS,
      now: Date.now,
    });
    await client.end();
    expect(remarks.find(({ check }) => check === 'listen')).toMatchObject({ kind: 'unseen' });
    expect(remarks.map(({ check }) => check)).toContain('capture cost');
  });
});
