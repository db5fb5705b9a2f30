/**
 * Scans a JSON text without parsing it: a value is found by its place in the text, and everything
 * else is skipped. So numbers keep every digit, and depth does not matter. `JSON.parse` with a
 * reviver also gives the digits, but takes 220 ms for 1 MiB and overflows the stack at 3,000
 * levels.
 *
 * The text comes from PostgreSQL, so it is valid JSON and is not checked again.
 */
import { Decimal } from './decimal.ts';

export type Scalar = string | boolean | null | Decimal;

/** An object or an array. An array has the keys of its scalar elements if they were asked for. */
export class Composite {
  readonly elements: ReadonlySet<string>;

  constructor(elements: ReadonlySet<string> = new Set()) {
    this.elements = elements;
  }
}

export type Value = Scalar | Composite;

/** Any object, and an array whose elements were not asked for. */
export const COMPOSITE = new Composite();

/** Equal values have equal keys. A number never equals a string. Composites equal nothing. */
export function keyOf(value: Value): string {
  if (typeof value === 'string') return `"${value}`;
  if (value instanceof Decimal) return value.key;
  return value instanceof Composite ? 'composite' : String(value);
}

/** Thrown by a scanner that has used up its steps. */
export class TooManySteps extends Error {}

/** What scanning costs, in steps. A step is about a nanosecond. */
const STEPS = {
  /** A member of an object, or an element of an array. */
  member: 100,
  /** The search for the end of a string, and each 16 characters of it. */
  string: 20,
  perStringCharacter: 1 / 16,
  /** A character of a string with escapes, which JSON.parse reads. */
  perEscapedCharacter: 8,
  decimal: 300,
  perDigit: 8,
} as const;

/** After an escaped quote this number of characters is looked at one by one. */
const LOOK_CHARACTERS = 64;

/** An integer whose text is also its key (shared/json/decimal.ts). */
const PLAIN_INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;

export class JsonScanner {
  readonly #text: string;
  at: number;
  stepsLeft: number;

  /** `stepsMax` limits the work. A method that needs more throws TooManySteps. */
  constructor(text: string, at = 0, stepsMax = Infinity) {
    this.#text = text;
    this.at = at;
    this.stepsLeft = stepsMax;
  }

  /** The first character of the next value, or what else comes next. */
  peek(): string | undefined {
    return this.#text[this.skipSpace()];
  }

  /** Returns the place of the next character. */
  skipSpace(): number {
    while (this.#text.charCodeAt(this.at) <= 0x20) this.at++;
    return this.at;
  }

  /** Reads a scalar. Skips an object or an array. */
  value(): Value {
    const opening = this.peek();
    if (opening === '"') return this.string();
    if (opening === '{' || opening === '[') {
      this.skip();
      return COMPOSITE;
    }
    const word = this.#word();
    if (word === 'null') return null;
    if (word === 'true' || word === 'false') return word === 'true';
    this.#spend(STEPS.decimal + word.length * STEPS.perDigit);
    return new Decimal(word);
  }

  /** Reads an array as the set of its scalar elements' keys, and any other value as value() does. */
  valueWithElements(): Value {
    if (this.peek() !== '[') return this.value();
    const keys = new Set<string>();
    this.array(() => keys.add(this.#key()));
    return new Composite(keys);
  }

  /** Calls `visit` for each member: its name, and where the name's quote is. It reads the value. */
  object(visit: (name: string, at: number) => void): void {
    this.at++;
    while (this.peek() === '"') {
      this.#spend(STEPS.member);
      const at = this.at;
      const name = this.string();
      if (this.peek() === ':') this.at++;
      visit(name, at);
      if (this.peek() !== ',') break;
      this.at++;
    }
    this.at++;
  }

  /** Calls `visit` for each element. It reads the value, or returns false to stop there. */
  array(visit: (index: number) => unknown): void {
    this.at++;
    for (let index = 0; this.peek() !== ']' && this.at < this.#text.length; index++) {
      this.#spend(STEPS.member);
      if (visit(index) === false) return;
      if (this.peek() !== ',') break;
      this.at++;
    }
    this.at++;
  }

  string(): string {
    const start = this.at;
    this.#skipString();
    const raw = this.#text.slice(start, this.at);
    if (!raw.includes('\\')) return raw.slice(1, -1);
    this.#spend(raw.length * STEPS.perEscapedCharacter);
    return JSON.parse(raw);
  }

  skip(): void {
    const opening = this.peek();
    if (opening === '"') this.#skipString();
    else if (opening === '{' || opening === '[') this.#skipNested();
    else this.#word();
  }

  #key(): string {
    const opening = this.peek();
    if (opening === '"' || opening === '{' || opening === '[') return keyOf(this.value());
    const start = this.at;
    const word = this.#word();
    if (PLAIN_INTEGER.test(word)) return word;
    this.at = start;
    return keyOf(this.value());
  }

  /** A number, true, false or null. */
  #word(): string {
    const start = this.at;
    while (!endsScalar(this.#text.charCodeAt(this.at))) this.at++;
    this.#spend(this.at - start);
    return this.#text.slice(start, this.at);
  }

  #skipNested(): void {
    const text = this.#text;
    let depth = 0;
    do {
      const start = this.at;
      const end = Math.min(text.length, start + this.stepsLeft + 1);
      let at = start;
      let char = 0;
      while (at < end) {
        char = text.charCodeAt(at);
        if (char === 0x22) break;
        at++;
        if (char === 0x7b || char === 0x5b) depth++;
        else if ((char === 0x7d || char === 0x5d) && --depth === 0) break;
      }
      this.at = at;
      this.#spend(at - start);
      if (char === 0x22) this.#skipString();
    } while (depth > 0 && this.at < text.length);
  }

  /**
   * The next quote ends the string, unless it is escaped. A text such as JSON in a string has many
   * escaped quotes, so the scanner then looks at characters one by one before it searches again.
   */
  #skipString(): void {
    const start = this.at;
    let from = start + 1;
    for (;;) {
      this.#spend(STEPS.string);
      let end = this.#text.indexOf('"', from);
      if (end < 0) end = this.#text.length;
      let slashes = 0;
      while (this.#text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
      if (slashes % 2 === 0 || end >= this.#text.length) {
        this.at = end + 1;
        break;
      }
      this.#spend(LOOK_CHARACTERS);
      let at = end + 1;
      const until = Math.min(this.#text.length, at + LOOK_CHARACTERS);
      let char = 0;
      for (; at < until; at++) {
        char = this.#text.charCodeAt(at);
        if (char === 0x5c) at++;
        else if (char === 0x22) break;
      }
      from = at;
    }
    this.#spend((this.at - start) * STEPS.perStringCharacter);
  }

  #spend(steps: number): void {
    this.stepsLeft -= steps;
    if (this.stepsLeft < 0) throw new TooManySteps();
  }
}

type VisitMember = (name: string, at: number, from: number, to: number) => void;

/**
 * Calls `visit` for each member of an object, with its name, the position of the name's quote, and
 * where its value begins and ends.
 */
export function visitMembers(text: string, visit: VisitMember): void {
  const scanner = new JsonScanner(text);
  if (scanner.peek() !== '{') return;
  scanner.object((name, at) => {
    const from = scanner.at;
    scanner.skip();
    visit(name, at, from, scanner.at);
  });
}

/** A comma, a closing bracket or white space. NaN is the end of the text. */
function endsScalar(code: number): boolean {
  return code === 0x2c || code === 0x7d || code === 0x5d || !(code > 0x20);
}
