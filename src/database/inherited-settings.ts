/**
 * Settings that a session inherits: from the server, its database or its role (ALTER DATABASE … SET, ALTER ROLE … SET). They are
 * made for an application, and some change what a statement of rowhook means, or whether it succeeds. So every session of
 * rowhook sets what it depends on when it connects, and nothing else in rowhook has to think of them.
 *
 * Functions and triggers of rowhook run in sessions of others: they carry their settings with them (sql/migrations).
 *
 * Not set: default_transaction_read_only. Whoever turns it on, such as a managed service whose disk is full, wants nothing to be
 * written (database/read-only.ts). Nor session_replication_role, which takes a privilege: the doctor names it (capture/muted-sessions.ts).
 */
import type pg from 'pg';

interface Inherited {
  name: string;
  value: string;
  /** Values that do as well, as a regular expression of PostgreSQL. Without it, `value` alone does. */
  fine?: string;
  /** Only in a database of this encoding. */
  encoding?: string;
}

function settings(values: Readonly<Record<string, string>>): Inherited[] {
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}

/** What statements mean, and how values print. */
const MEANING: readonly Inherited[] = [
  // above it, a statement of ours that meets another one fails (40001) instead of waiting
  ...settings({ default_transaction_isolation: 'read committed' }),
  // off: a policy of rowhook's own tables makes every statement an error
  ...settings({ row_security: 'on', restrict_nonsystem_relation_kind: '' }),
  ...settings({ array_nulls: 'on', standard_conforming_strings: 'on', transform_null_equals: 'off' }),
  ...settings({ quote_all_identifiers: 'off', IntervalStyle: 'postgres', bytea_output: 'hex' }),
  // the order of day and month stays as it is
  { name: 'DateStyle', value: 'ISO', fine: '^ISO' },
  { name: 'extra_float_digits', value: '1', fine: '^[123]$' },
  ...settings({ exit_on_error: 'off' }),
];

/** Where what is created goes: it may be a place that rowhook_owner may not use, or a storage that knows no UPDATE. */
const PLACES = settings({ default_tablespace: '', default_table_access_method: 'heap' });

/**
 * An application's time limits would end a page of a large window, a long replay, and every idle connection, again and again. The
 * daemon has limits of its own; whoever runs a command can end it.
 */
const TIME_LIMITS = settings({
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
});

/** Of commands. search_path stays, as tables are named on the command line; so does lock_timeout, which protects an application. */
const OF_COMMANDS: readonly Inherited[] = [
  ...MEANING,
  ...PLACES,
  ...TIME_LIMITS,
  ...settings({ TimeZone: 'UTC' }),
  // a list shows U+FFFD for bytes that are no text, where UTF8 would make it an error. A daemon skips such a row, and says so
  { name: 'client_encoding', value: 'SQL_ASCII', encoding: 'SQL_ASCII' },
];

// None that differs in a database as it is made: where sessions are lent, each that differs costs two round trips a statement.
const OF_DAEMONS: readonly Inherited[] = [
  ...MEANING,
  ...PLACES,
  ...TIME_LIMITS,
  ...settings({ lock_timeout: '0' }),
  // a function or operator that somebody made must not stand before PostgreSQL's own
  { name: 'search_path', value: 'pg_catalog, pg_temp', fine: '^pg_catalog|^(?!.*pg_catalog)' },
  // what a crash may repeat is bounded by what has been written down; how far a standby is waited for is the DBA's
  { name: 'synchronous_commit', value: 'local', fine: '^(?!off$)' },
  // a plan without them reads whole tables
  ...settings({
    plan_cache_mode: 'auto',
    enable_indexscan: 'on',
    enable_indexonlyscan: 'on',
    enable_bitmapscan: 'on',
    enable_nestloop: 'on',
    enable_sort: 'on',
    enable_partition_pruning: 'on',
  }),
];

const INHERITED = { command: OF_COMMANDS, daemon: OF_DAEMONS };
export type Purpose = keyof typeof INHERITED;

/**
 * Sets what is not as it has to be, if the session is this connection's own, and returns it. `sessionPid`: it is, if that is the
 * server's process; null: it is.
 */
export async function setInherited(
  client: pg.ClientBase,
  purpose: Purpose,
  sessionPid: number | null,
  timeoutMs: number,
): Promise<{ isOwn: boolean; settings: Inherited[] }> {
  // the first row is there even if no setting is
  const { rows } = await client.query<{ own: boolean; name: string | null; value: string }>({
    // the connection may have fallen silent by now
    query_timeout: timeoutMs,
    text: `
      select s.own, w.name, w.value, case when s.own and w.name is not null then pg_catalog.set_config(w.name, w.value, false) end
        from (select ${sessionPid === null ? 'true' : `pg_catalog.pg_backend_pid() = ${sessionPid}`} as own) as s
        left join (values ${INHERITED[purpose].map(row).join(', ')}) as w (name, value, fine)
          on pg_catalog.current_setting(w.name, true) !~ w.fine`,
  } as pg.QueryConfig);
  const differing = rows.flatMap(({ name, value }) => (name === null ? [] : [{ name, value }]));
  return { isOwn: rows[0]?.own ?? false, settings: differing };
}

/** No quote and no backslash stands in any of them, so a literal means the same under every setting. */
function row({ name, value, fine = `^${value}$`, encoding }: Inherited): string {
  // every value matches an empty expression
  const needed = encoding && `case pg_catalog.getdatabaseencoding() when '${encoding}' then '${fine}' else '' end`;
  return `('${name}', '${value}', ${needed ?? `'${fine}'`})`;
}

/** The same for one transaction, behind its BEGIN. */
export function forOneTransaction(inherited: readonly Inherited[]): string {
  const each = inherited.map(({ name, value }) =>
    // the default would count for the next one
    name === 'default_transaction_isolation'
      ? `set transaction isolation level ${value}`
      : `set local ${name} = '${value}'`,
  );
  return each.join('; ');
}
