/** Finds transactions that stay open, and forgotten prepared transactions. */

import { printable } from '../../shared/terminal.ts';
import { ageText } from '../../shared/text.ts';
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
  const none = fine(`no transaction has been open for more than ${ageText(limits.transactionSeconds)}`);
  return [...(open.length > 0 ? open : [none]), ...(await unseen(client))];
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
      what: `transactions of ${count} connections of other roles`,
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
