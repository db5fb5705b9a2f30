/**
 * JSON Schemas of whole webhook bodies, made from the schemas of the catalog, which describe `data`
 * alone: of payload_format nested, and of cloudevents. Pure.
 */

export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

export interface EventType {
  event_type: string;
  description: string | null;
  schema: JsonSchema;
  sample?: unknown;
}

export const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

const DATE_TIME = { type: 'string', format: 'date-time' };
const TEXT = { type: 'string' };
const TRUE = { type: 'boolean', const: true };

const ORGANIZATION = {
  type: 'object',
  properties: { id: TEXT, name: { type: ['string', 'null'] }, slug: { type: ['string', 'null'] } },
  required: ['id'],
};

const METADATA = {
  type: 'object',
  properties: { webhook_id: { type: 'string', format: 'uuid' }, webhook_name: TEXT, delivery_id: TEXT },
  required: ['webhook_id', 'webhook_name', 'delivery_id'],
};

/**
 * The body of one event, or with null of any event. A thin one, "truncated": true, has only the key columns in
 * `data`.
 */
export function payloadSchema(type: Omit<EventType, 'event_type'> & { event_type: string | null }): JsonSchema {
  const { event_type, description, schema } = type;
  return {
    ...(description !== null && { description }),
    type: 'object',
    properties: {
      id: { ...TEXT, description: 'The same for each attempt: the header webhook-id.' },
      event: event_type === null ? TEXT : { const: event_type },
      timestamp: { ...DATE_TIME, description: 'When the change was made.' },
      organization: ORGANIZATION,
      data: true,
      previous: { ...previousOf(schema), description: 'The old values of the columns that an UPDATE changed.' },
      truncated: { ...TRUE, description: 'The event is too large: data has only the key columns.' },
      truncated_reason: TEXT,
      test: { ...TRUE, description: 'Sent to test the webhook.' },
      metadata: METADATA,
    },
    required: ['id', 'event', 'timestamp', 'organization', 'data', 'metadata'],
    ...dataOf(schema),
  };
}

/** The same event with payload_format = 'cloudevents'. */
export function cloudEventSchema({ event_type, description, schema }: EventType): JsonSchema {
  return {
    ...(description !== null && { description }),
    type: 'object',
    properties: {
      specversion: { const: '1.0' },
      id: { ...TEXT, description: 'The same for each attempt: the header webhook-id.' },
      source: { ...TEXT, description: '/organizations/ and the id of the organization, percent-encoded.' },
      type: { const: event_type },
      subject: { ...TEXT, description: 'The key of the row.' },
      time: { ...DATE_TIME, description: 'When the change was made.' },
      datacontenttype: { const: 'application/json' },
      webhookid: { ...TEXT, format: 'uuid' },
      webhookname: TEXT,
      deliveryid: TEXT,
      previous: { ...TEXT, description: 'JSON text of the old values of the columns that an UPDATE changed.' },
      truncated: { ...TRUE, description: 'The event is too large: data has only the key columns.' },
      truncatedreason: TEXT,
      test: { ...TRUE, description: 'Sent to test the webhook.' },
      data: true,
    },
    required: ['specversion', 'id', 'source', 'type', 'time', 'webhookid', 'webhookname', 'deliveryid', 'data'],
    ...dataOf(schema),
  };
}

/** A thin event has only the key columns in `data`. */
function dataOf(schema: JsonSchema): { [keyword: string]: unknown } {
  return {
    if: { properties: { truncated: { const: true } }, required: ['truncated'] },
    // biome-ignore lint/suspicious/noThenProperty: A keyword of JSON Schema.
    then: { properties: { data: { type: 'object' } } },
    else: { properties: { data: withoutDialect(schema) } },
  };
}

/** All bodies that a receiver gets: one schema for each event type, told apart by `event`. */
export function payloadsSchema(types: readonly EventType[]): JsonSchema {
  return {
    $schema: DIALECT,
    title: 'WebhookPayload',
    oneOf: types.map(({ event_type }) => ({ $ref: `#/$defs/${event_type}` })),
    $defs: Object.fromEntries(types.map((type) => [type.event_type, payloadSchema(type)])),
  };
}

/** Nested schemas belong to the dialect of the whole. */
export function withoutDialect(schema: JsonSchema): JsonSchema {
  if (typeof schema === 'boolean') return schema;
  const { $schema: _, ...rest } = schema;
  return Array.isArray(rest.anyOf) ? { ...rest, anyOf: rest.anyOf.map(withoutDialect) } : rest;
}

/** Some of the columns. */
function previousOf(schema: JsonSchema): { [keyword: string]: unknown } {
  const properties = typeof schema === 'boolean' ? undefined : schema.properties;
  return { type: 'object', ...(properties !== undefined && { properties }) };
}
