/**
 * The thread that renders. It answers one job at a time, and renderer.ts ends it when a job takes
 * too long.
 */
import { parentPort } from 'node:worker_threads';
import { CHAT_TEMPLATES } from './chat-templates.ts';
import { LIMITS } from './limits.ts';
import { checkTemplate, renderTemplate } from './liquid.ts';
import { makeRealmPure } from './pure-realm.ts';
import { type Place, TemplateError } from './template-error.ts';

export interface Job {
  template: string;
  /** The JSON text of a nested body. Null: only check the template. */
  event: string | null;
  contentType: string;
}

export type Answer = { text: string } | { problem: string; place: Place | null };

function answer({ template, event, contentType }: Job): Answer {
  try {
    if (event === null) {
      checkTemplate(template);
      return { text: '' };
    }
    const text = renderTemplate(template, event);
    requireGood(text, contentType);
    return { text };
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return { problem: error.message, place: error.place };
  }
}

function requireGood(text: string, contentType: string): void {
  if (Buffer.byteLength(text) > LIMITS.outputBytes)
    throw new TemplateError(`the output has more than ${LIMITS.outputBytes / 1024 / 1024} MiB`, null);
  if (!text.isWellFormed())
    throw new TemplateError('the output has half of a character. The filter json escapes it', null);
  if (/^application\/(?:[^;]+\+)?json\b/i.test(contentType)) requireJson(text);
}

/** The message of JSON.parse quotes the text, so only its position is kept, if it has one. */
function requireJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    const at = /at position (\d+)/.exec((error as Error).message)?.[1];
    const where = at === undefined ? '' : ` at character ${Number(at) + 1}`;
    throw new TemplateError(
      `the output is not JSON${where}. Write values with the filter json, as in {{ data.name | json }}`,
      null,
    );
  }
}

/** Code that runs for the first time takes longer, so the first job is one of our own. */
function warmUp(): void {
  const event =
    '{"timestamp":"2000-01-01T00:00:00Z","event":"a.b","organization":{"id":"a"},"data":{"id":1.0},"previous":{}}';
  const dates = '{{ now | date: "%A %B %c %Z", "Europe/Berlin" }}{{ now | date: "%A %B %c" }}';
  for (const template of [...Object.values(CHAT_TEMPLATES), dates])
    answer({ template, event, contentType: 'application/json' });
}

makeRealmPure();
warmUp();
parentPort?.on('message', (job: Job) => parentPort?.postMessage(answer(job)));
parentPort?.postMessage('ready');
