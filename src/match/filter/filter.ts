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
 * a filter depends on an unknown result, its own result is unknown. The same holds for a condition
 * that the filter has no steps left for.
 *
 * Filters hold no code and no patterns, and everything in them is bounded, because tenants write
 * filters and the daemon runs them. sql/migrations/0002_filters.sql has the same rules with the
 * same sentences. test/match/filters.corpus.ts checks that both agree.
 */

import { Decimal } from '../../shared/json/decimal.ts';
import { Conditions, FilterProblem } from './conditions.ts';
import type { Row } from './row.ts';

/**
 * `because` names the condition that does not hold or has no result. It never holds a row's value.
 * `too_costly`: the filter needs more steps than it may take for one row (match/filter/row.ts).
 */
export type Match = { matched: true } | { matched: false | 'unknown' | 'too_costly'; because: string };

export interface Filter {
  matches(row: Row): Match;
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
  return {
    matches(row) {
      row.begin();
      const refusal = check.refusal(row);
      if (refusal === undefined) return { matched: true };
      const { isKnown, because } = refusal;
      return { matched: isKnown ? false : row.isExhausted ? 'too_costly' : 'unknown', because };
    },
  };
}
