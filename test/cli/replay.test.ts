import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { caughtUp, startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { paste } from '../support/paste.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook, type TestWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon | undefined;
let tenant: string;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  await database.query("select rowhook.watch('notes', prefix => 'notes', capture => 'all')");
});

// One daemon serves all tests. What it still sends for an earlier test finds no receiver.
beforeEach(async () => {
  tenant = randomUUID();
  receiver = await startReceiver();
  daemon ??= await startTestDaemon(database);
});

afterEach(async () => {
  await database.query('delete from rowhook.webhook_configurations');
  await receiver.close();
});

afterAll(async () => {
  await daemon?.stop();
  await database.drop();
});

async function stopDaemon(): Promise<void> {
  await daemon?.stop();
  daemon = undefined;
}

const webhook = (columns: Record<string, unknown> = {}): Promise<TestWebhook> =>
  createWebhook(database, { tenant_id: tenant, url: receiver.url('/in'), retry_enabled: false, ...columns });

async function notes(...texts: string[]): Promise<void> {
  await database.query('insert into notes (organization_id, body) select $1, unnest($2::text[])', [tenant, texts]);
  await caughtUp(database);
}

async function replay(id: string, only: string, { since = '1 hour', dryRun = false } = {}): Promise<number> {
  const [row] = await database.query<{ count: string }>(
    'select rowhook.replay($1, now() - $2::interval, "only" => $3, dry_run => $4) as count',
    [id, since, only, dryRun],
  );
  return Number(row?.count);
}

const deliveries = (id: string) =>
  database.query('select * from rowhook.webhook_deliveries where webhook_id = $1 order by outbox_id', [id]);

const unfinished = async (id: string) => (await deliveries(id)).filter(({ state }) => state === 'waiting').length;

const nothingWaits = (id: string) => waitUntil('nothing waits', async () => (await unfinished(id)) === 0);

const logged = (id: string) =>
  database.query<{ delivery_id: string; event_id: string; status: string; code: string; attempt: number }>(
    'select delivery_id, event_id, status, code, attempt from rowhook.webhook_logs where webhook_id = $1 order by id',
    [id],
  );

const arrived = () => receiver.requests.map(({ body }) => JSON.parse(body.toString()).data.body as string);
const ids = () => receiver.requests.map(({ headers }) => headers['webhook-id']);
const bodies = () => receiver.requests.map(({ body }) => body.toString());

describe("only => 'given_up'", () => {
  test('sends what was given up again: the same id, the same bytes, counting from one', async () => {
    const { id } = await webhook();
    receiver.respond('/in', { status: 500 });
    await notes('a', 'b');
    await waitUntil('both failed', async () => (await deliveries(id)).length === 2);
    await database.query("update rowhook.webhook_configurations set name = 'renamed' where id = $1", [id]);
    receiver.respond('/in', { status: 200 });

    expect(await replay(id, 'given_up', { dryRun: true })).toBe(2);
    expect(await unfinished(id)).toBe(0);
    expect(await replay(id, 'given_up')).toBe(2);
    await receiver.waitFor(4);
    await nothingWaits(id);
    expect(ids().slice(2).sort()).toEqual(ids().slice(0, 2).sort());
    expect(bodies().slice(2).sort()).toEqual(bodies().slice(0, 2).sort());
    expect((await logged(id)).map(({ status, attempt }) => [status, attempt])).toEqual([
      ['failed', 1],
      ['failed', 1],
      ['success', 1],
      ['success', 1],
    ]);
    expect(await replay(id, 'given_up')).toBe(0);
  });
});

describe("only => 'missed'", () => {
  test('sends what happened before the webhook existed, once', async () => {
    await notes('a', 'b');
    const { id } = await webhook();
    await notes('c');
    await receiver.waitFor(1);
    await nothingWaits(id);

    expect(await replay(id, 'missed', { dryRun: true })).toBe(2);
    expect(await replay(id, 'missed')).toBe(2);
    await receiver.waitFor(3);
    expect(arrived()).toEqual(['c', 'a', 'b']);
    await nothingWaits(id);
    expect(await replay(id, 'missed')).toBe(0);
  });

  test('sends what was skipped while rowhook had disabled it, also right after the skip', async () => {
    const { id } = await webhook();
    await database.query('select rowhook._disable_webhook($1, $2)', [id, 'gone']);
    await notes('a');
    await waitUntil('it is skipped', async () => (await logged(id)).some(({ status }) => status === 'skipped'));
    await database.query('update rowhook.webhook_configurations set is_active = true where id = $1', [id]);
    await replay(id, 'missed');
    await receiver.waitFor(({ headers }) => headers['x-webhook-event'] === 'notes.created');
    await nothingWaits(id);
    const own = (await logged(id)).filter(({ event_id }) => ids().includes(event_id));
    expect(own.map(({ status, code }) => [status, code])).toContainEqual(['skipped', 'webhook_disabled']);
    expect(own.at(-1)).toMatchObject({ status: 'success' });
  });

  test('leaves out what is waiting or given up, what it does not want, and what is of another time or tenant', async () => {
    receiver.respond('/in', { status: 500 });
    const { id } = await webhook({ event_types: ['notes.created'] });
    await notes('failed');
    await waitUntil('it failed', async () => (await deliveries(id)).length === 1);
    await database.query('update notes set body = $1 where organization_id = $2', ['unwanted', tenant]);
    await database.query("insert into notes (organization_id, body) values ($1, 'of another')", [randomUUID()]);
    await caughtUp(database);
    expect(await replay(id, 'missed')).toBe(0);
    const [row] = await database.query<{ count: string }>(
      "select rowhook.replay($1, now() - interval '2 days', now() - interval '1 day', 'all') as count",
      [id],
    );
    expect(row?.count).toBe('0');
  });

  test('asks the filter: what it does not pass leaves neither a request nor a row', async () => {
    await notes('no', 'yes', 'no');
    const { id } = await webhook({ filter: { 'data.body': 'yes' } });
    await caughtUp(database);
    expect(await replay(id, 'missed')).toBe(3);
    await nothingWaits(id);
    expect(arrived()).toEqual(['yes']);
    expect(await logged(id)).toHaveLength(1);
    expect(await deliveries(id)).toEqual([]);
  });

  test('what a daemon has yet to read is not replayed: it is sent anyway, once', async () => {
    const { id } = await webhook();
    await stopDaemon();
    await database.query("insert into notes (organization_id, body) values ($1, 'unread')", [tenant]);
    expect(await replay(id, 'missed')).toBe(0);
    expect(await replay(id, 'all')).toBe(0);
    daemon = await startTestDaemon(database);
    await caughtUp(database);
    await waitUntil('it is logged', async () => (await logged(id)).length === 1);
    expect(arrived()).toEqual(['unread']);
  });
});

describe("only => 'all'", () => {
  test('sends everything again, delivered or not, byte for byte', async () => {
    await database.query("insert into rowhook.webhook_tenants (id, name) values ($1, E'A\"\\n\\x7f\u2028 Ltd')", [
      tenant,
    ]);
    const { id } = await webhook({ payload_format: 'flat' });
    await notes('a', 'b');
    await receiver.waitFor(2);
    await waitUntil('both are logged', async () => (await logged(id)).length === 2);
    await database.query("update rowhook.webhook_configurations set name = 'new', payload_format = 'nested'");
    await database.query("update rowhook.webhook_tenants set name = 'new'");
    await caughtUp(database);

    expect(await replay(id, 'all')).toBe(2);
    await receiver.waitFor(4);
    await nothingWaits(id);
    expect(bodies().slice(2).sort()).toEqual(bodies().slice(0, 2).sort());
    expect(ids().slice(2).sort()).toEqual(ids().slice(0, 2).sort());
  });

  test('an organization that SQL prints is the one that the daemon prints', async () => {
    const names = ['plain', 'quote " back \\ slash /', 'line\nfeed\ttab\u0001\u001f\u007f', 'é 漢 🎉 \u2028', null];
    for (const name of names) {
      const other = `${randomUUID()} "\\`;
      await database.query('insert into rowhook.webhook_tenants (id, name, slug) values ($1, $2, null)', [other, name]);
      const [row] = await database.query<{ text: string }>('select rowhook._organization($1)::text as text', [other]);
      expect(row?.text).toBe(JSON.stringify(name === null ? { id: other } : { id: other, name, slug: null }));
    }
  });

  test('in batches, where the webhook asks for them', async () => {
    const { id } = await webhook({ batch_max_events: 3, batch_max_wait_ms: 50 });
    await notes('a', 'b', 'c', 'd');
    await waitUntil('all are logged', async () => (await logged(id)).length === 4);
    const requests = receiver.requests.length;
    expect(await replay(id, 'all')).toBe(4);
    await nothingWaits(id);
    const batches = bodies()
      .slice(requests)
      .map((body) => JSON.parse(body).batch as { data: { body: string } }[]);
    expect(batches.flat().map(({ data }) => data.body)).toEqual(['a', 'b', 'c', 'd']);
    // the first may go by itself: until one was read, all of them may be large
    expect(batches.map(({ length }) => length).sort()).toEqual([1, 3]);
  });
});

describe('a replay goes behind what is new', () => {
  test('it never holds more than half of the slots, and a new event does not wait for it', async () => {
    await notes(...Array.from({ length: 40 }, (_, i) => `old ${i}`));
    let [inFlight, most] = [0, 0];
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    receiver.respond('/in', async ({ body }) => {
      if (JSON.parse(body.toString()).data.body === 'new') return {};
      most = Math.max(most, ++inFlight);
      await answered;
      inFlight -= 1;
      return {};
    });
    const { id } = await webhook({ max_in_flight: 4 });
    await caughtUp(database);
    expect(await replay(id, 'missed')).toBe(40);
    await receiver.waitFor(2);
    await database.query("insert into notes (organization_id, body) values ($1, 'new')", [tenant]);
    await receiver.waitFor(({ body }) => JSON.parse(body.toString()).data.body === 'new');
    expect(receiver.requests).toHaveLength(3);
    answer();
    await nothingWaits(id);
    expect(most).toBe(2);
    expect(new Set(arrived()).size).toBe(41);
    expect(receiver.requests).toHaveLength(41);
    expect(arrived().filter((text) => text !== 'new')).toEqual(Array.from({ length: 40 }, (_, i) => `old ${i}`));
  });

  test('it survives the daemon', async () => {
    await notes(...Array.from({ length: 30 }, (_, i) => `${i}`));
    receiver.respond('/in', { delayMs: 20 });
    const { id } = await webhook({ max_in_flight: 2 });
    await caughtUp(database);
    await replay(id, 'missed');
    await receiver.waitFor(5);
    await stopDaemon();
    expect(await unfinished(id)).toBeGreaterThan(10);
    daemon = await startTestDaemon(database);
    await nothingWaits(id);
    expect(new Set(arrived()).size).toBe(30);
    expect(receiver.requests).toHaveLength(30);
  });

  test('one that fails again is retried, and fails for good in the end', async () => {
    await notes('a');
    receiver.respond('/in', { status: 500 });
    const { id } = await webhook({
      retry_enabled: true,
      retry_attempts: 1,
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
    });
    await caughtUp(database);
    await replay(id, 'missed');
    await waitUntil('it has failed', async () => (await deliveries(id))[0]?.state === 'given_up');
    expect((await logged(id)).map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(await replay(id, 'missed')).toBe(0);
    expect(await replay(id, 'given_up', { dryRun: true })).toBe(1);
  });

  test('with ordering row, a failed one of a replay holds back what comes later of its row', async () => {
    await notes('a');
    await database.query("update notes set body = 'b' where organization_id = $1", [tenant]);
    await database.query("update notes set body = 'c' where organization_id = $1", [tenant]);
    await caughtUp(database);
    let answers = 0;
    receiver.respond('/in', () => ({ status: ++answers === 1 ? 500 : 200 }));
    const { id } = await webhook({
      ordering: 'row',
      retry_enabled: true,
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
    });
    await caughtUp(database);
    expect(await replay(id, 'missed')).toBe(3);
    await receiver.waitFor(4);
    await nothingWaits(id);
    expect(arrived()).toEqual(['a', 'a', 'b', 'c']);
  });
});

describe('one delivery by its id', () => {
  const replayOne = (deliveryId: unknown) => database.query('select rowhook.replay_delivery($1)', [deliveryId]);

  test('that succeeded goes out again as it was', async () => {
    const { id } = await webhook();
    await notes('a');
    await waitUntil('it is logged', async () => (await logged(id)).length === 1);
    await database.query("update rowhook.webhook_configurations set name = 'renamed'");
    await replayOne((await logged(id))[0]?.delivery_id);
    await receiver.waitFor(2);
    expect(bodies()[1]).toBe(bodies()[0]);
    expect(ids()[1]).toBe(ids()[0]);
    await nothingWaits(id);
  });

  test('that failed, or waits for its next attempt, goes out now', async () => {
    const { id } = await webhook({ retry_enabled: true, retry_attempts: 1 });
    receiver.respond('/in', { status: 500 });
    await notes('a');
    await waitUntil('it waits', async () => (await deliveries(id))[0]?.last_code === 'http_error');
    const [waiting] = await deliveries(id);
    await replayOne(waiting?.delivery_id);
    await waitUntil('it has failed', async () => (await deliveries(id))[0]?.state === 'given_up');
    receiver.respond('/in', { status: 200 });
    await replayOne(waiting?.delivery_id);
    await nothingWaits(id);
    expect((await logged(id)).map(({ status, attempt }) => `${status} ${attempt}`)).toEqual([
      'failed 1',
      'failed 2',
      'success 1',
    ]);
  });

  test('that waits for an earlier one of its row is refused, with the command that sends both', async () => {
    receiver.respond('/in', { status: 500 });
    const { id } = await webhook({
      ordering: 'row',
      retry_enabled: true,
      retry_strategy: 'linear',
      retry_delay_seconds: 3600,
    });
    await notes('a');
    await waitUntil('it waits', async () => (await deliveries(id))[0]?.last_code === 'http_error');
    await database.query("update notes set body = 'b' where organization_id = $1", [tenant]);
    const behind = await waitUntil('the next one waits behind it', async () => {
      return (await deliveries(id)).find(({ last_code }) => last_code === null);
    });
    const refusal = await replayOne(behind.delivery_id).catch((error) => error);
    expect(refusal.message).toMatch(/waits for an earlier delivery of its row/);
    const [, statement = '', command = ''] = /In SQL: (.*); in a shell: (.*)$/.exec(refusal.hint) ?? [];
    const [first] = await deliveries(id);
    expect(statement).toBe(`select rowhook.replay_delivery('${first?.delivery_id}')`);
    await caughtUp(database);
    receiver.respond('/in', { status: 200 });
    await paste(command, database);
    await nothingWaits(id);
    expect(arrived()).toEqual(['a', 'a', 'b']);
  });

  test('that never was is refused', async () => {
    await expect(replayOne(randomUUID())).rejects.toThrow(/^replay_delivery: there is no delivery/);
  });
});

describe('a tenant', () => {
  async function asTenant(id: string, sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      await client.query('set local role rowhook_app');
      await client.query("select set_config('rowhook.tenant_id', $1, true)", [id]);
      const { rows } = await client.query(sql, values);
      await client.query('commit');
      return rows;
    } catch (error) {
      await client.query('rollback');
      throw error;
    } finally {
      client.release();
    }
  }

  test('replays its own webhooks and deliveries, and nobody else’s', async () => {
    await notes('a');
    const { id } = await webhook();
    await caughtUp(database);
    const replayed = "select rowhook.replay($1, '-infinity', \"only\" => 'missed')::int as count";
    await expect(asTenant('other', replayed, [id])).rejects.toThrow(/^replay: there is no webhook/);
    await expect(asTenant('', replayed, [id])).rejects.toThrow(/^replay: there is no webhook/);
    expect(await asTenant(tenant, replayed, [id])).toEqual([{ count: 1 }]);
    await receiver.waitFor(1);
    await waitUntil('it is logged', async () => (await logged(id)).length === 1);

    const one = 'select rowhook.replay_delivery($1)';
    const deliveryId = (await logged(id))[0]?.delivery_id;
    await expect(asTenant('other', one, [deliveryId])).rejects.toThrow(/^replay_delivery: there is no delivery/);
    await asTenant(tenant, one, [deliveryId]);
    await receiver.waitFor(2);
  });
});
