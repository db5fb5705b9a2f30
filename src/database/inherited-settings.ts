/**
 * Settings that a session inherits from the server, its database or its role (ALTER DATABASE … SET,
 * ALTER ROLE … SET). They are made for an application. Some change the meaning of a rowhook
 * statement, or make it fail. So every session of rowhook sets what it depends on when it connects,
 * and no other file of rowhook has to handle these settings.
 *
 * Functions and triggers of rowhook run in sessions of others, so they set their own settings
 * (sql/migrations).
 *
 * Two settings are not changed. default_transaction_read_only is turned on by somebody who wants no
 * writes, such as a managed service whose disk is full (database/read-only.ts).
 * session_replication_role needs a privilege, so the doctor reports it (capture/muted-sessions.ts).
 */
import type pg from 'pg';

interface Inherited {
  name: string;
  value: string;
  /** Accepted values, as a regular expression of PostgreSQL. Default: only `value`. */
  fine?: string;
  /** Set only in a database of this encoding. */
  encoding?: string;
  /** In a lent session: set it only where a transaction begins anyway, and for COSTLY statements. */
  isSpeed?: true;
}

function settings(values: Readonly<Record<string, string>>): Inherited[] {
  return Object.entries(values).map(([name, value]) => ({ name, value }));
}

/** Settings that change the meaning of statements, or how values are printed. */
const MEANING: readonly Inherited[] = [
  // At a higher level, a statement that conflicts with another fails (40001) instead of waiting.
  ...settings({ default_transaction_isolation: 'read committed' }),
  // If it is off, a policy on rowhook's own tables makes every statement fail.
  ...settings({ row_security: 'on', restrict_nonsystem_relation_kind: '' }),
  ...settings({ array_nulls: 'on', standard_conforming_strings: 'on', transform_null_equals: 'off' }),
  ...settings({ quote_all_identifiers: 'off', IntervalStyle: 'postgres', bytea_output: 'hex' }),
  // The order of day and month stays unchanged.
  { name: 'DateStyle', value: 'ISO', fine: '^ISO' },
  { name: 'extra_float_digits', value: '1', fine: '^[123]$' },
  ...settings({ exit_on_error: 'off' }),
];

/**
 * Where new objects are stored. The default may be a place that rowhook_owner may not use, or a
 * storage without UPDATE.
 */
const PLACES = settings({ default_tablespace: '', default_table_access_method: 'heap' });

/**
 * Time limits of an application would end the page of a large window, a long replay, and every idle
 * connection, again and again. The daemon has its own limits, and a person can end a command.
 */
const TIME_LIMITS = settings({
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
});

/**
 * A server that was built with LLVM compiles each plan that it expects to cost much. The plan for
 * due deliveries is one of these: 7 s to compile it on a busy machine, each time, and 9 ms to run it.
 * 20,000 waiting deliveries were sent at 13 a second instead of 490.
 */
const SPEED: readonly Inherited[] = [{ name: 'jit', value: 'off', isSpeed: true }];

/**
 * For commands. search_path stays, because table names are given on the command line. lock_timeout
 * stays, because it protects an application.
 */
const OF_COMMANDS: readonly Inherited[] = [
  ...MEANING,
  ...PLACES,
  ...TIME_LIMITS,
  ...SPEED,
  ...settings({ TimeZone: 'UTC' }),
  // A list shows U+FFFD for bytes that are not text. With UTF8 such bytes would be an error. A
  // daemon skips such a row and logs it.
  { name: 'client_encoding', value: 'SQL_ASCII', encoding: 'SQL_ASCII' },
];

/**
 * For commands that only look. Somebody who looks for the cause of a standstill must not stand still
 * behind it.
 */
const OF_LOOKS: readonly Inherited[] = [...OF_COMMANDS, ...settings({ lock_timeout: '2s' })];

// Except for SPEED, only settings that match a new database's defaults. In lent sessions, each
// setting that differs costs two round trips per statement.
const OF_DAEMONS: readonly Inherited[] = [
  ...MEANING,
  ...PLACES,
  ...TIME_LIMITS,
  ...SPEED,
  ...settings({ lock_timeout: '0' }),
  // No user-made function or operator may hide PostgreSQL's own.
  { name: 'search_path', value: 'pg_catalog, pg_temp', fine: '^pg_catalog|^(?!.*pg_catalog)' },
  // A crash may repeat only what was not yet written to disk, so `off` becomes `local`. How long to
  // wait for a standby is the DBA's choice.
  { name: 'synchronous_commit', value: 'local', fine: '^(?!off$)' },
  // A plan without these reads whole tables.
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

const INHERITED = { command: OF_COMMANDS, look: OF_LOOKS, daemon: OF_DAEMONS };
export type Purpose = keyof typeof INHERITED;

/**
 * Sets every setting that differs, if the session belongs to this connection, and returns those
 * settings. With `sessionPid`, the session belongs to this connection if the server's process has
 * that id. With null, it always does.
 */
export async function setInherited(
  client: pg.ClientBase,
  purpose: Purpose,
  sessionPid: number | null,
  timeoutMs: number,
): Promise<{ isOwn: boolean; settings: Inherited[] }> {
  // The query returns a first row even if no setting differs.
  const { rows } = await client.query<{ own: boolean; name: string | null; value: string }>({
    // The connection may have fallen silent.
    query_timeout: timeoutMs,
    text: `
      select s.own, w.name, w.value,
             case when s.own and w.name is not null then pg_catalog.set_config(w.name, w.value, false) end
        from (select ${sessionPid === null ? 'true' : `pg_catalog.pg_backend_pid() = ${sessionPid}`} as own) as s
        left join (values ${INHERITED[purpose].map(row).join(', ')}) as w (name, value, fine)
          on pg_catalog.current_setting(w.name, true) !~ w.fine`,
  } as pg.QueryConfig);
  const names = new Set(rows.map(({ name }) => name));
  const differing = INHERITED[purpose].filter(({ name }) => names.has(name));
  return { isOwn: rows[0]?.own ?? false, settings: differing };
}

/**
 * These values hold no quote and no backslash, so a literal has the same meaning under every
 * setting.
 */
function row({ name, value, fine = `^${value}$`, encoding }: Inherited): string {
  // An empty regular expression matches every value.
  const needed = encoding && `case pg_catalog.getdatabaseencoding() when '${encoding}' then '${fine}' else '' end`;
  return `('${name}', '${value}', ${needed ?? `'${fine}'`})`;
}

/** The same settings for one transaction, to be run after its BEGIN. */
export function forOneTransaction(inherited: readonly Inherited[]): string {
  const each = inherited.map(({ name, value }) =>
    // A change of the default would only affect the next transaction.
    name === 'default_transaction_isolation'
      ? `set transaction isolation level ${value}`
      : `set local ${name} = '${value}'`,
  );
  return each.join('; ');
}
