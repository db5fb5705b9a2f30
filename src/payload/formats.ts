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
 * webhook_deliveries and webhook_logs name the template of a rendered body by its hash:
 * `template:5f2c…`. `template` alone means that nothing has been rendered.
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

/** `template:5f2c…` → template, 5f2c…; without a hash, null. */
export function splitFormat(format: Delivery['payloadFormat']): { name: PayloadFormat; hash: string | null } {
  const [name, hashed = null] = format.split(':') as [PayloadFormat, string?];
  return { name, hash: hashed };
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
