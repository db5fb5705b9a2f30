/** What /healthz, /readyz and systemd's watchdog are told: in a sentence what is wrong, or null. */
import { type BacklogWatcher, STUCK_MS } from './backlog.ts';
import type { Vitals } from './metrics.ts';

type Backlog = Pick<BacklogWatcher, 'problem'>;

/** Why a restart of the process may help. */
export function healthProblem(vitals: Vitals, backlog: Backlog): string | null {
  if (vitals.lateMs > STUCK_MS) return `the loop has not turned for ${Math.round(vitals.lateMs)} ms`;
  return backlog.problem(vitals.standingBy);
}

/** Why nothing is delivered from here, although no other daemon does it. */
export function readyProblem(vitals: Vitals, backlog: Backlog): string | null {
  if (!vitals.standingBy && vitals.lanes === 0) return 'it is starting, or the database does not answer';
  if (!vitals.standingBy && !vitals.leaseIsValid)
    return 'the leases could not be renewed: the database does not answer';
  return healthProblem(vitals, backlog);
}
