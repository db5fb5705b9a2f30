/** All checks of `rowhook doctor`, in the order in which they are told. */
import { bell } from './bell.ts';
import { captureCost } from './capture-cost.ts';
import { clock } from './clock.ts';
import { daemons } from './daemons.ts';
import { events } from './events.ts';
import { logDays } from './log-days.ts';
import { muted } from './muted.ts';
import { printing } from './printing.ts';
import { privileges } from './privileges.ts';
import type { Check, Examination, Remark } from './remark.ts';
import { ring } from './ring.ts';
import { schema } from './schema.ts';
import { server } from './server.ts';
import { longTransactions, preparedTransactions } from './transactions.ts';
import { triggers } from './triggers.ts';
import { webhooks } from './webhooks.ts';

/** These ask PostgreSQL alone. */
const OF_THE_SERVER: Readonly<Record<string, Check>> = {
  listen: bell,
  clock,
  transactions: longTransactions,
  'prepared transactions': preparedTransactions,
};

/** These read rowhook's own tables. */
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

/** Runs the checks, one after another; one that may not look says so. */
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
    const mend = 'connect as a role that rowhook_daemon or rowhook_owner is granted to';
    return [{ check: name, kind: 'unseen', what: message, mend }];
  }
}
