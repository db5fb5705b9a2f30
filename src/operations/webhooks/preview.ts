/**
 * What a webhook would send for an event: whether it wants the event, and the body. Nothing is sent
 * and nothing is written. Also checks templates, as the daemon will read them.
 */
import type pg from 'pg';
import { stoppedBy } from '../../match/match.ts';
import type { Delivery, TemplateFormat, Webhook, WebhookSettings } from '../../model.ts';
import { batchBodyOf, bodyOf, nestedBodyOf } from '../../payload/body.ts';
import { contentTypeOf, formatOf, isOtherBody, splitFormat, templateOf } from '../../payload/formats.ts';
import { batchId, deliveryId } from '../../payload/ids.ts';
import { findTemplate } from '../../payload/template/kept.ts';
import { Renderer } from '../../payload/template/renderer.ts';
import { TemplateError } from '../../payload/template/template-error.ts';
import type { PreviewedEvent } from './previewed-event.ts';

export interface Preview {
  event_id: string;
  event_type: string;
  /** True: the webhook wants the event. */
  matched: boolean;
  stopped_by: string | null;
  content_type: string;
  /** Null: its template makes none, and `body_problem` says why. */
  body: string | null;
  body_problem: string | null;
}

/** The settings of a webhook that matter for a preview. */
export interface PreviewedWebhook
  extends Pick<WebhookSettings, 'eventTypes' | 'filter' | 'payloadFormat' | 'payloadTemplate' | 'contentType'> {
  tenantId: string;
  name: string;
  batchMax: number;
}

/** A webhook that need not exist. */
export function previewedWebhook({ tenantId, name, ...settings }: PreviewedWebhook): Webhook {
  return {
    ...{ id: NOWHERE, tenantId, lane: 0, name, url: '', secret: '', previousSecret: null },
    ...{ isActive: true, disabledReason: null, unusable: null, bytes: 0, hasTexts: true },
    settings: { ...UNUSED, ...settings },
  };
}

const UNUSED: Omit<WebhookSettings, keyof PreviewedWebhook> = {
  ...{ httpMethod: 'POST', headers: {}, authType: 'none', authConfig: {}, timeoutMs: 1_000, maxInFlight: 1 },
  retry: { enabled: false, retriesMax: 0, strategy: 'linear', delaySeconds: 1 },
  ...{ ratePerSecond: null, ordering: 'none', batchWaitMs: 0, allowedIps: null },
};

/** The threads start with the first template. They keep no process alive that has nothing to render. */
let threads: Renderer | undefined;
function renderer(): Renderer {
  threads ??= new Renderer();
  return threads;
}

/** What is wrong with a template, with line and column. `owner` is whoever asks. */
export async function templateProblem(owner: string, template: string): Promise<string | null> {
  return (await renderer().check(owner, template))?.sentence ?? null;
}

const NOWHERE = '00000000-0000-0000-0000-000000000000';

/** It needs no database, so no transaction waits for a template. */
export async function preview(webhook: Webhook, event: PreviewedEvent): Promise<Preview> {
  const { change, eventType } = event;
  const because = stoppedBy(webhook, change, eventType);
  const delivery: Delivery = {
    id: deliveryId(event.eventId, webhook.id),
    eventId: event.eventId,
    eventType,
    ordinal: event.ordinal,
    change,
    organization: event.organization,
    webhookId: webhook.id,
    webhookName: webhook.name,
    payloadFormat: webhook.settings.payloadFormat,
    batchId: null,
    attempt: 0,
    parked: false,
    replayed: false,
    unfiltered: false,
  };
  const known = { event_id: event.eventId, event_type: eventType, matched: because === null, stopped_by: because };
  return { ...known, ...(await bodyFor(webhook, delivery)) };
}

/** Sets what a kept template made of a sent delivery. Resolves to why it cannot, or to null. */
export async function renderAgain(client: pg.ClientBase, tenantId: string, delivery: Delivery): Promise<string | null> {
  const { name, hash } = splitFormat(delivery.payloadFormat);
  if (hash === null) return 'no body was made for this attempt';
  const kept = await findTemplate(client, tenantId, hash);
  if (kept === null) return `the template ${name}:${hash} is no longer kept`;
  const { text: template, contentType } = kept;
  const event = () => nestedBodyOf(delivery);
  try {
    const text = await renderer().render(tenantId, { template, contentType, event });
    const made = formatOf({ ...kept, format: name as TemplateFormat, hash }, text);
    if (isOtherBody(delivery.payloadFormat, made))
      return `this version of rowhook makes another body of the template ${name}:${hash}`;
    delivery.rendered = { text, contentType };
    return null;
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return `the template ${name}:${hash} makes no body: ${error.sentence}`;
  }
}

async function bodyFor(
  { id, settings, tenantId }: Webhook,
  delivery: Delivery,
): Promise<Pick<Preview, 'content_type' | 'body' | 'body_problem'>> {
  const template = templateOf(settings);
  if (template === null) {
    const isBatch = settings.batchMax > 1;
    const body = isBatch ? batchBodyOf(batchId([delivery]), [delivery]) : bodyOf(delivery);
    return { content_type: contentTypeOf(delivery.payloadFormat, isBatch), body, body_problem: null };
  }
  const { text, contentType } = template;
  try {
    const event = () => nestedBodyOf(delivery);
    const body = await renderer().render(id === NOWHERE ? tenantId : id, { template: text, contentType, event });
    return { content_type: contentType, body, body_problem: null };
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return { content_type: contentType, body: null, body_problem: error.sentence };
  }
}
