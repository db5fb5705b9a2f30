/**
 * Renders Liquid templates, within bounds. Only the thread of worker.ts imports this file.
 *
 * The library bounds time and memory where it knows of them. Two gaps are closed here: a template
 * cannot write more than OUTPUT_MAX into the output or a variable, and it reads own properties only,
 * also of the library's own objects such as `forloop`.
 */
import { Context, type Emitter, Liquid, LiquidError, type Template, toValueSync } from 'liquidjs';
import { parseExactly } from './exact-number.ts';
import { fields, json, markdownEscape, slackEscape } from './filters.ts';
import { LIMITS } from './limits.ts';
import { setNow } from './pure-realm.ts';
import { TemplateError } from './template-error.ts';

/** Tags that read other templates, and a filter that draws at random. */
const TAGS_REMOVED = ['include', 'render', 'layout', 'block'];
const FILTERS_REMOVED = ['sample'];

/** Characters that filters may make, all together. A row may have several million. */
const MEMORY_MAX = 16 * 1024 * 1024;

/** Parsed templates that are kept: those used last. */
const PARSED_MAX = 200;

const engine = new Liquid({
  strictFilters: true,
  ownPropertyOnly: true,
  timezoneOffset: 0,
  locale: 'en-US',
  parseLimit: LIMITS.templateBytes,
  renderLimit: LIMITS.renderMs,
  memoryLimit: MEMORY_MAX,
});
for (const tag of TAGS_REMOVED) delete engine.tags[tag];
for (const filter of FILTERS_REMOVED) delete engine.filters[filter];
engine.registerFilter('json', json);
engine.registerFilter('jsonify', json);
engine.registerFilter('inspect', json);
engine.registerFilter('fields', fields);
engine.registerFilter('slack_escape', slackEscape);
engine.registerFilter('markdown_escape', markdownEscape);

/** What the library knows, for the test that compares it with SQL. */
export const KNOWN = { tags: Object.keys(engine.tags).sort(), filters: Object.keys(engine.filters).sort() };

class BoundedEmitter implements Emitter {
  buffer = '';

  write(value: unknown): void {
    this.buffer += textOf(value);
    if (this.buffer.length > LIMITS.outputBytes) throw new Error(TOO_LONG);
  }
}

const TOO_LONG = `the output has more than ${LIMITS.outputBytes / 1024 / 1024} MiB`;

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return '';
  return Array.isArray(value) ? value.map(textOf).join('') : String(value);
}

const { renderer } = engine;
const renderTemplates = renderer.renderTemplates.bind(renderer);
renderer.renderTemplates = (templates, context, emitter = new BoundedEmitter()) =>
  renderTemplates(templates, context, emitter);

const readProperty = Context.prototype.readProperty;
Context.prototype.readProperty = function readOwn(this: Context, object, key) {
  if (String(key) in Object.prototype && !(object && Object.hasOwn(Object(object), String(key)))) return undefined;
  return readProperty.call(this, object, key);
};

interface Parsed {
  templates: Template[];
  /** It has been rendered, or has reached the limit of time twice. */
  hasRun: boolean;
}

const parsed = new Map<string, Parsed>();

function parse(text: string): Parsed {
  const bytes = Buffer.byteLength(text);
  if (bytes > LIMITS.templateBytes)
    throw new TemplateError(`the template has ${bytes} bytes, and may have ${LIMITS.templateBytes}`, null);
  const found = parsed.get(text);
  const kept = found ?? { templates: engine.parse(text), hasRun: false };
  parsed.delete(text);
  if (parsed.size >= PARSED_MAX) parsed.delete(parsed.keys().next().value as string);
  parsed.set(text, kept);
  return kept;
}

/** Throws a TemplateError if the library cannot read the template. */
export function checkTemplate(text: string): void {
  try {
    parse(text);
  } catch (error) {
    throw toTemplateError(error);
  }
}

/** `event` is the JSON text of a nested body. Throws a TemplateError. */
export function renderTemplate(text: string, event: string): string {
  try {
    const kept = parse(text);
    const scope = parseExactly(event) as Record<string, unknown>;
    setNow(Date.parse(String(scope.timestamp)));
    try {
      return renderOnce(kept.templates, scope);
    } catch (error) {
      // Code that runs for the first time is slow.
      if (kept.hasRun || !TOOK_LONG.test((error as Error).message)) throw error;
      return renderOnce(kept.templates, scope);
    } finally {
      kept.hasRun = true;
    }
  } catch (error) {
    throw toTemplateError(error);
  }
}

function renderOnce(templates: Template[], scope: Record<string, unknown>): string {
  const context = new Context({ now: scope.timestamp, ...scope }, engine.options, { sync: true }, { liquid: engine });
  return String(toValueSync(renderer.renderTemplates(templates, context)));
}

/** The library writes the place into the message, and the template's lines behind it. */
function toTemplateError(error: unknown): TemplateError {
  if (error instanceof TemplateError) return error;
  const { message } = error as Error;
  const place = LiquidError.is(error) ? error.token.getPosition() : null;
  const bare = message.split('\n', 1)[0]?.replace(/, line:\d+, col:\d+$/, '') ?? '';
  const known = LIMIT_TEXTS.find(([pattern]) => pattern.test(bare));
  return new TemplateError(known?.[1] ?? bare, place === null ? null : { line: place[0] ?? 1, column: place[1] ?? 1 });
}

const TOOK_LONG = /^template render limit exceeded/;

const LIMIT_TEXTS: readonly (readonly [RegExp, string])[] = [
  [TOOK_LONG, `rendering takes more than ${LIMITS.renderMs} ms`],
  [/^memory alloc limit exceeded/, `its filters and loops make more than ${MEMORY_MAX / 1024 / 1024} MiB`],
  [/^parse length limit exceeded/, `the template has more than ${LIMITS.templateBytes} bytes`],
  [/^Maximum call stack size exceeded/, 'it is nested too deeply'],
];
