/**
 * The row of one change, as filters see it. All filters of all webhooks use the same Row, so each
 * part of its text is read once, when the first filter needs it.
 *
 * Reading has a price in steps. A filter pays for all that it uses, also for what another filter
 * has read before it. So whether a filter has enough steps for a row never depends on other
 * webhooks, and `rowhook webhook explain` says what the daemon says.
 */
import { COMPOSITE, JsonScanner, TooManySteps, type Value } from '../../shared/json/json-values.ts';

/** Limit on the work of one filter for one row. A step takes about a nanosecond. */
export const STEPS_MAX = 4_000_000;

/** The value is not in a thin event, or the filter has no steps left to read it. */
export const UNKNOWN = Symbol('unknown');

export type Known<T> = T | typeof UNKNOWN;

/** Steps that were really taken. */
interface Work {
  steps: number;
}

/** Something that was read. */
interface Part<T> {
  readonly result: Known<T>;
  /** The price. */
  readonly steps: number;
  /** The last evaluation that paid. */
  paidBy: number;
}

/** The name of an array's element. */
const INDEX = /^(?:0|[1-9]\d{0,8})$/;

/** One value in the text. What is read of it is kept. */
class Node {
  readonly #text: string;
  readonly #at: number;
  readonly #work: Work;
  readonly isObject: boolean;
  readonly isArray: boolean;
  /** Steps that are not in the price of the members. */
  readonly #freeSteps: number;
  #members: Part<ReadonlyMap<string, Node>> | undefined;
  #elements: Map<string, Part<Node | undefined>> | undefined;
  #value: Part<Value> | undefined;
  #withElements: Part<Value> | undefined;

  constructor(text: string, at: number, work: Work, freeSteps = 0) {
    this.#text = text;
    this.#at = at;
    this.#work = work;
    this.isObject = text[at] === '{';
    this.isArray = text[at] === '[';
    this.#freeSteps = freeSteps;
  }

  /** Of members with one name the last one counts, as it does for receivers. */
  get members(): Part<ReadonlyMap<string, Node>> {
    this.#members ??= this.#read((scanner) => {
      const members = new Map<string, Node>();
      scanner.object((name) => members.set(name, this.#nextOf(scanner)));
      return members;
    }, this.#freeSteps);
    return this.#members;
  }

  /** Reads an array only up to this element. */
  element(index: string): Part<Node | undefined> {
    this.#elements ??= new Map();
    let part = this.#elements.get(index);
    if (part) return part;
    part = this.#read((scanner) => {
      let found: Node | undefined;
      const last = INDEX.test(index) ? Number(index) : -1;
      if (last >= 0)
        scanner.array((at) => {
          const node = this.#nextOf(scanner);
          if (at === last) found = node;
          return at < last;
        });
      return found;
    });
    this.#elements.set(index, part);
    return part;
  }

  get value(): Part<Value> {
    const isScalar = !this.isObject && !this.isArray;
    this.#value ??= isScalar ? this.#read((scanner) => scanner.value()) : { result: COMPOSITE, steps: 0, paidBy: 0 };
    return this.#value;
  }

  /** An array with the set of its elements. Any other value as it is. */
  get withElements(): Part<Value> {
    this.#withElements ??= this.isArray ? this.#read((scanner) => scanner.valueWithElements()) : this.value;
    return this.#withElements;
  }

  #nextOf(scanner: JsonScanner): Node {
    const at = scanner.skipSpace();
    scanner.skip();
    return new Node(this.#text, at, this.#work);
  }

  #read<T>(read: (scanner: JsonScanner) => T, freeSteps = 0): Part<T> {
    const stepsMax = STEPS_MAX + freeSteps;
    const scanner = new JsonScanner(this.#text, this.#at, stepsMax);
    try {
      const result = read(scanner);
      return { result, steps: Math.max(0, stepsMax - scanner.stepsLeft - freeSteps), paidBy: 0 };
    } catch (error) {
      if (error instanceof TooManySteps) return { result: UNKNOWN, steps: Infinity, paidBy: 0 };
      throw error;
    } finally {
      this.#work.steps += stepsMax - scanner.stepsLeft;
    }
  }
}

/**
 * Whose fields a path begins with. The characters of a row are skimmed for free, because that is
 * done once for all filters; its members, and all inside them, have their price.
 */
function rootOf(text: string, work: Work): Node {
  return new Node(text, new JsonScanner(text).skipSpace(), work, text.length);
}

/** The old and new values of a row. One filter at a time is evaluated: begin() starts the next. */
export class Row {
  readonly #data: string;
  readonly #previous: string | undefined;
  readonly #isThin: boolean;
  readonly #work: Work = { steps: 0 };
  #roots: { data?: Node | undefined; previous?: Node | undefined } = {};
  #evaluation = 0;
  #stepsLeft = STEPS_MAX;

  /**
   * `data` and `previous` are JSON texts as PostgreSQL wrote them. A thin event has only some
   * columns in `data`; the others, and all of `previous`, are unknown.
   */
  constructor(data: string, previous: string | undefined, isThin = false) {
    this.#data = data;
    this.#previous = previous;
    this.#isThin = isThin;
  }

  begin(): void {
    this.#evaluation++;
    this.#stepsLeft = STEPS_MAX;
  }

  /** Whether the filter that is being evaluated needs more steps than it has. */
  get isExhausted(): boolean {
    return this.#stepsLeft < 0;
  }

  /** The steps that all filters together have really taken. What was read once counts once. */
  get stepsDone(): number {
    return this.#work.steps;
  }

  /** Adds work for this row to `stepsDone`. No filter pays for it. */
  countSteps(steps: number): void {
    this.#work.steps += steps;
  }

  /** False: the steps are used up. */
  spend(steps: number): boolean {
    this.#stepsLeft -= steps;
    if (this.#stepsLeft < 0) return false;
    this.#work.steps += steps;
    return true;
  }

  /** The value at a path, which begins with data or previous. Undefined: it is missing. */
  valueAt([root, ...names]: readonly string[], withElements: boolean): Known<Value | undefined> {
    let node = root === 'data' ? this.#dataRoot : this.#previousRoot;
    if (root !== 'data' && this.#isThin) return UNKNOWN;
    for (const [depth, name] of names.entries()) {
      const found = node === undefined ? undefined : this.#member(node, name);
      if (found === UNKNOWN) return UNKNOWN;
      // After a column is read, all paths inside it are known, including missing ones.
      if (found === undefined) return this.#isThin && depth === 0 ? UNKNOWN : undefined;
      node = found;
    }
    return node && this.#pay(withElements ? node.withElements : node.value);
  }

  #member(node: Node, name: string): Known<Node | undefined> {
    if (node.isArray) return this.#pay(node.element(name));
    if (!node.isObject) return undefined;
    const members = this.#pay(node.members);
    return members === UNKNOWN ? UNKNOWN : members.get(name);
  }

  #pay<T>(part: Part<T>): Known<T> {
    if (part.paidBy !== this.#evaluation) {
      part.paidBy = this.#evaluation;
      this.#stepsLeft -= part.steps;
    }
    return this.#stepsLeft < 0 ? UNKNOWN : part.result;
  }

  get #dataRoot(): Node {
    this.#roots.data ??= rootOf(this.#data, this.#work);
    return this.#roots.data;
  }

  get #previousRoot(): Node | undefined {
    if (this.#previous === undefined) return undefined;
    this.#roots.previous ??= rootOf(this.#previous, this.#work);
    return this.#roots.previous;
  }
}
