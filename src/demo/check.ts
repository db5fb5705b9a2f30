/**
 * Checks the demo's result: each event arrived once, the refused one once more, and all were
 * verified and logged. Pure.
 */
import type { SignatureCheck } from '../payload/signature.ts';

export interface Seen {
  id: string;
  event: string;
  standard: SignatureCheck;
  hex: SignatureCheck;
  answered: number;
}

export interface Logged {
  event_id: string;
  event_type: string;
  attempt: number;
  status: string;
}

export interface Outcome {
  /** The event type of each event that the script must cause. */
  expected: readonly string[];
  /** The receiver refuses one event of this type once. */
  refusedOnce: string;
  seen: readonly Seen[];
  logs: readonly Logged[];
  /** Rows left in webhook_deliveries. */
  unfinished: number;
}

/** A sentence for each event that is missing, surplus or wrong. Empty: the demo succeeded. */
export function problems({ expected, refusedOnce, seen, logs, unfinished }: Outcome): string[] {
  const found: string[] = [];
  const attemptsOf = Map.groupBy(seen, ({ id }) => id);

  for (const type of new Set([...expected, ...seen.map(({ event }) => event)])) {
    const wanted = expected.filter((event) => event === type).length;
    const came = [...attemptsOf.values()].filter(([first]) => first?.event === type).length;
    if (came !== wanted) found.push(`${type}: ${came} of ${wanted} ${wanted === 1 ? 'event' : 'events'} arrived`);
  }

  const refused = seen.find(({ event, answered }) => event === refusedOnce && answered === 500);
  if (!refused) found.push(`${refusedOnce}: no delivery was refused, so no retry was seen`);
  for (const [id, attempts] of attemptsOf) {
    const { event } = attempts[0] as Seen;
    const wanted = id === refused?.id ? 2 : 1;
    if (attempts.length !== wanted) found.push(`${event} ${id}: arrived ${attempts.length} times instead of ${wanted}`);
    for (const { standard, hex } of attempts) {
      if (standard !== 'valid') found.push(`${event} ${id}: webhook-signature is ${standard}`);
      if (hex !== 'valid') found.push(`${event} ${id}: X-Webhook-Signature is ${hex}`);
    }
    const statuses = logs
      .filter(({ event_id }) => event_id === id)
      .map(({ attempt, status }) => `${attempt} ${status}`);
    const due = wanted === 2 ? ['1 failed', '2 success'] : ['1 success'];
    if (statuses.sort().join() !== due.join()) {
      found.push(`${event} ${id}: webhook_logs says ${statuses.join(', ') || 'nothing'} instead of ${due.join(', ')}`);
    }
  }

  const strangers = logs.filter(({ event_id }) => !attemptsOf.has(event_id));
  for (const { event_type, event_id } of strangers) found.push(`${event_type} ${event_id}: logged, but never received`);
  if (unfinished > 0) found.push(`webhook_deliveries holds ${unfinished} unfinished deliveries`);
  return found;
}
