/** Matches event types against patterns. Pure. */

/** True for an exact pattern (`deal.updated`), a prefix (`deal.*`) or all types (`*`). */
export function wants(eventTypes: readonly string[], eventType: string): boolean {
  return eventTypes.some(
    (pattern) =>
      pattern === eventType ||
      pattern === '*' ||
      (pattern.endsWith('.*') && eventType.startsWith(pattern.slice(0, -1))),
  );
}
