/**
 * Defines the operators of a filter. Strings compare with strings by code point. Numbers compare
 * with numbers exactly. Other types have no order. A missing value is undefined and equals nothing,
 * so `$ne` and `$nin` hold and the other operators do not. A test looks at no more of a value than
 * its operand is long, except for the search of `$contains`, which has its price.
 */
import { Decimal } from '../../shared/json/decimal.ts';
import { Composite, keyOf, type Scalar, type Value } from '../../shared/json/json-values.ts';
import { type Known, UNKNOWN } from './row.ts';

/** `spend` pays for the steps of a test. The result is unknown if it returns false. */
export type Test = (value: Value | undefined, spend: (steps: number) => boolean) => Known<boolean>;

export interface Operator {
  /** What the operand must be, as text for messages and as a check. */
  readonly takes: string;
  readonly accepts: (operand: readonly Scalar[], isList: boolean) => boolean;
  /** `first` is the operand, or the first of a list of `operands`. */
  readonly test: (first: Scalar, operands: readonly Scalar[]) => Test;
  /** True if the test looks into an array or a whole string. Such tests come after all others. */
  readonly searches?: boolean;
}

const scalar = {
  takes: 'a string, a number, true, false or null',
  accepts: (_: readonly Scalar[], isList: boolean) => !isList,
};
const ordered = {
  takes: 'a string or a number',
  accepts: ([operand]: readonly Scalar[], isList: boolean) =>
    !isList && (typeof operand === 'string' || operand instanceof Decimal),
};
const text = {
  takes: 'a string',
  accepts: ([operand]: readonly Scalar[], isList: boolean) => !isList && typeof operand === 'string',
};
const truth = {
  takes: 'true or false',
  accepts: ([operand]: readonly Scalar[], isList: boolean) => !isList && typeof operand === 'boolean',
};
const list = {
  takes: 'a list of strings, numbers, true, false or null',
  accepts: (operands: readonly Scalar[], isList: boolean) => isList && operands.length > 0,
};

export const operators: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ['$eq', { ...scalar, test: (_, operands) => isOneOf(operands) }],
  ['$ne', { ...scalar, test: (_, operands) => isNotOneOf(operands) }],
  ['$gt', { ...ordered, test: (operand) => (value) => order(value, operand) > 0 }],
  ['$gte', { ...ordered, test: (operand) => (value) => order(value, operand) >= 0 }],
  ['$lt', { ...ordered, test: (operand) => (value) => order(value, operand) < 0 }],
  ['$lte', { ...ordered, test: (operand) => (value) => order(value, operand) <= 0 }],
  ['$in', { ...list, test: (_, operands) => isOneOf(operands) }],
  ['$nin', { ...list, test: (_, operands) => isNotOneOf(operands) }],
  ['$exists', { ...truth, test: (operand) => (value) => (value !== undefined) === operand }],
  ['$startsWith', { ...text, test: (operand) => ofStrings(operand, (value, part) => value.startsWith(part)) }],
  ['$endsWith', { ...text, test: (operand) => ofStrings(operand, (value, part) => value.endsWith(part)) }],
  ['$contains', { ...scalar, test: contains, searches: true }],
]);

function isOneOf(operands: readonly Scalar[]): (value: Value | undefined) => boolean {
  const keys = new Set(operands.map(keyOf));
  const longest = Math.max(...operands.map(lengthOf));
  return (value) => value !== undefined && lengthOf(value) <= longest && keys.has(keyOf(value));
}

function isNotOneOf(operands: readonly Scalar[]): Test {
  const isOne = isOneOf(operands);
  return (value) => !isOne(value);
}

/** Values of different lengths are not equal. */
function lengthOf(value: Value): number {
  if (typeof value === 'string') return value.length;
  return value instanceof Decimal ? value.digits.length : 0;
}

function ofStrings(operand: Scalar, test: (value: string, part: string) => boolean): Test {
  return (value) => typeof value === 'string' && typeof operand === 'string' && test(value, operand);
}

/** NaN where there is no order. Every comparison with NaN is false. */
function order(value: Value | undefined, operand: Scalar): number {
  if (typeof value === 'string' && typeof operand === 'string') return compareText(value, operand);
  if (value instanceof Decimal && operand instanceof Decimal) return value.compare(operand);
  return Number.NaN;
}

/**
 * Compares code points, as PostgreSQL's "C" collation does. UTF-16 units sort differently:
 * surrogates are below U+E000.
 */
function compareText(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  let at = 0;
  while (at < length && left.charCodeAt(at) === right.charCodeAt(at)) at++;
  if (at === length) return left.length - right.length;
  const [a, b] = [left.charCodeAt(at), right.charCodeAt(at)];
  return isSurrogate(a) === isSurrogate(b) ? a - b : isSurrogate(a) ? 1 : -1;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** Tests for an element of an array, or a part of a string. */
function contains(operand: Scalar): Test {
  const key = keyOf(operand);
  const isIn = typeof operand === 'string' ? search(operand) : () => false;
  return (value, spend) => {
    if (value instanceof Composite) return value.elements.has(key);
    if (typeof value !== 'string' || typeof operand !== 'string') return false;
    return spend(value.length * STEPS_PER_CHARACTER) ? isIn(value) : UNKNOWN;
  };
}

/** The price of a search. */
const STEPS_PER_CHARACTER = 2;

/** Below this number of comparisons V8's own search is faster in every case. */
const NATIVE_SEARCH_MAX = 10_000;

/**
 * V8's search takes pattern times text in the worst case: 3 s for 16 kB of "a" and one "b" in 1 MiB
 * of "a". The search of Knuth, Morris and Pratt always takes text plus pattern.
 */
function search(part: string): (text: string) => boolean {
  const wanted = unitsOf(part);
  // borders[n]: length of the longest proper start of `part` that also ends its first n units.
  const borders = new Uint16Array(part.length + 1);
  for (let end = 1, border = 0; end < wanted.length; end++) {
    while (border > 0 && wanted[end] !== wanted[border]) border = borders[border] as number;
    if (wanted[end] === wanted[border]) border++;
    borders[end + 1] = border;
  }
  return (text) => {
    if (part.length <= 1 || text.length * part.length <= NATIVE_SEARCH_MAX) return text.includes(part);
    let matched = 0;
    const units = unitsOf(text);
    for (let at = 0; at < units.length; at++) {
      const unit = units[at];
      while (matched > 0 && unit !== wanted[matched]) matched = borders[matched] as number;
      if (unit === wanted[matched]) matched++;
      if (matched === wanted.length) return true;
    }
    return false;
  };
}

/** UTF-16 units. `charCodeAt` takes several times longer on a part of another string. */
function unitsOf(text: string): Uint16Array {
  const units = new Uint16Array(text.length);
  Buffer.from(units.buffer).write(text, 'utf16le');
  return units;
}
