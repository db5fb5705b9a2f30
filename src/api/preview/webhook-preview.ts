/** What a webhook with these settings would send for an event. Nothing is stored or sent. */
import type { FastifyInstance } from 'fastify';
import type pg from 'pg';
import type { PayloadFormat } from '../../model.ts';
import {
  type PreviewedWebhook,
  preview,
  previewedWebhook,
  templateProblem,
} from '../../operations/webhooks/preview.ts';
import { findEventOfType, findStoredEvent } from '../../operations/webhooks/previewed-event.ts';
import { judgeUrl, webhookProblems } from '../../operations/webhooks/problems.ts';
import type { Columns } from '../../operations/webhooks/webhooks.ts';
import { UserError } from '../../shared/user-error.ts';
import { fieldOf, invalid } from '../problem.ts';
import { Later, route } from '../route.ts';
import { isEventType } from '../routes/values.ts';
import { columnsOf, WebhookChange } from '../routes/webhook-fields.ts';
import { closed, nullable, OfOrganization, type Static, Type } from '../schema.ts';
import type { Service } from '../service.ts';

const PATH = '/v1/:org/outgoing-webhooks/preview';
const tag = 'outgoing webhooks';

const { name, target_url, event_types, filter, payload_format, payload_template, content_type } =
  WebhookChange.properties;
const { batch_max_events, allowed_ips } = WebhookChange.properties;
const PreviewSettings = closed({
  ...{ name, target_url, event_types, filter, payload_format, payload_template, content_type },
  ...{ batch_max_events, allowed_ips },
});
const PreviewBody = closed({
  ...PreviewSettings.properties,
  event_type: Type.Optional(Type.String({ maxLength: 128, description: 'its latest event, or one that is made up' })),
  event_id: Type.Optional(Type.String({ maxLength: 100, description: 'an event of the outbox' })),
});

const Previewed = closed({
  event_id: Type.String(),
  event_type: Type.String(),
  matched: Type.Boolean({ description: 'true: the webhook wants the event' }),
  stopped_by: nullable(Type.String()),
  content_type: Type.String(),
  body: nullable(Type.String({ description: 'the bytes as text; null: its template makes none' })),
  body_problem: nullable(Type.String()),
  url_problem: nullable(Type.String({ description: 'why the daemon would refuse target_url, by its text alone' })),
});

/** What is wrong with the settings that a preview names. */
async function requireSettings(tx: pg.ClientBase, organization: string, settings: Static<typeof PreviewSettings>) {
  const { payload_template: template } = settings;
  const refused = typeof template === 'string' ? await templateProblem(organization, template) : null;
  const columns = [...columnsOf({ ...PLACEHOLDERS, ...settings }, null), ['tenant_id', organization]] as Columns;
  const problems = await webhookProblems(tx, null, columns);
  const errors = problems
    .filter(({ column }) => refused === null || column !== 'payload_template')
    .map(({ column, message }) => ({ field: fieldOf(column), message }));
  if (refused !== null) errors.push({ field: 'payload_template', message: `is refused: ${refused}` });
  if (errors.length > 0) throw invalid(errors);
}

function webhookFrom(tenantId: string, settings: Static<typeof PreviewSettings>): PreviewedWebhook {
  const { filter, payload_format, payload_template, content_type, event_types, batch_max_events, name } = settings;
  return {
    tenantId,
    name: name ?? PLACEHOLDERS.name,
    eventTypes: event_types ?? PLACEHOLDERS.event_types,
    filter: filter === undefined || filter === null ? null : JSON.stringify(filter),
    payloadFormat: (payload_format ?? 'nested') as PayloadFormat,
    payloadTemplate: payload_template ?? null,
    contentType: content_type ?? null,
    batchMax: batch_max_events ?? 1,
  };
}

/** Settings that a preview need not name. */
const PLACEHOLDERS = { name: 'preview', target_url: 'https://example.com/', event_types: ['*'] };

export function addPreview(app: FastifyInstance, service: Service): void {
  const schema = {
    summary: 'Show what a webhook with these settings would send for an event',
    params: OfOrganization,
    body: PreviewBody,
    response: { 200: Previewed },
  };
  route(
    app,
    service,
    { method: 'POST', path: PATH, tag, scopes: ['read', 'write'], readOnly: true, schema },
    async ({ tx, organization, body }) => {
      const { event_id: id, event_type: type, ...settings } = body;
      if (id === undefined && type === undefined)
        throw invalid([{ field: 'event_type', message: 'is required, or event_id' }]);
      if (type !== undefined && !isEventType(type))
        throw invalid([{ field: 'event_type', message: 'is not an event type such as deal.updated' }]);
      await requireSettings(tx, organization, settings);
      const webhook = previewedWebhook(webhookFrom(organization, settings));
      const url = settings.target_url;
      const judged = url === undefined ? undefined : judgeUrl(url, service.settings, settings.allowed_ips);
      const event =
        id === undefined
          ? await findEventOfType(tx, organization, type as string)
          : await findStoredEvent(tx, webhook, id).catch((error: unknown) => {
              throw error instanceof UserError
                ? invalid([{ field: 'event_id', message: 'is not in the outbox' }])
                : error;
            });
      // No transaction waits for a template.
      return new Later(async () => ({ ...(await preview(webhook, event)), url_problem: judged ?? null }));
    },
  );
}
