// Pages of the log: complete, in order, within the tenant, and as quick in a large log as in a small one.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attemptsOf, readAttempts } from '../../src/operations/history/attempts.ts';
import { keyOf, LOOKED_AT_MAX } from '../../src/operations/page.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { asTenant, plansOf } from '../support/tenant.ts';

const [busy, rare, foreign] = ['1', '2', '3'].map((n) => `00000000-0000-4000-8000-00000000000${n}`) as [
  string,
  string,
  string,
];
let database: TestDatabase;

/** `count` attempts in the last two days: each 50th failed, each 1,000th is of another type. */
const log = (webhook: string, tenant: string, count: number) =>
  database.query(
    `insert into rowhook.webhook_logs (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type,
                                       attempt, status, code, request_url, lane, webhook_name, duration_ms)
     select now() - make_interval(secs => (n / 2) * 172800.0 / $3::int), $2, $1,
            ('00000000-0000-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'evt_' || n,
            case when n % 1000 = 0 then 'deal.won' else 'deal.updated' end, 1,
            case when n % 50 = 0 then 'failed' else 'success' end, 'delivered', 'u', 3, 'w', 7
       from generate_series(1, $3::int) as n`,
    [webhook, tenant, count],
  );

beforeAll(async () => {
  database = await createDatabase();
  await log(busy, 'one', 100_000);
  await log(rare, 'one', 1_000);
  await log(foreign, 'two', 100);
  await database.query('analyze rowhook.webhook_logs');
});
afterAll(() => database.drop());

type Filter = Parameters<typeof readAttempts>[2];
const page = (webhook: string, filter: Filter, cursor?: string, limit = 50) =>
  asTenant(database, 'one', (client) =>
    readAttempts(client, webhook, filter, {
      limit,
      cursor: cursor === undefined ? undefined : keyOf(cursor, 'number'),
    }),
  );

async function allPages(webhook: string, filter: Filter, limit: number) {
  const [ids, sizes]: [string[], number[]] = [[], []];
  let cursor: string | undefined;
  do {
    const { data, next_cursor } = await page(webhook, filter, cursor, limit);
    ids.push(...data.map(({ id }) => id));
    sizes.push(data.length);
    cursor = next_cursor ?? undefined;
  } while (cursor !== undefined);
  return { ids, sizes };
}

test('pages together are the list, newest first, also where two attempts have the same time', async () => {
  const rows = await database.query<{ id: string }>(
    'select id from rowhook.webhook_logs where webhook_id = $1 order by attempted_at desc, id desc',
    [rare],
  );
  const { ids, sizes } = await allPages(rare, {}, 333);
  expect(ids).toEqual(rows.map(({ id }) => id));
  expect(sizes).toEqual([333, 333, 333, 1]);
  expect((await page(rare, {}, undefined, 1_000)).next_cursor).toBeNull();
});

test('filters', async () => {
  expect((await allPages(rare, { status: 'failed' }, 7)).ids).toHaveLength(20);
  expect((await allPages(rare, { status: 'failed', event_type: 'deal.won' }, 7)).ids).toHaveLength(1);
  expect((await allPages(rare, { status: 'success', event_type: 'deal.won' }, 7)).ids).toHaveLength(0);
  const [{ since, until } = { since: '', until: '' }] = await database.query<{ since: string; until: string }>(
    "select (now() - interval '36 hours')::text as since, (now() - interval '12 hours')::text as until",
  );
  const { ids } = await allPages(rare, { since, until }, 100);
  expect(ids.length).toBeGreaterThan(495);
  expect(ids.length).toBeLessThan(505);
});

test('a filter that finds little looks at so many rows and answers a short page, and the next page goes on', async () => {
  const { ids, sizes } = await allPages(busy, { status: 'success', event_type: 'deal.won' }, 50);
  expect(ids).toEqual([]);
  expect(sizes).toHaveLength(100_000 / LOOKED_AT_MAX + 1);
  const found = await allPages(busy, { event_type: 'deal.won' }, 50);
  expect(found.ids).toHaveLength(100);
  expect(new Set(found.ids).size).toBe(100);
});

test('nothing of another tenant', async () => {
  expect(await page(foreign, {})).toEqual({ data: [], next_cursor: null });
});

test('what is not a cursor is none', () => {
  const text = (plain: string) => Buffer.from(plain).toString('base64url');
  for (const cursor of ['', '!', text('2025-01-01'), text("2025-01-01T00:00:00.000000Z 1'"), text('x 1')])
    expect(keyOf(cursor, 'number')).toBeUndefined();
  expect(keyOf(text('2025-01-01T00:00:00.000000Z 77'), 'uuid')).toBeUndefined();
  expect(keyOf(text('2025-01-01T00:00:00.000000Z 77'), 'number')).toEqual({
    at: '2025-01-01T00:00:00.000000Z',
    id: '77',
  });
});

describe('a page reads what it shows: no sequential scan, no sort of the whole', () => {
  test.each<[string, Filter, number]>([
    ['the first', {}, 200],
    ['by status', { status: 'failed' }, 200],
    ['by status and event type', { status: 'failed', event_type: 'deal.won' }, 4_500],
    ['by event type', { event_type: 'deal.updated' }, 200],
    ['that finds nothing', { event_type: 'deal.lost' }, 4 * LOOKED_AT_MAX],
  ])('%s', async (_, filter, rowsMax) => {
    for (const cursor of [undefined, (await page(busy, {}, undefined, 500)).next_cursor as string]) {
      const key = cursor === undefined ? undefined : keyOf(cursor, 'number');
      const plans = await asTenant(database, 'one', (client) =>
        plansOf(client, (watched) => readAttempts(watched, busy, filter, { limit: 50, cursor: key })),
      );
      const wasteful = plans.filter(({ node, rows }) => /Seq Scan|^Sort/.test(node) && rows > 100);
      expect(wasteful).toEqual([]);
      const read = plans.filter(({ relation }) => relation?.startsWith('webhook_logs'));
      expect(read.length).toBeGreaterThan(0);
      expect(read.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThan(rowsMax);
    }
  });

  test('the attempts of one delivery', async () => {
    const id = '00000000-0000-8000-8000-000000000064';
    const read = (client: Parameters<typeof attemptsOf>[0]) => attemptsOf(client, id);
    expect(await asTenant(database, 'one', read)).toHaveLength(2);
    expect(await asTenant(database, 'two', read)).toHaveLength(1);
    const plans = await asTenant(database, 'one', (client) => plansOf(client, read));
    expect(plans.filter(({ node, rows }) => /Seq Scan|^Sort/.test(node) && rows > 10)).toEqual([]);
  });
});
