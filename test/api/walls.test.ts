// Two organizations, and every operation of the OpenAPI document: nobody gets at anything of the other, and no answer
// tells whether there is anything. Operations that are added later are covered by themselves.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Answer, createKey, startTestApi, type TestApi } from '../support/api.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type StatementTap, startStatementTap } from '../support/statement-tap.ts';

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  'x-scopes': string[];
}

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  anyOf?: Schema[];
  enum?: unknown[];
  minimum?: number;
}

interface Each {
  method: string;
  path: string;
  operation: Operation;
}

const WRITE = ['read', 'write', 'keys', 'inbound'];
/** Values of acme hold this, and no answer to another one may. */
const ZEBRA = 'zebra';
let database: TestDatabase;
let tap: StatementTap;
let api: TestApi;
let operations: Each[];
let acme: string;
let other: string;
let reader: string;
let asked = 0;

const isOfOrganization = ({ path }: Each) => path.includes('{org}');
const OTHER_PARAMETERS = /\{(?!org\})(\w+)\}/g;
const hasId = ({ path }: Each) => path.replace('{org}', '').includes('{');

/** Each request comes from an address of its own: after 60 failures, an address is not even asked. */
function ask(
  { method, path, operation }: Each,
  token: string | undefined,
  org: string,
  id = '',
  query = '',
): Promise<Answer> {
  const filled = path
    .replace('{org}', org)
    .replace(OTHER_PARAMETERS, id)
    .replace(/^\/api/, '');
  const schema = Object.values(operation.requestBody?.content ?? {})[0]?.schema;
  asked += 1;
  return api.ask(method, `${filled}${query}`, {
    token,
    ...(schema && { body: sampleOf(schema) }),
    headers: { 'x-forwarded-for': `10.${asked >> 16}.${(asked >> 8) & 255}.${asked & 255}` },
  });
}

const KNOWN: Readonly<Record<string, unknown>> = {
  name: `${ZEBRA} n`,
  target_url: `https://${ZEBRA}.example/`,
  targetUrl: `https://${ZEBRA}.example/`,
  event: `${ZEBRA}.created`,
  event_name: `${ZEBRA}.created`,
  events: ['*'],
  event_types: ['*'],
  since: '2026-01-01T00:00:00Z',
  scopes: ['read'],
  timeout_ms: 1_000,
};

/** A value that a schema allows, with what must be there and what is known. */
function sampleOf(schema: Schema): unknown {
  const { type, properties = {}, required = [], anyOf, enum: values, minimum } = schema;
  if (values) return values[0];
  if (anyOf) return sampleOf(anyOf[0] as Schema);
  if (type === 'object') {
    const fields = Object.keys(properties).filter((name) => required.includes(name) || name in KNOWN);
    return Object.fromEntries(fields.map((name) => [name, KNOWN[name] ?? sampleOf(properties[name] as Schema)]));
  }
  if (type === 'array') return [];
  if (type === 'integer' || type === 'number') return minimum ?? 1;
  return type === 'boolean' ? false : type === 'string' ? 'x' : {};
}

/** Every id in an answer, under the name of its field. */
function idsIn(value: unknown, found = new Map<string, Set<string>>(), name = ''): Map<string, Set<string>> {
  if (Array.isArray(value)) for (const each of value) idsIn(each, found, name);
  else if (typeof value === 'object' && value !== null)
    for (const [key, each] of Object.entries(value)) idsIn(each, found, key);
  else if (typeof value === 'string' && /^id$|_id$/.test(name) && value !== 'acme')
    found.set(name, (found.get(name) ?? new Set()).add(value));
  return found;
}

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  tap = await startStatementTap(database.apiUrl);
  api = await startTestApi({ ...database, apiUrl: tap.through(database.apiUrl) }, { trustProxy: 1 });
  acme = await createKey(database, 'acme', WRITE);
  other = await createKey(database, 'other', WRITE);
  reader = await createKey(database, 'acme', ['read']);
  const document = (await api.ask('GET', '/openapi.json')).body as unknown as {
    paths: Record<string, Record<string, Operation>>;
  };
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
  // whatever acme can make without an id
  for (const each of operations.filter((one) => one.method === 'POST' && !hasId(one))) await ask(each, acme, 'acme');
  await database.query(
    `insert into rowhook.webhook_logs
       (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, lane,
        duration_ms, webhook_name, organization, payload_format)
     select now(), 'acme', id, rowhook._delivery_id('evt_0_1_0', id), 'evt_0_1_0', '${ZEBRA}.won', 1, 'failed',
            'timeout', url, rowhook._lane('acme'), 9000, name, '{"id":"acme"}', 'nested'
       from rowhook.webhook_configurations where tenant_id = 'acme' limit 1`,
  );
});

afterAll(async () => {
  await api?.stop();
  await tap?.close();
  await database?.drop();
});

/** What makes two answers different to somebody who compares them. */
function seen({ status, text, headers }: Answer): string {
  const kept = [...headers].filter(([name]) => !/^(date|ratelimit-(remaining|reset)|connection)$/.test(name));
  return JSON.stringify([status, text, kept.sort()]);
}

/**
 * What makes two answers different to somebody who measures them, too: the statements of the request, and how many
 * rows each of them found. Times themselves are no test on a machine that others use.
 */
async function measured(...request: Parameters<typeof ask>): Promise<{ answer: Answer; measures: string }> {
  tap.take();
  const answer = await ask(...request);
  return { answer, measures: JSON.stringify([seen(answer), tap.take()]) };
}

const unchanged = async () =>
  JSON.stringify(
    await database.query(
      `select 'w', c::text from rowhook.webhook_configurations c where tenant_id = 'acme'
        union all select 'k', (k.id, k.hash, k.revoked_at)::text from rowhook.api_keys k where tenant_id = 'acme'
        union all select 'o', o::text from rowhook.webhook_outbox o where tenant_id = 'acme'
        union all select 'd', d::text from rowhook.webhook_deliveries d where tenant_id = 'acme'
        union all select 'r', r::text from rowhook.webhook_replays r where tenant_id = 'acme'
        order by 1, 2`,
    ),
  );

test('the path of another organization is that of none', async () => {
  const before = await unchanged();
  for (const each of operations.filter(isOfOrganization)) {
    const id = crypto.randomUUID();
    const { operationId } = each.operation;
    const theirs = await measured(each, other, 'acme', id);
    const nobodys = await measured(each, other, 'nobody', id);
    expect([operationId, theirs.answer.status]).toEqual([operationId, 404]);
    expect([operationId, theirs.measures]).toEqual([operationId, nobodys.measures]);
  }
  expect(await unchanged()).toBe(before);
});

test('every id of another organization, in every place, is an id of nothing', async () => {
  const ids = new Map<string, Set<string>>();
  for (const each of operations.filter((one) => one.method === 'GET' && !hasId(one)))
    idsIn((await ask(each, acme, 'acme')).body, ids);
  expect([...ids.keys()]).toEqual(expect.arrayContaining(['id']));
  // of one name, those of another form: ids of webhooks, of attempts, of events
  const found = [...ids.values()].flatMap((values) => {
    const forms = Map.groupBy(values, (value) => value.replace(/[0-9a-f]/g, '0').replace(/0+/g, '0'));
    return [...forms.values()].flatMap((same) => same.slice(0, 2));
  });
  expect(found.length).toBeGreaterThan(3);
  const nothing = (id: string) =>
    /^[0-9a-f-]{36}$/.test(id) ? crypto.randomUUID() : id.replace(/[0-9]+/g, (digits) => '9'.repeat(digits.length));
  const before = await unchanged();
  for (const each of operations.filter(hasId)) {
    if (each.operation['x-scopes'].includes('operator')) continue;
    // these ids are words of the client: an event type, the resource of a poll, the sender of a signed request
    const isWord = /zapier|event-types|event_name|receive/.test(each.path);
    for (const id of isWord ? [] : new Set(found)) {
      const { answer: theirs, measures } = await measured(each, other, 'other', id);
      const none = await measured(each, other, 'other', nothing(id));
      const { operationId } = each.operation;
      expect([operationId, theirs.status]).toEqual([operationId, expect.toSatisfy((status: number) => status >= 400)]);
      expect([operationId, theirs.text]).toEqual([operationId, expect.not.stringMatching(ZEBRA)]);
      expect([operationId, measures]).toEqual([operationId, none.measures]);
    }
  }
  for (const each of operations.filter((one) => one.method === 'GET' && !hasId(one))) {
    const parameters = (each.operation.parameters ?? []).filter(({ in: where }) => where === 'query');
    for (const { name } of parameters.filter(({ name: of }) => /^(webhook|id|source|q|row_key)$/.test(of))) {
      for (const id of [...found, ZEBRA]) {
        const { operationId } = each.operation;
        const answer = await ask(each, other, 'other', '', `?${name}=${encodeURIComponent(id)}`);
        expect([operationId, answer.text.replaceAll(id, '')]).toEqual([operationId, expect.not.stringMatching(ZEBRA)]);
      }
    }
  }
  const retry = { token: other, body: { ids: found.filter((id) => /^[0-9a-f-]{36}$/.test(id)) } };
  expect((await api.ask('POST', '/v1/me/deliveries/retry', retry)).body).toMatchObject({ retried: 0 });
  expect(await unchanged()).toBe(before);
});

test('a token that is missing, wrong, revoked, expired or ended is told the same everywhere', async () => {
  const [revoked, expired] = [await createKey(database, 'acme', WRITE), await createKey(database, 'acme', WRITE)];
  const session = async () =>
    String((await api.ask('POST', '/v1/session', { token: acme, body: { bearer: true } })).body.token);
  const [ended, late] = [await session(), await session()];
  await api.ask('DELETE', '/v1/session', { token: ended });
  const hash = "hash = sha256(convert_to($1, 'UTF8'))";
  await database.query(`update rowhook.api_keys set revoked_at = now() where ${hash}`, [revoked]);
  const past = "created_at = now() - interval '2 h', expires_at = now() - interval '1 h'";
  await database.query(`update rowhook.api_keys set ${past} where ${hash}`, [expired]);
  await database.query(`update rowhook.api_sessions set ${past} where ${hash}`, [late]);
  const tokens = [
    undefined,
    'nonsense',
    `rhk_${'x'.repeat(43)}`,
    `rhs_${'x'.repeat(43)}`,
    revoked,
    expired,
    ended,
    late,
  ];
  const answers = new Map<string, string[]>();
  const asOne = new Set<string>();
  for (const each of operations) {
    for (const [n, token] of tokens.entries()) {
      const { operationId } = each.operation;
      const { answer: given, measures } = await measured(each, token, 'acme', crypto.randomUUID());
      const answer = seen(given);
      answers.set(answer, [...(answers.get(answer) ?? []), `${operationId} ${n}`]);
      if (token?.startsWith('rh')) asOne.add(`${operationId} ${measures}`);
    }
  }
  expect([...answers.keys()].map((answer) => JSON.parse(answer)[0])).toEqual([401]);
  // What has the form of a token costs the same, whatever it is.
  expect(asOne.size).toBe(operations.length);
  expect([...asOne].filter((each) => each.includes('rowhook._authenticate')).length).toBeGreaterThan(50);
});

test('a token that may only read is 403 wherever more is needed, and a session of it, too', async () => {
  const { body } = await api.ask('POST', '/v1/session', { token: reader, body: { bearer: true } });
  const before = await unchanged();
  for (const each of operations) {
    const scopes = each.operation['x-scopes'];
    const { operationId } = each.operation;
    for (const token of [reader, String(body.token)]) {
      // what needs no scope needs a signature
      if (operationId === 'deleteSession' || operationId === 'postSession' || scopes.length === 0) continue;
      const { status } = await ask(each, token, 'acme', crypto.randomUUID());
      const expected = scopes.includes('read') ? expect.not.toBeOneOf([401, 403]) : 403;
      expect([operationId, status]).toEqual([operationId, expected]);
    }
    expect([operationId, scopes.includes('read') && !/^(GET|POST|DELETE)$/.test(each.method)]).toEqual([
      operationId,
      false,
    ]);
  }
  expect(await unchanged()).toBe(before);
});
