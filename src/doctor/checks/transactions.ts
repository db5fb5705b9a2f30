/** Finds transactions that stay open, forgotten prepared transactions, and sessions that block the daemon. */

import { printable } from '../../shared/terminal.ts';
import { ageText, counted } from '../../shared/text.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

/** Limit on named transactions. One is as harmful as twenty. */
const NAMED_MAX = 20;

const WHY =
  'Its events are sent only after it commits. Until then the daemon polls and does not sleep, ' +
  'the outbox slots that it used are not emptied, and vacuum cannot remove dead rows.';

interface Open {
  pid: number;
  user: string;
  application: string;
  database: string;
  state: string;
  seconds: number;
}

/**
 * A transaction of another database counts if it has an id, because the whole cluster shares ids.
 */
export async function longTransactions({ client, limits }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<Open>(
    `select pid, usename as user, application_name as application, datname as database, state,
            extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
       from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid()
        and xact_start < clock_timestamp() - make_interval(secs => $1)
        and (datname = current_database() or backend_xid is not null)
      order by xact_start
      limit ${NAMED_MAX}`,
    [limits.transactionSeconds],
  );
  const open = rows.map(
    ({ pid, user, application, database, state, seconds }): CheckResult => ({
      kind: 'warning',
      what: printable(
        `a transaction of ${user} (${application || 'no application name'}, database ${database}, ${state}) ` +
          `has been open for ${ageText(seconds)}`,
      ),
      why: WHY,
      fix: `select pg_terminate_backend(${pid});`,
    }),
  );
  const found = [...open, ...(await unseen(client))];
  if (found.length > 0) return found;
  return [fine(`no transaction has been open for more than ${ageText(limits.transactionSeconds)}`)];
}

/** An ordinary role cannot see what other roles do. */
async function unseen(client: Examination['client']): Promise<CheckResult[]> {
  const { rows } = await client.query<{ count: number; user: string }>(
    `select count(*)::int as count, quote_ident(current_user) as user from pg_stat_activity
      where datname = current_database() and query = '<insufficient privilege>'`,
  );
  const { count = 0, user = '' } = rows[0] ?? {};
  if (count === 0) return [];
  return [
    {
      kind: 'unseen',
      what: `transactions of ${counted(count, 'connection')} of other roles`,
      fix: `grant pg_read_all_stats to ${user};`,
    },
  ];
}

export async function preparedTransactions({ client, limits }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<{ id: string; owner: string; database: string; seconds: number; quoted: string }>(
    `select gid as id, quote_literal(gid) as quoted, owner, database,
            extract(epoch from clock_timestamp() - prepared)::float8 as seconds
       from pg_prepared_xacts
      where prepared < clock_timestamp() - make_interval(secs => $1)
      order by prepared
      limit ${NAMED_MAX}`,
    [limits.transactionSeconds],
  );
  if (rows.length === 0) return [fine(`no prepared transaction is older than ${ageText(limits.transactionSeconds)}`)];
  return rows.map(({ id, quoted, owner, database, seconds }) => ({
    kind: 'warning',
    what: printable(
      `the prepared transaction "${id}" of ${owner} in database ${database} has waited for ${ageText(seconds)}`,
    ),
    why: `The client that should end it may be gone. ${WHY}`,
    fix:
      `rollback prepared ${printable(quoted)};   -- in database ${printable(database)}; ` +
      'or commit prepared, if its transaction manager says so',
  }));
}

interface Blocker {
  pid: number;
  user: string;
  application: string;
  /** Connections of rowhook that wait for it. */
  waiting: string;
  seconds: number;
  is_superuser: boolean;
}

/** Sessions of others whose locks the daemon waits for. Every role may see these columns. */
export async function blockers({ client, limits }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<Blocker>(
    `select b.pid, b.usename as user, b.application_name as application,
            string_agg(distinct a.application_name, ', ') as waiting,
            extract(epoch from clock_timestamp() - min(l.waitstart))::float8 as seconds,
            coalesce((select r.rolsuper from pg_roles r where r.rolname = b.usename), false) as is_superuser
       from pg_locks l
       join pg_stat_activity a on a.pid = l.pid
      cross join lateral unnest(pg_blocking_pids(a.pid)) as p (pid)
       join pg_stat_activity b on b.pid = p.pid
      where not l.granted
        and l.waitstart < clock_timestamp() - make_interval(secs => $1)
        and a.datname = current_database()
        and a.application_name like 'rowhook%' and b.application_name not like 'rowhook%'
      group by b.pid, b.usename, b.application_name
      order by seconds desc, b.pid
      limit ${NAMED_MAX}`,
    [limits.lockSeconds],
  );
  if (rows.length === 0) return [fine('no session of rowhook waits for a lock')];
  return rows.map(({ pid, user, application, waiting, seconds, is_superuser }) => ({
    kind: 'warning',
    what: printable(
      `a session of ${user} (${application || 'no application name'}) holds a lock that ${waiting} ` +
        `has waited for, for ${ageText(seconds)}`,
    ),
    why: 'While the daemon waits for a lock, it cannot record what was sent, and events are late.',
    fix: `select pg_terminate_backend(${pid});   -- if its work is not needed; it needs ${is_superuser ? 'a superuser' : 'pg_signal_backend'}`,
  }));
}
