/** Checks that a body is JSON that can be stored as it came. Pure. */
import { brokenAt } from './json-place.ts';

/** Whoever walks through the value must not run out of stack. */
const LEVELS_MAX = 512;

export type Checked = { text: string; value: unknown } | { problem: string };

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function checkJson(body: Buffer): Checked {
  const tooDeepAt = deepAt(body, LEVELS_MAX);
  if (tooDeepAt !== null) {
    return { problem: `The body has more than ${LEVELS_MAX} levels, at position ${tooDeepAt}.` };
  }
  let text: string;
  try {
    text = decoder.decode(body);
  } catch {
    return { problem: 'The body is not valid UTF-8.' };
  }
  try {
    return { text, value: JSON.parse(text) };
  } catch {
    return { problem: `The body is not valid JSON at position ${brokenAt(text)}.` };
  }
}

const [QUOTE, BACKSLASH, OPEN, CLOSE] = [0x22, 0x5c, [0x5b, 0x7b], [0x5d, 0x7d]];

/** The place of the bracket that is too deep. It is found before anything is parsed. */
export function deepAt(body: Buffer, levelsMax: number): number | null {
  let level = 0;
  let inString = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] as number;
    if (inString) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN[0] || byte === OPEN[1]) {
      level += 1;
      if (level > levelsMax) return at;
    } else if (byte === CLOSE[0] || byte === CLOSE[1]) level -= 1;
  }
  return null;
}
