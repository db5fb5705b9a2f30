/**
 * The formats of a body. Pure.
 *
 * nested       the row is under `data`
 * flat         the fields of the row are on the top level, for simple tools
 * cloudevents  CloudEvents 1.0 in structured mode
 * template     what the webhook's own Liquid template makes of the nested body
 * slack, discord, teams   the same with templates that rowhook brings
 *
 * The first three are spliced from the event's text (body.ts). The others are rendered in a thread
 * of their own (template/). Webhooks with one of the first three do not pay for that.
 *
 * webhook_deliveries and webhook_logs name the template of a rendered body by its hash, and have a
 * digest of the body: `template:5f2c…:91ab…`. `template` alone means that nothing has been rendered.
 *
 * A replay renders again. Another version of liquidjs, of Node or of our filters may make another
 * body of the same template. The digest finds that, so nobody gets other bytes under the same id.
 */
import { hash } from 'node:crypto';
import type { Delivery, PayloadFormat, TemplateFormat, WebhookSettings } from '../model.ts';
import { CHAT_TEMPLATES } from './template/chat-templates.ts';

export const PAYLOAD_FORMATS = ['nested', 'flat', 'cloudevents', 'slack', 'discord', 'teams', 'template'] as const;

const SPLICED: ReadonlySet<string> = new Set<PayloadFormat>(['nested', 'flat', 'cloudevents']);

export const JSON_TYPE = 'application/json';

/** Whether a body of this format is rendered by a template. */
export function isRendered(format: Delivery['payloadFormat']): boolean {
  return !SPLICED.has(format);
}

export interface Template {
  format: TemplateFormat;
  text: string;
  contentType: string;
  hash: string;
}

/** The type of a body that is spliced. */
export function contentTypeOf(format: Delivery['payloadFormat'], isBatch: boolean): string {
  if (format !== 'cloudevents') return JSON_TYPE;
  return isBatch ? 'application/cloudevents-batch+json' : 'application/cloudevents+json';
}

export interface SplitFormat {
  name: PayloadFormat;
  /** Of the template. Null: nothing has been rendered. */
  hash: string | null;
  /** Of the body that it made. */
  digest: string | null;
}

/** `template:5f2c…:91ab…` → template, 5f2c…, 91ab… */
export function splitFormat(format: Delivery['payloadFormat']): SplitFormat {
  const [name, hashed = null, digest = null] = format.split(':') as [PayloadFormat, string?, string?];
  return { name, hash: hashed, digest };
}

/** What rows say of a body that a template made. */
export function formatOf({ format, hash: hashed }: Template, body: string): Delivery['payloadFormat'] {
  return `${format}:${hashed}:${hash('sha256', body).slice(0, 16)}`;
}

/** Whether a template made other bytes than it made before, of the same event. */
export function isOtherBody(before: Delivery['payloadFormat'], now: Delivery['payloadFormat']): boolean {
  const [{ digest: wanted }, { digest }] = [splitFormat(before), splitFormat(now)];
  return wanted !== null && wanted !== digest;
}

const templates = new WeakMap<object, Template>();

type TemplateSettings = Pick<WebhookSettings, 'payloadFormat' | 'payloadTemplate' | 'contentType'>;

/** The template of a webhook as it is now. Null: its format needs none, or its text is not in memory. */
export function templateOf(settings: TemplateSettings): Template | null {
  const known = templates.get(settings);
  if (known) return known;
  const { payloadFormat: format, payloadTemplate, contentType } = settings;
  if (format === 'nested' || format === 'flat' || format === 'cloudevents') return null;
  const text = format === 'template' ? payloadTemplate : CHAT_TEMPLATES[format];
  if (text === null) return null;
  const made = templateFrom(format, text, (format === 'template' && contentType) || JSON_TYPE);
  templates.set(settings, made);
  return made;
}

export function templateFrom(format: TemplateFormat, text: string, contentType: string): Template {
  return { format, text, contentType, hash: hash('sha256', `${contentType}\n${text}`).slice(0, 32) };
}
