/** Which event types a list of patterns selects. Pure. */

/** Exact (`deal.updated`), by prefix (`deal.*`) or all (`*`). */
export function wants(eventTypes: readonly string[], eventType: string): boolean {
  return eventTypes.some(
    (pattern) =>
      pattern === eventType ||
      pattern === '*' ||
      (pattern.endsWith('.*') && eventType.startsWith(pattern.slice(0, -1))),
  );
}
