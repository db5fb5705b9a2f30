/**
 * What a webhook would send for an event: whether it wants the event, and the body. Nothing is sent
 * and nothing is written. Also checks templates, as the daemon will read them.
 */
import type pg from 'pg';
import { findChange, parseEventId } from '../../capture/stored-events.ts';
import { wants } from '../../match/event-patterns.ts';
import { stoppedBy } from '../../match/match.ts';
import type { Change, Delivery, Webhook, WebhookSettings } from '../../model.ts';
import { batchBodyOf, bodyOf, nestedBodyOf } from '../../payload/body.ts';
import { contentTypeOf, splitFormat, templateOf } from '../../payload/formats.ts';
import { batchId, deliveryId, eventId } from '../../payload/ids.ts';
import { findTemplate } from '../../payload/template/kept.ts';
import { Renderer } from '../../payload/template/renderer.ts';
import { TemplateError } from '../../payload/template/template-error.ts';
import { UserError } from '../../shared/user-error.ts';
import { OUTBOX_COLUMNS, type StoredRow, withOrganization } from '../events/events.ts';
import { Conditions, readPage } from '../page.ts';

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

/** An event of the outbox, or one that is made up. */
export interface PreviewedEvent {
  change: Change;
  eventType: string;
  eventId: string;
  ordinal: number;
  organization: string;
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

/** The threads start with the first template. They keep no process alive. */
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

/** `event`: the id of an event, or the number of an outbox row, of which the first event is taken. */
export async function findStoredEvent(client: pg.ClientBase, webhook: Webhook, event: string): Promise<PreviewedEvent> {
  const { outboxId, incarnation, ordinal } = parseEventId(event);
  const change = /^\d{1,18}$/.test(outboxId) ? await findChange(client, outboxId, webhook.id) : undefined;
  const at = (ordinal ?? change?.firstOrdinal ?? 0) - (change?.firstOrdinal ?? 0);
  const eventType = change?.eventTypes[at];
  if (!change || change.tenantId !== webhook.tenantId || eventType === undefined)
    throw new UserError(`event ${event} is not in the outbox, which keeps events for 7 days.`);
  if (incarnation !== null && incarnation !== change.incarnation)
    throw new UserError(`event ${event} is not in the outbox: it was restored from a copy.`);
  const number = change.firstOrdinal + at;
  const [row] = await withOrganization(client, webhook.tenantId, [storedRow(change)]);
  return eventOf(change, eventType, eventId(change.incarnation, change.id, number), number, row?.organization ?? '{}');
}

/** The latest event that `isWanted`, else one that is made up. */
export async function findEventOfType(
  client: pg.ClientBase,
  tenantId: string,
  eventType: string,
): Promise<PreviewedEvent> {
  const { data } = await readPage<StoredRow>(
    client,
    {
      columns: OUTBOX_COLUMNS,
      from: 'rowhook.webhook_outbox o',
      indexed: new Conditions(),
      time: { column: 'o.occurred_at', isOrder: false },
      id: { column: 'o.id', type: 'bigint' },
      filters: [
        ['l.tenant_id = $', tenantId],
        ['l.event_types <> $::text[]', []],
        ['(l.test_webhook_id is null) = $', true],
      ],
    },
    { limit: LATEST_MAX },
  );
  const rows = await withOrganization(client, tenantId, data);
  for (const { change, incarnation, organization } of rows) {
    const at = change.eventTypes.findIndex((type) => wants([eventType], type));
    const found = change.eventTypes[at];
    if (found) return eventOf(change, found, eventId(incarnation, change.id, at), at, organization);
  }
  return madeUp(client, tenantId, eventType.endsWith('*') ? 'webhook.test' : eventType);
}

/** Events that are looked at, the latest first. */
const LATEST_MAX = 100;

async function madeUp(client: pg.ClientBase, tenantId: string, eventType: string): Promise<PreviewedEvent> {
  const change: Change = {
    id: '0',
    lane: 0,
    tenantId,
    sourceId: null,
    eventTypes: [eventType],
    rowKey: '1',
    occurredAt: Date.now(),
    data: '{"id":1,"name":"Example"}',
    previous: eventType.endsWith('.updated') ? '{"name":"Old example"}' : null,
    truncated: null,
    testWebhookId: null,
  };
  const [row] = await withOrganization(client, tenantId, [storedRow(change)]);
  return eventOf(change, eventType, `evt_${row?.incarnation ?? '0'}_0_0`, 0, row?.organization ?? '{}');
}

function eventOf(change: Change, eventType: string, id: string, ordinal: number, organization: string): PreviewedEvent {
  return { change, eventType, eventId: id, ordinal, organization };
}

function storedRow(change: Change): Omit<StoredRow, 'incarnation' | 'organization'> {
  const { id, lane, tenantId, sourceId, eventTypes, rowKey, occurredAt, data, previous, truncated, testWebhookId } =
    change;
  return {
    ...{ id, lane, tenant_id: tenantId, source_id: sourceId, event_types: [...eventTypes], row_key: rowKey },
    ...{ occurred_at: occurredAt, data, previous, truncated, test_webhook_id: testWebhookId },
  };
}

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

/** Sets what a kept template made of a delivery that was sent. Resolves to why it cannot, or to null. */
export async function renderAgain(client: pg.ClientBase, tenantId: string, delivery: Delivery): Promise<string | null> {
  const { name, hash } = splitFormat(delivery.payloadFormat);
  if (hash === null) return 'no body was made for this attempt';
  const kept = await findTemplate(client, tenantId, hash);
  if (kept === null) return `the template ${name}:${hash} is no longer kept`;
  const { text: template, contentType } = kept;
  try {
    const job = { template, contentType, event: () => nestedBodyOf(delivery) };
    delivery.rendered = { text: await renderer().render(tenantId, job), contentType };
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
