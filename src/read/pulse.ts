/** A poll: what tells whether there is something to read. */
import type pg from 'pg';
import type { Window } from '../model.ts';
import { RAW, READ_PULSE } from './statements.ts';

/**
 * What a poll returns. There is something to read only if `snapshot` or `sequenceValue` has
 * changed.
 */
export interface Pulse {
  snapshot: string;
  sequenceValue: string;
  /** The value of rowhook.doorbell. */
  doorbell: string;
}

/** How far a reader has looked. */
export type Seen = Pick<Pulse, 'snapshot' | 'sequenceValue'>;
export const NOTHING_SEEN: Seen = { snapshot: '', sequenceValue: '' };

export async function readPulse(client: pg.ClientBase): Promise<Pulse> {
  const [row] = (await client.query({ ...READ_PULSE, ...RAW })).rows as string[][];
  const [snapshot, sequenceValue, doorbell] = row as [string, string, string];
  return { snapshot, sequenceValue, doorbell };
}

/** What a poll would have returned when the window was read. Undefined: the window had ended before. */
export function pulseOf({ after, doorbell }: Window): Pulse | undefined {
  return doorbell === undefined ? undefined : { snapshot: after.from, sequenceValue: after.sequenceValue, doorbell };
}

/** Number of outbox ids taken between two polls. The first poll counts as 1. */
export function idsBetween(seen: Seen, { sequenceValue }: Seen): number {
  if (seen === NOTHING_SEEN) return 1;
  return Number(BigInt(sequenceValue) - BigInt(seen.sequenceValue));
}
