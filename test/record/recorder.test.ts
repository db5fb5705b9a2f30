import { randomUUID } from 'node:crypto';
// What RECORD writes is what there was, to the character.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Attempt, Delivery, Entry } from '../../src/model.ts';
import type { Fence } from '../../src/record/fence.ts';
import { recordLogs } from '../../src/record/log-rows.ts';
import { Recorder } from '../../src/record/recorder.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitUntil } from '../support/wait.ts';

const webhookId = '6b1f7c1e-95a4-4b4e-9a57-0a5fd2b5b0f1';
const deliveryId = (n: number) => `00000000-0000-8000-8000-00000000000${n}`;
/** Everything that separates fields, records, lines or strings anywhere on the way. */
const odd = '\x1da\x1eb\x1fc\x1de\x1d\x1dx\x1dyz\td\ne\r\\N\\.{"f",\'g\'}\u2028\x01é💥';

const delivery = (n: number, text: string): Delivery => ({
  id: deliveryId(n),
  eventId: `evt_60f127aa_${n}_0`,
  eventType: 'deal.updated',
  ordinal: 0,
  change: {
    id: String(n),
    lane: 3,
    tenantId: text,
    sourceId: null,
    eventTypes: ['deal.updated'],
    rowKey: null,
    occurredAt: 0,
    data: null,
    previous: null,
    truncated: null,
    testWebhookId: null,
  },
  organization: `{"id":${JSON.stringify(text)},\n "name" : null}`,
  webhookId,
  webhookName: text,
  payloadFormat: 'nested',
  batchId: null,
  attempt: 0,
  parked: false,
  replayed: false,
  unfiltered: false,
});

const answered = (n: number, text: string, body: string): Attempt => ({
  delivery: delivery(n, text),
  attempt: 1,
  outcome: {
    status: 'failed',
    code: 'http_error',
    error: text,
    response: { status: 500, headers: { 'x-odd': text }, body },
    remoteIp: '::1',
    durationMs: 7,
  },
  startedAt: performance.now() - 1_000,
  requestMethod: 'PUT',
  requestUrl: 'https://example.com/a?b=c',
  requestHeaders: { 'x-own': text },
  retryInMs: 60_000,
});

const unanswered: Attempt = {
  ...answered(3, 'plain', ''),
  outcome: { status: 'skipped', code: 'webhook_inactive', error: null, response: null, remoteIp: null, durationMs: 0 },
  retryInMs: null,
};

/** Every lane of none is held. */
const noLanes: Fence = [randomUUID(), [], []];

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

test('text of any kind, empty text and nothing at all are logged as they are', async () => {
  const client = await database.pool.connect();
  const written = await recordLogs(client, [answered(1, odd, odd), answered(2, 'plain', ''), unanswered], noLanes);
  expect(written).toBe(true);
  client.release();
  const rows = await database.query(
    `select tenant_id, delivery_id, event_id, event_type, attempt, status, code, response_status, response_body, response_headers,
            request_url, request_headers, host(remote_ip) as remote_ip, duration_ms, error, lane, request_method,
            organization::text as organization, webhook_name, payload_format,
            round(extract(epoch from clock_timestamp() - attempted_at))::int between 1 and 50 as attempted_before,
            extract(epoch from next_attempt_at - attempted_at)::int between 60 and 110 as due_later
       from rowhook.webhook_logs order by event_id`,
  );
  const expected = (n: number, text: string, body: string) => ({
    tenant_id: text,
    delivery_id: deliveryId(n),
    event_id: `evt_60f127aa_${n}_0`,
    event_type: 'deal.updated',
    attempt: 1,
    status: 'failed',
    code: 'http_error',
    response_status: 500,
    response_body: body,
    response_headers: { 'x-odd': text },
    request_url: 'https://example.com/a?b=c',
    request_headers: { 'x-own': text },
    remote_ip: '::1',
    duration_ms: 7,
    error: text,
    lane: 3,
    request_method: 'PUT',
    organization: `{"id":${JSON.stringify(text)},\n "name" : null}`,
    webhook_name: text,
    payload_format: 'nested',
    attempted_before: true,
    due_later: true,
  });
  expect(rows).toEqual([
    expected(1, odd, odd),
    expected(2, 'plain', ''),
    {
      ...expected(3, 'plain', ''),
      status: 'skipped',
      code: 'webhook_inactive',
      error: null,
      response_status: null,
      response_body: null,
      response_headers: null,
      remote_ip: null,
      duration_ms: 0,
      due_later: null,
    },
  ]);
});

test('nothing is logged once a lane has another owner, or another epoch of the same', async () => {
  const us = randomUUID();
  await database.query(`update rowhook.webhook_lanes set owner = '${us}', epoch = 7 where lane in (3, 4)`);
  const logged = () => database.query<{ count: number }>('select count(*)::int as count from rowhook.webhook_logs');
  const before = await logged();
  const log = (...fence: Fence) => recordLogs(database.pool, [answered(9, 'plain', '')], fence);
  expect(await log(us, [3, 5], ['7', '7'])).toBe(false);
  expect(await log(us, [3, 4], ['7', '6'])).toBe(false);
  expect(await log(randomUUID(), [3], ['7'])).toBe(false);
  expect(await logged()).toEqual(before);
  expect(await log(us, [3, 4], ['7', '7'])).toBe(true);
  expect(await logged()).not.toEqual(before);
});

describe('a batch', () => {
  const us = randomUUID();
  const committed: string[] = [];
  const batches: number[] = [];
  let recorder: Recorder;
  beforeAll(async () => {
    await database.query(`update rowhook.webhook_lanes set owner = '${us}', epoch = 7 where lane = 3`);
    await database.query(
      `insert into rowhook.webhook_configurations (id, tenant_id, name, url, event_types)
       values ('${webhookId}', 'plain', 'w', 'https://example.com/', '{*}')`,
    );
    recorder = new Recorder({
      pool: database.pool,
      owner: us,
      epochs: new Map([[3, '7']]),
      clock: { now: () => Date.now() },
      positions: () => new Map(),
      isIdle: () => false,
      maxInFlight: 256,
      listener: () => ({
        committed: (entries) => {
          batches.push(entries.length);
          committed.push(...entries.map(({ delivery }) => delivery.id));
        },
      }),
      onError: (error) => expect.unreachable(error.message),
    });
  });

  const entry = (delivery: Delivery, next: Entry['next'], attempt: Attempt | null): Entry => ({
    delivery,
    attempt,
    next,
    ordered: false,
    health: { kind: 'unchanged' },
    settle: () => {},
  });
  const delivered = (of: Delivery): Attempt => ({
    ...answered(1, 'plain', ''),
    delivery: of,
    outcome: { ...unanswered.outcome, status: 'success', code: 'delivered' },
    retryInMs: null,
  });
  const parked = () =>
    database
      .query<{ id: string }>('select delivery_id as id from rowhook.webhook_deliveries order by 1')
      .then((rows) => rows.map(({ id }) => id));

  test('what was delivered does not wait for what cannot be parked', async () => {
    const [one, other] = [delivery(4, 'plain'), delivery(5, 'plain')];
    const blocker = await database.pool.connect();
    await blocker.query('begin; lock table rowhook.webhook_deliveries in access exclusive mode');
    recorder.add(entry(other, { kind: 'retry', inMs: 60_000 }, { ...answered(5, 'plain', ''), delivery: other }));
    recorder.add(entry(one, { kind: 'finished' }, delivered(one)));
    await waitUntil('the one that was delivered has committed', () => committed.includes(one.id));
    expect(committed).not.toContain(other.id);
    await blocker.query('rollback');
    blocker.release();
    await waitUntil('the other one has committed', () => committed.includes(other.id));
    expect(await parked()).toEqual([other.id]);
  });

  test('has what was delivered within a short time, although each came alone', async () => {
    // a machine that stands still for longer divides them
    for (let tries = 0; tries < 20 && batches.at(-1) !== 5; tries++) {
      const five = Array.from({ length: 5 }, () => ({ ...delivery(9, 'plain'), id: randomUUID() }));
      for (const one of five) {
        recorder.add(entry(one, { kind: 'finished' }, delivered(one)));
        // longer than a statement takes
        await database.query('select pg_sleep(0.003)');
      }
      await waitUntil('all have committed', () => five.every(({ id }) => committed.includes(id)));
    }
    expect(batches.at(-1)).toBe(5);
  });

  test('leaves no row of what was parked and then done in it', async () => {
    const both = delivery(6, 'plain');
    recorder.add(entry(both, { kind: 'retry', inMs: 1_000 }, null));
    recorder.add(entry(both, { kind: 'finished' }, delivered(both)));
    await waitUntil('both have committed', () => committed.filter((id) => id === both.id).length === 2);
    expect(await parked()).not.toContain(both.id);
    expect(await database.query(`select status from rowhook.webhook_logs where delivery_id = '${both.id}'`)).toEqual([
      { status: 'success' },
    ]);
  });

  test("does not divide a request's deliveries, which are tried again at one time", async () => {
    const others = Array.from({ length: 490 }, () => ({ ...delivery(7, 'plain'), id: randomUUID() }));
    const together = Array.from({ length: 20 }, () => ({
      ...delivery(8, 'plain'),
      id: randomUUID(),
      batchId: 'bat_8',
    }));
    for (const one of [...others, ...together])
      recorder.add(entry(one, { kind: 'retry', inMs: 1_000 }, { ...answered(7, 'plain', ''), delivery: one }));
    await waitUntil('all have committed', () => [...others, ...together].every(({ id }) => committed.includes(id)));
    expect(
      await database.query(
        `select count(distinct next_attempt_at)::int as times, count(*)::int as deliveries
           from rowhook.webhook_deliveries where batch_id = 'bat_8'`,
      ),
    ).toEqual([{ times: 1, deliveries: 20 }]);
  });
});
