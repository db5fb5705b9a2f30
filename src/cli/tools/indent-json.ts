/**
 * Indents JSON without changing its values: the numbers `12345678901234567890` and `1e400` and
 * duplicate keys stay the same. Text that is not JSON is returned unchanged.
 */
const TOKEN = /"(?:[^"\\]+|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

export function indentJson(text: string): string {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let depth = 0;
  let previous = '';
  let indented = '';
  const newLine = () => `\n${'  '.repeat(depth)}`;

  for (const [token] of text.matchAll(TOKEN)) {
    const closes = token === '}' || token === ']';
    const follows = previous === '{' || previous === '[' || previous === ',';
    if (closes) depth -= 1;
    // An empty object or array stays on its line.
    const isEmpty = closes && (previous === '{' || previous === '[');
    if ((follows || closes) && !isEmpty) indented += newLine();
    indented += token === ':' ? ': ' : token;
    if (token === '{' || token === '[') depth += 1;
    previous = token;
  }
  return indented;
}
