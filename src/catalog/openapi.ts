/** The event types as the `webhooks` of an OpenAPI 3.1 document. Pure. */
import { VERSION } from '../shared/version.ts';
import { cloudEventSchema, type EventType, payloadSchema } from './payload-schema.ts';

export function webhooksOf(types: readonly EventType[]): Record<string, object> {
  return Object.fromEntries(types.map((type) => [type.event_type, { post: post(type.event_type, type) }]));
}

function post(operationId: string, type: EventType): object {
  const content = {
    'application/json': { schema: payloadSchema(type) },
    'application/cloudevents+json': { schema: cloudEventSchema(type) },
  };
  return {
    operationId,
    ...(type.description !== null && { summary: type.description }),
    requestBody: { required: true, content },
    responses: { '2XX': { description: 'The event was received. Anything else is tried again.' } },
  };
}

export function openApiDocument(types: readonly EventType[]): object {
  return {
    openapi: '3.1.0',
    info: { title: 'Webhooks', version: VERSION },
    webhooks: webhooksOf(types),
  };
}

/** deal.stage.changed → DealStageChanged. */
export function pascalCase(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter(Boolean);
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}
