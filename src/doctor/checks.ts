/** All checks of `rowhook doctor`, in the order of their output. */

import { remedyOfUnseen } from '../database/membership.ts';
import { captureCost } from './checks/capture-cost.ts';
import { clock } from './checks/clock.ts';
import { daemons } from './checks/daemons.ts';
import { events } from './checks/events.ts';
import { logDays } from './checks/log-days.ts';
import { muted } from './checks/muted-sessions.ts';
import { bell } from './checks/notifications.ts';
import { ring } from './checks/outbox-slots.ts';
import { privileges } from './checks/privileges.ts';
import { schema } from './checks/schema.ts';
import { server } from './checks/server.ts';
import { longTransactions, preparedTransactions } from './checks/transactions.ts';
import { triggers } from './checks/triggers.ts';
import { webhooks } from './checks/webhooks.ts';
import type { Check, Examination, Remark } from './finding.ts';
import { printing } from './printing.ts';

/** Checks that query only PostgreSQL itself. */
const OF_THE_SERVER: Readonly<Record<string, Check>> = {
  listen: bell,
  clock,
  transactions: longTransactions,
  'prepared transactions': preparedTransactions,
};

/** Checks that read rowhook's own tables. */
const OF_ROWHOOK: Readonly<Record<string, Check>> = {
  triggers,
  printing,
  muted,
  daemons,
  webhooks,
  events,
  slots: ring,
  'log days': logDays,
  'capture cost': captureCost,
};

export type CheckedRemark = Remark & { check: string };

/** Runs the checks one after another. A check without permission reports that. */
export async function examine(examination: Examination): Promise<CheckedRemark[]> {
  const remarks = await run('server', server, examination);
  if (hasErrors(remarks)) return remarks;
  const ofSchema = await run('schema', schema, examination);
  const checks: Record<string, Check> = { ...OF_THE_SERVER };
  if (!hasErrors(ofSchema)) Object.assign(checks, { privileges });
  if (ofSchema.every(({ kind }) => kind === 'fine')) Object.assign(checks, OF_ROWHOOK);
  remarks.push(...ofSchema);
  for (const [name, check] of Object.entries(checks)) remarks.push(...(await run(name, check, examination)));
  return remarks;
}

function hasErrors(remarks: readonly Remark[]): boolean {
  return remarks.some(({ kind }) => kind === 'error');
}

const INSUFFICIENT_PRIVILEGE = '42501';

async function run(name: string, check: Check, examination: Examination): Promise<CheckedRemark[]> {
  try {
    return (await check(examination)).map((remark) => ({ check: name, ...remark }));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== INSUFFICIENT_PRIVILEGE) throw error;
    return [{ check: name, kind: 'unseen', what: message, mend: await remedyOfUnseen(examination.client) }];
  }
}
