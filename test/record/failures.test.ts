// Endpoints that fail, hang, crawl or go away, and what becomes of their deliveries.

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Behaviour, type ReceivedRequest, type Receiver, startReceiver } from '../support/receiver.ts';
import { verifyRequest } from '../support/verify.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook, type TestWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;

beforeAll(async () => {
  [database, receiver] = [await createDatabase(), await startReceiver()];
  await database.query(`
    create table things (id text primary key, tenant_id text not null, n int not null default 1);
    select rowhook.watch('things', 'thing')`);
  daemon = await startTestDaemon(database);
});
afterAll(async () => {
  await daemon.stop();
  await receiver.close();
  await database.drop();
});

/** A tenant of its own with one webhook, so that tests may run side by side. */
class Tenant {
  readonly id = `tenant ${randomUUID()}`;
  readonly path: string;
  webhook: TestWebhook = { id: '', secret: '' };

  private constructor(path: string) {
    this.path = path;
  }

  static async with(columns: Record<string, unknown> = {}, answers: readonly Behaviour[] = []): Promise<Tenant> {
    const tenant = new Tenant(`/${randomUUID()}`);
    tenant.respond(answers);
    tenant.webhook = await createWebhook(database, {
      tenant_id: tenant.id,
      url: receiver.url(tenant.path),
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
      ...columns,
    });
    return tenant;
  }

  /** One answer after the other; then 200. */
  respond(answers: readonly Behaviour[], path = this.path): void {
    let next = 0;
    receiver.respond(path, () => answers[next++] ?? {});
  }

  async insert(id: string = randomUUID()): Promise<string> {
    await database.query('insert into things (id, tenant_id) values ($1, $2)', [id, this.id]);
    return id;
  }

  get requests(): ReceivedRequest[] {
    return receiver.requestsTo(this.path);
  }

  async requestsAre(count: number, timeoutMs = 20_000): Promise<ReceivedRequest[]> {
    await waitUntil(`${count} requests`, () => this.requests.length >= count, { timeoutMs });
    return this.requests;
  }

  deliveries() {
    return database.query<{ state: string; attempt: number; last_code: string | null; due_in_s: number | null }>(
      `select state, attempt, last_code, extract(epoch from next_attempt_at - clock_timestamp())::float8 as due_in_s
         from rowhook.webhook_deliveries where tenant_id = $1`,
      [this.id],
    );
  }

  deliveriesAre(count: number) {
    return waitUntil(`${count} deliveries wait`, async () => {
      const found = await this.deliveries();
      return found.length === count ? found : undefined;
    });
  }

  logs() {
    return database.query<{
      attempt: number;
      status: string;
      code: string;
      pause_s: number | null;
      event_type: string;
    }>(
      `select attempt, status, code, event_type, extract(epoch from next_attempt_at - attempted_at)::float8 - duration_ms / 1000.0 as pause_s
         from rowhook.webhook_logs where tenant_id = $1 order by id`,
      [this.id],
    );
  }

  update(assignments: string): Promise<unknown> {
    return database.query(`update rowhook.webhook_configurations set ${assignments} where id = $1`, [this.webhook.id]);
  }
}

const fails: Behaviour = { status: 500, body: 'broken' };
const header = (name: string) => (request: ReceivedRequest) => request.headers[name];
const bodyOf = (request: ReceivedRequest) => JSON.parse(request.body.toString());
const pauses = (requests: readonly ReceivedRequest[]) =>
  requests.slice(1).map(({ at }, i) => (at - (requests[i] as ReceivedRequest).at) / 1_000);

describe.concurrent('a failing endpoint', () => {
  test('is tried again on the linear schedule until it answers; then nothing of it waits', async () => {
    const tenant = await Tenant.with({}, [fails, fails]);
    await tenant.insert();
    await tenant.requestsAre(1);
    const [parked] = await tenant.deliveriesAre(1);
    expect(parked).toMatchObject({ state: 'waiting', attempt: 1, last_code: 'http_error' });

    const requests = await tenant.requestsAre(3);
    await tenant.deliveriesAre(0);
    const [first, second] = pauses(requests) as [number, number];
    expect(first).toBeGreaterThan(0.95);
    expect(second).toBeGreaterThan(1.95);
    // the second pause is the longer one: generous, since the machine may be busy
    expect(first).toBeLessThan(8);
    expect(second).toBeLessThan(10);
    expect(await tenant.logs()).toMatchObject([
      // later by as long as it took to record, which is up to 5 s here: the first lines say that it is not sooner
      { attempt: 1, status: 'failed', code: 'http_error', pause_s: expect.closeTo(1, -1) },
      { attempt: 2, status: 'failed', code: 'http_error', pause_s: expect.closeTo(2, -1) },
      { attempt: 3, status: 'success', code: 'delivered', pause_s: null },
    ]);
  });

  test('gets the same bytes and ids on every attempt, freshly signed, whatever was renamed in between', async () => {
    const tenant = await Tenant.with({ name: 'Größe "1"\u2028 \\' });
    let failures = 2;
    receiver.respond(tenant.path, (request) =>
      request.headers['x-webhook-event'] === 'thing.created' && failures-- > 0 ? fails : {},
    );
    await database.query('insert into rowhook.webhook_tenants (id, name, slug) values ($1, $2, $3)', [
      tenant.id,
      'Señor "X" & Söhne\t🙂',
      'x',
    ]);
    const thing = await tenant.insert();
    await tenant.requestsAre(1);
    await tenant.update("name = 'renamed'");
    await database.query("update rowhook.webhook_tenants set name = 'renamed' where id = $1", [tenant.id]);
    await expect(
      database.query("update rowhook.webhook_tenants set id = 'other' where id = $1", [tenant.id]),
    ).rejects.toThrow(/^webhook_tenants\.id: the id of tenant .* cannot be changed/);
    await database.query('delete from things where id = $1', [thing]);

    await waitUntil('all arrived', () => tenant.requests.length >= 4);
    const created = tenant.requests.filter((request) => request.headers['x-webhook-event'] === 'thing.created');
    expect(created).toHaveLength(3);
    for (const name of ['webhook-id', 'x-webhook-delivery'])
      expect(new Set(created.map(header(name))).size, name).toBe(1);
    expect(new Set(created.map(({ body }) => body.toString('hex'))).size).toBe(1);
    expect(bodyOf(created[0] as ReceivedRequest)).toMatchObject({
      organization: { id: tenant.id, name: 'Señor "X" & Söhne\t🙂', slug: 'x' },
      metadata: { webhook_name: 'Größe "1"\u2028 \\' },
    });
    expect(new Set(created.map(header('webhook-timestamp'))).size).toBeGreaterThan(1);
    for (const request of created) verifyRequest(request, tenant.webhook.secret);
    // what came after the renaming has the new names
    const [deleted] = tenant.requests.filter((request) => request.headers['x-webhook-event'] === 'thing.deleted');
    expect(bodyOf(deleted as ReceivedRequest)).toMatchObject({
      organization: { name: 'renamed' },
      metadata: { webhook_name: 'renamed' },
    });
  });

  test('waits about 5 s, then about 5 minutes, on the exponential schedule', async () => {
    const tenant = await Tenant.with({ retry_strategy: 'exponential' }, [fails, fails]);
    await tenant.insert();
    const [pause] = pauses(await tenant.requestsAre(2)) as [number];
    expect(pause).toBeGreaterThan(3.9);
    expect(pause).toBeLessThan(15);
    const parked = await waitUntil('the second attempt is recorded', async () =>
      (await tenant.deliveries()).find(({ attempt }) => attempt === 2),
    );
    expect(parked.due_in_s).toBeGreaterThan(0.8 * 300 - 10);
    expect(parked.due_in_s).toBeLessThan(1.2 * 300);
  });

  test('is given up after retry_attempts; a replay delivers under the same webhook-id', async () => {
    const tenant = await Tenant.with({ retry_attempts: 1 }, [fails, fails]);
    await tenant.insert();
    const [given] = await waitUntil('it is given up', async () => {
      const found = await tenant.deliveries();
      return found[0]?.state === 'given_up' ? found : undefined;
    });
    expect(given).toMatchObject({ state: 'given_up', attempt: 2, due_in_s: null });
    expect((await tenant.logs()).map(({ pause_s }) => pause_s)).toEqual([expect.closeTo(1, -1), null]);

    await database.query("select rowhook.replay($1, now() - interval '1 hour')", [tenant.webhook.id]);
    const requests = await tenant.requestsAre(3);
    expect(new Set(requests.map(header('webhook-id'))).size).toBe(1);
    expect(new Set(requests.map(({ body }) => body.toString())).size).toBe(1);
    await tenant.deliveriesAre(0);
    expect((await tenant.logs()).at(-1)).toMatchObject({ status: 'success', attempt: 1 });
  });

  test('is not tried again where retries are switched off', async () => {
    const tenant = await Tenant.with({ retry_enabled: false }, [fails]);
    await tenant.insert();
    await waitUntil('it is given up', async () => (await tenant.deliveries())[0]?.state === 'given_up');
    expect(tenant.requests).toHaveLength(1);
  });

  test.each([
    ['503 with seconds', { status: 503, headers: { 'retry-after': '3' } }, 3],
    ['429 without any', { status: 429 }, 60],
    [
      '429 with a date',
      {
        status: 429,
        // Read when it answers: this file may wait long for its server.
        get headers() {
          return { 'retry-after': new Date(Date.now() + 7_200_000).toUTCString() };
        },
      },
      7_200,
    ],
    ['503 with a week', { status: 503, headers: { 'retry-after': '604800' } }, 86_400],
  ])('that answers %s is left alone for that long', async (_, answer, seconds) => {
    const tenant = await Tenant.with({}, [answer]);
    await tenant.insert();
    const [parked] = await tenant.deliveriesAre(1);
    expect(parked?.due_in_s).toBeLessThanOrEqual(seconds);
    // The log counts from the answer, so a slow look at the delivery makes it no shorter.
    expect((await tenant.logs())[0]?.pause_s).toBeGreaterThan(seconds - 15);
    if (seconds > 10) return;
    const [pause] = pauses(await tenant.requestsAre(2)) as [number];
    expect(pause).toBeGreaterThan(seconds - 0.05);
  });

  test('that breaks connections off is tried again like any other', async () => {
    // connections of its own: on one that was used before, a request would be sent once more at once
    const tenant = await Tenant.with({ allowed_ips: ['127.0.0.0/9'] }, [{ reset: true }]);
    await tenant.insert();
    await tenant.requestsAre(2);
    await tenant.deliveriesAre(0);
    expect((await tenant.logs()).map(({ code }) => code)).toEqual(['connection_reset', 'delivered']);
  });
});

describe.concurrent('410 Gone', () => {
  test('disables the webhook: later events are skipped, and logged as such', async () => {
    const tenant = await Tenant.with({}, [{ status: 410 }]);
    await tenant.insert();
    const disabled = await waitUntil('it is disabled', async () => {
      const [row] = await database.query<{ is_active: boolean; disabled_at: Date | null; disabled_reason: string }>(
        'select is_active, disabled_at, disabled_reason from rowhook.webhook_configurations where id = $1',
        [tenant.webhook.id],
      );
      return row?.is_active === false && row;
    });
    expect(disabled).toMatchObject({ disabled_at: expect.any(Date), disabled_reason: expect.stringContaining('410') });
    await tenant.insert();
    await waitUntil('the next one is skipped', async () =>
      (await tenant.logs()).some(({ status }) => status === 'skipped'),
    );
    expect(tenant.requests).toHaveLength(1);
    // and the one that was refused is not tried again
    expect(await tenant.deliveries()).toMatchObject([{ state: 'given_up', last_code: 'gone' }]);
  });

  test('of an address that the webhook no longer has says nothing of the new one', async () => {
    let answer = (_: Behaviour) => {};
    const asked = new Promise<Behaviour>((resolve) => {
      answer = resolve;
    });
    const tenant = await Tenant.with();
    receiver.respond(tenant.path, () => asked);
    await tenant.insert();
    await tenant.requestsAre(1);
    const moved = `${tenant.path}-moved`;
    await tenant.update(`url = '${receiver.url(moved)}'`);
    await tenant.insert();
    await waitUntil('the new address is in use', () => receiver.requestsTo(moved).length >= 1);
    answer({ status: 410 });
    await waitUntil('the answer is recorded', async () => (await tenant.logs()).some(({ code }) => code === 'gone'));
    await tenant.insert();
    // also the first one, which went to the old address, arrives at the new one
    await waitUntil('all three arrive', () => new Set(receiver.requestsTo(moved).map(header('webhook-id'))).size === 3);
    const logged = await database.query<{ request_url: string }>(
      "select request_url from rowhook.webhook_logs where tenant_id = $1 and code = 'gone'",
      [tenant.id],
    );
    expect(logged).toEqual([{ request_url: receiver.url(tenant.path) }]);
    const [row] = await database.query('select is_active from rowhook.webhook_configurations where id = $1', [
      tenant.webhook.id,
    ]);
    expect(row).toEqual({ is_active: true });
  });
});

describe.concurrent('an endpoint that hangs', () => {
  test('holds neither the position nor any other webhook', async () => {
    let answer = () => {};
    const released = new Promise<Behaviour>((resolve) => {
      answer = () => resolve({});
    });
    const tenant = await Tenant.with({ timeout_ms: 30_000, max_in_flight: 2 });
    receiver.respond(tenant.path, () => released);
    const other = `${tenant.path}-other`;
    await createWebhook(database, { tenant_id: tenant.id, url: receiver.url(other) });
    const startedAt = performance.now();
    for (let n = 0; n < 5; n++) await tenant.insert();
    await waitUntil('the other webhook has all of it', () => receiver.requestsTo(other).length === 5);
    await caughtUp(database);
    // two are in flight, three behind them, and all of them are where a successor would find them
    expect(await tenant.deliveries()).toHaveLength(5);
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    for (let n = 0; n < 20; n++) await tenant.insert();
    await waitUntil('the other webhook has all of it', () => receiver.requestsTo(other).length === 25);
    expect(tenant.requests).toHaveLength(2);

    answer();
    await tenant.requestsAre(25);
    await tenant.deliveriesAre(0);
    expect(new Set(tenant.requests.map(header('webhook-id'))).size).toBe(25);
    expect(tenant.requests).toHaveLength(25);
    expect((await tenant.logs()).filter(({ status }) => status === 'success')).toHaveLength(50);
  });

  test('is given up at its timeout, and tried again', async () => {
    const tenant = await Tenant.with({ timeout_ms: 1_000 }, [{ hang: true }]);
    await tenant.insert();
    const [pause] = pauses(await tenant.requestsAre(2)) as [number];
    expect(pause).toBeGreaterThan(1.9);
    await tenant.deliveriesAre(0);
    expect((await tenant.logs()).map(({ code }) => code)).toEqual(['timeout', 'delivered']);
  });
});

describe('a slow webhook', () => {
  const rows = 10;
  const rounds = 25;

  test('falls behind without losing the order of its rows, holds nobody up, and catches up again', async () => {
    const tenant = await Tenant.with({ max_in_flight: 4 });
    const fast = `${tenant.path}-fast`;
    let delayMs = 60;
    const underWay = new Set<string>();
    const together: string[] = [];
    receiver.respond(tenant.path, (request) => {
      const { id } = bodyOf(request).data;
      if (underWay.has(id)) together.push(id);
      underWay.add(id);
      return new Promise((resolve) => {
        setTimeout(() => {
          underWay.delete(id);
          resolve({});
        }, delayMs);
      });
    });
    await createWebhook(database, { tenant_id: tenant.id, url: receiver.url(fast), max_in_flight: 32 });
    await database.query(`
      create table parks (delivery_id uuid);
      create function note_park() returns trigger language plpgsql security definer as
        $$ begin insert into public.parks values (new.delivery_id); return null; end $$;
      create trigger note_park after insert on rowhook.webhook_deliveries for each row execute function note_park()`);

    for (let row = 0; row < rows; row++) await tenant.insert(`${tenant.id} ${row}`);
    for (let round = 1; round < rounds; round++)
      await database.query('update things set n = n + 1 where tenant_id = $1', [tenant.id]);
    const all = rows * rounds;
    await waitUntil('the fast webhook has everything', () => receiver.requestsTo(fast).length === all);
    expect(tenant.requests.length).toBeLessThan(all);

    // more comes while the slow one is behind
    await database.query('update things set n = n + 1 where tenant_id = $1', [tenant.id]);
    await tenant.requestsAre(all + rows, 30_000);
    await tenant.deliveriesAre(0);
    const [{ parks } = { parks: 0 }] = await database.query<{ parks: number }>(
      'select count(*)::int as parks from parks',
    );
    expect(parks, 'it was slow enough to fall behind').toBeGreaterThan(rows);

    const seen = new Map<string, number[]>();
    for (const request of tenant.requests) {
      const { id, n } = bodyOf(request).data;
      seen.set(id, [...(seen.get(id) ?? []), n]);
    }
    expect(seen.size).toBe(rows);
    for (const states of seen.values()) expect(states).toEqual(Array.from({ length: rounds + 1 }, (_, n) => n + 1));
    expect(together).toEqual([]);

    // and now that it has caught up, nothing is parked any more
    delayMs = 0;
    await database.query('truncate parks');
    await database.query('update things set n = n + 1 where tenant_id = $1', [tenant.id]);
    await tenant.requestsAre(all + 2 * rows);
    await caughtUp(database);
    expect(await database.query('select * from parks')).toEqual([]);
    await database.query('drop trigger note_park on rowhook.webhook_deliveries');
  });
});

describe.concurrent('while deliveries wait', () => {
  test('a webhook that is deleted takes them along', async () => {
    const tenant = await Tenant.with({ retry_delay_seconds: 2 }, [fails]);
    await tenant.insert();
    await tenant.deliveriesAre(1);
    await database.query('delete from rowhook.webhook_configurations where id = $1', [tenant.webhook.id]);
    expect(await tenant.deliveries()).toEqual([]);
    const other = await Tenant.with({ retry_delay_seconds: 4 }, [fails]);
    await other.insert();
    // the other one's retry comes later than the deleted one's would have
    await other.requestsAre(2);
    expect(tenant.requests).toHaveLength(1);
  });

  test('a webhook that is deleted skips what is queued, and says so', async () => {
    let answer = () => {};
    const released = new Promise<Behaviour>((resolve) => {
      answer = () => resolve({});
    });
    const tenant = await Tenant.with({ max_in_flight: 1 });
    receiver.respond(tenant.path, () => released);
    for (let n = 0; n < 4; n++) await tenant.insert();
    await tenant.requestsAre(1);
    await database.query('delete from rowhook.webhook_configurations where id = $1', [tenant.webhook.id]);
    await tenant.insert();
    await caughtUp(database);
    answer();
    const logs = await waitUntil('the one in flight is recorded', async () => {
      const found = await tenant.logs();
      return found.some(({ status }) => status === 'success') ? found : undefined;
    });
    expect(tenant.requests).toHaveLength(1);
    expect(await tenant.deliveries()).toEqual([]);
    // queued when it was deleted, unless the second that a delivery may hold its position was over
    for (const { status, code } of logs.filter((log) => log.status !== 'success'))
      expect({ status, code }).toEqual({ status: 'skipped', code: 'webhook_deleted' });
  });

  test('a webhook that is switched off keeps them until it is switched on again', async () => {
    const tenant = await Tenant.with({ max_in_flight: 1 }, [fails, fails, fails]);
    for (let n = 0; n < 3; n++) await tenant.insert();
    await tenant.deliveriesAre(3);
    await tenant.update('is_active = false');
    await caughtUp(database);
    const asked = tenant.requests.length;
    const other = await Tenant.with({ retry_delay_seconds: 3 }, [fails]);
    await other.insert();
    await other.requestsAre(2);
    expect(tenant.requests).toHaveLength(asked);
    expect(await tenant.deliveries()).toHaveLength(3);

    await tenant.update('is_active = true');
    await tenant.deliveriesAre(0);
    const delivered = (await tenant.logs()).filter(({ status }) => status === 'success');
    expect(delivered).toHaveLength(3);
  });

  test('a webhook that is switched off keeps also those that were read back to be sent', async () => {
    let answer = () => {};
    const released = new Promise<Behaviour>((resolve) => {
      answer = () => resolve({});
    });
    const tenant = await Tenant.with({ max_in_flight: 1 });
    receiver.respond(tenant.path, () => released);
    for (let n = 0; n < 5; n++) await tenant.insert();
    // all are parked, behind the one that hangs
    await tenant.deliveriesAre(5);
    answer();
    const slow = new Promise<Behaviour>((resolve) => {
      answer = () => resolve({});
    });
    receiver.respond(tenant.path, () => slow);
    await tenant.requestsAre(2);
    await tenant.update('is_active = false');
    await caughtUp(database);
    answer();
    await tenant.deliveriesAre(3);
    expect((await tenant.logs()).filter(({ status }) => status === 'skipped')).toEqual([]);
    await tenant.update('is_active = true');
    await tenant.requestsAre(5);
    await tenant.deliveriesAre(0);
    expect(new Set(tenant.requests.map(header('webhook-id'))).size).toBe(5);
  });

  test('a webhook that is switched off skips what was queued for it, and says so', async () => {
    let answer = () => {};
    const released = new Promise<Behaviour>((resolve) => {
      answer = () => resolve({});
    });
    const tenant = await Tenant.with({ max_in_flight: 1 });
    receiver.respond(tenant.path, () => released);
    const other = await Tenant.with();
    const startedAt = performance.now();
    await database.query('insert into things (id, tenant_id) select $1 || n, $1 from generate_series(1, 3) as n', [
      tenant.id,
    ]);
    await tenant.requestsAre(1);
    await tenant.update('is_active = false');
    // what comes later in the log arrives, so the change has been read
    await other.insert();
    await other.requestsAre(1);
    answer();
    await waitUntil('the one in flight is recorded', async () =>
      (await tenant.logs()).some(({ status }) => status === 'success'),
    );
    await caughtUp(database);
    const skipped = (await tenant.logs()).filter(({ status }) => status === 'skipped');
    const waiting = await tenant.deliveries();
    for (const { code } of skipped) expect(code).toBe('webhook_inactive');
    expect(skipped.length + waiting.length).toBe(2);
    // after a second in the queue, on a busy machine, they would have been parked, and stay
    if (performance.now() - startedAt < 1_000) expect(waiting).toEqual([]);
    expect(tenant.requests).toHaveLength(1);
  });

  test('a webhook whose url is changed gets them at its new address, as they were', async () => {
    const tenant = await Tenant.with({}, [fails]);
    await tenant.insert();
    const [first] = await tenant.requestsAre(1);
    const moved = `${tenant.path}-moved`;
    await tenant.update(`url = '${receiver.url(moved)}'`);
    const [second] = await receiver.waitFor(({ path }) => path === moved);
    expect(second?.body).toEqual(first?.body);
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
    expect(tenant.requests).toHaveLength(1);
    await tenant.deliveriesAre(0);
  });
});
