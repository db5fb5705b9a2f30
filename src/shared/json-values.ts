/**
 * Reads a few values from a JSON text without parsing it. One pass over the text finds all wanted
 * paths and skips everything else. So numbers keep every digit, depth does not matter, and a row of
 * 1 MiB takes milliseconds. `JSON.parse` with a reviver also gives the digits, but takes 220 ms and
 * overflows the stack at 3,000 levels.
 *
 * The text comes from PostgreSQL, so it is valid JSON and is not checked again.
 */
import { Decimal } from './decimal.ts';

export type Scalar = string | boolean | null | Decimal;

/** An object or an array. An array has the keys of its scalar elements if the path needs them. */
export class Composite {
  readonly elements: ReadonlySet<string>;

  constructor(elements: ReadonlySet<string> = new Set()) {
    this.elements = elements;
  }
}

export type Value = Scalar | Composite;

/** Equal values have equal keys. A number never equals a string. Composites equal nothing. */
export function keyOf(value: Value): string {
  if (typeof value === 'string') return `"${value}`;
  if (value instanceof Decimal) return value.key;
  return value instanceof Composite ? 'composite' : String(value);
}

/** Wanted paths, as a tree of names. */
export interface Wanted {
  readonly names: Map<string, Wanted>;
  /** The slot for the value at this path. Below zero if only members are wanted. */
  slot: number;
  /** Whether the elements of an array are wanted. */
  elements: boolean;
}

type VisitMember = (name: string, at: number, from: number, to: number) => void;

export function nothingWanted(): Wanted {
  return { names: new Map(), slot: -1, elements: false };
}

/**
 * Writes the wanted values of `text` into their slots. A missing value leaves its slot unchanged.
 */
export function readValues(text: string, wanted: Wanted, slots: unknown[]): void {
  new Reader(text, slots).value(wanted);
}

/**
 * Calls `visit` for each member of an object, with its name, the position of the name's quote, and
 * where its value begins and ends.
 */
export function visitMembers(text: string, visit: VisitMember): void {
  new Reader(text, []).members(visit);
}

class Reader {
  readonly #text: string;
  /** Each slot holds a Value or undefined once this reader has written it. */
  readonly #slots: unknown[];
  #at = 0;

  constructor(text: string, slots: unknown[]) {
    this.#text = text;
    this.#slots = slots;
  }

  /**
   * Reads past one value and stores its wanted parts. The recursion is as deep as the wanted paths,
   * not as the text.
   */
  value(wanted: Wanted): void {
    const opening = this.#peek();
    const start = this.#at;
    const enter = wanted.names.size > 0 && (opening === '{' || opening === '[');
    if (wanted.slot >= 0) this.#slots[wanted.slot] = this.#read(wanted.elements);
    else if (!enter) this.#skip();
    if (!enter) return;
    this.#at = start;
    if (opening === '{') this.#object((name) => this.#member(wanted, name));
    else this.#array((index) => this.#member(wanted, String(index)));
  }

  members(visit: VisitMember): void {
    if (this.#peek() !== '{') return;
    this.#object((name, at) => {
      const from = this.#at;
      this.#skip();
      visit(name, at, from, this.#at);
    });
  }

  #member(wanted: Wanted, name: string): void {
    const member = wanted.names.get(name);
    if (member === undefined) {
      this.#skip();
      return;
    }
    // PostgreSQL's json keeps duplicate names. Receivers see the last one, so filters do too.
    forget(member, this.#slots);
    this.value(member);
  }

  #read(elements = false): Value {
    const opening = this.#peek();
    if (opening === '"') return this.#string();
    const start = this.#at;
    if (opening === '[' && elements) {
      const keys = new Set<string>();
      this.#array(() => keys.add(keyOf(this.#read())));
      return new Composite(keys);
    }
    this.#skip();
    if (opening === '{' || opening === '[') return composite;
    const word = this.#text.slice(start, this.#at);
    return word === 'null' ? null : word === 'true' ? true : word === 'false' ? false : new Decimal(word);
  }

  #object(visit: (name: string, at: number) => void): void {
    this.#at++;
    while (this.#peek() === '"') {
      const at = this.#at;
      const name = this.#string();
      if (this.#peek() === ':') this.#at++;
      visit(name, at);
      if (this.#peek() !== ',') break;
      this.#at++;
    }
    this.#at++;
  }

  #array(visit: (index: number) => void): void {
    this.#at++;
    for (let index = 0; this.#peek() !== ']' && this.#at < this.#text.length; index++) {
      visit(index);
      if (this.#peek() !== ',') break;
      this.#at++;
    }
    this.#at++;
  }

  #skip(): void {
    const opening = this.#peek();
    if (opening === '"') this.#skipString();
    else if (opening === '{' || opening === '[') this.#skipNested();
    else while (!endsScalar(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  #skipNested(): void {
    let depth = 0;
    do {
      const char = this.#text.charCodeAt(this.#at);
      if (char === 0x22) {
        this.#skipString();
        continue;
      }
      if (char === 0x7b || char === 0x5b) depth++;
      else if (char === 0x7d || char === 0x5d) depth--;
      this.#at++;
    } while (depth > 0 && this.#at < this.#text.length);
  }

  /** A quote ends the string unless an odd number of backslashes precedes it. */
  #skipString(): void {
    let end = this.#at;
    let slashes: number;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) end = this.#text.length;
      slashes = 0;
      while (this.#text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
    } while (slashes % 2 === 1 && end < this.#text.length);
    this.#at = end + 1;
  }

  #string(): string {
    const start = this.#at;
    this.#skipString();
    const raw = this.#text.slice(start, this.#at);
    return raw.includes('\\') ? JSON.parse(raw) : raw.slice(1, -1);
  }

  #peek(): string | undefined {
    while (this.#text.charCodeAt(this.#at) <= 0x20) this.#at++;
    return this.#text[this.#at];
  }
}

const composite = new Composite();

/** A comma, a closing bracket or white space. NaN is the end of the text. */
function endsScalar(code: number): boolean {
  return code === 0x2c || code === 0x7d || code === 0x5d || !(code > 0x20);
}

function forget(wanted: Wanted, slots: unknown[]): void {
  if (wanted.slot >= 0) slots[wanted.slot] = undefined;
  for (const member of wanted.names.values()) forget(member, slots);
}
