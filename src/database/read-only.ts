/**
 * A session that may only read, because default_transaction_read_only is on.
 *
 * rowhook could still write, with BEGIN READ WRITE, but does not. Managed services turn the setting
 * on when a disk is nearly full, and further writes of a daemon would fill it. No event is lost:
 * applications cannot write either, and earlier changes wait in the outbox.
 */
import type pg from 'pg';
import { printable } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';

export interface ReadOnly {
  what: string;
  why: string;
  /** The statement that fixes it. */
  fix: string;
}

/** The error of a command or a daemon. */
export class ReadOnlyDatabase extends UserError {
  constructor(database: string, { what, why, fix }: ReadOnly, otherwise = 'Otherwise') {
    super(`${database} is read-only: ${what}. ${why} ${otherwise}: ${fix.replace(/;$/, '')}.`);
  }
}

/**
 * SQLSTATE read_only_sql_transaction. A hot standby raises it too, and no setting makes a standby
 * writable.
 */
export const READ_ONLY = '25006';

const NAME = 'default_transaction_read_only';
const WHY =
  'Nothing is delivered or recorded meanwhile, and nothing is lost. ' +
  'Managed services turn this setting on when the disk is nearly full. ' +
  'In that case free or enlarge the disk first. The service may then turn the setting off by itself.';

interface Found {
  is_on: boolean;
  source: string;
  role: string;
  database: string;
  may_alter_system: boolean;
}

/** The object that has the setting, by pg_settings.source, in the syntax of ALTER … RESET. */
const OWNERS: Readonly<Record<string, (found: Found) => string>> = {
  database: ({ database }) => `database ${database}`,
  user: ({ role }) => `role ${role}`,
  'database user': ({ role, database }) => `role ${role} in database ${database}`,
  global: () => 'role all',
};

/** Null: the setting is off, or the server is a hot standby. */
export async function readOnlySetting(client: pg.ClientBase): Promise<ReadOnly | null> {
  const { rows } = await client.query<Found>(
    `select setting = 'on' and not pg_is_in_recovery() as is_on, source,
            quote_ident(session_user) as role, quote_ident(current_database()) as database,
            coalesce(current_setting('allow_alter_system', true), 'on') = 'on' as may_alter_system
       from pg_settings where name = '${NAME}'`,
  );
  const found = rows[0] as Found;
  if (!found.is_on) return null;
  const { whose, fix } = causeOf(found);
  return { what: printable(`${NAME} is on for ${whose}`), why: WHY, fix: printable(fix) };
}

/** Pure. Each statement works in a session that inherits the setting. */
function causeOf(found: Found): { whose: string; fix: string } {
  const owner = OWNERS[found.source]?.(found);
  if (owner !== undefined) return { whose: owner, fix: inReadWrite(`alter ${owner} reset ${NAME}`) };
  if (found.source === 'client')
    return { whose: 'this connection', fix: `remove ${NAME} from DATABASE_URL and PGOPTIONS` };
  if (found.source === 'session')
    return {
      whose: 'this session of a pooler',
      fix: `remove SET ${NAME} from what the pooler and its other clients run, then let the pooler connect anew (PgBouncer: RECONNECT)`,
    };
  // The command line wins over what ALTER SYSTEM writes.
  if (found.source === 'configuration file' && found.may_alter_system)
    return { whose: 'the whole server', fix: `alter system set ${NAME} = off; select pg_reload_conf();` };
  const byCommandLine = found.source === 'command line' ? ', by its command line' : '';
  return {
    whose: `the whole server${byCommandLine}`,
    fix: inReadWrite(`alter database ${found.database} set ${NAME} = off`),
  };
}

function inReadWrite(statement: string): string {
  return `begin read write; ${statement}; commit;`;
}
