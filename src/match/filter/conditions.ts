/**
 * Compiles a filter's JSON into checks. This file holds the grammar, the limits, and the sentence
 * for each condition that does not hold. A problem is thrown where it is found, with the path to
 * it.
 */

import { Decimal } from '../../shared/json/decimal.ts';
import type { Scalar } from '../../shared/json/json-values.ts';
import { operators } from './operators.ts';
import { type Row, UNKNOWN } from './row.ts';

const charactersMax = 16_384;
const conditionsMax = 100;
const levelsMax = 8;
const pathCharactersMax = 256;
const pathNamesMax = 16;
const digitsMax = 1_000;
/** Limit on a name or value that a sentence quotes. */
const quotedCharactersMax = 60;

/** The filter is invalid. The message says what is wrong, and where. */
export class FilterProblem extends Error {}

/** Why a filter refuses an event: a condition does not hold, or its result is unknown. */
export interface Refusal {
  readonly isKnown: boolean;
  readonly because: string;
}

/**
 * Returns the refusal of the condition that does not hold, or undefined. Refusals are created once,
 * with the filter. The rules are those of SQL: one condition known to be false refuses $and, one
 * condition known to be true passes $or, and $not of unknown is unknown.
 */
export interface Check {
  refusal(row: Row): Refusal | undefined;
  /** True if it may search in long values. Other checks come first, because they may decide. */
  readonly searches: boolean;
}

export class Conditions {
  #conditionCount = 0;
  #characterCount = 0;

  /**
   * Conditions that must all hold: a whole filter, or the conditions of one path. `where` is the
   * path to this part of the filter, such as `$or[1] "data.stage"`.
   */
  compile(value: unknown, where: readonly string[], path: string | undefined, level: number): Check {
    if (!isObject(value)) {
      if (path !== undefined) return this.#operator('$eq', value, where, path);
      throw problem(where, 'must be an object of conditions such as {"data.stage":"won"}');
    }
    if (level > levelsMax) throw problem(where, `is nested deeper than ${levelsMax} levels`);
    const entries = Object.entries(value);
    if (entries.length === 0 && where.length > 0) throw problem(where, 'has no condition');
    return all(entries.map(([key, operand]) => this.#entry(key, operand, where, path, level)));
  }

  #entry(key: string, operand: unknown, where: readonly string[], path: string | undefined, level: number): Check {
    this.#count(key);
    if (key === '$and' || key === '$or') {
      if (!Array.isArray(operand) || operand.length === 0) throw problem([...where, key], 'takes a list of conditions');
      const checks = operand.map((member, i) => this.compile(member, [...where, `${key}[${i}]`], path, level + 1));
      return key === '$and' ? all(checks) : any(checks, `${[...where, key].join(' ')}: none of its conditions holds`);
    }
    if (key === '$not') {
      return not(this.compile(operand, [...where, key], path, level + 1), `${[...where, key].join(' ')} does not hold`);
    }
    if (path !== undefined) return this.#operator(key, operand, where, path);
    if (operators.has(key))
      throw problem([...where, key], `stands without a path; write {"data.value":{"${key}":...}}`);
    if (key.startsWith('$')) throw unknownOperator(key, where);
    checkPath(key, where);
    return this.compile(operand, [...where, quote(key)], key, level);
  }

  #operator(name: string, given: unknown, where: readonly string[], path: string): Check {
    const operator = operators.get(name);
    if (operator === undefined) throw unknownOperator(name, where);
    if (++this.#conditionCount > conditionsMax) throw problem([], `has more than ${conditionsMax} conditions`);
    const here = [...where, name];
    const isList = Array.isArray(given);
    const givens: readonly unknown[] = isList ? given : [given];
    const operands = givens.map((each) => this.#scalar(each, here)).filter((each) => each !== undefined);
    if (operands.length < givens.length || !operator.accepts(operands, isList)) {
      throw problem(here, `takes ${operator.takes}`);
    }
    const names = path.split('.');
    const searches = operator.searches ?? false;
    const test = operator.test(operands[0] ?? null, operands);
    const shown = operands.map((each) => (each instanceof Decimal ? each.source : JSON.stringify(each))).join();
    const condition = `${here.join(' ')} ${cut(isList ? `[${shown}]` : shown)}`;
    const known = doesNotHold(`${condition} does not hold`);
    const unknown = { isKnown: false, because: condition };
    const refusal = (row: Row) => {
      const value = row.valueAt(names, searches);
      const holds = value === UNKNOWN ? UNKNOWN : test(value, (steps) => row.spend(steps));
      if (holds === UNKNOWN) return unknown;
      return holds ? undefined : known;
    };
    return { refusal, searches };
  }

  #scalar(given: unknown, here: readonly string[]): Scalar | undefined {
    if (given === null || typeof given === 'boolean') return given;
    if (typeof given === 'string') return this.#count(given);
    const decimal = typeof given === 'number' && Number.isFinite(given) ? new Decimal(String(given)) : given;
    if (!(decimal instanceof Decimal)) return undefined;
    if (decimal.plainDigits > digitsMax) throw problem(here, `takes numbers of at most ${digitsMax} digits`);
    this.#count(decimal.digits);
    return decimal;
  }

  #count(text: string): string {
    this.#characterCount += lengthOf(text);
    if (this.#characterCount > charactersMax) throw problem([], `is longer than ${charactersMax} characters`);
    return text;
  }
}

function checkPath(path: string, where: readonly string[]): void {
  const names = path.split('.');
  const [root] = names;
  if ((root !== 'data' && root !== 'previous') || names.length < 2 || names.includes('')) {
    throw problem([...where, quote(path)], 'is not a path; write data. or previous. and a name, such as data.stage');
  }
  if (names.length > pathNamesMax || lengthOf(path) > pathCharactersMax) {
    throw problem([...where, quote(path)], `is longer than ${pathNamesMax} names or ${pathCharactersMax} characters`);
  }
}

function all(checks: readonly Check[]): Check {
  const inOrder = searchesLast(checks);
  const refusal = (row: Row) => {
    let unknown: Refusal | undefined;
    for (const check of inOrder) {
      const refused = check.refusal(row);
      if (refused?.isKnown) return refused;
      unknown ??= refused;
    }
    return unknown;
  };
  return { refusal, searches: checks.some(({ searches }) => searches) };
}

function any(checks: readonly Check[], because: string): Check {
  const none = doesNotHold(because);
  const inOrder = searchesLast(checks);
  const refusal = (row: Row) => {
    let unknown: Refusal | undefined;
    for (const check of inOrder) {
      const refused = check.refusal(row);
      if (refused === undefined) return undefined;
      if (!refused.isKnown) unknown ??= refused;
    }
    return unknown ?? none;
  };
  return { refusal, searches: checks.some(({ searches }) => searches) };
}

function searchesLast(checks: readonly Check[]): Check[] {
  return checks.toSorted((a, b) => Number(a.searches) - Number(b.searches));
}

function not({ refusal: inner, searches }: Check, because: string): Check {
  const holds = doesNotHold(because);
  const refusal = (row: Row) => {
    const refused = inner(row);
    if (refused === undefined) return holds;
    return refused.isKnown ? undefined : refused;
  };
  return { refusal, searches };
}

function doesNotHold(because: string): Refusal {
  return { isKnown: true, because };
}

function problem(where: readonly string[], verdict: string): FilterProblem {
  return new FilterProblem(`${['filter:', ...where, verdict].join(' ')}.`);
}

function unknownOperator(name: string, where: readonly string[]): FilterProblem {
  const known = [...operators.keys(), '$and', '$or', '$not'].join(', ');
  return problem(where, `uses unknown operator ${quote(name)}; known operators are ${known}`);
}

function quote(name: string): string {
  return JSON.stringify(cut(name));
}

function cut(text: string): string {
  const characters = [...text];
  return characters.length > quotedCharactersMax ? `${characters.slice(0, quotedCharactersMax).join('')}...` : text;
}

/** Counts code points, as PostgreSQL does. */
function lengthOf(text: string): number {
  return [...text].length;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Decimal);
}
