/** The OpenAPI document: what is the same for all routes, and names for schemas. */
import type { EventType } from '../../catalog/payload-schema.ts';
import { VERSION } from '../../shared/version.ts';
import { Key, KeyWithToken, NewKey } from '../routes/api-keys.ts';
import { AttemptDetailSchema, AttemptSchema } from '../routes/attempts.ts';
import { Change } from '../routes/changes.ts';
import { Delivery, Unfinished } from '../routes/deliveries.ts';
import { Explanation } from '../routes/events.ts';
import { Me } from '../routes/me.ts';
import { Organization } from '../routes/operators.ts';
import { Progress } from '../routes/replay.ts';
import {
  ChangedWebhook,
  NewWebhook,
  Webhook,
  WebhookChange,
  WebhookInList,
  WebhookWithSecret,
} from '../routes/webhook-fields.ts';
import { Problem } from '../schema.ts';
import { CloudEvent, Event, FlatWebhookBody, WebhookBatch, WebhookBody } from './envelope.ts';
import { Status } from './status.ts';
import { webhooksOf } from './webhooks.ts';

/** Schemas that the document has once, under these names. The client has a type for each. */
const NAMED = {
  ...{ Webhook, ChangedWebhook, WebhookInList, WebhookWithSecret, NewWebhook, WebhookChange },
  ...{ Attempt: AttemptSchema, AttemptDetail: AttemptDetailSchema, Delivery, UnfinishedDelivery: Unfinished },
  ...{ WebhookBody, FlatWebhookBody, CloudEvent, WebhookBatch },
  ...{ Event, Explanation, Problem, Me, Organization, Status },
  ...{ ApiKey: Key, ApiKeyWithToken: KeyWithToken, NewApiKey: NewKey },
  ...{ WebhookSettingsChange: Change, ReplayProgress: Progress },
};
for (const [title, schema] of Object.entries(NAMED)) Object.assign(schema, { title });

type Json = Record<string, unknown>;

interface Operation {
  requestBody?: { required?: boolean; content: Json };
  responses: Record<string, { description: string; content?: Json }>;
}

export interface OpenApi {
  paths?: Record<string, Record<string, Operation>>;
  components?: { schemas?: Json };
}

/** What the document says besides the routes. */
export function headOf(publicUrl: string | undefined): object {
  return {
    openapi: '3.1.0',
    info: {
      title: 'rowhook',
      version: VERSION,
      description: 'Webhooks for the changes of your rows.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl ?? '/' }],
    security: [{ bearer: [] }, { apiKey: [] }, { cookie: [] }],
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        cookie: { type: 'apiKey', in: 'cookie', name: '__Host-rowhook' },
      },
    },
  };
}

/** Corrects what the plugin cannot know, and moves each named schema to its place. */
export function refine<T extends object>(document: T): T {
  const { paths = {}, components = {} } = document as OpenApi;
  for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods))) refineOperation(operation);
  const schemas: Json = {};
  const refined = { ...document, paths: withNames(paths, schemas), webhooks: withNames(webhooksOf(null), schemas) };
  const sorted = Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { ...refined, components: { ...components, schemas: sorted } };
}

/** The document for an organization whose catalog has these events. */
export function withWebhooks<T extends object>(document: T, events: readonly EventType[]): T {
  return { ...document, webhooks: withNames(webhooksOf(events), {}) };
}

const MEANS: Readonly<Record<string, string>> = {
  200: 'Done',
  201: 'Created',
  202: 'Accepted',
  204: 'Done; there is no body',
  '4XX': 'The request is refused',
  '5XX': 'It failed, and may work later',
};

function refineOperation({ requestBody, responses }: Operation): void {
  for (const [status, response] of Object.entries(responses)) {
    response.description = MEANS[status] ?? response.description;
    const json = response.content?.['application/json'];
    if (json !== undefined && status.endsWith('XX')) response.content = { 'application/problem+json': json };
  }
  const [body] = Object.values(requestBody?.content ?? {}) as { schema: { anyOf?: Json[] } }[];
  // A body that may be null may be left out.
  if (requestBody && body?.schema.anyOf?.some(({ type }) => type === 'null')) requestBody.required = false;
}

/** A copy in which a reference stands for each schema with a name of ours. */
function withNames(value: unknown, schemas: Json): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => withNames(each, schemas));
  const copy = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withNames(each, schemas)]));
  if (typeof copy.title !== 'string' || !Object.hasOwn(NAMED, copy.title)) return copy;
  const { title, ...schema } = copy;
  schemas[title] = schema;
  return { $ref: `#/components/schemas/${title}` };
}
