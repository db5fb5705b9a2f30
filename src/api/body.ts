/** Bodies as text: what comes in is checked before it is parsed, and JSON texts go out unchanged. */
import { isUtf8 } from 'node:buffer';
import { deepAt } from '../inbound/json-bytes.ts';
import { Problem } from './problem.ts';

export { JsonText, toJson } from '../shared/json/json-text.ts';

/** JSON.parse has no bound of its own, but everything that walks through its result has. */
const LEVELS_MAX = 512;

/**
 * Numbers of a larger body are not kept exactly: that takes 220 ms for 1 MiB, and the event loop
 * stands still. No setting is that large, and `data` of an event is taken from the text.
 */
const EXACT_BYTES_MAX = 131_072;

/** Settings have far fewer values. Checking 80,000 of them took the event loop 0.15 s. */
const VALUES_MAX = 20_000;

/**
 * The value of a JSON text, or the problem. Never throws. `data`: an application's data, which is
 * not checked value by value.
 */
export function parseBody(bytes: Buffer, kind?: 'data'): { value: unknown } | { problem: Problem } {
  // Decoding would replace what is wrong, and the text would be another one than was sent.
  if (!isUtf8(bytes)) return { problem: new Problem('bad_request', 'The body is not UTF-8.') };
  const text = bytes.toString();
  if (deepAt(bytes, LEVELS_MAX) !== null) {
    return { problem: new Problem('bad_request', `The body has more than ${LEVELS_MAX} levels.`) };
  }
  if (kind !== 'data' && commasOf(bytes) >= VALUES_MAX) {
    return { problem: new Problem('bad_request', `The body has more than ${VALUES_MAX} values.`) };
  }
  try {
    const isExact = bytes.length <= EXACT_BYTES_MAX && /\d{16}/.test(text);
    return { value: isExact ? parseExactly(text) : JSON.parse(text) };
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

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];

/** Outside of strings. */
function commasOf(bytes: Buffer): number {
  let [count, inString] = [0, false];
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) inString = !inString;
    else if (byte === BACKSLASH) at++;
    else if (byte === COMMA && !inString) count++;
  }
  return count;
}
