/** Which entries are recorded together. Pure. */
import type { Entry } from '../model.ts';

/** Delivered or given up at its first attempt: no row waits for it, and its webhook was and is well. */
export function leavesItsLogOnly({ attempt, delivery, next, health }: Entry): boolean {
  return attempt !== null && next.kind === 'finished' && !delivery.parked && health.kind === 'unchanged';
}

/** All entries of a delivery stay together: one that was parked and then done in the same batch leaves no row. */
export function divide(entries: readonly Entry[]): { logOnly: Entry[]; rest: Entry[] } {
  const others = new Set(entries.filter((entry) => !leavesItsLogOnly(entry)).map(({ delivery }) => delivery.id));
  const isRest = ({ delivery }: Entry) => others.has(delivery.id);
  if (others.size === 0) return { logOnly: [...entries], rest: [] };
  return { logOnly: entries.filter((entry) => !isRest(entry)), rest: entries.filter(isRest) };
}

/** At least so many: a request's deliveries are written by one transaction, which gives them one time to be tried again at. */
export function wholeBatches(entries: readonly Entry[], count: number): number {
  const batchOf = (i: number) => entries[i]?.delivery.batchId ?? null;
  let end = count;
  while (batchOf(end) !== null && batchOf(end) === batchOf(end - 1)) end++;
  return end;
}

/** Those that are written together or not at all: all entries of a delivery, and all deliveries of a request. */
export function groupsOf(entries: readonly Entry[]): Entry[][] {
  return [...Map.groupBy(entries, ({ delivery }) => delivery.batchId ?? delivery.id).values()];
}

/** What is left of entries whose log rows the database refuses: what others wrote is taken out, and the reason is put in. */
export function withoutTexts(entries: readonly Entry[], reason: string): Entry[] {
  return entries.map((entry) => {
    const { attempt } = entry;
    if (!attempt) return entry;
    const { response } = attempt.outcome;
    const outcome = {
      ...attempt.outcome,
      error: `the database refused what was to be logged: ${reason}`,
      response: response && { status: response.status, headers: {}, body: '' },
    };
    return { ...entry, attempt: { ...attempt, outcome, requestUrl: '', requestHeaders: {} } };
  });
}
