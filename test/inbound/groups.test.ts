// Requests that wait at the same time are stored by one statement. Each is answered as if it had come alone.

import { createHash, randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Groups } from '../../src/api/inbound/groups.ts';
import { Turnstile } from '../../src/api/turnstile.ts';
import { type Arrival, receive, type Sender, type Stored } from '../../src/operations/inbound/receive.ts';
import { hashOfToken } from '../../src/operations/sessions.ts';
import { createKey, startTestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const WAIT_MS = 20_000;
let database: TestDatabase;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createDatabase();
  pool = new pg.Pool({ connectionString: database.apiUrl, max: 10 });
});

afterAll(async () => {
  await pool?.end();
  await database?.drop();
});

const groupsOf = (places = 10) => new Groups(pool, new Turnstile(places, WAIT_MS), WAIT_MS);
const tenant = (tenantId: string): Sender => ({ by: 'tenant', tenantId });
const token = async (tenantId: string | null, scopes: string[], organization: string | null = null) =>
  ({ by: 'token', hash: hashOfToken(await createKey(database, tenantId, scopes)), organization }) as const;

function arrival(sender: Sender, more: Partial<Arrival> = {}): Arrival {
  const payload = more.payload ?? '{"a": 1.0}';
  const hash = createHash('sha256').update(payload).digest();
  return { sender, eventName: 'a.b', payload, headers: {}, keys: [], hash, hops: 0, address: '192.0.2.1', ...more };
}

const eventsOf = (tenantId: string) =>
  database.query<{ id: string; payload: string; keys: string; source: string | null; xmin: string }>(
    `select id, payload::text as payload, idempotency_key as keys, source, xmin::text
       from rowhook.integration_events where tenant_id = $1 order by received_at, id`,
    [tenantId],
  );

test('senders of every kind share a statement, and each gets its own answer, in order', async () => {
  const [source] = await database.query<{ id: string }>(
    `insert into rowhook.inbound_sources (tenant_id, name, verification, secret)
     values ('mixed', 'billing', 'github', 'long enough') returning id`,
  );
  const own = await token('mixed', ['inbound']);
  const asked = [
    arrival(own, { payload: '1' }),
    arrival({ by: 'token', hash: hashOfToken('rhk_nobody'), organization: null }),
    arrival({ by: 'source', sourceId: source?.id as string }, { payload: '2', keys: ['d1', 'sha256:2'] }),
    arrival(await token('mixed', ['read'])),
    arrival({ ...own, organization: 'another' }),
    arrival(tenant('mixed'), { payload: '3', eventName: 'c', keys: ['k'] }),
    arrival({ by: 'source', sourceId: 'src_abcdefghijklmnopqrstuvwx' }),
    arrival(await token(null, ['operator', 'inbound'], 'mixed'), { payload: '4' }),
    arrival({ ...own, organization: 'mixed' }, { payload: '5' }),
  ];
  const answers = await receive(pool, asked);
  expect(answers.map(({ verdict }) => verdict)).toEqual([
    ...[null, 'unknown', null, 'scope', 'organization', null, 'unknown', null, null],
  ]);
  const stored = answers.filter((answer): answer is Stored => answer.verdict === null);
  for (const one of stored) expect(one).toMatchObject({ tenant_id: 'mixed', is_new: true, status: 'received' });
  expect(stored.map(({ event_name }) => event_name)).toEqual(['a.b', 'a.b', 'c', 'a.b', 'a.b']);
  // in the order in which they came
  const rows = await eventsOf('mixed');
  expect(rows.map(({ id, payload }) => [id, payload])).toEqual(stored.map(({ id }, at) => [id, String(at + 1)]));
  expect(rows.map(({ keys, source: name }) => [keys, name])).toEqual([
    ...[
      [null, null],
      ['d1', 'billing'],
      ['k', null],
      [null, null],
      [null, null],
    ],
  ]);
});

test('an event that came before is answered within a group, and stores no further key of its own', async () => {
  const [first] = (await receive(pool, [
    arrival(tenant('again'), { payload: '{"n": 1.0}', keys: ['one'] }),
  ])) as Stored[];
  const [known, fresh] = (await receive(pool, [
    arrival(tenant('again'), { payload: '2', keys: ['other', 'one'] }),
    arrival(tenant('again'), { payload: '3', keys: ['three'] }),
  ])) as Stored[];
  expect(known).toMatchObject({ id: first?.id, payload: '{"n": 1.0}', is_new: false });
  expect(fresh).toMatchObject({ is_new: true, payload: null });
  // a recorded body under the id of a later event does not take that id
  const [later] = (await receive(pool, [arrival(tenant('again'), { payload: '4', keys: ['other'] })])) as Stored[];
  expect(later?.is_new).toBe(true);
  expect((await eventsOf('again')).map(({ payload }) => payload)).toEqual(['{"n": 1.0}', '3', '4']);
});

test('requests that wait share commits, and a tenant that floods does not fill them', async () => {
  const groups = groupsOf();
  const settled: string[] = [];
  const store = (tenantId: string) =>
    groups.store(tenantId, arrival(tenant(tenantId))).then(() => settled.push(tenantId));
  const flood = Array.from({ length: 500 }, () => store('flood'));
  await Promise.all(['calm', 'quiet', 'still'].map(store));
  const before = settled.filter((tenantId) => tenantId === 'flood').length;
  await Promise.all(flood);
  expect(before).toBeLessThan(200);
  const transactions = new Set((await eventsOf('flood')).map(({ xmin }) => xmin));
  expect(settled).toHaveLength(503);
  expect(transactions.size).toBeLessThan(20);
});

test('the same key several times at the same time is one event', async () => {
  const groups = groupsOf();
  const store = (key: string, payload: string) =>
    groups.store('twice', arrival(tenant('twice'), { payload, keys: [key] })) as Promise<Stored>;
  const answers = await Promise.all(['1', '2', '3', '4', '5'].map((payload) => store('a', payload)));
  const news = answers.filter(({ is_new }) => is_new);
  expect(news).toHaveLength(1);
  const [row] = await eventsOf('twice');
  for (const { id, is_new, payload } of answers) expect([id, payload]).toEqual([row?.id, is_new ? null : row?.payload]);
});

test('two processes get the same requests at the same time: no deadlock, and one row each', async () => {
  const key = await createKey(database, 'both', ['inbound']);
  const apis = await Promise.all([1, 2].map(() => startTestApi(database, { inboundRateLimit: 1_000_000 })));
  try {
    const ids = Array.from({ length: 60 }, () => randomUUID());
    const send = async (id: string, at: number) => {
      const headers = { 'x-api-key': key, 'webhook-id': id };
      const answer = await apis[at % 2]?.ask('POST', '/webhooks/a', { body: `"${id}"`, headers });
      return { id, status: answer?.status, event: answer?.body.id, payload: answer?.body.payload };
    };
    const answers = await Promise.all([...ids, ...ids.toReversed(), ...ids, ...ids.toReversed()].map(send));
    for (const id of ids) {
      const own = answers.filter((answer) => answer.id === id);
      expect(own.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
      expect(new Set(own.map(({ event }) => event)).size).toBe(1);
      expect(new Set(own.map(({ payload }) => payload))).toEqual(new Set([id]));
    }
    expect(await eventsOf('both')).toHaveLength(ids.length);
  } finally {
    for (const api of apis) await api.stop();
  }
});

test('what the database refuses of one request harms none of its group', async () => {
  const groups = groupsOf();
  // JSON.parse would refuse it, too: here it stands for whatever only the database refuses
  const bad = new Set([3, 17]);
  const answers = await Promise.allSettled(
    Array.from({ length: 30 }, (_, n) =>
      groups.store('harm', arrival(tenant('harm'), { payload: bad.has(n) ? '{' : String(n), keys: [`k${n}`] })),
    ),
  );
  for (const [n, answer] of answers.entries()) {
    if (bad.has(n)) expect(answer).toMatchObject({ status: 'rejected', reason: { code: '22P02' } });
    else expect(answer).toMatchObject({ status: 'fulfilled', value: { is_new: true } });
  }
  const payloads = (await eventsOf('harm')).map(({ payload }) => payload);
  expect(payloads.sort()).toEqual(
    Array.from({ length: 30 }, (_, n) => n)
      .filter((n) => !bad.has(n))
      .map(String)
      .sort(),
  );
});

test('whoever waits too long is refused, and stores nothing', async () => {
  const turnstile = new Turnstile(1, 100);
  const place = await turnstile.pass('inbound');
  const groups = new Groups(pool, turnstile, 100);
  const asked = Array.from({ length: 200 }, () => groups.store('late', arrival(tenant('late'))));
  expect(groups.waiting).toBe(200);
  for (const answer of await Promise.allSettled(asked))
    expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
  expect(groups.waiting).toBe(0);
  place.leave();
  expect(await groups.store('late', arrival(tenant('late')))).toMatchObject({ is_new: true });
  expect(await eventsOf('late')).toHaveLength(1);
});
