/**
 * Checks that a notification arrives: one connection listens, another notifies. A pooler that
 * shares connections per transaction accepts LISTEN silently and delivers no notification. Checks
 * that the server's queue of notifications has room, and finds who may keep it full.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { connect } from '../../database/connections.ts';
import { isQueueFull } from '../../database/notification-listener.ts';
import { printable } from '../../shared/terminal.ts';
import { ageText } from '../../shared/text.ts';
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
  } catch (error) {
    if (!isQueueFull(error)) throw error;
    return [
      {
        kind: 'unseen',
        what: "whether a NOTIFY arrives, because the server's NOTIFY queue is full",
        fix: 'end the session that the check "notify queue" names, and run rowhook doctor again',
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

/** Limit on named sessions. */
const NAMED_MAX = 5;
/** A listening session reads its notifications between two transactions, so it is not short ones. */
const TRANSACTION_SECONDS = 1;

interface Holder {
  pid: number;
  user: string;
  application: string;
  database: string;
  isReading: boolean;
  seconds: number;
}

/**
 * A session that listens keeps the queue as long as its transaction is open, or its client reads
 * nothing. PostgreSQL does not tell which sessions listen, so the oldest candidates are named.
 */
export async function notifyQueue({ client, limits }: Examination): Promise<CheckResult[]> {
  const { rows: usages } = await client.query<{ usage: number }>('select pg_notification_queue_usage() as usage');
  const usage = usages[0]?.usage ?? 0;
  const what = `the server's NOTIFY queue is ${Math.round(usage * 100)} % full`;
  if (usage <= limits.queueUsage) return [fine(what)];
  const { rows } = await client.query<Holder>(
    `select pid, usename as user, application_name as application, datname as database,
            wait_event is distinct from 'ClientWrite' as "isReading",
            extract(epoch from clock_timestamp() - coalesce(xact_start, state_change))::float8 as seconds
       from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid()
        and (xact_start < clock_timestamp() - make_interval(secs => ${TRANSACTION_SECONDS})
             or wait_event = 'ClientWrite')
      order by coalesce(xact_start, state_change) limit ${NAMED_MAX}`,
  );
  const why =
    'When it is full, every transaction that has called NOTIFY fails at COMMIT, in all databases of the server. ' +
    'rowhook notifies nobody while the queue is more than half full, so writes to watched tables go on, and ' +
    'daemons poll. A transaction that notified before that may still fail.';
  if (rows.length === 0)
    return [
      { kind: 'warning', what, why, fix: "end the process that the server's log names, with pg_terminate_backend()" },
    ];
  return rows.map(({ pid, user, application, database, isReading, seconds }) => ({
    kind: 'warning',
    what: printable(
      `${what}. If it listens, a session of ${user} (${application || 'no application name'}, database ${database}) ` +
        (isReading
          ? `keeps it so: its transaction has been open for ${ageText(seconds)}`
          : `keeps it so: its client has read nothing for ${ageText(seconds)}`),
    ),
    why: `${why} The server's log names the process that keeps the queue full.`,
    fix: `select pg_terminate_backend(${pid});   -- as ${printable(user)}, or with pg_signal_backend`,
  }));
}
