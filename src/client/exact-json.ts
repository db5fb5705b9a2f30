/**
 * Parsed JSON whose texts are still at hand. JSON.parse rounds 12345678901234567890 and reorders
 * keys such as "10"; textOf() gives what the answer really held.
 */
import { JsonScanner } from '../shared/json/json-values.ts';

/** Where an object or an array stands: it is a whole answer, or a member of another one. */
type Place = { text: string } | { parent: object; key: string | number };

const places = new WeakMap<object, Place>();

/** As JSON.parse, for textOf(). */
export function parseExactly(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) return value;
  places.set(value, { text });
  const open = [value];
  for (let parent = open.pop(); parent !== undefined; parent = open.pop()) {
    for (const key of Object.keys(parent)) {
      const child: unknown = parent[key];
      if (!isObject(child)) continue;
      places.set(child, { parent, key: Array.isArray(parent) ? Number(key) : key });
      open.push(child);
    }
  }
  return value;
}

/**
 * The JSON text of an object or array of an answer, or with `key` of one of its members, exactly as
 * the API sent it. Undefined: there is no such member.
 */
export function textOf(value: object, key?: string | number): string | undefined {
  const keys = key === undefined ? [] : [key];
  let place = placeOf(value);
  while ('parent' in place) {
    keys.unshift(place.key);
    place = placeOf(place.parent);
  }
  let text: string | undefined = place.text;
  for (const each of keys) text = text === undefined ? undefined : memberOf(text, each);
  return text?.trim();
}

/** The JSON texts of an array's elements. One pass, where textOf() of each would begin anew. */
export function textsOf(value: readonly unknown[]): string[] {
  const text = textOf(value) ?? '[]';
  const scanner = new JsonScanner(text);
  const texts: string[] = [];
  scanner.peek();
  scanner.array(() => {
    const from = scanner.skipSpace();
    scanner.skip();
    texts.push(text.slice(from, scanner.at));
  });
  return texts;
}

function placeOf(value: object): Place {
  const place = places.get(value);
  if (place === undefined)
    throw new TypeError('textOf: the value is not part of an answer. Pass what the client gave.');
  return place;
}

/** Of two members with one name the last counts, as for JSON.parse. */
function memberOf(text: string, key: string | number): string | undefined {
  const scanner = new JsonScanner(text);
  const isArray = scanner.peek() === '[';
  if (!isArray && scanner.peek() !== '{') return undefined;
  let found: string | undefined;
  const visit = (name: string | number) => {
    const from = scanner.skipSpace();
    scanner.skip();
    if (name === key) found = text.slice(from, scanner.at);
  };
  if (isArray) scanner.array((index) => visit(index));
  else scanner.object((name) => visit(name));
  return found;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
