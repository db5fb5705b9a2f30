/** What rowhook sends, as schemas. An event of the API is the same object without `metadata`. */
import type { JsonText } from '../body.ts';
import { closed, nullable, Time, Type } from '../schema.ts';

const Organization = Type.Object({
  id: Type.String(),
  name: Type.Optional(nullable(Type.String())),
  slug: Type.Optional(nullable(Type.String())),
});

const MARKS = {
  truncated: Type.Optional(Type.Boolean({ description: 'true: data is not the whole row' })),
  truncated_reason: Type.Optional(Type.String({ description: 'too_large, or error_ and a SQLSTATE' })),
  test: Type.Optional(Type.Boolean({ description: 'true: a test event' })),
};

const Previous = Type.Optional(Type.Any({ description: 'the former values of the columns that an update changed' }));

const ENVELOPE = {
  id: Type.String({ description: 'evt_…; the same for every webhook and every attempt' }),
  event: Type.String({ description: 'such as deal.updated' }),
  timestamp: Time,
  organization: Organization,
  data: Type.Any({ description: 'the row, or what an application emitted; numbers have all of their digits' }),
  previous: Previous,
  ...MARKS,
};

const METADATA = closed({
  webhook_id: Type.String(),
  webhook_name: Type.String(),
  delivery_id: Type.String({ description: 'the same for every attempt of this delivery' }),
});

/** An event in an answer: its text comes from the outbox. */
export const Event = Type.Unsafe<JsonText>(closed(ENVELOPE));

export const WebhookBody = Type.Object({ ...ENVELOPE, metadata: METADATA });

export const FlatWebhookBody = Type.Object(
  {
    webhook_event_id: ENVELOPE.id,
    webhook_event: ENVELOPE.event,
    webhook_timestamp: Time,
    webhook_organization: Organization,
    previous: Previous,
    ...MARKS,
    webhook_metadata: METADATA,
  },
  { description: 'the fields of data stand beside these', additionalProperties: true },
);

export const CloudEvent = Type.Object(
  {
    specversion: Type.Literal('1.0'),
    id: ENVELOPE.id,
    source: Type.String({ description: '/organizations/ and the id of the organization, percent-encoded' }),
    type: ENVELOPE.event,
    subject: Type.Optional(Type.String({ description: 'the key of the row' })),
    time: Time,
    datacontenttype: Type.Literal('application/json'),
    webhookid: METADATA.properties.webhook_id,
    webhookname: METADATA.properties.webhook_name,
    deliveryid: METADATA.properties.delivery_id,
    previous: Type.Optional(Type.String({ description: 'JSON text of the former values' })),
    truncated: MARKS.truncated,
    truncatedreason: MARKS.truncated_reason,
    test: MARKS.test,
    data: ENVELOPE.data,
  },
  { description: 'CloudEvents 1.0, structured mode' },
);

export const WebhookBatch = Type.Object({
  id: Type.String({ description: 'bat_…' }),
  batch: Type.Array(Type.Union([WebhookBody, FlatWebhookBody])),
});
