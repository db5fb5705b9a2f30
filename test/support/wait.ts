import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for a condition that cannot announce itself, such as a row. Returns what the condition answered. Unless
 * `everyMs` is given, a long wait looks less often: on a busy machine, looking delays what is waited for.
 */
export async function waitUntil<T>(
  description: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 60_000, everyMs }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<Exclude<NonNullable<T>, false | 0 | ''>> {
  const begun = performance.now();
  for (;;) {
    const answer = await condition();
    if (answer) return answer as Exclude<NonNullable<T>, false | 0 | ''>;
    const waitedMs = performance.now() - begun;
    if (waitedMs >= timeoutMs) {
      throw new Error(`Waited ${timeoutMs} ms until ${description}. The last answer was ${JSON.stringify(answer)}.`);
    }
    await sleep(everyMs ?? Math.min(100, Math.max(20, waitedMs / 20)));
  }
}
