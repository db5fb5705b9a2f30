/**
 * JSON as text. JSON.parse rounds bigint and numeric, so what people compare with their database is
 * cut out of the answer and indented without being parsed.
 */

/** A token: a string, a sign, or a word (number, true, false, null). */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gy;

const SPACE = /\s*/y;

/** The place after the value that begins at `at`. */
function endOf(text: string, at: number): number {
  let depth = 0;
  for (let place = at; place < text.length; ) {
    const [token, end] = tokenAt(text, place);
    if (token === '') return end;
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    if (depth === 0) return end;
    place = end;
  }
  return text.length;
}

function tokenAt(text: string, at: number): [token: string, end: number] {
  SPACE.lastIndex = at;
  SPACE.exec(text);
  TOKEN.lastIndex = SPACE.lastIndex;
  const token = TOKEN.exec(text)?.[0] ?? '';
  return [token, token === '' ? text.length : TOKEN.lastIndex];
}

/** The text of a member of an object. Undefined: there is none. */
export function memberText(text: string, name: string): string | undefined {
  let [, at] = tokenAt(text, 0);
  while (at < text.length) {
    const [key, afterKey] = tokenAt(text, at);
    if (!key.startsWith('"')) return undefined;
    const [, afterColon] = tokenAt(text, afterKey);
    const end = endOf(text, afterColon);
    if (JSON.parse(key) === name) return text.slice(afterColon, end).trim();
    const [comma, next] = tokenAt(text, end);
    if (comma !== ',') return undefined;
    at = next;
  }
  return undefined;
}

/** The texts of an array's elements. */
export function elementTexts(text: string): string[] {
  const elements: string[] = [];
  let [, at] = tokenAt(text, 0);
  for (;;) {
    if (tokenAt(text, at)[0] === ']') return elements;
    const end = endOf(text, at);
    elements.push(text.slice(at, end).trim());
    const [comma, next] = tokenAt(text, end);
    if (comma !== ',') return elements;
    at = next;
  }
}

/** Deeper levels are not indented further: 5,000 levels would be 25 MB of blanks. */
const DEPTH_MAX = 40;

/** The same text on several lines. What is not JSON stays as it is. */
export function indented(text: string): string {
  const first = /^\s*(.)/s.exec(text)?.[1];
  if (first !== '{' && first !== '[') return text;
  const out: string[] = [];
  let depth = 0;
  const line = () => out.push(`\n${'  '.repeat(Math.max(0, Math.min(depth, DEPTH_MAX)))}`);
  for (let at = 0, before = ''; at < text.length; ) {
    const [token, end] = tokenAt(text, at);
    if (token === '') {
      if (text.slice(at).trim() !== '' && end === text.length && before === '') return text;
      break;
    }
    const closes = token === '}' || token === ']';
    if (closes) depth--;
    if (closes ? before !== '{' && before !== '[' : before === '{' || before === '[' || before === ',') line();
    out.push(token === ':' ? ': ' : token);
    if (token === '{' || token === '[') depth++;
    before = token;
    at = end;
  }
  return out.join('');
}
