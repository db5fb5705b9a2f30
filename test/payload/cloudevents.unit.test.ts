// payload_format 'cloudevents', read by the SDK of the CloudEvents project.

import { Ajv2020 } from 'ajv/dist/2020.js';
import { type CloudEventV1, HTTP } from 'cloudevents';
import { describe, expect, test } from 'vitest';
import { cloudEventSchema } from '../../src/catalog/payload-schema.ts';
import type { Delivery } from '../../src/model.ts';
import { batchBodyOf, bodyOf } from '../../src/payload/body.ts';
import { contentTypeOf } from '../../src/payload/formats.ts';

function delivery(change: Partial<Delivery['change']> = {}): Delivery {
  return {
    id: '5f3c0d7e-0000-8000-8000-000000000000',
    eventId: 'evt_a1b2c3d4_7_0',
    eventType: 'deal.updated',
    ordinal: 0,
    change: {
      ...{ id: '7', lane: 1, tenantId: 'Büro & Söhne/1', sourceId: 1, eventTypes: ['deal.updated'], rowKey: '42' },
      ...{ occurredAt: Date.UTC(2025, 9, 17, 19, 30), data: '{"id":42,"value":1e400}', previous: '{"value":1.50}' },
      ...{ truncated: null, testWebhookId: null },
      ...change,
    },
    organization: '{"id":"acme"}',
    webhookId: '11111111-1111-4111-8111-111111111111',
    webhookName: 'CRM "a"',
    payloadFormat: 'cloudevents',
    batchId: null,
    ...{ attempt: 0, parked: false, replayed: false, unfiltered: false },
  };
}

/** As a receiver reads it. */
function read(body: string, contentType: string) {
  return HTTP.toEvent<unknown>({ headers: { 'content-type': contentType }, body });
}

describe('an event', () => {
  const changes: Partial<Delivery['change']>[] = [
    {},
    { previous: null },
    { rowKey: null },
    { data: null },
    { data: '{"a":"\\u0000\\ud800"}' },
    { truncated: 'too_large' },
    { truncated: '42501: no' },
    { testWebhookId: '11111111-1111-4111-8111-111111111111' },
  ];
  test.each(changes)('is valid: %j', (change) => {
    const event = read(bodyOf(delivery(change)), contentTypeOf('cloudevents', false)) as CloudEventV1<unknown>;
    expect((event as { validate?(): boolean }).validate?.()).toBe(true);
    expect(event).toMatchObject({
      specversion: '1.0',
      id: 'evt_a1b2c3d4_7_0',
      type: 'deal.updated',
      source: '/organizations/B%C3%BCro%20%26%20S%C3%B6hne%2F1',
      datacontenttype: 'application/json',
      webhookname: 'CRM "a"',
    });
    expect(new Date(String(event.time)).toISOString()).toBe('2025-10-17T19:30:00.000Z');
    if (change.rowKey !== null) expect(event.subject).toBe('42');
  });

  test.each(changes)('its schema describes all of it: %j', (change) => {
    const schema = cloudEventSchema({ event_type: 'deal.updated', description: null, schema: {} }) as object;
    const ajv = new Ajv2020({ strict: false, formats: { 'date-time': true, uuid: true } });
    const validate = ajv.compile({ ...schema, additionalProperties: false });
    const event = JSON.parse(bodyOf(delivery(change)));
    const isThin = 'truncated' in event;
    // A thin event has the columns of the key.
    expect([validate(isThin ? { ...event, data: { id: 42 } } : event), validate.errors]).toEqual([true, null]);
    expect(validate({ ...event, type: 'deal.won' })).toBe(false);
  });

  test('its numbers are the text of the database', () => {
    expect(bodyOf(delivery())).toContain('"data":{"id":42,"value":1e400}');
    expect(JSON.parse(bodyOf(delivery())).previous).toBe('{"value":1.50}');
  });
});

test('a batch is a batch', () => {
  const body = batchBodyOf('bat_1', [delivery(), delivery({ rowKey: '43' })]);
  const events = read(body, contentTypeOf('cloudevents', true)) as CloudEventV1<unknown>[];
  expect(events.map(({ subject }) => subject)).toEqual(['42', '43']);
});
