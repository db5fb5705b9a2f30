/** The `webhooks` part of the OpenAPI document: the requests that rowhook sends, and the answers. */
import { cloudEventSchema, type EventType, payloadSchema } from '../../catalog/payload-schema.ts';
import { Type } from '../schema.ts';
import { CloudEvent, FlatWebhookBody, WebhookBatch, WebhookBody } from './envelope.ts';

const HEADERS = {
  'webhook-id': 'the id of the event, or of the batch: the same for every attempt',
  'webhook-timestamp': 'seconds since 1970, of this attempt',
  'webhook-signature': 'v1, and the signature of Standard Webhooks; two while a secret is rotated',
  'X-Webhook-Event': 'the event type, or batch',
  'X-Webhook-Timestamp': 'the time of this attempt, RFC 3339',
  'X-Webhook-Signature': 'HMAC-SHA256 of the body, in hexadecimal',
  'X-Webhook-Delivery': 'the id of the delivery: the same for every attempt',
};

const ANSWERS = {
  '2XX': { description: 'It is delivered, whatever the body says' },
  410: { description: 'The webhook is disabled, and nothing is sent any more' },
  default: { description: 'The delivery failed. It is tried again as retry_strategy says' },
};

/** Null: without a token, the envelope alone. */
export function webhooksOf(events: readonly EventType[] | null): Record<string, object> {
  const each = (events ?? []).map((event) => [event.event_type, webhook(event.event_type, aboutOf(event))]);
  return {
    ...(events === null && {
      event: webhook('event', {
        summary: 'An event, with payload_format nested or cloudevents',
        content: { [JSON_TYPE]: { schema: WebhookBody }, [CLOUD_EVENT]: { schema: CloudEvent } },
      }),
    }),
    ...Object.fromEntries(each),
    flatEvent: webhook('flatEvent', {
      summary: 'An event, with payload_format flat',
      content: { [JSON_TYPE]: { schema: FlatWebhookBody } },
    }),
    batch: webhook('batch', {
      summary: 'Several events, with batch_max_events above 1',
      content: {
        [JSON_TYPE]: { schema: WebhookBatch },
        'application/cloudevents-batch+json': { schema: Type.Array(CloudEvent) },
      },
    }),
    message: webhook('message', {
      summary: 'What a template makes of an event, with payload_format slack, discord, teams or template',
      content: {
        [JSON_TYPE]: { schema: { description: 'any JSON' } },
        '*/*': { schema: { type: 'string', description: 'with content_type' } },
      },
    }),
  };
}

const JSON_TYPE = 'application/json';
const CLOUD_EVENT = 'application/cloudevents+json';

interface About {
  summary: string;
  /** By media type. */
  content: object;
}

function aboutOf(type: EventType): About {
  const { event_type, description, sample } = type;
  const exampleOf = (made: (event: string, data: unknown) => object) =>
    sample !== undefined && { example: made(event_type, sample) };
  return {
    summary: description ?? event_type,
    content: {
      [JSON_TYPE]: { schema: payloadSchema(type), ...exampleOf(nestedExample) },
      [CLOUD_EVENT]: { schema: cloudEventSchema(type), ...exampleOf(cloudEventExample) },
    },
  };
}

function webhook(name: string, { summary, content }: About): object {
  const parameters = Object.entries(HEADERS).map(([header, description]) => ({
    ...{ name: header, in: 'header', required: true, description },
    schema: { type: 'string' },
  }));
  return {
    post: {
      ...{ operationId: `webhook.${name}`, summary, tags: ['what rowhook sends'], security: [], parameters },
      requestBody: { required: true, content },
      responses: ANSWERS,
    },
  };
}

const ID = 'evt_2f1c5b7e9a3d4c60_4711_0';
const TIME = '2026-01-31T12:00:00.000Z';
const WEBHOOK_ID = '5f0c7c3e-6a53-4b7f-9f0e-0d6f2b1a9c11';
const DELIVERY_ID = '00000000-1267-8d0c-9c41-52a8b8d7e6f0';

function nestedExample(event: string, data: unknown): object {
  const metadata = { webhook_id: WEBHOOK_ID, webhook_name: 'CRM', delivery_id: DELIVERY_ID };
  return { id: ID, event, timestamp: TIME, organization: { id: 'acme' }, data, metadata };
}

function cloudEventExample(type: string, data: unknown): object {
  return {
    ...{ specversion: '1.0', id: ID, source: '/organizations/acme', type, time: TIME },
    ...{ datacontenttype: JSON_TYPE, webhookid: WEBHOOK_ID, webhookname: 'CRM', deliveryid: DELIVERY_ID, data },
  };
}
