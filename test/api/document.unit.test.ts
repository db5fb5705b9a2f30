// The OpenAPI document without a server: what a linter of the field says, and what it tells of our own requests.

import { createConfig, lintFromString } from '@redocly/openapi-core';
import { beforeAll, expect, test } from 'vitest';
import { withWebhooks } from '../../src/api/document/document.ts';
import { type Document, readDocument } from '../support/api-document.ts';

let document: Document;

beforeAll(async () => {
  document = await readDocument();
});

async function lint(checked: object): Promise<string[]> {
  const rules = {
    // A path of a dialect may look like one of an organization. The server takes the path without a parameter.
    'no-ambiguous-paths': 'off',
    // By default it takes every schema as closed.
    'no-invalid-media-type-examples': { severity: 'error', allowAdditionalProperties: true },
    'operation-operationId': 'error',
    'no-unused-components': 'error',
  } as const;
  const config = await createConfig({ extends: ['recommended'], rules });
  const problems = await lintFromString({ source: JSON.stringify(checked), config });
  return problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`);
}

test('the linter finds nothing', async () => {
  expect(await lint(document)).toEqual([]);
});

test('the linter finds what is wrong', async () => {
  const { '/api/v1/me': me } = document.paths;
  const twice = { ...document, paths: { ...document.paths, '/api/v1/again': me, '/api/v1/{lost}': me } };
  expect((await lint(twice)).join('\n')).toMatch(/operation-operationId-unique[\s\S]*path-parameters-defined/);
});

test('optional headers are parameters', () => {
  const headersOf = (path: string, method: string) =>
    (document.paths[`/api${path}`]?.[method]?.parameters ?? [])
      .filter((parameter) => parameter.in === 'header')
      .map(({ name, required = false }) => `${name}${required ? '' : '?'}`);
  const webhook = '/v1/{org}/outgoing-webhooks/{id}';
  for (const [path, method] of [
    [webhook, 'patch'],
    [webhook, 'put'],
    [webhook, 'delete'],
    [`${webhook}/disable`, 'post'],
  ] as const)
    expect([path, method, headersOf(path, method)]).toEqual([path, method, ['If-Match?']]);
  expect(headersOf('/v1/{org}/events', 'post')).toEqual(['Idempotency-Key?']);
  expect(headersOf('/webhooks/{event_name}', 'post')).toEqual(['X-Tenant-ID?', 'webhook-id?', 'Idempotency-Key?']);
});

test('with a catalog, each event type has its own schema and example', async () => {
  const schema = { type: 'object', properties: { id: { type: 'integer' } } };
  const events = [
    { event_type: 'deal.won', description: 'A deal is won.', schema, sample: { id: 1 } },
    { event_type: 'x.y', description: null, schema: true },
  ];
  const described = withWebhooks(document, events);
  expect(await lint(described)).toEqual([]);
  const { webhooks } = described as unknown as Record<string, Record<string, object>>;
  expect(Object.keys(webhooks ?? {})).toEqual(['deal.won', 'x.y', 'flatEvent', 'batch', 'message']);
  const text = JSON.stringify(webhooks?.['deal.won']);
  expect(text).toContain('"application/cloudevents+json":{"schema":');
  expect(text).toContain('"type":{"const":"deal.won"}');
  expect(text).toContain(`"else":{"properties":{"data":${JSON.stringify(schema)}}}`);
  expect(text).toContain('"event":{"const":"deal.won"}');
  expect(text).toContain('"data":{"id":1}');
  // the document of others is not touched
  expect(Object.keys(document.webhooks)).toEqual(['event', 'flatEvent', 'batch', 'message']);
});
