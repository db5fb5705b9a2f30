/**
 * JSON as text. JSON.parse rounds bigint and numeric, so what people compare with their database is
 * cut out of the answer and indented without being parsed.
 */

/** A token: a string, a sign, or a word (number, true, false, null). */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gy;

const SPACE = /\s*/y;

function tokenAt(text: string, at: number): [token: string, end: number] {
  SPACE.lastIndex = at;
  SPACE.exec(text);
  TOKEN.lastIndex = SPACE.lastIndex;
  const token = TOKEN.exec(text)?.[0] ?? '';
  return [token, token === '' ? text.length : TOKEN.lastIndex];
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
