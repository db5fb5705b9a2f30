import { describe, expect, type TestContext, test } from 'vitest';
import { caughtUp } from '../support/daemon.ts';
import { startFixture } from '../support/fixture.ts';
import type { ReceivedRequest } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';
import { createWebhook } from '../support/webhook.ts';

const tenant = '11111111-1111-4111-8111-111111111111';

/** `name` of the row's state in the body. */
const stateOf = (request: ReceivedRequest) => JSON.parse(request.body.toString()).data.name as string;

async function startScene(onTestFinished: TestContext['onTestFinished']) {
  const { database, receiver, start, stop } = await startFixture(onTestFinished);

  async function webhook(path: string, columns: Record<string, unknown> = {}): Promise<string> {
    const row = {
      tenant_id: tenant,
      name: path,
      url: receiver.url(path),
      event_types: ['*'],
      retry_strategy: 'linear',
      retry_delay_seconds: 1,
      ...columns,
    };
    return (await createWebhook(database, row)).id;
  }

  async function client(name: string): Promise<string> {
    const [row] = await database.query<{ id: string }>(
      'insert into clients (organization_id, name) values ($1, $2) returning id',
      [tenant, name],
    );
    return row?.id as string;
  }

  const rename = (id: string, name: string) => database.query('update clients set name = $2 where id = $1', [id, name]);

  /** What each request was answered. */
  const answers = new Map<ReceivedRequest, number>();
  const statesAt = (path: string, status?: number) =>
    receiver
      .requestsTo(path)
      .filter((request) => status === undefined || answers.get(request) === status)
      .map(stateOf);

  /** Fails every request whose state is in `failing`, that many times. */
  function failing(path: string, times: Record<string, number>): void {
    const left = { ...times };
    receiver.respond(path, (request) => {
      const state = stateOf(request);
      const status = (left[state] ?? 0) > 0 ? 500 : 200;
      if (status === 500) left[state] = (left[state] as number) - 1;
      answers.set(request, status);
      return { status };
    });
  }

  const nothingIsParked = () =>
    waitUntil(
      'nothing is parked',
      async () => (await database.query('select from rowhook.webhook_deliveries')).length === 0,
    );

  return { database, receiver, start, stop, webhook, client, rename, answers, statesAt, failing, nothingIsParked };
}

type Scene = Awaited<ReturnType<typeof startScene>>;

describe.concurrent('the order of a row', () => {
  test("with ordering 'row' a failed delivery holds back its row, and only its row", async ({ onTestFinished }) => {
    const { receiver, start, webhook, client, rename, statesAt, failing, nothingIsParked } =
      await startScene(onTestFinished);
    await webhook('/row', { ordering: 'row' });
    failing('/row', { a1: 2 });
    await start();
    const a = await client('a1');
    await receiver.waitFor((request) => stateOf(request) === 'a1');
    await rename(a, 'a2');
    const b = await client('b1');
    await rename(b, 'b2');
    await rename(a, 'a3');
    await receiver.waitFor((request) => stateOf(request) === 'a3');

    expect(statesAt('/row').filter((state) => state.startsWith('a'))).toEqual(['a1', 'a1', 'a1', 'a2', 'a3']);
    const all = statesAt('/row', 200);
    expect(all.filter((state) => state.startsWith('b'))).toEqual(['b1', 'b2']);
    expect(all.indexOf('b2')).toBeLessThan(all.indexOf('a1'));
    await nothingIsParked();
  });

  test("with ordering 'row' the next one goes when a delivery has failed for good", async ({ onTestFinished }) => {
    const { database, receiver, start, webhook, client, rename, statesAt, failing } = await startScene(onTestFinished);
    await webhook('/exhausted', { ordering: 'row', retry_attempts: 1 });
    failing('/exhausted', { a1: 9 });
    await start();
    const a = await client('a1');
    await rename(a, 'a2');
    await receiver.waitFor((request) => stateOf(request) === 'a2');
    expect(statesAt('/exhausted')).toEqual(['a1', 'a1', 'a2']);
    await waitUntil('only the failed one is left', async () => {
      const left = await database.query('select state from rowhook.webhook_deliveries');
      return left.length === 1 && left[0]?.state === 'given_up';
    });
  });

  test("with ordering 'row' the order holds across a restart, for events that came before and after it", async ({
    onTestFinished,
  }) => {
    const { database, receiver, start, stop, webhook, client, rename, statesAt, failing } =
      await startScene(onTestFinished);
    await webhook('/restart', { ordering: 'row', retry_delay_seconds: 2 });
    failing('/restart', { a1: 2 });
    await start();
    const a = await client('a1');
    await receiver.waitFor((request) => stateOf(request) === 'a1');
    await rename(a, 'a2');
    await caughtUp(database);
    await stop();
    await rename(a, 'a3');
    await start();
    await rename(a, 'a4');
    await receiver.waitFor((request) => stateOf(request) === 'a4');
    expect(statesAt('/restart')).toEqual(['a1', 'a1', 'a1', 'a2', 'a3', 'a4']);
  });

  test("with ordering 'row' and many rows that fail at random, every row's states arrive once and in order", {
    timeout: 120_000,
  }, async ({ onTestFinished }) => {
    const { receiver, start, webhook, client, rename, answers, statesAt } = await startScene(onTestFinished);
    await webhook('/random', { ordering: 'row', max_in_flight: 4, retry_attempts: 20 });
    let seed = 7;
    receiver.respond('/random', (request) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      const status = seed % 10 < 2 ? 500 : 200;
      answers.set(request, status);
      return { status };
    });
    await start();
    const rows = await Promise.all(Array.from({ length: 20 }, (_, i) => client(`r${i}:0`)));
    for (let n = 1; n <= 5; n++) await Promise.all(rows.map((id, i) => rename(id, `r${i}:${n}`)));
    await waitUntil('all were delivered', () => statesAt('/random', 200).length >= 120, { timeoutMs: 100_000 });
    for (let i = 0; i < 20; i++) {
      expect(statesAt('/random', 200).filter((state) => state.startsWith(`r${i}:`))).toEqual(
        [0, 1, 2, 3, 4, 5].map((n) => `r${i}:${n}`),
      );
    }
  });

  test("by default a failed delivery is overtaken by its row's later events", async ({ onTestFinished }) => {
    const { receiver, start, webhook, client, rename, statesAt, failing } = await startScene(onTestFinished);
    await webhook('/none');
    failing('/none', { a1: 1 });
    await start();
    const a = await client('a1');
    await receiver.waitFor((request) => stateOf(request) === 'a1');
    await rename(a, 'a2');
    await waitUntil('both were delivered', () => statesAt('/none', 200).length === 2);
    expect(statesAt('/none', 200)).toEqual(['a2', 'a1']);
  });

  test("with ordering 'row' a key of any length is kept in order, and keeps nothing else from being recorded", async ({
    onTestFinished,
  }) => {
    const { database, receiver, start, webhook } = await startScene(onTestFinished);
    await database.query(`
    create table files (path text primary key, organization_id uuid not null, size int not null);
    select rowhook.watch('files')`);
    await webhook('/files', { ordering: 'row' });
    receiver.respond('/files', () => ({ status: receiver.requestsTo('/files').length <= 2 ? 500 : 200 }));
    await start();
    // as long as the app's own index of it allows, and of what cannot be compressed
    await database.query(
      `insert into files select left(string_agg(md5(n::text), ''), 2690), $1, 1 from generate_series(1, 100) as n`,
      [tenant],
    );
    await receiver.waitFor((request) => request.path === '/files');
    await database.query('update files set size = 2');
    await waitUntil(
      'nothing is parked',
      async () =>
        receiver.requestsTo('/files').length >= 4 &&
        (await database.query('select from rowhook.webhook_deliveries')).length === 0,
    );
    const sizes = receiver.requestsTo('/files').map(({ body }) => JSON.parse(body.toString()).data.size);
    expect(sizes).toEqual([1, 1, 1, 2]);
  });

  describe("a row that is blocked when ordering 'row' is given up drains in order", () => {
    /** a1 has failed and waits for its next attempt, a2 waits behind it; `more` is set together with ordering. */
    async function blockedRowAfter(
      scene: Scene,
      path: string,
      columns: Record<string, unknown>,
      more = '',
    ): Promise<string> {
      const { database, receiver, start, webhook, client, rename } = scene;
      await webhook(path, { ordering: 'row', ...columns });
      let isDown = true;
      receiver.respond(path, () => ({ status: isDown ? 500 : 200 }));
      await start();
      const a = await client('a1');
      await receiver.waitFor(1);
      await rename(a, 'a2');
      await waitUntil(
        'a2 waits behind a1',
        async () =>
          (await database.query("select from rowhook.webhook_deliveries where next_attempt_at = 'infinity'")).length ===
          1,
      );
      await database.query(`update rowhook.webhook_configurations set ordering = 'none' ${more}`);
      await caughtUp(database);
      isDown = false;
      return a;
    }

    const namesIn = ({ body }: ReceivedRequest): string[] => {
      const { batch, data } = JSON.parse(body.toString()) as {
        batch?: { data: { name: string } }[];
        data: { name: string };
      };
      return (batch ?? [{ data }]).map((event) => event.data.name);
    };
    const names = ({ receiver }: Scene, path: string) => receiver.requestsTo(path).flatMap(namesIn);
    const nothingWaits = ({ database }: Scene) =>
      waitUntil(
        'nothing waits',
        async () =>
          (await database.query("select from rowhook.webhook_deliveries where state = 'waiting'")).length === 0,
      );

    test('with what comes later', async ({ onTestFinished }) => {
      const scene = await startScene(onTestFinished);
      const { receiver, rename } = scene;
      const a = await blockedRowAfter(scene, '/given-up', { retry_delay_seconds: 2 });
      await rename(a, 'a3');
      await nothingWaits(scene);
      expect(names(scene, '/given-up').filter((name, i, all) => name !== all[i - 1])).toEqual(['a1', 'a2', 'a3']);
      // and then it is as free as any other
      receiver.respond('/given-up', (request) => ({ status: namesIn(request).includes('a4') ? 500 : 200 }));
      await rename(a, 'a4');
      await rename(a, 'a5');
      await receiver.waitFor((request) => namesIn(request).includes('a5'));
    });

    test('after a restart', async ({ onTestFinished }) => {
      const scene = await startScene(onTestFinished);
      const { start, stop, rename } = scene;
      const a = await blockedRowAfter(scene, '/given-up-restart', { retry_delay_seconds: 3 });
      await stop();
      await rename(a, 'a3');
      await start();
      await nothingWaits(scene);
      expect(names(scene, '/given-up-restart').filter((name, i, all) => name !== all[i - 1])).toEqual([
        'a1',
        'a2',
        'a3',
      ]);
    });

    test('when the one at its head runs out of attempts', async ({ onTestFinished }) => {
      const scene = await startScene(onTestFinished);
      const { receiver, rename } = scene;
      const a = await blockedRowAfter(scene, '/given-up-last', { retry_delay_seconds: 2, retry_attempts: 1 });
      receiver.respond('/given-up-last', (request) => ({ status: namesIn(request).includes('a1') ? 500 : 200 }));
      await rename(a, 'a3');
      await nothingWaits(scene);
      expect(names(scene, '/given-up-last')).toEqual(['a1', 'a1', 'a2', 'a3']);
    });

    test('in batches, when the webhook asks for them now', async ({ onTestFinished }) => {
      const scene = await startScene(onTestFinished);
      const { rename } = scene;
      const a = await blockedRowAfter(
        scene,
        '/given-up-batches',
        { retry_delay_seconds: 2 },
        ', batch_max_events = 10, batch_max_wait_ms = 50',
      );
      await rename(a, 'a3');
      await nothingWaits(scene);
      expect(names(scene, '/given-up-batches').filter((name, i, all) => name !== all[i - 1])).toEqual([
        'a1',
        'a2',
        'a3',
      ]);
    });

    test("or asked for again: ordering 'row' holds back what comes after the next failure", async ({
      onTestFinished,
    }) => {
      const scene = await startScene(onTestFinished);
      const { database, rename } = scene;
      const a = await blockedRowAfter(scene, '/given-up-back', { retry_delay_seconds: 2 });
      await rename(a, 'a3');
      await database.query("update rowhook.webhook_configurations set ordering = 'row'");
      await rename(a, 'a4');
      await nothingWaits(scene);
      expect(names(scene, '/given-up-back').filter((name, i, all) => name !== all[i - 1])).toEqual([
        'a1',
        'a2',
        'a3',
        'a4',
      ]);
    });
  });

  test("what failed before a webhook asked for ordering 'row' neither waits for ever nor keeps its row waiting", async ({
    onTestFinished,
  }) => {
    const { database, receiver, start, webhook, client, rename, statesAt, failing, nothingIsParked } =
      await startScene(onTestFinished);
    await webhook('/asked-later', { retry_delay_seconds: 2 });
    failing('/asked-later', { a1: 2, a2: 1 });
    await start();
    const a = await client('a1');
    await receiver.waitFor((request) => stateOf(request) === 'a1');
    await database.query("update rowhook.webhook_configurations set ordering = 'row'");
    await rename(a, 'a2');
    await receiver.waitFor((request) => stateOf(request) === 'a2');
    await rename(a, 'a3');
    await waitUntil('all were delivered', () => statesAt('/asked-later', 200).length === 3);
    expect(statesAt('/asked-later', 200).sort()).toEqual(['a1', 'a2', 'a3']);
    await nothingIsParked();
  });
});
