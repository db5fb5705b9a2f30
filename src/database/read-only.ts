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
  mend: string;
}

/** The error of a command or a daemon. */
export class ReadOnlyDatabase extends UserError {
  constructor(database: string, { what, why, mend }: ReadOnly) {
    super(`${database} is read-only: ${what}. ${why} Otherwise: ${mend.replace(/;$/, '')}.`);
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
            quote_ident(session_user) as role, quote_ident(current_database()) as database
       from pg_settings where name = '${NAME}'`,
  );
  const found = rows[0] as Found;
  if (!found.is_on) return null;
  if (found.source === 'client') {
    const mend = `remove ${NAME} from DATABASE_URL and PGOPTIONS`;
    return { what: `${NAME} is on for this connection`, why: WHY, mend };
  }
  const owner = OWNERS[found.source]?.(found);
  return {
    what: printable(`${NAME} is on for ${owner ?? 'the whole server'}`),
    why: WHY,
    // The session that runs the remedy inherits the setting as well.
    mend: printable(
      owner === undefined
        ? `alter system set ${NAME} = off; select pg_reload_conf();`
        : `begin read write; alter ${owner} reset ${NAME}; commit;`,
    ),
  };
}
