// How a webhook that fell behind gets back to being delivered directly, without anything overtaking.

import { describe, expect, test } from 'vitest';
import { Dispatcher } from '../../src/dispatch/dispatcher.ts';
import { Parking } from '../../src/dispatch/park.ts';
import { Unparking } from '../../src/dispatch/unpark.ts';
import type { Delivery, Entry, Webhook, WebhookSettings } from '../../src/model.ts';
import type { Ticket } from '../../src/queue/ticket.ts';
import { WebhookQueue } from '../../src/queue/webhook-queue.ts';
import { Breakers } from '../../src/retry/breaker.ts';
import type { Due, DueQuery } from '../../src/retry/parked-deliveries.ts';
import { waitUntil } from '../support/wait.ts';

const webhook = {
  id: 'webhook',
  tenantId: 'acme',
  isActive: true,
  unusable: null,
  bytes: 600,
  hasTexts: true,
  settings: { maxInFlight: 2, ratePerSecond: null, batchMax: 1, ordering: 'none' },
} as Webhook;

function ticket(id: number, { data = '{}' } = {}): Ticket {
  const change = { id: String(id), tenantId: 'acme', sourceId: 1, rowKey: `row ${id}`, data, previous: null };
  const delivery = { id: `delivery ${id}`, webhookId: webhook.id, ordinal: 0, batchId: null, attempt: 0, change };
  return { delivery: delivery as unknown as Delivery, settle: () => {}, queuedAt: performance.now() };
}

const MIB = 1024 * 1024;

const due = (...tickets: Ticket[]): Due => ({
  webhookId: webhook.id,
  deliveries: tickets.map(({ delivery }) => delivery),
  moreDue: false,
  replaysDue: false,
  nextInMs: null,
});

/** A queue that has fallen behind, and the table, which answers what it is told to. */
function scene(settings: Partial<WebhookSettings> = {}) {
  const queue = new WebhookQueue({ ...webhook, settings: { ...webhook.settings, ...settings } });
  const recorded: Entry[] = [];
  const parking = new Parking({ add: (entry) => void recorded.push(entry) });
  const asked: DueQuery[] = [];
  let answer: (query: DueQuery) => Due | Promise<Due> = () => due();
  const stored = { webhooks: [queue.webhook] };
  const readBack = new Unparking({
    readWebhooks: async () => [stored],
    readDue: async ([query]) => {
      asked.push(query as DueQuery);
      return [await answer(query as DueQuery)];
    },
    isProbing: () => false,
    filterVerdict: () => 'send',
    drop: () => {},
    skip: () => {},
  });
  return {
    queue,
    /** The webhooks in the table. */
    stored,
    asked,
    recorded,
    park: (...tickets: Ticket[]) => {
      for (const one of tickets) parking.park(queue, one);
    },
    commit: (count: number) => {
      for (let i = 0; i < count; i++) queue.backlog.parkCommitted();
      queue.backlog.makeDue();
    },
    read: (how: typeof answer) => {
      answer = how;
      return readBack.read([queue]);
    },
    /** As the dispatcher does it. */
    offer: (one: Ticket) => {
      if (queue.backlog.state === 'joining') queue.backlog.join(one);
      else if (queue.backlog.state === 'backlogged') parking.park(queue, one);
      else queue.push(one);
    },
    started: () => {
      const ids: string[] = [];
      for (;;) {
        const [next] = queue.take(performance.now(), () => {});
        if (!next) return ids;
        ids.push(next.delivery.change.id);
      }
    },
    parkAll: () => parking.parkAll(queue),
    /** There are so many queues with parked deliveries. */
    divideAmong: (queues: number) => {
      const other = new WebhookQueue(webhook);
      other.backlog.makeDue();
      readBack.count(Array.from({ length: queues }, () => other));
    },
  };
}

describe('a queue that fell behind', () => {
  test('reads again what became due while it was read, and was not seen by that', async () => {
    const { queue, park, commit, read } = scene();
    park(ticket(1));
    commit(1);
    // a row's head that another delivery's end released
    await read(() => {
      queue.backlog.makeDue();
      return due();
    });
    expect(queue.backlog.dueAt).not.toBeNull();
    expect(queue.isIdle).toBe(false);
    await read(() => due());
    expect(queue.backlog.dueAt).toBeNull();
  });

  test('goes on directly when the table held all of it, and nothing was on its way there', async () => {
    const { queue, park, commit, read, offer, started } = scene();
    const parked = ticket(1);
    park(parked);
    commit(1);
    await read(() => due(parked));
    expect(queue.backlog.state).toBe('flowing');
    offer(ticket(2));
    expect(started()).toEqual(['1', '2']);
  });

  test('stays behind while more is due than came back', async () => {
    const { queue, park, commit, read } = scene();
    park(ticket(1), ticket(2));
    commit(2);
    await read(() => ({ ...due(ticket(1)), moreDue: true, nextInMs: 0 }));
    expect(queue.backlog.state).toBe('backlogged');
  });

  test('under a load that never pauses, lets new ones wait for the last of the parked ones, and keeps the order', async () => {
    const { queue, recorded, park, commit, read, offer, started } = scene();
    const [first, second, third] = [ticket(1), ticket(2), ticket(3)];
    park(first, second);
    commit(1);
    // while we read, the second is on its way, and a third comes
    await read(() => {
      offer(third);
      return due(first);
    });
    expect(queue.backlog.state).toBe('joining');
    const parksBefore = recorded.length;
    offer(ticket(4));
    expect(recorded.length).toBe(parksBefore);
    expect(started()).toEqual(['1']);

    // not before all of them are in the table
    expect(queue.isDue(performance.now())).toBe(false);
    commit(2);
    expect(queue.isDue(performance.now())).toBe(true);
    await read(() => due(second, third));
    expect(queue.backlog.state).toBe('flowing');
    offer(ticket(5));
    expect(started()).toEqual(['2', '3', '4', '5']);
  });

  test('parks what waited for that too, when it takes too long', async () => {
    const { queue, recorded, park, commit, read, offer, parkAll, started } = scene();
    park(ticket(1), ticket(2));
    commit(1);
    await read(() => due(ticket(1)));
    offer(ticket(3));
    expect(queue.waitingSince).toBeLessThan(Infinity);
    parkAll();
    expect([queue.backlog.state, queue.length]).toEqual(['backlogged', 0]);
    expect(recorded.map(({ delivery }) => delivery.change.id)).toEqual(['1', '2', '3']);
    expect(started()).toEqual([]);
  });
});

describe('what is read back', () => {
  test('is one at first, then some more than can start, and few where they are large', async () => {
    const { queue, asked, park, commit, read } = scene();
    park(ticket(1));
    commit(1);
    await read(() => ({ ...due(ticket(1)), moreDue: true, nextInMs: 0 }));
    await read(() => ({ ...due(ticket(2, { data: 'x'.repeat(3 * MIB) })), moreDue: true, nextInMs: 0 }));
    await read(() => due());
    expect(asked.map(({ limit }) => limit)).toEqual([1, 8, 2]);
    expect(queue.length).toBe(2);
  });

  test.each([
    ['single deliveries', {}, [8, 4, 1]],
    ['batches', { batchMax: 20, batchWaitMs: 0 }, [100, 20, 20]],
  ] as const)('is shared by all webhooks that have some: %s', async (_, settings, limits) => {
    const { asked, read, divideAmong } = scene(settings);
    await read(() => due(ticket(1)));
    for (const queues of [1, 2_000, 100_000]) {
      divideAmong(queues);
      await read(() => due());
    }
    expect(asked.slice(1).map(({ limit }) => limit)).toEqual(limits);
  });

  test('is as few where they are large when they go out in batches', async () => {
    const { asked, read } = scene({ batchMax: 2, batchWaitMs: 0 });
    await read(() => due(ticket(1)));
    await read(() => due(ticket(2, { data: 'x'.repeat(3 * MIB) })));
    await read(() => due());
    expect(asked.map(({ limit }) => limit)).toEqual([1, 100, 2]);
    expect(asked.map(({ replays }) => replays)).toEqual([1, 0, 0]);
  });

  test('is no more by one statement than many webhooks with a large one each, and every webhook has its turn', async () => {
    const webhooks = Array.from({ length: 90 }, (_, i) => ({ ...webhook, id: `webhook ${i}` }));
    const statements: number[] = [];
    const read = new Set<string>();
    const dispatcher = new Dispatcher(
      {
        maxInFlight: 10,
        bodies: { render: () => Promise.reject(new Error('nothing is rendered')) },
        sender: { send: () => expect.unreachable() },
        clock: { now: () => Date.now(), isValid: true },
        recorder: { add: () => {} },
        readDue: async (queries) => {
          statements.push(queries.reduce((sum, { limit }) => sum + limit, 0));
          return queries.map(({ webhookId }) => {
            read.add(webhookId);
            // there is always more of it, as far as it knows
            return { ...due(), webhookId, moreDue: true, nextInMs: 0 };
          });
        },
        readWebhooks: async (refs) => [{ webhooks: webhooks.filter(({ id }) => refs.some((ref) => ref.id === id)) }],
        filterVerdict: () => 'send',
        onAttempt: () => {},
        onLate: () => {},
        onDisable: () => {},
        onError: (error) => expect.unreachable(error.message),
      },
      new Breakers({ failures: 50, days: 3 }),
    );
    const waiting = { tenantId: 'acme', unattempted: true, heads: [] };
    dispatcher.update('acme', webhooks, null, new Map(webhooks.map(({ id }) => [id, waiting])));
    await waitUntil('all were read', () => read.size === webhooks.length);
    dispatcher.stop();
    // each may be as large as sources allow unless told otherwise: 1 MiB
    expect(Math.max(...statements)).toBeLessThanOrEqual(32);
  });

  test('is no more than its share of memory for a tenant with large ones that hang, and others are read meanwhile', async () => {
    const of = (tenantId: string, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        ...webhook,
        id: `${tenantId} ${i}`,
        tenantId,
        url: `http://${tenantId}.test/`,
        secret: `whsec_${Buffer.from('secret of a webhook').toString('base64')}`,
        previousSecret: null,
        settings: { ...webhook.settings, headers: {}, authType: 'none', maxInFlight: 8 } as unknown as WebhookSettings,
      }));
    const webhooks = { hostile: of('hostile', 200), quiet: of('quiet', 1) };
    const large = 'x'.repeat(MIB);
    const read = { hostile: 0, quiet: 0 };
    const dispatcher = new Dispatcher(
      {
        maxInFlight: 256,
        bodies: { render: () => Promise.reject(new Error('nothing is rendered')) },
        sender: {
          send: ({ url }) =>
            url.includes('quiet') ? Promise.reject(new Error('it is sent')) : new Promise<never>(() => {}),
        },
        clock: { now: () => Date.now(), isValid: true },
        recorder: { add: () => {} },
        readDue: async (queries) =>
          queries.map(({ webhookId, tenantId, limit }) => {
            const tenant = tenantId as keyof typeof read;
            read[tenant] += limit;
            const deliveries = Array.from({ length: limit }, (_, i) => {
              const { delivery } = ticket(read[tenant] + i, { data: tenant === 'hostile' ? large : '{}' });
              return { ...delivery, id: `${webhookId} ${read[tenant]} ${i}`, webhookId };
            });
            return { webhookId, deliveries, moreDue: true, replaysDue: false, nextInMs: 0 };
          }),
        readWebhooks: () => expect.unreachable(),
        filterVerdict: () => 'send',
        onAttempt: () => {},
        onLate: () => {},
        onDisable: () => {},
        onError: () => {},
      },
      new Breakers({ failures: 50, days: 3 }),
    );
    for (const [tenantId, some] of Object.entries(webhooks)) {
      const waiting = { tenantId, unattempted: true, heads: [] };
      dispatcher.update(tenantId, some, null, new Map(some.map(({ id }) => [id, waiting])));
    }
    await waitUntil('others are read', () => read.quiet > 0 && read.hostile >= 32);
    const ticks = performance.now();
    await waitUntil('there was time to read all', () => performance.now() - ticks > 1_000);
    dispatcher.stop();
    // All of them are a thousand.
    expect(read.hostile).toBeLessThan(100);
  });

  test('goes out as the batch that it was sent in, also behind a row with an attempt in flight', () => {
    const { queue } = scene();
    const [busy, behind, ...batch] = [1, 1, 2, 3].map((row) => ticket(row)) as [Ticket, Ticket, Ticket, Ticket];
    for (const { delivery } of batch) delivery.batchId = 'bat_1';
    const take = () => queue.take(performance.now(), () => {});
    queue.push(busy);
    expect(take()).toEqual([busy]);
    for (const one of [behind, ...batch]) queue.push(one);
    expect(take()).toEqual(batch);
    for (const { delivery } of batch) queue.free(delivery);
    expect(take()).toEqual([]);
    queue.free(busy.delivery);
    expect(take()).toEqual([behind]);
  });
});

describe('a webhook that only waits for its parked deliveries', () => {
  const long = {
    url: 'https://a.example',
    settings: { ...webhook.settings, headers: { 'x-long': 'x'.repeat(9_000) } },
  };
  const resting = () => {
    const { queue, stored, ...rest } = scene();
    const whole = { ...queue.webhook, ...long };
    queue.configure(whole);
    stored.webhooks = [whole];
    rest.park(ticket(1));
    rest.commit(1);
    queue.rest();
    return { ...rest, queue, stored, whole };
  };

  test('has no texts in memory, and has them again before anything is read back', async () => {
    const { queue, read, whole } = resting();
    expect(queue.webhook).toMatchObject({ hasTexts: false, url: '', settings: { headers: {}, maxInFlight: 2 } });
    // nothing is due yet
    await read(() => ({ ...due(), nextInMs: 60_000 }));
    expect(queue.webhook.hasTexts).toBe(false);
    await read(() => due(ticket(1)));
    expect(queue.webhook).toBe(whole);
    // not while something is in memory
    queue.rest();
    expect(queue.webhook).toBe(whole);
    expect(queue.length).toBe(1);
  });

  test('keeps a change that came while its texts were read', async () => {
    const { queue, read, whole } = resting();
    const changed = { ...whole, url: 'https://changed.example' };
    const reading = read(() => due(ticket(1)));
    queue.configure(changed);
    await reading;
    expect(queue.webhook).toBe(changed);
  });

  test('is not read back when it was deleted or switched off meanwhile, and nothing is forgotten', async () => {
    const { queue, stored, read, whole } = resting();
    for (const webhooks of [[], [{ ...whole, isActive: false }]]) {
      stored.webhooks = webhooks;
      await read(() => due(ticket(1)));
      expect([queue.backlog.state, queue.backlog.hasParked, queue.length]).toEqual(['backlogged', true, 0]);
      queue.rest();
    }
  });
});
