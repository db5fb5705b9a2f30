/** Bodies as text: what comes in is checked before it is parsed, and JSON texts go out unchanged. */
import { isUtf8 } from 'node:buffer';
import { Problem } from './problem.ts';

/** JSON.parse has no bound of its own, but everything that walks through its result has. */
const LEVELS_MAX = 512;

/** The value of a JSON text, or the problem. Never throws. */
export function parseBody(bytes: Buffer): { value: unknown } | { problem: Problem } {
  // Decoding would replace what is wrong, and the text would be another one than was sent.
  if (!isUtf8(bytes)) return { problem: new Problem('bad_request', 'The body is not UTF-8.') };
  const text = bytes.toString();
  if (levelsOf(text) > LEVELS_MAX) {
    return { problem: new Problem('bad_request', `The body has more than ${LEVELS_MAX} levels.`) };
  }
  try {
    return { value: /\d{16}/.test(text) ? parseExactly(text) : JSON.parse(text) };
  } catch (error) {
    const at = /position (\d+)/.exec((error as Error).message)?.[1];
    const where = at === undefined ? '' : ` at position ${at}`;
    return { problem: new Problem('bad_request', `The body is not valid JSON${where}.`) };
  }
}

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;
type ExactJson = { parse(text: string, reviver: Reviver): unknown; rawJSON(text: string): object };

/** A number that JavaScript would round keeps its text, and JSON.stringify prints it as it was. */
function parseExactly(text: string): unknown {
  const { parse, rawJSON } = JSON as unknown as ExactJson;
  return parse(text, (_, value, { source = '' }) =>
    typeof value === 'number' && source.replace(/\D/g, '').length > 15 ? rawJSON(source) : value,
  );
}

/** How deep brackets go, outside of strings. */
function levelsOf(text: string): number {
  let [level, deepest] = [0, 0];
  for (const [part] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/gs)) {
    if (part === '[' || part === '{') deepest = Math.max(deepest, ++level);
    else if (part === ']' || part === '}') level--;
  }
  return deepest;
}

/**
 * A JSON text that goes into an answer as it is. Node would change numbers, and the order of keys
 * that are numbers.
 */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** As JSON.stringify, with each JsonText as its text. */
export function toJson(value: unknown): string {
  const texts: string[] = [];
  // No value of ours holds this mark, which is new for each answer.
  const mark = `\u0001${Math.random().toString(36).slice(2)}:`;
  const json = JSON.stringify(value, (_, each) =>
    each instanceof JsonText ? `${mark}${texts.push(each.text) - 1}` : each,
  );
  if (texts.length === 0) return json;
  const escaped = JSON.stringify(mark).slice(1, -1).replaceAll('\\', '\\\\');
  return json.replace(new RegExp(`"${escaped}(\\d+)"`, 'g'), (_, index) => texts[Number(index)] as string);
}
