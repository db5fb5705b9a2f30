// The document of the API: it is valid OpenAPI 3.1, and each of its operations answers as it says.

import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileValidator } from '../../src/api/schema.ts';
import { createKey, startTestApi, type TestApi } from '../support/api.ts';
import { type Document, type Operation, withoutNames } from '../support/api-document.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let api: TestApi;
let document: Document;
let token: string;
let foreign: string;
let operator: string;
let webhook: string;
let key: string;
let event: string;
let delivery: string;
let log: string;
let asked = 0;
let source: string;
let ofToken: string;
let inbound: string;

const NEW = { name: 'n', target_url: 'https://hooks.example.com/', event_types: ['*'] };

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  api = await startTestApi(database, { trustProxy: 1 });
  token = await createKey(database, 'acme', ['read', 'write', 'keys', 'inbound']);
  foreign = await createKey(database, 'other', ['read', 'write', 'keys', 'inbound']);
  webhook = String((await api.ask('POST', '/v1/me/outgoing-webhooks', { token, body: NEW })).body.id);
  key = String((await api.ask('POST', '/v1/me/api-keys', { token, body: { name: 'k' } })).body.id);
  operator = await createKey(database, null);
  event = String((await api.ask('POST', '/v1/me/events', { token, body: { event: 'deal.won', data: {} } })).body.id);
  const [row] = await database.query<{ id: string; delivery_id: string }>(
    `insert into rowhook.webhook_logs
       (attempted_at, tenant_id, webhook_id, delivery_id, event_id, event_type, attempt, status, code, request_url, lane,
        duration_ms, webhook_name, organization, payload_format)
     select now(), 'acme', id, rowhook._delivery_id($2, id), $2, 'deal.won', 1, 'failed', 'timeout', url,
            rowhook._lane('acme'), 9000, name, '{"id":"acme"}', 'nested'
       from rowhook.webhook_configurations where id = $1 returning id::text, delivery_id`,
    [webhook, event],
  );
  log = row?.id ?? '';
  delivery = row?.delivery_id ?? '';
  source = await another('inbound-sources', { name: 'github', verification: 'github' });
  ofToken = await another('inbound-sources', { name: 'form', verification: 'api_key', secret: token });
  inbound = await arrived();
  document = (await api.ask('GET', '/openapi.json')).body as unknown as Document;
});

afterAll(async () => {
  await api?.stop();
  await database?.drop();
});

interface Sample {
  /** Replaces what stands in the path in place of an id. */
  id?: () => string | Promise<string>;
  query?: string;
  /** Only an operator's token may. */
  ofOperator?: boolean;
  /** A token of another kind. */
  as?: () => Promise<string>;
  body?: unknown;
  status: number;
}

const another = async (path: string, body: object) =>
  String((await api.ask('POST', `/v1/me/${path}`, { token, body })).body.id);

const arrived = async () => String((await api.ask('POST', '/webhooks/lead.captured', { token, body: {} })).body.id);

/** A webhook for which a test event is waited for 3 s, and not 32. */
const quick = () => another('outgoing-webhooks', { ...NEW, timeout_ms: 1_000 });

const session = async () =>
  String((await api.ask('POST', '/v1/session', { token, body: { bearer: true } })).body.token);

const testUrl = async () => String((await api.ask('POST', '/v1/me/test-urls', { token })).body.id);

/** One right request of each operation. A route that is added without its line here fails. */
const SAMPLES: Readonly<Record<string, Sample>> = {
  getMe: { status: 200 },
  getAuthMe: { status: 200 },
  getEgressIps: { status: 200 },
  getOrganization: { status: 200 },
  getOutgoingWebhooks: { query: '?limit=1', status: 200 },
  postOutgoingWebhooks: { body: NEW, status: 201 },
  postOutgoingWebhooksPreview: { body: { event_type: 'deal.won', payload_format: 'slack' }, status: 200 },
  postTestUrls: { status: 201 },
  getTestUrlsById: { id: testUrl, status: 200 },
  getOutgoingWebhooksById: { id: () => webhook, status: 200 },
  patchOutgoingWebhooksById: { id: () => webhook, body: { description: 'x' }, status: 200 },
  putOutgoingWebhooksById: { id: () => webhook, body: NEW, status: 200 },
  deleteOutgoingWebhooksById: { id: () => another('outgoing-webhooks', NEW), status: 204 },
  postOutgoingWebhooksByIdEnable: { id: () => webhook, status: 200 },
  postOutgoingWebhooksByIdDisable: { id: () => webhook, status: 200 },
  postOutgoingWebhooksByIdRotateSecret: { id: () => webhook, status: 200 },
  getWebhooks: { status: 200 },
  postWebhooks: { body: { targetUrl: 'https://hooks.example.com/', events: ['*'] }, status: 201 },
  getWebhooksById: { id: () => webhook, status: 200 },
  putWebhooksById: { id: () => webhook, body: { isActive: true }, status: 200 },
  deleteWebhooksById: { id: () => another('outgoing-webhooks', NEW), status: 204 },
  getWebhooksSubscriptions: { status: 200 },
  postWebhooksSubscriptions: {
    body: { event_name: 'deal.created', target_url: 'https://hooks.example.com/' },
    status: 201,
  },
  getWebhooksSubscriptionsById: { id: () => webhook, status: 200 },
  patchWebhooksSubscriptionsById: { id: () => webhook, body: { enabled: true }, status: 200 },
  deleteWebhooksSubscriptionsById: { id: () => another('outgoing-webhooks', NEW), status: 204 },
  postHooks: { body: { targetUrl: 'https://hooks.example.com/', event: 'deal.created' }, status: 201 },
  getHooksSample: { query: '?event=deal.created', status: 200 },
  deleteHooksById: { id: () => another('outgoing-webhooks', NEW), status: 204 },
  getApiKeys: { status: 200 },
  postApiKeys: { body: { name: 'k2', scopes: ['read'] }, status: 201 },
  postApiKeysByIdRotate: { id: () => key, body: { overlap_seconds: 0 }, status: 200 },
  postPortalLinks: { body: { read_only: true }, status: 201 },
  postSession: { body: { bearer: true }, status: 201 },
  deleteSession: { as: session, status: 204 },
  getOutgoingWebhooksByIdDeliveries: { id: () => webhook, query: '?status=failed', status: 200 },
  getAttemptsByLogId: { id: () => log, status: 200 },
  getOutgoingWebhooksByIdStats: { id: () => webhook, query: '?bucket=hour', status: 200 },
  getDeliveries: { query: '?state=failed', status: 200 },
  getDeliveriesByDeliveryId: { id: () => delivery, status: 200 },
  postDeliveriesByDeliveryIdRetry: { id: () => delivery, body: {}, status: 202 },
  postDeliveriesRetry: { body: { filter: {}, dry_run: true }, status: 200 },
  postOutgoingWebhooksByIdReplay: { id: () => webhook, body: { since: '2026-01-01T00:00:00Z' }, status: 202 },
  getOutgoingWebhooksByIdReplay: { id: () => webhook, status: 200 },
  deleteOutgoingWebhooksByIdReplay: { id: () => webhook, status: 200 },
  // no daemon runs here
  postWebhooksByIdTest: { id: quick, body: {}, status: 202 },
  postOutgoingWebhooksByIdTest: { id: quick, body: {}, status: 202 },
  getEvents: { status: 200 },
  postEvents: { body: { event: 'deal.won', data: { n: 1 } }, status: 201 },
  getEventTypes: { status: 200 },
  getEventsByIdExplain: { id: () => event, status: 200 },
  getChanges: { status: 200 },
  getOrganizations: { ofOperator: true, status: 200 },
  putOrganizationsByOrganization: { ofOperator: true, id: () => 'acme', body: { name: 'Acme' }, status: 200 },
  getStatus: { ofOperator: true, status: 200 },
  getWebhooksZapierByResourcePoll: { id: () => 'leads', status: 200 },
  postWebhooksByEventName: { id: () => 'lead.captured', body: { n: 1 }, status: 201 },
  postWebhooksReceive: { body: { n: 1 }, status: 201 },
  postWebhooksReceiveBySource: { id: () => ofToken, body: { n: 1 }, status: 201 },
  getInboundSources: { status: 200 },
  postInboundSources: { body: { name: 'shop', verification: 'shopify' }, status: 201 },
  patchInboundSourcesById: { id: () => source, body: { event_path: 'type' }, status: 200 },
  postInboundSourcesByIdRotateSecret: { id: () => source, body: {}, status: 200 },
  getIntegrationEvents: { query: '?status=received', status: 200 },
  postIntegrationEventsByIdComplete: { id: () => inbound, body: {}, status: 204 },
  postIntegrationEventsByIdRetry: { id: () => inbound, status: 204 },
  postIntegrationEventsByIdFail: { id: arrived, body: { error: 'no' }, status: 204 },
  postIntegrationEventsClaim: { body: { max_count: 1 }, status: 200 },
  deleteInboundSourcesById: {
    id: () => another('inbound-sources', { name: 'old', verification: 'hmac' }),
    status: 204,
  },
  deleteApiKeysById: { id: () => another('api-keys', { name: 'gone' }), status: 204 },
};

const OTHER_PARAMETER = /\{(?!org\})\w+\}/;

interface Each {
  method: string;
  path: string;
  operation: Operation;
}

const operations = (): Each[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );

async function call({ method, path, operation }: Each, as: string | undefined, organization: string) {
  const { id, query = '', body, ofOperator, as: other } = SAMPLES[operation.operationId] ?? { status: 0 };
  const filled = await fill(path, organization, id);
  const own = ofOperator ? operator : ((await other?.()) ?? token);
  // Each request has an address of its own: after 60 failures, an address is not even asked.
  asked += 1;
  const headers = { 'x-forwarded-for': `10.0.${asked >> 8}.${asked & 255}` };
  return api.ask(method, `${filled}${query}`, { token: as === token ? own : as, body, headers });
}

/** A path of the document, below /api. */
async function fill(path: string, organization: string, id: Sample['id']): Promise<string> {
  const filled = path.replace('{org}', organization).replace(OTHER_PARAMETER, (await id?.()) ?? '');
  return filled.replace(/^\/api/, '');
}

/** What is wrong with an answer, by the schema that the document has for it. */
function wrong({ responses }: Operation, { status, text }: { status: number; text: string }): unknown {
  const response = responses[status] ?? responses[`${Math.floor(status / 100)}XX`];
  if (response === undefined) return `no schema for ${status}`;
  const schema = Object.values(response.content ?? {})[0]?.schema;
  if (text === '') return schema && status !== 204 ? 'an empty answer' : null;
  if (schema === undefined) return 'an answer where there is none';
  const whole = withoutNames(schema, document) as object;
  const validate = compileValidator({ schema: whole, httpPart: 'body', method: 'GET', url: '/' } as never);
  return (validate(JSON.parse(text)) as { error?: unknown }).error ?? null;
}

test('it is valid OpenAPI 3.1', async () => {
  const { valid, errors } = await new Validator().validate(document as unknown as Record<string, unknown>);
  expect(errors ?? []).toEqual([]);
  expect([valid, document.openapi]).toEqual([true, '3.1.0']);
});

test('each reference of it stands for something, and errors have their media type', () => {
  const text = JSON.stringify(document);
  const names = [...text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name);
  expect([...new Set(names)].sort()).toEqual(Object.keys(document.components.schemas).sort());
  const types = operations().map(({ operation }) => Object.keys(operation.responses['4XX']?.content ?? {}));
  expect(new Set(types.flat())).toEqual(new Set(['application/problem+json']));
});

test('every operation has a name of its own, a group and a sample', () => {
  const names = operations().map(({ operation }) => operation.operationId);
  expect(names.sort()).toEqual(Object.keys(SAMPLES).sort());
  expect(operations().filter(({ operation }) => operation.tags.length !== 1)).toEqual([]);
});

describe('every operation', () => {
  test('answers a right request as it says', async () => {
    for (const each of operations()) {
      const answer = await call(each, token, 'acme');
      const { operationId } = each.operation;
      expect([operationId, answer.status, answer.text]).toEqual([
        operationId,
        SAMPLES[operationId]?.status,
        expect.any(String),
      ]);
      expect([operationId, wrong(each.operation, answer)]).toEqual([operationId, null]);
    }
  });

  test('is 401 without a token, and says so before anything else', async () => {
    for (const each of operations()) {
      const answer = await call(each, undefined, 'acme');
      expect([each.operation.operationId, answer.status]).toEqual([each.operation.operationId, 401]);
      expect(wrong(each.operation, answer)).toBeNull();
    }
  });

  test('is 404 with the token of another organization: by its path, and by every id', async () => {
    const known = [webhook, key, source, inbound, 'acme'];
    for (const each of operations().filter(({ path }) => path.includes('{org}'))) {
      const byPath = await call(each, foreign, 'acme');
      expect([each.operation.operationId, byPath.status]).toEqual([each.operation.operationId, 404]);
      if (!OTHER_PARAMETER.test(each.path)) continue;
      const byId = await call(each, foreign, 'other');
      expect([each.operation.operationId, byId.status, wrong(each.operation, byId)]).toEqual([
        each.operation.operationId,
        404,
        null,
      ]);
      for (const value of known) expect(byId.text).not.toContain(value);
    }
  });

  test('refuses fields that it does not know', async () => {
    // What is received is kept, whatever it is.
    const takesFields = ({ operation: { requestBody, tags } }: Each) => requestBody && !tags.includes('receiving');
    for (const each of operations().filter(takesFields)) {
      const { id } = SAMPLES[each.operation.operationId] ?? {};
      const path = await fill(each.path, 'me', id);
      const as = SAMPLES[each.operation.operationId]?.ofOperator ? operator : token;
      const answer = await api.ask(each.method, path, { token: as, body: { no_such_field: 1 } });
      expect([each.operation.operationId, answer.status]).toEqual([each.operation.operationId, 422]);
      expect(answer.body.errors?.map(({ field }) => field)).toContain('no_such_field');
    }
  });
});

test('its webhooks are the envelope for anybody, and the event types that the organization sees with a token', async () => {
  await database.query(`
    select rowhook.define_event_type('acme.only', 'For acme.', tenant_id => 'acme')`);
  const eventsOf = async (as: string | undefined) => {
    const { status, body } = await api.ask('GET', '/openapi.json', as === undefined ? {} : { token: as });
    return [status, Object.keys((body as unknown as { webhooks?: object }).webhooks ?? {})];
  };
  expect(await eventsOf(undefined)).toEqual([200, ['event', 'flatEvent', 'batch', 'message']]);
  expect(await eventsOf(token)).toEqual([200, expect.arrayContaining(['acme.only', 'deal.created', 'webhook.test'])]);
  expect(await eventsOf(foreign)).toEqual([200, expect.not.arrayContaining(['acme.only'])]);
  expect((await eventsOf('rhk_wrongwrongwrongwrongwrong'))[0]).toBe(401);
  const withCookie = async (cookie: string) => {
    const { status, body } = await api.ask('GET', '/openapi.json', { headers: { cookie } });
    return [status, Object.keys((body as unknown as { webhooks?: object }).webhooks ?? {})];
  };
  const { headers } = await api.ask('POST', '/v1/session', { token, body: {} });
  const [cookie = ''] = (headers.get('set-cookie') ?? '').split(';');
  expect(await withCookie(cookie)).toEqual([200, expect.arrayContaining(['acme.only', 'deal.created'])]);
  // The page of the document still opens after the session.
  const ended = `${cookie.slice(0, -4)}AAAA`;
  expect(await withCookie(ended)).toEqual([200, ['event', 'flatEvent', 'batch', 'message']]);
  const { body } = await api.ask('GET', '/v1/me/event-types', { token });
  const listed = body.data as { event_type: string; description: string }[];
  expect(listed.find(({ event_type }) => event_type === 'acme.only')?.description).toBe('For acme.');
});

test('a method that a path does not have is 405, a path that is not there 404', async () => {
  const wrongMethod = await api.ask('DELETE', '/v1/me', { token });
  expect([wrongMethod.status, wrongMethod.headers.get('allow'), wrongMethod.body.code]).toEqual([
    405,
    'GET',
    'method_not_allowed',
  ]);
  expect((await api.ask('GET', '/v1/nothing/at/all', { token })).status).toBe(404);
});
