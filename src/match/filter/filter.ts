/**
 * A webhook's filter: conditions on an event's row, as JSON.
 *
 *   {"data.stage": "won", "data.value": {"$gt": 10000}}       both
 *   {"$or": [{"data.stage": "won"}, {"previous.stage": {"$exists": true}}]}
 *
 * A key is a path (names below `data` or `previous`, joined by dots; a number is an array's index) or $and, $or, $not. A path's
 * condition is a value, which must be equal, or an object of operators, which must all hold; $and, $or and $not work inside it
 * as well. null is a value: `$exists` holds for it. On a path that is not there `$ne`, `$nin` and `$not` hold, the others do not.
 * `previous` holds the old values of the columns that an update changed, so {"previous.stage": {"$exists": true}} says that
 * the stage changed.
 *
 * A thin event has the columns of the key only. Conditions on these are answered, all others are unknown, and a filter that depends
 * on one of them is unknown as a whole.
 *
 * No code and no patterns, and a bound on everything, because tenants write filters and the daemon runs them. The same rules
 * stand in sql/migrations/0002_filters.sql, with the same sentences; test/match/filters.corpus.ts keeps the two together.
 */

import { Decimal } from '../../shared/decimal.ts';
import { readValues } from '../../shared/json-values.ts';
import { Conditions, FilterProblem, type Slots, UNKNOWN } from './conditions.ts';

/** `because` names the condition that does not hold, or that is unknown, never a value of the row. */
export type Match = { matched: true } | { matched: false; because: string } | { matched: 'unknown'; because: string };

export interface Filter {
  /** `data` and `previous` are JSON texts as PostgreSQL wrote them. */
  matches(data: string, previous: string | undefined): Match;
  /** Of a thin event, whose `data` has some of the row's columns. What the others hold, and what they held before, is unknown. */
  matchesThin(data: string): Match;
}

/** The filter of a JSON text, with every digit of its numbers. `JSON.parse` alone would round them. */
export function parseFilter(text: string): unknown {
  const keepDigits = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? new Decimal(context?.source ?? String(value)) : value;
  try {
    return JSON.parse(text, keepDigits);
  } catch (error) {
    throw new FilterProblem(`filter: is not valid JSON: ${(error as Error).message}.`);
  }
}

/** What is wrong with a filter, or undefined. */
export function filterProblem(filter: unknown): string | undefined {
  try {
    compileFilter(filter);
    return undefined;
  } catch (error) {
    if (error instanceof FilterProblem) return error.message;
    throw error;
  }
}

/** Throws a FilterProblem. */
export function compileFilter(filter: unknown): Filter {
  const conditions = new Conditions();
  const check = conditions.compile(filter, [], undefined, 1);
  const { data: inData, previous: inPrevious } = conditions.wanted;
  const answer = (slots: Slots): Match => {
    const refusal = check(slots);
    if (refusal === undefined) return { matched: true };
    return { matched: refusal.isKnown ? false : 'unknown', because: refusal.because };
  };
  return {
    matches(data, previous) {
      const slots: Slots = [];
      if (inData.names.size > 0) readValues(data, inData, slots);
      if (inPrevious.names.size > 0 && previous !== undefined) readValues(previous, inPrevious, slots);
      return answer(slots);
    },
    matchesThin(data) {
      const slots: Slots = Array<typeof UNKNOWN>(conditions.slotCount).fill(UNKNOWN);
      // reading a column makes what lies in it known, also what is not there
      if (inData.names.size > 0) readValues(data, inData, slots);
      return answer(slots);
    },
  };
}
