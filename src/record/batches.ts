/** Which entries are recorded together. Pure. */
import type { Entry } from '../model.ts';

/**
 * Delivered or given up at the first attempt: the delivery has no row, and its webhook was healthy
 * and still is.
 */
export function leavesItsLogOnly({ attempt, delivery, next, health }: Entry): boolean {
  return attempt !== null && next.kind === 'finished' && !delivery.parked && health.kind === 'unchanged';
}

/**
 * Separates entries that only leave a log from all others. All entries of a delivery stay together:
 * a delivery that was parked and then done in the same batch leaves no row.
 */
export function divide(entries: readonly Entry[]): { logOnly: Entry[]; rest: Entry[] } {
  const others = new Set(entries.filter((entry) => !leavesItsLogOnly(entry)).map(({ delivery }) => delivery.id));
  const isRest = ({ delivery }: Entry) => others.has(delivery.id);
  if (others.size === 0) return { logOnly: [...entries], rest: [] };
  return { logOnly: entries.filter((entry) => !isRest(entry)), rest: entries.filter(isRest) };
}

/**
 * How many entries to write next: `count`, or more if a request's deliveries would be cut. One
 * transaction writes all deliveries of a request, and gives all of them the same time for the
 * retry.
 */
export function wholeBatches(entries: readonly Entry[], count: number): number {
  const batchOf = (i: number) => entries[i]?.delivery.batchId ?? null;
  let end = count;
  while (batchOf(end) !== null && batchOf(end) === batchOf(end - 1)) end++;
  return end;
}

/**
 * Groups of entries that are written together or not at all: all entries of a delivery, and all
 * deliveries of a request.
 */
export function groupsOf(entries: readonly Entry[]): Entry[][] {
  return [...Map.groupBy(entries, ({ delivery }) => delivery.batchId ?? delivery.id).values()];
}

/**
 * Entries whose log rows the database refuses, without the texts that others wrote. `reason` stands
 * in their place.
 */
export function withoutTexts(entries: readonly Entry[], reason: string): Entry[] {
  return entries.map((entry) => {
    const { attempt } = entry;
    if (!attempt) return entry;
    const { response } = attempt.outcome;
    const outcome = {
      ...attempt.outcome,
      error: `the database refused to log this attempt: ${reason}`,
      response: response && { status: response.status, headers: {}, body: '' },
    };
    return { ...entry, attempt: { ...attempt, outcome, requestUrl: '', requestHeaders: {} } };
  });
}
