/** Finds the place where a text stops being JSON: JSON.parse tells it only sometimes. Pure. */

const BLANK = /[ \t\n\r]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** What may come next. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma or end';

/** The index of the first character that is wrong. The end of the text, if it ends too early. */
export function brokenAt(text: string): number {
  const open: string[] = [];
  let expected: Expected = 'value';
  let at = 0;
  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  // False: `at` is where the string is wrong.
  const skipString = (): boolean => {
    if (text[at] !== '"') return false;
    at += 1;
    for (;;) {
      const character = text[at];
      if (character === undefined || character < ' ') return false;
      if (character !== '\\') at += 1;
      else if (!skip(ESCAPE)) return false;
      if (character === '"') return true;
    }
  };
  for (;;) {
    skip(BLANK);
    const character = text[at];
    if (expected === 'comma or end') {
      const inside = open.at(-1);
      if (inside === undefined) return at;
      if (character === ',') {
        expected = inside === '{' ? 'key' : 'value';
        at += 1;
      } else if (character === (inside === '{' ? '}' : ']')) {
        open.pop();
        at += 1;
      } else return at;
    } else if (expected === 'colon') {
      if (character !== ':') return at;
      at += 1;
      expected = 'value';
    } else if (expected === 'key' || expected === 'key or }') {
      if (character === '}' && expected === 'key or }') {
        open.pop();
        at += 1;
        expected = 'comma or end';
      } else if (skipString()) expected = 'colon';
      else return at;
    } else if (character === ']' && expected === 'value or ]') {
      open.pop();
      at += 1;
      expected = 'comma or end';
    } else if (character === '{' || character === '[') {
      open.push(character);
      at += 1;
      expected = character === '{' ? 'key or }' : 'value or ]';
    } else if (character === '"' ? skipString() : skip(SCALAR)) expected = 'comma or end';
    else return at;
  }
}
