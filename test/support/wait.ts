import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for a condition that cannot announce itself, such as a row. Returns what the condition answered. */
export async function waitUntil<T>(
  description: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 60_000, everyMs = 20 } = {},
): Promise<Exclude<NonNullable<T>, false | 0 | ''>> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    const answer = await condition();
    if (answer) return answer as Exclude<NonNullable<T>, false | 0 | ''>;
    if (performance.now() >= until) {
      throw new Error(`Waited ${timeoutMs} ms until ${description}. The last answer was ${JSON.stringify(answer)}.`);
    }
    await sleep(everyMs);
  }
}
