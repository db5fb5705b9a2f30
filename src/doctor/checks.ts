/** All checks of `rowhook doctor`, in the order of their output. */

import { remedyOfUnseen } from '../database/membership.ts';
import { captureCost } from './checks/capture-cost.ts';
import { clock } from './checks/clock.ts';
import { daemons } from './checks/daemons.ts';
import { events } from './checks/events.ts';
import { logDays } from './checks/log-days.ts';
import { muted } from './checks/muted-sessions.ts';
import { bell, notifyQueue } from './checks/notifications.ts';
import { ring } from './checks/outbox-slots.ts';
import { privileges } from './checks/privileges.ts';
import { schema } from './checks/schema.ts';
import { server } from './checks/server.ts';
import { blockers, longTransactions, preparedTransactions } from './checks/transactions.ts';
import { triggers } from './checks/triggers.ts';
import { webhooks } from './checks/webhooks.ts';
import { crowdedTenants } from './crowded-tenants.ts';
import { excludedColumns } from './excluded-columns.ts';
import type { Check, CheckResult, Examination } from './finding.ts';
import { inbound } from './inbound-events.ts';
import { printing } from './printing.ts';

/** Checks that query only PostgreSQL itself. */
const OF_THE_SERVER: Readonly<Record<string, Check>> = {
  listen: bell,
  'notify queue': notifyQueue,
  clock,
  transactions: longTransactions,
  'prepared transactions': preparedTransactions,
  locks: blockers,
};

/** Checks that read rowhook's own tables. */
const OF_ROWHOOK: Readonly<Record<string, Check>> = {
  triggers,
  printing,
  columns: excludedColumns,
  muted,
  daemons,
  webhooks,
  tenants: crowdedTenants,
  events,
  slots: ring,
  'log days': logDays,
  inbound,
  'capture cost': captureCost,
};

export type NamedResult = CheckResult & { check: string };

/** Runs the checks one after another. A check without permission reports that. */
export async function examine(examination: Examination): Promise<NamedResult[]> {
  const results = await run('server', server, examination);
  if (hasErrors(results)) return results;
  const ofSchema = await run('schema', schema, examination);
  const checks: Record<string, Check> = { ...OF_THE_SERVER };
  if (!hasErrors(ofSchema)) Object.assign(checks, { privileges });
  if (ofSchema.every(({ kind }) => kind === 'fine')) Object.assign(checks, OF_ROWHOOK);
  results.push(...ofSchema);
  for (const [name, check] of Object.entries(checks)) results.push(...(await run(name, check, examination)));
  return results;
}

function hasErrors(results: readonly CheckResult[]): boolean {
  return results.some(({ kind }) => kind === 'error');
}

const INSUFFICIENT_PRIVILEGE = '42501';
const LOCK_NOT_AVAILABLE = '55P03';

const LOCKED: CheckResult = {
  kind: 'unseen',
  what: 'a table of rowhook, because another session has locked it for more than 2 s',
  fix: 'end the session that the check "locks" names, and run rowhook doctor again',
};

async function run(name: string, check: Check, examination: Examination): Promise<NamedResult[]> {
  try {
    return (await check(examination)).map((result) => ({ check: name, ...result }));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === LOCK_NOT_AVAILABLE) return [{ check: name, ...LOCKED }];
    if (code !== INSUFFICIENT_PRIVILEGE) throw error;
    return [{ check: name, kind: 'unseen', what: message, fix: await remedyOfUnseen(examination.client) }];
  }
}
