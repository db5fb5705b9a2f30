/**
 * Defines the operators of a filter. Strings compare with strings by code point. Numbers compare
 * with numbers exactly. Other types have no order. A missing value is undefined and equals nothing,
 * so `$ne` and `$nin` hold and the other operators do not. Each test takes time linear in its
 * value, whatever a tenant writes.
 */
import { Decimal } from '../../shared/decimal.ts';
import { Composite, keyOf, type Scalar, type Value } from '../../shared/json-values.ts';

export type Test = (value: Value | undefined) => boolean;

export interface Operator {
  /** What the operand must be, as text for messages and as a check. */
  readonly takes: string;
  readonly accepts: (operand: readonly Scalar[], isList: boolean) => boolean;
  /** `first` is the operand, or the first of a list of `operands`. */
  readonly test: (first: Scalar, operands: readonly Scalar[]) => Test;
  /** True if the test needs the elements of an array. */
  readonly elements?: boolean;
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
  ['$ne', { ...scalar, test: (_, operands) => not(isOneOf(operands)) }],
  ['$gt', { ...ordered, test: (operand) => (value) => order(value, operand) > 0 }],
  ['$gte', { ...ordered, test: (operand) => (value) => order(value, operand) >= 0 }],
  ['$lt', { ...ordered, test: (operand) => (value) => order(value, operand) < 0 }],
  ['$lte', { ...ordered, test: (operand) => (value) => order(value, operand) <= 0 }],
  ['$in', { ...list, test: (_, operands) => isOneOf(operands) }],
  ['$nin', { ...list, test: (_, operands) => not(isOneOf(operands)) }],
  ['$exists', { ...truth, test: (operand) => (value) => (value !== undefined) === operand }],
  ['$startsWith', { ...text, test: (operand) => ofStrings(operand, (value, part) => value.startsWith(part)) }],
  ['$endsWith', { ...text, test: (operand) => ofStrings(operand, (value, part) => value.endsWith(part)) }],
  ['$contains', { ...scalar, test: contains, elements: true }],
]);

function isOneOf(operands: readonly Scalar[]): Test {
  const keys = new Set(operands.map(keyOf));
  return (value) => value !== undefined && keys.has(keyOf(value));
}

function not(test: Test): Test {
  return (value) => !test(value);
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
  const inText = typeof operand === 'string' ? search(operand) : () => false;
  return (value) => (value instanceof Composite ? value.elements.has(key) : typeof value === 'string' && inText(value));
}

/** Below this number of comparisons V8's own search is faster in every case. */
const nativeSearchMax = 1_000_000;

/**
 * V8's search takes pattern times text in the worst case: 3 s for 16 kB of "a" and one "b" in 1 MiB
 * of "a". The search of Knuth, Morris and Pratt always takes text plus pattern.
 */
function search(part: string): (text: string) => boolean {
  // borders[n]: length of the longest proper start of `part` that also ends its first n units.
  const borders = new Uint16Array(part.length + 1);
  for (let end = 1, border = 0; end < part.length; end++) {
    while (border > 0 && part.charCodeAt(end) !== part.charCodeAt(border)) border = borders[border] ?? 0;
    if (part.charCodeAt(end) === part.charCodeAt(border)) border++;
    borders[end + 1] = border;
  }
  return (text) => {
    if (text.length * part.length <= nativeSearchMax) return text.includes(part);
    let matched = 0;
    for (let at = 0; at < text.length; at++) {
      while (matched > 0 && text.charCodeAt(at) !== part.charCodeAt(matched)) matched = borders[matched] ?? 0;
      if (text.charCodeAt(at) === part.charCodeAt(matched)) matched++;
      if (matched === part.length) return true;
    }
    return part.length === 0;
  };
}
