/**
 * Makes the bodies that templates make, and keeps the templates that rows name (roles.ts:
 * RendersBodies).
 */
import type pg from 'pg';
import type { Delivery, TemplateFormat, Webhook } from '../model.ts';
import { nestedBodyOf } from '../payload/body.ts';
import {
  formatOf,
  isOtherBody,
  isRendered,
  splitFormat,
  type Template,
  templateFrom,
  templateOf,
} from '../payload/formats.ts';
import { findTemplate, keepTemplate, noteTemplate } from '../payload/template/kept.ts';
import { Renderer } from '../payload/template/renderer.ts';
import { TemplateError } from '../payload/template/template-error.ts';
import type { RendersBodies } from '../roles.ts';
import { isRefusal } from '../shared/isolate.ts';

/** How long a template's use is not noted again. */
const NOTED_MS = 3_600_000;

const OTHER_BODY =
  'payload_template: this version of rowhook makes another body of the template than the one that was sent before';

/** Uses that are remembered: the latest ones. */
const NOTED_MAX = 10_000;

export class RenderedBodies implements RendersBodies {
  readonly #pool: pg.Pool;
  readonly #onUnkept: (error: Error, tenantId: string) => void;
  readonly #renderer = new Renderer();
  /** By tenant and hash: when the use was noted last, by performance.now(). */
  readonly #notedAt = new Map<string, number>();

  /** `onUnkept`: the database refuses to keep a template, so a replay may send another body. */
  constructor(pool: pg.Pool, onUnkept: (error: Error, tenantId: string) => void) {
    this.#pool = pool;
    this.#onUnkept = onUnkept;
  }

  async render(delivery: Delivery, webhook: Webhook): Promise<string | null> {
    const { tenantId } = delivery.change;
    const { hash } = splitFormat(delivery.payloadFormat);
    if (delivery.rendered) {
      if (hash !== null) await this.#note(tenantId, hash, () => noteTemplate(this.#pool, tenantId, hash));
      return null;
    }
    const template = await this.#templateOf(delivery, webhook);
    if (template === null) return 'the webhook has no payload_template. Set it, or choose another payload_format';
    // The format of the webhook has changed before anything was sent.
    if (typeof template === 'string') {
      delivery.payloadFormat = template;
      return null;
    }
    const { contentType } = template;
    try {
      const job = { template: template.text, contentType, event: () => nestedBodyOf(delivery) };
      const text = await this.#renderer.render(webhook.id, job, tenantId);
      const format = formatOf(template, text);
      if (isOtherBody(delivery.payloadFormat, format)) return OTHER_BODY;
      await this.#note(tenantId, template.hash, () => keepTemplate(this.#pool, tenantId, template));
      delivery.payloadFormat = format;
      delivery.rendered = { text, contentType };
      return null;
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      return `payload_template: ${error.sentence}`;
    }
  }

  /** Ends what is rendering. */
  stop(): void {
    this.#renderer.stop();
  }

  /** The template that made the body before, else the webhook's. A text is a format that needs none. */
  async #templateOf(
    { payloadFormat, change: { tenantId } }: Delivery,
    { settings }: Webhook,
  ): Promise<Template | 'nested' | 'flat' | 'cloudevents' | null> {
    const current = templateOf(settings);
    const { name, hash } = splitFormat(payloadFormat);
    if (hash !== null && hash !== current?.hash) {
      const kept = await findTemplate(this.#pool, tenantId, hash);
      if (kept !== null) return templateFrom(name as TemplateFormat, kept.text, kept.contentType);
    }
    const format = settings.payloadFormat;
    return isRendered(format) ? current : (format as 'nested' | 'flat' | 'cloudevents');
  }

  async #note(tenantId: string, hash: string, write: () => Promise<void>): Promise<void> {
    const key = `${tenantId}\0${hash}`;
    if (performance.now() - (this.#notedAt.get(key) ?? -Infinity) < NOTED_MS) return;
    try {
      await write();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#onUnkept(error as Error, tenantId);
      return;
    }
    if (this.#notedAt.size >= NOTED_MAX) this.#notedAt.delete(this.#notedAt.keys().next().value as string);
    this.#notedAt.set(key, performance.now());
  }
}
