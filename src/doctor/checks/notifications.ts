/**
 * Checks that a notification arrives: one connection listens, another notifies. A pooler that
 * shares connections per transaction accepts LISTEN silently and delivers no notification.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { connect } from '../../database/connections.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

export async function bell({ databaseUrl, wake, limits }: Examination): Promise<CheckResult[]> {
  const listener = await connect(databaseUrl, 'rowhook doctor');
  const ringer = await connect(databaseUrl, 'rowhook doctor').catch(async (error) => {
    await listener.end();
    throw error;
  });
  const channel = `rowhook_doctor_${randomUUID().replaceAll('-', '')}`;
  try {
    const pooled = await isPooled(listener);
    if (await isHeard(listener, ringer, channel, limits.listenMs)) {
      return [fine(`LISTEN works${pooled ? ', through a pooler in session mode' : ''}`)];
    }
    // A pooler keeps the listening connection and may give it to any client.
    await Promise.all([listener.query('unlisten *'), ringer.query('unlisten *')]);
    if (wake === 'poll') return [fine('LISTEN does not work here, but ROWHOOK_WAKE=poll does not need it')];
    return [
      {
        kind: 'error',
        what: `a NOTIFY did not arrive within ${limits.listenMs} ms${pooled ? ': a pooler in transaction mode' : ''}`,
        why:
          'A sleeping daemon is not woken up, so events wait for up to 30 s. ' +
          'Its session settings also affect other clients of the pooler.',
        fix:
          'give the daemon a DATABASE_URL that leads to PostgreSQL directly or to a pool with pool_mode = session, ' +
          'or set ROWHOOK_WAKE=poll',
      },
    ];
  } finally {
    await Promise.all([listener.end(), ringer.end()]);
  }
}

async function isHeard(listener: pg.Client, ringer: pg.Client, channel: string, withinMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const heard = new Promise<boolean>((resolve) => {
    listener.on('notification', (message) => message.channel === channel && resolve(true));
    timer = setTimeout(() => resolve(false), withinMs);
  });
  await listener.query(`listen ${channel}`);
  await ringer.query('select pg_notify($1, $2)', [channel, '']);
  const answer = await heard;
  clearTimeout(timer);
  return answer;
}

/** A pooler invents the process id that it reports to its clients. */
async function isPooled(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const reported = (client as { processID?: number | null }).processID;
  return typeof reported === 'number' && reported !== rows[0]?.pid;
}
