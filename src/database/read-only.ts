/**
 * A session that may only read, as default_transaction_read_only is on for it.
 *
 * rowhook could write all the same, with BEGIN READ WRITE. It does not: managed services turn the setting on when a disk is nearly
 * full, and what a daemon goes on writing then is what fills it. Nothing is lost meanwhile: an application cannot write either,
 * and what it wrote before waits in the outbox.
 */
import type pg from 'pg';
import { printable } from '../shared/terminal.ts';
import { UserError } from '../shared/user-error.ts';

export interface ReadOnly {
  what: string;
  why: string;
  /** The statement. */
  mend: string;
}

/** What a command or a daemon says of it. */
export class ReadOnlyDatabase extends UserError {
  constructor(database: string, { what, why, mend }: ReadOnly) {
    super(`${database} is read-only: ${what}. ${why} Otherwise: ${mend.replace(/;$/, '')}.`);
  }
}

/** SQLSTATE read_only_sql_transaction: of a hot standby too, which no setting makes writable. */
export const READ_ONLY = '25006';

const NAME = 'default_transaction_read_only';
const WHY =
  'Nothing is delivered or recorded meanwhile, and nothing is lost. Managed services do that when the disk is nearly full: free it or enlarge it first, and they may undo it themselves.';

interface Found {
  is_on: boolean;
  source: string;
  role: string;
  database: string;
}

/** Of whom the setting is, by pg_settings.source, as ALTER … RESET has it. */
const OWNERS: Readonly<Record<string, (found: Found) => string>> = {
  database: ({ database }) => `database ${database}`,
  user: ({ role }) => `role ${role}`,
  'database user': ({ role, database }) => `role ${role} in database ${database}`,
  global: () => 'role all',
};

/** Null: it is not set, or the server is a hot standby. */
export async function readOnlySetting(client: pg.ClientBase): Promise<ReadOnly | null> {
  const { rows } = await client.query<Found>(
    `select setting = 'on' and not pg_is_in_recovery() as is_on, source,
            quote_ident(session_user) as role, quote_ident(current_database()) as database
       from pg_settings where name = '${NAME}'`,
  );
  const found = rows[0] as Found;
  if (!found.is_on) return null;
  if (found.source === 'client') {
    const mend = `take ${NAME} out of DATABASE_URL and PGOPTIONS`;
    return { what: `${NAME} is on for this connection`, why: WHY, mend };
  }
  const owner = OWNERS[found.source]?.(found);
  return {
    what: printable(`${NAME} is on for ${owner ?? 'the whole server'}`),
    why: WHY,
    // the session of whoever runs it inherits the setting as well
    mend: printable(
      owner === undefined
        ? `alter system set ${NAME} = off; select pg_reload_conf();`
        : `begin read write; alter ${owner} reset ${NAME}; commit;`,
    ),
  };
}
