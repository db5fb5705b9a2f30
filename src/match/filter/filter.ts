/**
 * A webhook's filter: conditions on an event's row, as JSON.
 *
 * {"data.stage": "won", "data.value": {"$gt": 10000}}       both must hold
 * {"$or": [{"data.stage": "won"}, {"previous.stage": {"$exists": true}}]}
 *
 * A key is a path or $and, $or, $not. A path starts with `data` or `previous`. Dots join its names,
 * and a number is an array's index. A path's condition is a value or an object of operators. The
 * path's value must equal that value, or all operators must hold. $and, $or and $not also work
 * inside the object. null is a value: `$exists` holds for it. On a missing path, `$ne`, `$nin` and
 * `$not` hold and the other operators do not. `previous` holds the old values of the columns that
 * an update changed, so {"previous.stage": {"$exists": true}} means that the stage changed.
 *
 * A thin event has only the key columns. The result of a condition on another column is unknown. If
 * a filter depends on an unknown result, its own result is unknown.
 *
 * Filters hold no code and no patterns, and everything in them is bounded, because tenants write
 * filters and the daemon runs them. sql/migrations/0002_filters.sql has the same rules with the
 * same sentences. test/match/filters.corpus.ts checks that both agree.
 */

import { Decimal } from '../../shared/decimal.ts';
import { readValues } from '../../shared/json-values.ts';
import { Conditions, FilterProblem, type Slots, UNKNOWN } from './conditions.ts';

/** `because` names the condition that does not hold or is unknown. It never holds a row's value. */
export type Match = { matched: true } | { matched: false; because: string } | { matched: 'unknown'; because: string };

export interface Filter {
  /** `data` and `previous` are JSON texts as PostgreSQL wrote them. */
  matches(data: string, previous: string | undefined): Match;
  /**
   * Matches a thin event. Its `data` has some of the row's columns. The other columns and all
   * previous values are unknown.
   */
  matchesThin(data: string): Match;
}

/** Parses a filter and keeps every digit of its numbers. `JSON.parse` alone would round them. */
export function parseFilter(text: string): unknown {
  const keepDigits = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? new Decimal(context?.source ?? String(value)) : value;
  try {
    return JSON.parse(text, keepDigits);
  } catch (error) {
    throw new FilterProblem(`filter: is not valid JSON: ${(error as Error).message}.`);
  }
}

/** Returns what is wrong with a filter, or undefined. */
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
      // After a column is read, all paths inside it are known, including missing ones.
      if (inData.names.size > 0) readValues(data, inData, slots);
      return answer(slots);
    },
  };
}
