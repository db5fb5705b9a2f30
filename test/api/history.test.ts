// Attempts, deliveries, replays, events, tests, changes and operators over HTTP, with a daemon and a receiver.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { type Answer, createKey, startTestApi, type TestApi } from '../support/api.ts';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitUntil } from '../support/wait.ts';

const PATH = '/v1/acme/outgoing-webhooks';
const NOTHING = '00000000-0000-4000-8000-000000000000';
let database: TestDatabase;
let api: TestApi;
let receiver: Receiver;
let daemon: Daemon;
let [token, reader, foreign, operator] = ['', '', '', ''];
let [works, fails] = ['', ''];
let event = '';

const as = (method: string, path: string, body?: unknown, own = token, headers = {}) =>
  api.ask(method, path, { token: own, body, headers });
const webhook = async (path: string, more: object = {}) => {
  const body = { name: path, target_url: receiver.url(path), event_types: ['pay.*'], ...more };
  const answer = await as('POST', PATH, body);
  expect(answer.status).toBe(201);
  return answer.body.id as string;
};
const emit = async (data: string, key?: string) =>
  as('POST', '/v1/acme/events', `{"event":"pay.made","data":${data}}`, token, key ? { 'idempotency-key': key } : {});
const rows = (answer: Answer) => answer.body.data as Record<string, unknown>[];

beforeAll(async () => {
  [database, receiver] = [await createDatabase({ crm: true }), await startReceiver()];
  receiver.respond('/fails', { status: 500, body: 'no' });
  api = await startTestApi(database, { allowHttp: true, allowCidrs: ['127.0.0.0/8'] });
  token = await createKey(database, 'acme');
  reader = await createKey(database, 'acme', ['read']);
  foreign = await createKey(database, 'other');
  operator = await createKey(database, null);
  works = await webhook('/works', { headers: { 'X-Pass': 'hush' } });
  fails = await webhook('/fails', { retry_enabled: false });
  daemon = await startTestDaemon(database);
  const { status, body } = await emit('{"n":12345678901234567890.10}');
  expect(status).toBe(201);
  event = body.id as string;
  await waitUntil('both attempts are listed', async () => {
    const [one, other] = [
      await as('GET', `${PATH}/${works}/deliveries`),
      await as('GET', `${PATH}/${fails}/deliveries`),
    ];
    return rows(one).length === 1 && rows(other).length === 1;
  });
});

afterAll(async () => {
  await daemon?.stop();
  await api?.stop();
  await receiver?.close();
  await database?.drop();
});

test('the attempts of a webhook, by status and event type, page by page', async () => {
  const [attempt] = rows(await as('GET', `${PATH}/${fails}/deliveries?limit=50&status=failed`, undefined, reader));
  expect(attempt).toMatchObject({
    event_id: event,
    event_type: 'pay.made',
    attempt: 1,
    status: 'failed',
    code: 'http_error',
    response_status: 500,
    next_attempt_at: null,
    remote_ip: '127.0.0.1',
    user_agent: expect.stringMatching(/^rowhook\//),
  });
  expect(rows(await as('GET', `${PATH}/${fails}/deliveries?status=success`))).toEqual([]);
  expect(rows(await as('GET', `${PATH}/${fails}/deliveries?event_type=pay.lost&since=1h`))).toEqual([]);
  expect(rows(await as('GET', `${PATH}/${fails}/deliveries?until=1h`))).toEqual([]);
  for (const query of ['status=lost', 'limit=0', 'limit=501', 'since=yesterday', 'cursor=x', 'surprise=1'])
    expect([query, (await as('GET', `${PATH}/${fails}/deliveries?${query}`)).status]).toEqual([query, 400]);
});

test('one attempt: the exact request with secrets masked, the response, and a curl command', async () => {
  const [{ id } = { id: '' }] = rows(await as('GET', `${PATH}/${works}/deliveries`)) as { id: string }[];
  const { status, body, text } = await as('GET', `/v1/acme/attempts/${id}`);
  const [sent] = receiver.requestsTo('/works');
  expect([status, body.request]).toEqual([
    200,
    expect.objectContaining({ method: 'POST', url: receiver.url('/works'), body: sent?.body.toString(), note: null }),
  ]);
  expect((body.request as { headers: object }).headers).toMatchObject({ 'X-Pass': '••••••', 'webhook-id': event });
  expect(body.response).toMatchObject({ status: 200, body: '' });
  expect(body.curl).toContain('curl -i -X POST');
  expect(text).not.toContain('hush');
  for (const unknown of ['0', '999999999', 'x', '1e3', '9'.repeat(30)])
    expect((await as('GET', `/v1/acme/attempts/${unknown}`)).status).toBe(404);
});

test('what failed for good, one delivery, and sending it again', async () => {
  const [failed, ...others] = rows(await as('GET', '/v1/acme/deliveries?state=failed'));
  expect(others).toEqual([]);
  expect(failed).toMatchObject({ webhook_id: fails, state: 'failed', last_code: 'http_error', event_id: event });
  const one = await as('GET', `/v1/acme/deliveries/${failed?.id}`);
  expect(one.body).toMatchObject({ state: 'failed', next: expect.stringContaining('no attempts are left') });
  expect(one.body.attempts).toHaveLength(1);
  expect(one.text).toContain('"data":{"n":12345678901234567890.10}');
  expect((await as('POST', `/v1/acme/deliveries/${failed?.id}/retry`)).status).toBe(202);
  await waitUntil('it was sent again', () => receiver.requestsTo('/fails').length === 2);
  await waitUntil(
    'it has failed again',
    async () => rows(await as('GET', '/v1/acme/deliveries?state=failed')).length === 1,
  );
  const dry = await as('POST', '/v1/acme/deliveries/retry', { filter: { webhook: fails }, dry_run: true });
  expect([dry.status, dry.body]).toEqual([200, { count: 1, more: false }]);
  const all = await as('POST', '/v1/acme/deliveries/retry', { filter: { webhook: fails } });
  expect([all.status, all.body]).toEqual([202, { retried: 1, skipped: 0, more: false }]);
  await waitUntil('it was sent a third time', () => receiver.requestsTo('/fails').length === 3);
  // one that was delivered, one that does not exist, and one that is no uuid
  const [done] = rows(await as('GET', `${PATH}/${works}/deliveries`));
  const some = await as('POST', '/v1/acme/deliveries/retry', { ids: [done?.delivery_id, NOTHING, 'x'] });
  expect([some.status, some.body]).toEqual([202, { retried: 1, skipped: 2, more: false }]);
  await waitUntil('it was sent twice', () => receiver.requestsTo('/works').length === 2);
  for (const body of [{}, { ids: [NOTHING], filter: {} }, { ids: [] }, { filter: { state: 'x' } }, { surprise: 1 }])
    expect([body, (await as('POST', '/v1/acme/deliveries/retry', body)).status]).toEqual([body, 422]);
});

test('a replay is counted, started, one at a time, watched and cancelled', async () => {
  const replay = `${PATH}/${works}/replay`;
  expect((await as('GET', replay)).status).toBe(404);
  const count = await as('POST', replay, { since: '1h', only: 'all', dry_run: true });
  expect([count.status, count.body]).toEqual([200, { count: 1 }]);
  // nothing is sent while it is off, so the replay waits
  await as('POST', `${PATH}/${works}/disable`);
  const started = await as('POST', replay, { since: '1h', only: 'all' });
  expect([started.status, started.body]).toEqual([202, expect.objectContaining({ total: 1, only: 'all' })]);
  const second = await as('POST', replay, { since: '1h', only: 'all' });
  expect([second.status, second.body.code]).toEqual([409, 'conflict']);
  expect((await as('GET', replay)).body).toMatchObject({ total: 1, left: 1, is_running: true, cancelled_at: null });
  expect((await as('DELETE', replay)).body).toEqual({ cancelled: 1 });
  expect((await as('GET', replay)).body).toMatchObject({
    left: 0,
    is_running: false,
    cancelled_at: expect.any(String),
  });
  await as('POST', `${PATH}/${works}/enable`);
  for (const body of [{}, { since: '1h', until: '2h' }, { since: '1h', only: 'some' }])
    expect([body, (await as('POST', replay, body)).status]).toEqual([body, 422]);
  expect((await as('POST', replay, { since: 'yesterday' })).status).toBe(400);
});

test('an event is written once for a key, its data as text, and listed as webhooks get it', async () => {
  const first = await emit('{"b" : 1.50, "a":[1e400]}', 'key-1');
  const again = await emit('{"b" : 1.50, "a":[1e400]}', 'key-1');
  expect([first.status, again.status, again.body]).toEqual([201, 200, first.body]);
  const other = await emit('{"b":2}', 'key-1');
  expect([other.status, other.body.code]).toEqual([422, 'invalid']);
  const list = await as('GET', '/v1/acme/events?limit=1');
  expect(list.text).toContain(`{"id":"${first.body.id}","event":"pay.made",`);
  expect(list.text).toContain('"data":{"b" : 1.50, "a":[1e400]}');
  expect(list.body.next_cursor).not.toBeNull();
  const next = await as('GET', `/v1/acme/events?limit=1&cursor=${list.body.next_cursor}`);
  expect(rows(next).map(({ id }) => id)).toEqual([event]);
  expect(rows(await as('GET', '/v1/acme/events?event_type=pay.lost'))).toEqual([]);
  expect(rows(await as('GET', '/v1/other/events', undefined, foreign))).toEqual([]);
  for (const body of [{ event: '?', data: 1 }, { event: 'a.b' }, { data: 1 }, { event: 'a.b', data: 1, x: 1 }])
    expect([body, (await as('POST', '/v1/acme/events', body)).status]).toEqual([body, 422]);
});

test('an event, and its attempts at a webhook, are found by its id', async () => {
  expect(rows(await as('GET', `/v1/acme/events?id=${event}`)).map(({ id }) => id)).toEqual([event]);
  expect(rows(await as('GET', `/v1/other/events?id=${event}`, undefined, foreign))).toEqual([]);
  // A change has several events, and another incarnation has the same numbers.
  for (const other of [event.replace(/\d+$/, '99'), event.replace(/^evt_[0-9a-f]+/, 'evt_0')])
    expect(rows(await as('GET', `/v1/acme/events?id=${other}`))).toEqual([]);
  expect((await as('GET', '/v1/acme/events?id=1')).status).toBe(400);

  const attempts = `/v1/acme/outgoing-webhooks/${works}/deliveries`;
  const all = rows(await as('GET', `${attempts}?limit=500`)).filter(({ event_id }) => event_id === event);
  expect(all.length).toBeGreaterThan(0);
  expect(rows(await as('GET', `${attempts}?event_id=${event}`))).toEqual(all);
  expect(rows(await as('GET', `${attempts}?event_id=${event}&status=failed`))).toEqual([]);
  expect(rows(await as('GET', `${attempts}?event_id=evt_0_1_0`))).toEqual([]);
});

test('explain says what became of an event, for one webhook or all', async () => {
  const one = await as('GET', `/v1/acme/events/${event}/explain?webhook=${works}`);
  expect(rows(one)).toEqual([
    expect.objectContaining({ webhook_id: works, sent: true, because: null, event_id: event }),
  ]);
  expect(rows(await as('GET', `/v1/acme/events/${event}/explain`))).toHaveLength(2);
  expect((await as('GET', `/v1/acme/events/evt_0_1_0/explain?webhook=${works}`)).status).toBe(404);
  expect((await as('GET', `/v1/acme/events/${event}/explain?webhook=${NOTHING}`)).status).toBe(404);
});

test('a test event is answered with its attempt, whatever it is, ten times a minute', async () => {
  const ok = await as('POST', `${PATH}/${works}/test`);
  expect([ok.status, ok.body]).toEqual([200, expect.objectContaining({ status: 'success', response_status: 200 })]);
  const bad = await as('POST', `${PATH}/${fails}/test`, { event_type: 'pay.refunded' });
  expect([bad.status, bad.body]).toEqual([
    200,
    expect.objectContaining({ status: 'failed', response_status: 500, event_type: 'pay.refunded' }),
  ]);
  expect((await as('POST', `${PATH}/${works}/test`, { event_type: '?' })).status).toBe(422);
  const many = await Promise.all(Array.from({ length: 10 }, () => as('POST', `${PATH}/${works}/test`)));
  const refused = many.filter(({ status }) => status === 429);
  expect(refused).toHaveLength(1);
  expect(refused[0]?.headers.get('retry-after')).toMatch(/^\d+$/);
});

test('changes name the key, the setting and its values, and no secret', async () => {
  await as('PATCH', `${PATH}/${works}`, { timeout_ms: 5_000, headers: { 'X-Pass': 'hush-hush' } });
  const { body, text } = await as('GET', `/v1/acme/changes?limit=1&webhook=${works}`);
  expect(body.data).toEqual([
    {
      id: expect.any(String),
      changed_at: expect.any(String),
      webhook_id: works,
      webhook_name: '/works',
      action: 'changed',
      changed_by: expect.stringMatching(/^API key a key \([0-9a-f-]{36}\)$/),
      changes: {
        timeout_ms: { old: 10_000, new: 5_000 },
        headers: { old: { 'X-Pass': '***' }, new: { 'X-Pass': '***' } },
      },
    },
  ]);
  expect(text).not.toContain('hush');
  expect(rows(await as('GET', '/v1/other/changes', undefined, foreign))).toEqual([]);
});

test('counts of a webhook, by itself and in the list', async () => {
  await waitUntil('RECORD has counted', async () => {
    const { body } = await as('GET', `${PATH}/${fails}/stats?bucket=day`);
    return Number((body.data?.[0] as { failed?: number } | undefined)?.failed ?? 0) >= 3;
  });
  const { body } = await as('GET', `${PATH}/${fails}/stats`);
  expect(body).toMatchObject({ bucket: 'hour', data: [{ success: 0, skipped: 0, p50: expect.any(Number) }] });
  const listed = rows(await as('GET', PATH)).find(({ id }) => id === fails);
  expect(listed).toMatchObject({
    stats_24h: { success: 0, failed: expect.any(Number), skipped: 0 },
    last_attempt_at: expect.any(String),
    waiting: expect.any(Number),
  });
  expect((listed as { sparkline: number[] }).sparkline).toHaveLength(24);
  expect((await as('GET', `${PATH}/${fails}/stats?bucket=year`)).status).toBe(400);
});

test('percentiles of a range are those of all attempts, and not those of its slowest minute', async () => {
  const buckets = (counts: Record<number, number>) => Array.from({ length: 28 }, (_, n) => counts[n] ?? 0);
  await database.query(
    `insert into rowhook.webhook_minutes (webhook_id, minute, tenant_id, success, failed, skipped, durations)
     select $1, date_trunc('hour', now()) - m, 'acme', s, f, 0, d
       from (values ('50 hours'::interval, 97, 0, $2::int[]), ('49 hours', 0, 3, $3)) as v (m, s, f, d)`,
    [fails, buckets({ 3: 97 }), buckets({ 20: 3 })],
  );
  const hour = (ago: number) => new Date(Math.floor(Date.now() / 3_600_000 - ago) * 3_600_000).toISOString();
  const { body } = await as('GET', `${PATH}/${fails}/stats?since=${hour(51)}&until=${hour(48)}`);
  const [fast, slow] = (body.data ?? []) as { p95: number }[];
  const { total } = body as unknown as { total: Record<string, number> };
  expect(total).toMatchObject({ success: 97, failed: 3, skipped: 0 });
  expect(total.p95).toBeGreaterThan((fast?.p95 as number) - 2);
  expect(total.p95).toBeLessThan((slow?.p95 as number) / 10);
  const none = await as('GET', `${PATH}/${fails}/stats?since=${hour(90)}&until=${hour(80)}`);
  expect(none.body).toMatchObject({ data: [], total: { success: 0, failed: 0, skipped: 0, p50: null, p95: null } });
});

/** The names of all fields, at every depth. */
function namesIn(value: unknown, at = ''): string[] {
  if (value === null || typeof value !== 'object') return [at];
  const parts = Array.isArray(value) ? value.map((each) => ['', each] as const) : Object.entries(value);
  return [...new Set(parts.flatMap(([name, each]) => namesIn(each, `${at}.${name}`)))].sort();
}

test('operators see organizations and the status, and set names and limits', async () => {
  const list = await as('GET', '/v1/organizations', undefined, operator);
  expect(list.body).toMatchObject({ data: [{ id: 'acme', name: null, webhooks: 2, active: 2 }], next_cursor: null });
  const put = await as('PUT', '/v1/organizations/acme', { name: 'Acme', rate_limit_per_second: 99.5 }, operator);
  expect([put.status, put.body]).toEqual([
    200,
    { id: 'acme', name: 'Acme', slug: null, max_in_flight: null, rate_limit_per_second: 99.5 },
  ]);
  expect((await as('PUT', '/v1/organizations/acme', { max_in_flight: 0 }, operator)).status).toBe(422);
  const status = await as('GET', '/v1/status', undefined, operator);
  expect(status.body).toMatchObject({ daemons: [{ lanes: 16 }], webhooks: { active: 2 }, sources: { problems: [] } });
  // as the command prints it, which also says what its own login may not do
  const { stdout } = await rowhook(['status', '--json'], { env: { DATABASE_URL: database.url } });
  const { read_only, unseen, ...said } = JSON.parse(stdout);
  expect([read_only, unseen]).toEqual([null, []]);
  expect(namesIn(status.body)).toEqual(namesIn(said));
  for (const path of ['/v1/organizations', '/v1/status']) expect((await as('GET', path)).status).toBe(403);
});

test('a webhook has one state in the list, in the status and in the command, and its organization has its name', async () => {
  const make = async (name: string, isActive: boolean) =>
    (
      await as(
        'POST',
        '/v1/initech/outgoing-webhooks',
        { name, target_url: 'https://x.example/', event_types: ['no.thing'], is_active: isActive },
        operator,
      )
    ).body.id as string;
  await as('PUT', '/v1/organizations/initech', { name: 'Initech' }, operator);
  const states = {
    open: 'circuit_open',
    probed: 'circuit_open',
    failing: 'failing',
    off: 'off',
    disabled: 'disabled',
    healthy: 'active',
  };
  const ids = new Map<string, string>();
  for (const name of Object.keys(states)) ids.set(name, await make(name, name !== 'off'));
  await database.query(
    `insert into rowhook.webhook_health (webhook_id, lane, failures, failing_since, open_until)
     values ($1, 0, 12, now(), now() + interval '1 hour'), ($2, 0, 11, now(), now() - interval '1 second'),
            ($3, 0, 2, now(), null), ($4, 0, 3, now(), null)`,
    ['open', 'probed', 'failing', 'off'].map((name) => ids.get(name)),
  );
  await database.query('select rowhook._disable_webhook($1, $2)', [ids.get('disabled'), '410 Gone']);
  const listed = rows(await as('GET', '/v1/initech/outgoing-webhooks', undefined, operator));
  expect(Object.fromEntries(listed.map(({ name, state }) => [name, state]))).toEqual(states);

  const { healthy, ...troubled } = states;
  const statesIn = (all: { tenant_id: string; tenant_name: string; name: string; state: string }[]) =>
    Object.fromEntries(
      all.filter(({ tenant_id }) => tenant_id === 'initech').map((one) => [one.name, [one.tenant_name, one.state]]),
    );
  const expected = Object.fromEntries(Object.entries(troubled).map(([name, state]) => [name, ['Initech', state]]));
  const status = await as('GET', '/v1/status', undefined, operator);
  expect(statesIn((status.body as unknown as { troubled: [] }).troubled)).toEqual(expected);
  const { stdout } = await rowhook(['status', '--json'], { env: { DATABASE_URL: database.url } });
  expect(statesIn(JSON.parse(stdout).troubled)).toEqual(expected);
  expect(namesIn(status.body)).toEqual(expect.arrayContaining(namesIn({ troubled: JSON.parse(stdout).troubled })));
  const { body } = await as('GET', '/v1/organizations?q=initech', undefined, operator);
  expect(body.data).toMatchObject([{ webhooks: 6, active: 4, failing: 3, disabled: 1 }]);
  expect(healthy).toBe('active');
});

test('attempts are streamed as they happen', async () => {
  const abort = new AbortController();
  const headers = { authorization: `Bearer ${reader}` };
  const stream = await fetch(`${api.url}/api/v1/acme/stream`, { headers, signal: abort.signal });
  expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
  let text = '';
  const reading = (async () => {
    for await (const chunk of stream.body ?? []) text += Buffer.from(chunk).toString();
  })().catch(() => {});
  const { body } = await emit('"streamed"');
  await waitUntil('both attempts came', () => text.split(`"event_id":"${body.id}"`).length === 3);
  expect(text).toMatch(/^id: \d+\nevent: attempt\ndata: \{/m);
  abort.abort();
  await reading;
});

describe('who may not', () => {
  const id = () => works;
  const all: [method: string, path: () => string, body?: unknown][] = [
    ['GET', () => `/${id()}/deliveries`],
    ['GET', () => `/${id()}/stats`],
    ['GET', () => `/${id()}/replay`],
    ['POST', () => `/${id()}/replay`, { since: '1h' }],
    ['DELETE', () => `/${id()}/replay`],
    ['POST', () => `/${id()}/test`, {}],
    ['GET', () => '/../attempts/1'],
    ['GET', () => '/../deliveries'],
    ['GET', () => `/../deliveries/${NOTHING}`],
    ['POST', () => `/../deliveries/${NOTHING}/retry`],
    ['POST', () => '/../deliveries/retry', { ids: [NOTHING] }],
    ['GET', () => '/../events'],
    ['POST', () => '/../events', { event: 'a.b', data: 1 }],
    ['GET', () => `/../events/${event}/explain`],
    ['GET', () => '/../changes'],
    ['GET', () => '/../stream'],
  ];
  const of = (organization: string, path: string) =>
    path.startsWith('/../') ? `/v1/${organization}/${path.slice(4)}` : `/v1/${organization}/outgoing-webhooks${path}`;

  test.each(all)('%s %s', async (method, path, body) => {
    const ask = (organization: string, own?: string) =>
      api.ask(method, of(organization, path()), { token: own, ...(body !== undefined && { body }) });
    const none = await ask('acme');
    expect([none.status, none.body.code]).toEqual([401, 'unauthorized']);
    const other = await ask('acme', foreign);
    expect([other.status, other.body.code]).toEqual([404, 'not_found']);
    if (method !== 'GET') expect((await ask('acme', reader)).status).toBe(403);
    // an id of the other organization, under one's own path
    if (/outgoing|attempts/.test(of('other', path()))) expect((await ask('other', foreign)).status).toBe(404);
    const { text } = other;
    expect([text.includes(works), text.includes('pay.')]).toEqual([false, false]);
  });
});
